"""Where bodies are parsed: small ones here, large ones in a helper process.

The helper starts with the first large body. It parses one at a time; more wait, up to a bound. One
that dies, or is not done in time, is replaced, and its request is refused with 503.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, Final

import trio

from engine.errors import (
    BodyTooLargeError,
    GatewayError,
    InvalidRequestError,
    NotFoundError,
    UnavailableError,
)
from engine.events import Call
from engine.nurseries import open_tasks
from engine.parsing import frames
from engine.parsing.facts import NOTHING, Wanted
from engine.parsing.helper import Helper, HelperLostError, start_helper
from engine.parsing.jobs import Ask, Count, Encode, Prepared, ask_of, do_here
from engine.protocols.fields import load_request
from engine.spool import Spool, SpoolError, SpoolFile
from engine.upstream.bodies import SpooledBody

logger = logging.getLogger(__name__)

_BYTES_PER_S: Final = 2_000_000
"""A tenth of what the helper does on a machine that has nothing else to do."""
_MEASURED: Final = frozenset({"transcribe", "translate"})
"""Recordings are read by a large library in C: not in the process that has the secrets."""
_FILES_IN_MEMORY_MAX_BYTES: Final = 1024 * 1024
"""A body that holds more of stored files goes out from a file of the spool."""
_START_S: Final = 30.0
_END_S: Final = 10.0
_RETRY_AFTER_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class ParsingSettings:
    """Attributes:
    here_max_bytes: larger bodies are parsed in the helper.
    deadline_s: for one body in the helper, and a second more for each `_BYTES_PER_S` of it.
    waiting_max: bodies that may wait for it.
    wait_s: how long they may.
    memory_max_bytes: of addresses, in the helper; orjson reserves several times what it writes.
    encodings: the vocabularies that prompts are counted with, to be loaded at its start.
    """

    here_max_bytes: int = 256 * 1024
    deadline_s: float = 10.0
    waiting_max: int = 256
    wait_s: float = 60.0
    memory_max_bytes: int = 4 * 1024**3
    encodings: tuple[str, ...] = ()


@dataclass(slots=True)
class ParsingStatistics:
    """Since the start: bodies that the helper was given, and helpers that were started.

    Attributes:
        pid: of the helper that runs; None: there is none.
    """

    apart: int = 0
    starts: int = 0
    pid: int | None = None


class _Job:
    """One body for the helper; `outcome` is there once `done` is set."""

    def __init__(self, call: Call, ask: Ask, wanted: Wanted) -> None:
        self.call: Call | None = call
        self.ask = ask
        self.wanted = wanted
        self.done = trio.Event()
        self.outcome: Prepared | int | Exception = HelperLostError()

    def end(self, outcome: Prepared | int | Exception) -> None:
        self.call, self.outcome = None, outcome
        self.done.set()


class ParsingPool:
    """Made by `open_parsing`."""

    def __init__(
        self, settings: ParsingSettings, spool: Spool, jobs: trio.MemorySendChannel[_Job]
    ) -> None:
        self._settings = settings
        self._spool = spool
        self._jobs = jobs
        self._helper: Helper | None = None
        self.statistics = ParsingStatistics()

    def is_small(self, call: Call) -> bool:
        """Whether its body is parsed here, without waiting."""
        inline_bytes = call.files_bytes
        if call.inline:
            inline_bytes += sum(len(inline.data) for inline in call.inline.values())
        small = len(call.body) + inline_bytes <= self._settings.here_max_bytes
        return small and call.spooled is None and call.operation not in _MEASURED

    async def do(self, call: Call, ask: Ask, wanted: Wanted = NOTHING) -> Prepared | int:
        """Parse the body of a call and do with it what is asked: `Encode` gives a `Prepared`,
        `Count` tokens. `wanted` says what `ask` has to know of it that takes time to read.

        Raises:
            InvalidRequestError, ModelNotFoundError: it cannot be served.
            BodyTooLargeError: it takes more memory to parse than there is.
            UnavailableError: too much is being parsed, or the helper has failed.
        """
        if self.is_small(call):
            return do_here(call, ask, wanted)
        job = _Job(call, ask, wanted)
        try:
            self._jobs.send_nowait(job)
        except trio.WouldBlock:
            raise _unavailable("Too many large requests at once.") from None
        try:
            with trio.move_on_after(self._settings.wait_s):
                await job.done.wait()
        finally:
            job.call = None
        outcome = job.outcome
        if isinstance(outcome, SpoolError):
            raise _unavailable("The gateway cannot store the request now.") from outcome
        if isinstance(outcome, HelperLostError):
            raise _unavailable("The gateway could not parse the request in time.")
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def work(self, jobs: trio.MemoryReceiveChannel[_Job]) -> None:
        """Do one job after another."""
        while True:
            await self._work_on(await jobs.receive())  # and keep nothing of it

    async def _work_on(self, job: _Job) -> None:
        """Whose client has left while it waited is not begun."""
        if job.call is not None:
            self.statistics.apart += 1
            job.end(await self._try(job.call, job))

    async def _try(self, call: Call, job: _Job) -> Prepared | int | Exception:
        try:
            helper = self._helper or await self._start()
            size_bytes = len(call.body) if call.spooled is None else call.spooled.size_bytes
            size_bytes += call.files_bytes
            with trio.fail_after(self._settings.deadline_s + size_bytes / _BYTES_PER_S):
                return await self._converse(helper, call, job.ask, job.wanted)
        except (HelperLostError, trio.TooSlowError, OSError) as error:
            logger.error("the helper process has failed: %s", type(error).__name__)
            await self.close()
            return HelperLostError()
        except Exception as error:  # noqa: BLE001 - it is whose call it is that is told
            return error

    async def _converse(
        self, helper: Helper, call: Call, ask: Ask, wanted: Wanted
    ) -> Prepared | int:
        """Raises GatewayError; HelperLostError where the helper has to be replaced."""
        data = [file.data for file in call.files.values()]
        names = {written: replace(file, data=b"") for written, file in call.files.items()}
        told = replace(call, body=b"", key=None, spooled=None, files=names, names={})
        parse = frames.Parse(told, wanted, tuple(map(len, data)))
        answer, _ = await helper.ask(parse, call.body, call.spooled, data)
        if not isinstance(answer, frames.IsParsed):
            raise _error_of(answer)
        asked: Encode | Count | frames.Forget
        refusal: Exception | None = None
        file: SpoolFile | None = None
        try:
            asked = ask_of(answer.asked, ask)
            large = call.spooled is not None or call.files_bytes > _FILES_IN_MEMORY_MAX_BYTES
            if large and isinstance(asked, Encode) and not asked.in_memory:
                file = self._spool.open()
        except (GatewayError, SpoolError) as error:
            asked, refusal = frames.Forget(), error
        answer, body = await helper.ask(asked, file=file)
        if refusal is not None:
            raise refusal
        match answer:
            case frames.IsEncoded():
                return _prepared(answer, body, file)
            case frames.IsCounted(tokens):
                return tokens
            case _:
                raise _error_of(answer)

    async def _start(self) -> Helper:
        self.statistics.starts += 1
        self._helper = helper = start_helper(
            self._settings.memory_max_bytes, self._settings.encodings
        )
        self.statistics.pid = helper.pid
        with trio.fail_after(_START_S):
            await helper.receive()
        return helper

    async def close(self) -> None:
        """End the helper, if there is one; the next large body starts another."""
        helper, self._helper = self._helper, None
        self.statistics.pid = None
        if helper is not None:
            await helper.close()


@asynccontextmanager
async def open_parsing(settings: ParsingSettings, spool: Spool) -> AsyncIterator[ParsingPool]:
    """Somewhere to parse for as long as the block lasts; bodies that came in files of `spool` go on
    in others of them."""
    send, receive = trio.open_memory_channel[_Job](settings.waiting_max)
    pool = ParsingPool(settings, spool, send)
    async with open_tasks() as nursery:
        nursery.start_soon(pool.work, receive)
        try:
            yield pool
        finally:
            nursery.cancel_scope.cancel()
            with trio.CancelScope(shield=True, deadline=trio.current_time() + _END_S):
                await pool.close()


def _prepared(answer: frames.IsEncoded, body: bytes, file: SpoolFile | None) -> Prepared:
    prepared = answer.prepared
    request = replace(prepared.request, document=load_request(answer.document))
    if file is None:
        return prepared._replace(request=request, body=body)
    file.measure()
    return prepared._replace(request=request, body=SpooledBody(file, file.size_bytes))


def _error_of(answer: Any) -> Exception:
    match answer:
        case frames.IsRefused(message, code, param):
            kind = NotFoundError if code == NotFoundError.code else InvalidRequestError
            error = kind(message, param=param)
            error.code = code
            return error
        case frames.HasFailed("memory"):
            return BodyTooLargeError("The request body takes too much memory to parse.")
        case frames.HasFailed("disk"):
            return SpoolError()
        case frames.HasFailed():
            return GatewayError("The gateway failed.")
        case _:
            return HelperLostError()


def _unavailable(message: str) -> UnavailableError:
    return UnavailableError(message, retry_after_s=_RETRY_AFTER_S)
