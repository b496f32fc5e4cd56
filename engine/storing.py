"""The store of files that the configuration names: a folder, or a bucket."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from engine.clock import Clock
from engine.config import Config
from engine.ledger.ledger import Ledger
from engine.storage.blobs import Blobs, DirectoryBlobs, StoreError
from engine.storage.files import FileSettings, FileStore
from engine.storage.keeping import open_files
from engine.storage.s3 import BucketSettings, S3Blobs


@asynccontextmanager
async def open_file_store(config: Config, ledger: Ledger, clock: Clock) -> AsyncIterator[FileStore]:
    """Open it for the block. A bucket that does not answer is tried again later, and files are
    refused until then: all else is served.

    Raises:
        ConfigError: it cannot be used, or it has the files of another database.
        UnavailableError: the database cannot be read now.
    """
    files = config.files
    settings = FileSettings(
        file_max_bytes=files.file_max_bytes,
        account_max_bytes=files.account_max_bytes,
        account_files_max=files.account_files_max,
        expires_after_s=files.expires_after_s,
        uploads_max=files.uploads_max,
        commit_timeout_s=2 * config.storage.barrier_timeout_s,
        sweep_s=files.sweep_s,
    )
    in_folder = files.url is None
    async with AsyncExitStack() as stack:
        try:
            opened = open_files(ledger, _blobs(config), settings, clock, may_wait=not in_folder)
            store = await stack.enter_async_context(opened)
        except StoreError as error:
            keys = ("files", "folder" if in_folder else "url")
            where = config.files_folder if in_folder else files.url
            raise config.error(keys, f"('{where}') cannot be used: {error}") from None
        yield store


def _blobs(config: Config) -> Blobs:
    """Raises StoreError: it cannot be spoken to so."""
    files = config.files
    if files.url is None:
        return DirectoryBlobs(config.files_folder)
    bucket, prefix = files.bucket
    return S3Blobs(
        BucketSettings(
            bucket=bucket,
            prefix=prefix,
            endpoint=files.endpoint,
            region=files.region,
            access_key=files.access_key,
            secret_key=files.secret_key,
            allow_http=files.allow_http,
            timeout_s=files.timeout_s,
            spool_dir=config.server.spool_dir,
        )
    )
