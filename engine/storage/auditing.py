"""The audit of stored files: memory, rows and what is stored say the same, while files come too."""

from __future__ import annotations

from collections.abc import Sequence

from engine.ledger.file_rows import StoredBytes
from engine.ledger.records import Finding
from engine.storage.blobs import BlobMissingError, StoreError
from engine.storage.files import FileStore

_EXAMPLES = 5
_ROOM = "what accounts have stored, by memory, is the sum of their files"
_STORED = "every file is stored, with its size"
_OWNED = "what is stored is a file, or on its way"


async def audit_files(store: FileStore) -> list[Finding]:
    """As `Ledger.audit`, of files. What they hold is not read.

    Raises:
        UnavailableError: the database cannot be read now.
    """
    findings = [await _audit_room(store)]
    try:
        return [*findings, *await _audit_blobs(store)]
    except StoreError as error:
        return [*findings, Finding(_STORED, False, 0, f"cannot be checked: {error}")]


async def _audit_room(store: FileStore) -> Finding:
    """At a moment of the journal, when both have followed the same changes."""
    different: list[str] = []

    def compare(rows: Sequence[StoredBytes]) -> None:
        told = {row.account_id: (row.size_bytes, row.files) for row in rows}
        kept = store.quota.stored()
        different.extend(each for each in sorted(told | kept) if told.get(each) != kept.get(each))

    rows = await store.ledger.stored_bytes(compare)
    return _finding(_ROOM, len(rows), different)


async def _audit_blobs(store: FileStore) -> list[Finding]:
    stored = await store.blobs.sizes("")
    coming = _coming(store)
    known = await store.ledger.file_sizes()
    wrong = [key for key in sorted(known.keys() & stored.keys()) if known[key] != stored[key]]
    gone = [key for key in sorted(known.keys() - stored.keys()) if await _is_gone(store, key)]
    strange = sorted(stored.keys() - known.keys() - coming)
    if strange:  # what was removed meanwhile was a file when it was seen, and may be there still
        await store.ledger.stored_bytes(lambda _: None)  # whatever was removed is known to be
        going = _coming(store)
        strange = [key for key in strange if key not in going and not await _is_gone(store, key)]
    return [_finding(_STORED, len(known), wrong + gone), _finding(_OWNED, len(stored), strange)]


def _coming(store: FileStore) -> set[str]:
    """What is there without a row for a while: what comes, and what goes."""
    return store.in_hand | store.leftovers | store.doubtful | store.unwanted


async def _is_gone(store: FileStore, key: str) -> bool:
    try:
        (await store.blobs.open_reader(key)).close()
    except BlobMissingError:
        return True
    return False


def _finding(name: str, figure: int, broken: Sequence[str]) -> Finding:
    if not broken:
        return Finding(name, True, figure)
    return Finding(name, False, figure, f"{len(broken)} broken: {', '.join(broken[:_EXAMPLES])}")
