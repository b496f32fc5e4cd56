"""Request bodies: taken from the client only when a handler asks, and within bounds."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import Any, Final, Protocol

import trio
from quart_trio.wrappers.request import TrioBody, TrioRequest

from engine.config_tables import ServerConfig
from engine.errors import BodyTooLargeError, ClientError, UnavailableError
from engine.events import Operation
from engine.spool import Spool, SpoolError, SpoolFile

SPOOLED_AT_ONCE_BYTES = 256 * 1024
"""Of a body that goes to a file, so much is in memory."""
UNREAD_MAX_BYTES: Final = 256 * 1024
"""Of a body that who wants it has not taken; one message more at most is held."""

_RECORDINGS: Final[frozenset[Operation]] = frozenset({"transcribe", "translate"})
_BESIDE_MAX_BYTES = 1024 * 1024
"""Of fields beside a recording: the voices of known speakers are among them."""

_TAKING = "parshall.taking"

Receive = Callable[[], Awaitable[Any]]
"""ASGI's."""


class BodyTimeoutError(ClientError):
    """The client is too slow in sending its body (408)."""

    status = 408
    code = "request_timeout"


class LazyBody(TrioBody):
    """A body that stays with the client until `wanted`, and is dropped once `refused`."""

    def __init__(self, expected_content_length: int | None, max_content_length: int | None) -> None:
        super().__init__(expected_content_length, max_content_length)
        self.wanted = trio.Event()
        self._refused = False
        self._whole = False
        self._room = trio.Event()
        self._receive: Receive | None = None

    def pull(self, receive: Receive) -> None:
        """Have who wants the body receive it, instead of a task that appends what comes."""
        self._receive = receive

    def refuse(self) -> None:
        """Drop what is left: it is read so that the client can be heard leaving."""
        self._refused = True
        self._data.clear()
        self._room.set()
        self.wanted.set()

    async def wait_room(self) -> None:
        """Until more may be appended: whoever takes the body part by part sets the pace."""
        while len(self._data) > UNREAD_MAX_BYTES and not (self._refused or self._whole):
            self._room = trio.Event()
            await self._room.wait()

    def append(self, data: bytes) -> None:
        """Called by the connection for what arrives."""
        if not self._refused:
            super().append(data)

    async def __anext__(self) -> bytes:
        self.wanted.set()
        while self._receive is not None and not (self._data or self._complete.is_set()):
            await self._pull_some(self._receive)
        data = await super().__anext__()
        self._room.set()
        return data

    def __await__(self) -> Generator[Any, None, Any]:
        self._whole = True
        self._room.set()
        self.wanted.set()
        while self._receive is not None and not self._complete.is_set():
            yield from self._pull_some(self._receive).__await__()
        return (yield from super().__await__())

    async def _pull_some(self, receive: Receive) -> None:
        message = await receive()
        if message["type"] == "http.disconnect":
            await trio.sleep_forever()  # cancelled: that is what such a server was asked to do
        self.append(message.get("body", b""))
        if not message.get("more_body", False):
            self.set_complete()


class LazyRequest(TrioRequest):
    """A request with a `LazyBody`."""

    body_class = LazyBody
    body: LazyBody


class ParseBudget:
    """How many bytes of bodies the whole process may hold until their providers have answered."""

    def __init__(
        self, max_bytes: int, spool: Spool, refused: Callable[[], UnavailableError]
    ) -> None:
        """`refused` makes the error for what there is no room for; `spool` has a bound of its own,
        and what is in its files does not count here."""
        self._max_bytes = max_bytes
        self.spool = spool
        self.refused = refused
        self.held_bytes = 0

    def check(self, size_bytes: int) -> None:
        """Raises UnavailableError when there is no room for so much."""
        if self.held_bytes + size_bytes > self._max_bytes:
            raise self.refused()

    @contextmanager
    def taking(self, scope: Any) -> Iterator[Taking]:
        """Room for the body of one request, which is given back when the block is left, or before;
        `taking_of` its ASGI scope."""
        taking = scope[_TAKING] = Taking(self)
        try:
            yield taking
        finally:
            taking.give_back()


