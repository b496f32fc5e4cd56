"""Uploads in several requests: each is a session, which a URL names that nobody can guess.

A session holds a file that comes, and so room of its account's; it is bounded in number as they
are, and ends when nothing has come for a while. It is of this process: a client whose session has
gone begins again.
"""

from __future__ import annotations

import logging
import secrets
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Final

import trio

from engine.admission.keys import KeyEntry
from engine.errors import NotFoundError, UploadBusyError
from engine.ledger.file_rows import FileRow
from engine.nurseries import open_tasks
from engine.storage.files import FileStore
from engine.storage.upload import Upload

log = logging.getLogger(__name__)

IDLE_MAX_S: Final = 900.0
"""A session that nothing has come for is over."""
FINISHED_KEPT_S: Final = 60.0
"""The answer to its last request may have been lost: it is given again for so long."""
FINISHED_MAX: Final = 1_000
_SWEEP_S: Final = 10.0
_APPEND_MAX_S: Final = 30.0
CLOSE_MAX_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Announced:
    """What a client says of a file before it comes.

    Attributes:
        size_bytes: None: it does not say.
    """

    filename: str = field(repr=False)
    mime_type: str
    size_bytes: int | None


class UploadSession:
    """A file that comes in parts; made by `UploadSessions.begin`.

    Attributes:
        session_id: of the URL; a secret.
        entry: the key that began it.
        row: the file, once it is there.
    """

    def __init__(self, entry: KeyEntry, announced: Announced, upload: Upload) -> None:
        self.session_id = secrets.token_urlsafe(32)
        self.entry = entry
        self.announced = announced
        self.upload = upload
        self.row: FileRow | None = None
        self.stack = AsyncExitStack()
        self.busy = False
        self.unsure = False
        """Some bytes may be stored, or not: nothing can follow them."""
        self.ends_s = trio.current_time() + IDLE_MAX_S

    @property
    def received_bytes(self) -> int:
        """The place of the next byte."""
        return self.upload.size_bytes

    async def append(self, data: bytes) -> None:
        """More bytes. Not cut short where the client leaves: they are there, and are not sent
        again. Raises as `Upload.append`."""
        self.unsure = True
        with trio.move_on_after(_APPEND_MAX_S, shield=True) as scope:
            await self.upload.append(data)
        self.unsure = scope.cancelled_caught
        await trio.lowlevel.checkpoint_if_cancelled()

    @contextmanager
    def taken(self) -> Iterator[None]:
        """One request at a time works on it. Raises UploadBusyError."""
        if self.busy:
            raise UploadBusyError("Another request of this upload is under way.")
        self.busy = True
        try:
            yield
        finally:
            self.busy = False
            kept_s = IDLE_MAX_S if self.row is None else FINISHED_KEPT_S
            self.ends_s = trio.current_time() + kept_s


class UploadSessions:
    """Of one gateway; made by `open_sessions`."""

    def __init__(self, store: FileStore) -> None:
        self._store = store
        self._open: dict[str, UploadSession] = {}
        self._finished: deque[UploadSession] = deque()

    def __len__(self) -> int:
        return len(self._open)

    async def begin(self, entry: KeyEntry, limit_bytes: int, announced: Announced) -> UploadSession:
        """A session, with room for all of the file where its size is known.

        Raises:
            GatewayError: as `FileStore.open_upload`.
        """
        account_id = entry.principal.account_id
        async with AsyncExitStack() as stack:
            upload = await stack.enter_async_context(
                self._store.open_upload(account_id, limit_bytes, announced.size_bytes)
            )
            session = UploadSession(entry, announced, upload)
            session.stack = stack.pop_all()
        self._open[session.session_id] = session
        return session

    def find(self, session_id: str) -> UploadSession:
        """The session that a URL names. Raises NotFoundError."""
        session = self._open.get(session_id)
        if session is None or (session.ends_s <= trio.current_time() and not session.busy):
            raise NotFoundError("There is no such upload, or no longer: begin again.")
        return session

    async def end(self, session: UploadSession) -> None:
        """Forget it, and what has come of a file that is not there. Again does nothing."""
        self._open.pop(session.session_id, None)
        with trio.move_on_after(CLOSE_MAX_S, shield=True):
            await session.stack.aclose()

    async def keep(self, session: UploadSession, row: FileRow) -> None:
        """The file is there; whoever asks again is told so for a while."""
        session.row = row
        self._finished.append(session)
        if len(self._finished) > FINISHED_MAX:
            self._open.pop(self._finished.popleft().session_id, None)
        with trio.move_on_after(CLOSE_MAX_S, shield=True):
            await session.stack.aclose()

    async def sweep(self) -> None:
        """End what is over. Never returns."""
        while True:
            await trio.sleep(_SWEEP_S)
            now_s = trio.current_time()
            over = [s for s in self._open.values() if s.ends_s <= now_s and not s.busy]
            while self._finished and self._finished[0].ends_s <= now_s:
                self._finished.popleft()
            for session in over:
                if session.row is None:
                    log.info("an upload of %d bytes was left open", session.received_bytes)
                await self.end(session)

    async def end_all(self) -> None:
        """What is left."""
        for session in tuple(self._open.values()):
            await self.end(session)


@asynccontextmanager
async def open_sessions(store: FileStore) -> AsyncIterator[UploadSessions]:
    """The sessions of uploads to a store, for the block; what is open at its end is dropped."""
    sessions = UploadSessions(store)
    async with open_tasks() as nursery:
        nursery.start_soon(sessions.sweep)
        try:
            yield sessions
        finally:
            nursery.cancel_scope.cancel()
            with trio.move_on_after(CLOSE_MAX_S, shield=True):
                await sessions.end_all()
