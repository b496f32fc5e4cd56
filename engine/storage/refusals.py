"""What clients are told of what the store of files does not do; the log has more."""

from __future__ import annotations

import logging
from collections.abc import Awaitable
from typing import TypeVar

from engine.errors import (
    FileDamagedError,
    InsufficientStorageError,
    StorageUnavailableError,
    StoredFileNotFoundError,
)
from engine.file_ids import bare_file_id, shown_file_id
from engine.ledger.file_rows import FileRow
from engine.storage.blobs import BlobMissingError, StoreError, StoreFullError

T = TypeVar("T")
logger = logging.getLogger(__name__)


async def told(work: Awaitable[T]) -> T:
    """What it gives; what the store says that it cannot is said as clients are told.

    Raises:
        InsufficientStorageError, StorageUnavailableError: see there.
        BlobMissingError: as it is.
    """
    try:
        return await work
    except BlobMissingError:
        raise
    except StoreFullError as error:
        logger.error("no room is left for files: %s", error)
        raise InsufficientStorageError("The gateway has no room left for files.") from error
    except StoreError as error:
        logger.error("the store of files does not do it: %s", error)
        raise StorageUnavailableError(
            "Files cannot be stored or read now.", retry_after_s=5
        ) from error


def not_found(file_id: str) -> StoredFileNotFoundError:
    """For the caller to raise: there is none, or it is another account's."""
    shown = shown_file_id(file_id, "openai") if bare_file_id(file_id) == file_id else file_id
    return StoredFileNotFoundError(f"There is no file '{shown[:100]}'.")


def damaged(row: FileRow, how: str) -> FileDamagedError:
    """For the caller to raise; the log says what is wrong."""
    logger.error("the file %s is damaged: %s", row.file_id, how)
    return FileDamagedError("The file is damaged and cannot be read.")