class Taking:
    """The room that one body takes: in memory, or in a file."""

    def __init__(self, budget: ParseBudget) -> None:
        self._budget = budget
        self._parts: list[bytes] = []
        self._file: SpoolFile | None = None
        self.taken_bytes = 0
        """In memory."""

    def check(self, size_bytes: int, *, spooled: bool) -> None:
        """Raises UnavailableError when there is no room for so much, in memory or in a file."""
        if not spooled:
            self._budget.check(size_bytes)
            return
        try:
            self._budget.spool.check(size_bytes)
        except SpoolError:
            raise self._budget.refused() from None

    def more(self, part: bytes) -> None:
        """Keep what has arrived. Raises UnavailableError when there is no room."""
        self._budget.check(len(part))
        self._budget.held_bytes += len(part)
        self.taken_bytes += len(part)
        self._parts.append(part)

    async def spool(self) -> None:
        """Move what is in memory to the file. Raises UnavailableError when it cannot be."""
        parts, self._parts = self._parts, []
        try:
            if self._file is None:
                self._file = self._budget.spool.open()
            await self._file.append(parts)
        except SpoolError:
            raise self._budget.refused() from None
        self._give_memory_back()

    def data(self) -> bytes | SpoolFile:
        """The whole body; nobody else holds it. The file is closed when the room is given back."""
        parts, self._parts = self._parts, []
        return b"".join(parts) if self._file is None else self._file

    def give_back(self) -> None:
        """Nothing is held any more."""
        self._parts = []
        self._give_memory_back()
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def _give_memory_back(self) -> None:
        self._budget.held_bytes -= self.taken_bytes
        self.taken_bytes = 0


def taking_of(scope: Any) -> Taking:
    """The room of the body of the request that an ASGI scope is of."""
    taking: Taking = scope[_TAKING]
    return taking


class Incoming(Protocol):
    """What a request says of its body, and where it comes from."""

    @property
    def content_length(self) -> int | None: ...

    @property
    def body(self) -> Parts: ...


class Parts(Protocol):
    """A body, part by part."""

    async def __anext__(self) -> bytes: ...


def bounds_of(server: ServerConfig, operation: Operation, content_type: str) -> ServerConfig:
    """The bounds of the body of a call: that of a recording's has room for the other fields and,
    where it is no form, for base64."""
    if operation not in _RECORDINGS:
        return server
    max_bytes = server.audio_max_bytes
    if "json" in content_type:
        max_bytes = max_bytes * 4 // 3
    max_bytes = min(max_bytes + _BESIDE_MAX_BYTES, server.body_max_bytes)
    return replace(server, body_max_bytes=max_bytes)


async def read_body(
    request: Incoming,
    taking: Taking,
    bounds: ServerConfig,
    within: AbstractContextManager[trio.CancelScope],
) -> bytes | SpoolFile:
    """The whole body, whose room `taking` takes as it arrives; one of `spooled_min_bytes` or more
    goes to a file. It is waited for `within` a scope, whose deadline moves on as it arrives.

    Raises:
        BodyTooLargeError: it is longer than `body_max_bytes`; known before all of it is read.
        BodyTimeoutError: it arrives too slowly.
        UnavailableError: the whole process holds too much; known before it is read where the
            client says how long it is.
    """
    with within as waiting:
        return await _read(request, taking, bounds, waiting)
    raise BodyTimeoutError("The request body arrived too slowly.")


async def _read(
    request: Incoming, taking: Taking, bounds: ServerConfig, waiting: trio.CancelScope
) -> bytes | SpoolFile:
    max_bytes, spooled_min_bytes = bounds.body_max_bytes, bounds.spooled_min_bytes
    expected_bytes = request.content_length or 0
    if expected_bytes > max_bytes:
        raise _too_large(max_bytes)
    spooling = expected_bytes >= spooled_min_bytes
    taking.check(expected_bytes, spooled=spooling)  # taken only as it arrives: claiming is cheap
    arrived_bytes = 0
    started = trio.current_time()
    while True:
        allowed_s = bounds.body_grace_s + arrived_bytes / bounds.body_rate_min_bytes_per_s
        waiting.deadline = started + allowed_s
        part = await anext(request.body, None)
        arrived_bytes += len(part or b"")
        if arrived_bytes > max_bytes:
            raise _too_large(max_bytes)
        if part is not None:
            taking.more(part)
        spooling = spooling or arrived_bytes >= spooled_min_bytes
        if spooling and (part is None or taking.taken_bytes >= SPOOLED_AT_ONCE_BYTES):
            waiting.deadline = math.inf
            await taking.spool()
        if part is None:
            return taking.data()


def _too_large(max_bytes: int) -> BodyTooLargeError:
    return BodyTooLargeError(f"The request body is larger than {max_bytes} bytes.")
