"""The store of files over time: made ready at the start, and swept while it is open.

At the start whatever a process has left that died is removed: half-written files, blobs without a
row, rows without a blob. Then expired files go, with what they left at providers.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final

import trio

from engine.clock import Clock
from engine.ledger.file_rows import ProviderFile
from engine.ledger.filing import Filing
from engine.nurseries import open_tasks
from engine.storage.blobs import BlobMissingError, Blobs, StoreError
from engine.storage.files import FileSettings, FileStore

logger = logging.getLogger(__name__)

_AT_ONCE_MAX: Final = 10_000
"""More files than this are compared with the store in parts, by the first letter of their ids."""
_LETTERS: Final = "abcdefghijklmnopqrstuvwxyz234567"
_SLICE: Final = 100
_PLACES_KEPT_MS: Final = 86_400_000
_COPIES_AT_ONCE: Final = 20
_COPY_TIMEOUT_S: Final = 15.0
_COPY_TRIES_MAX: Final = 5


class WrongStoreError(StoreError):
    """The place is another database's, or what this one's database knows is not in it."""


@asynccontextmanager
async def open_files(
    ledger: Filing, blobs: Blobs, settings: FileSettings, clock: Clock, *, may_wait: bool
) -> AsyncIterator[FileStore]:
    """The store of files, for the block.

    `may_wait` says that a store that does not answer now is tried again later, and refuses files
    until then; otherwise that is raised.

    Raises:
        WrongStoreError: the files of this database are somewhere else.
        StoreError: it cannot be used.
        UnavailableError: the database cannot be read now.
    """
    store = FileStore(ledger, blobs, settings, clock)
    try:
        await make_ready(store)
    except WrongStoreError:
        raise
    except StoreError as error:
        if not may_wait:
            raise
        logger.error("files cannot be stored yet: %s", error)
    async with open_tasks() as nursery:
        nursery.start_soon(_keep, store)
        yield store
        nursery.cancel_scope.cancel()


async def make_ready(store: FileStore) -> None:
    """Make sure that the place is the right one, and remove what was left in it.

    Raises:
        StoreError, UnavailableError: see `open_files`.
    """
    store.problem = "the store of files does not answer"
    blobs, ours = store.blobs, store.ledger.file_store_id
    found = await blobs.read_marker()
    if found != ours:
        if store.quota.stored_files:
            raise WrongStoreError(
                f"has none of the {store.quota.stored_files:,} files that the database knows"
                if found is None
                else "has the files of another database"
            )
        if found is not None and await blobs.sizes(""):
            raise WrongStoreError("has the files of another database")
        await blobs.mark(ours)
    await blobs.clean()
    await collect(store)
    store.problem = None


async def collect(store: FileStore) -> None:
    """Compare what is stored with what is known, and remove what is only one of both. Files may
    come and go meanwhile.

    Raises:
        StoreError, UnavailableError: see `open_files`.
    """
    prefixes = ("",) if store.quota.stored_files <= _AT_ONCE_MAX else tuple(_LETTERS)
    for prefix in prefixes:
        stored = await store.blobs.sizes(prefix)
        # What was stored by then and is in nobody's hands now has its row, or never will.
        in_hand = frozenset(store.in_hand)
        known = await store.ledger.file_sizes(prefix)
        await _remove_orphans(store, stored, known.keys() | in_hand)
        await _remove_empty(store, sorted(known.keys() - stored.keys()))
        for key in sorted(known.keys() & stored.keys()):
            if known[key] != stored[key]:
                logger.error(
                    "the file %s is damaged: it has %d bytes, not %d", key, stored[key], known[key]
                )


async def _remove_orphans(
    store: FileStore, stored: Mapping[str, int], known: frozenset[str] | set[str]
) -> None:
    orphans = sorted(stored.keys() - known)
    for key in orphans:
        await store.blobs.delete(key)
    if orphans:
        size_bytes = sum(stored[key] for key in orphans)
        logger.info(
            "%d stored files without a row were removed: %d bytes", len(orphans), size_bytes
        )


async def _remove_empty(store: FileStore, candidates: list[str]) -> None:
    """Those of which nothing is stored: neither when all was listed nor now."""
    empty = []
    for key in candidates:
        try:
            (await store.blobs.open_reader(key)).close()
        except BlobMissingError:
            empty.append(key)
    for start in range(0, len(empty), _SLICE):
        for row in await store.remove(empty[start : start + _SLICE]):
            logger.error("the file %s was lost: nothing of it is stored", row.file_id)


async def _keep(store: FileStore) -> None:
    tries: dict[ProviderFile, int] = {}
    sweep_at = trio.current_time() + store.settings.sweep_s
    while True:
        with trio.move_on_at(sweep_at):
            await store.due.wait()
        try:
            if store.problem is not None:
                await make_ready(store)
                logger.info("files can be stored")
            await store.tidy()
            if trio.current_time() >= sweep_at:
                sweep_at = trio.current_time() + store.settings.sweep_s
                await _expire(store)
                await _remove_copies(store, tries)
                before_ms = store.clock() - _PLACES_KEPT_MS
                await store.ledger.forget_removed_files(before_ms)
                await store.ledger.forget_uploads(before_ms)
        except Exception as error:  # noqa: BLE001 - what fails now is tried again
            logger.error("files that are no more are kept for now: %s", error)
            await trio.sleep(min(1.0, store.settings.sweep_s))


async def _expire(store: FileStore) -> None:
    files = size_bytes = 0
    while expired := await store.ledger.expired_files(_SLICE):
        removed = await store.remove(expired)
        files += len(removed)
        size_bytes += sum(row.size_bytes for row in removed)
        await store.tidy()
    if files:
        logger.info("%d expired files were removed: %d bytes", files, size_bytes)


async def _remove_copies(store: FileStore, tries: dict[ProviderFile, int]) -> None:
    """Copies of removed files, at providers that still have them; in vain so often at most."""
    remove, removed = store.remove_copy, 0
    if remove is None:
        return
    for copy in await store.ledger.unwanted_copies("", _COPIES_AT_ONCE):
        gone = copy.expires_at_ms is not None and copy.expires_at_ms <= store.clock()
        with trio.move_on_after(_COPY_TIMEOUT_S):
            try:
                gone = gone or await remove(copy)
            except Exception as error:  # noqa: BLE001 - a provider's fault must not keep the others
                logger.warning("a copy of %s stays at %s: %s", copy.file_id, copy.provider, error)
        tries[copy] = tries.get(copy, 0) + 1
        if gone or tries[copy] >= _COPY_TRIES_MAX:
            await store.ledger.forget_copy(copy)
            del tries[copy]
            removed += gone
    if removed:
        logger.info("%d copies of removed files were removed at providers", removed)
