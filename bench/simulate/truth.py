"""The truth log: what the provider really generated, wrote and reported, request by request."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Any, Final, Literal

import orjson
import trio

from bench.simulate.answer import Answer, Kind, ToolCall
from bench.simulate.chat import Signed

Ending = Literal["done", "cut", "reset", "error"]

REQUESTS_MAX_BYTES: Final = 16 * 1024 * 1024
"""What the kept request bodies of a log may take together; the oldest go first."""
_NOTHING: Final = Answer((), "stop")


class TruthRecord:
    """One request for an answer. Written by the reply, read by tests and `GET /_truth`.

    `api` is the protocol of the API, the name of its dialect; `protocol` is that of HTTP.
    `tokens_generated` counts what was produced by the clock, over all choices;
    `tokens_written` those of them whose event was wholly handed to the operating system. `ended` is
    None while it runs; then `done` (all of it was written), `cut` (a fault of ours), `reset`
    (the client left or reset the stream) or `error` (an error status or an error event).
    A token of media is a piece of it: an image or a preview, a stretch of sound, a list of vectors.
    `parts` are those of a form: values, and of files how long they are and their CRC-32.
    `files` are those a chat names, or the one an upload made, as `files.FileShelf` knows them.
    `number` counts the requests of a log from 1; `tag` is the directive's.
    Times are seconds since the epoch, for people; nothing is computed from them but from
    `ended_monotonic_s`, which other processes of this machine can compare with their own.
    """

    __slots__ = (
        "_on_end",
        "answer",
        "api",
        "body",
        "choice_count",
        "completion_id",
        "directives",
        "ended",
        "ended_at",
        "ended_monotonic_s",
        "files",
        "first_token_at",
        "input_tokens",
        "message",
        "model",
        "number",
        "parts",
        "protocol",
        "provider_request_id",
        "replayed_text",
        "request_id",
        "signatures",
        "started_at",
        "status",
        "stream",
        "tag",
        "taken",
        "tokens_generated",
        "tokens_written",
        "usage_reported",
    )

    def __init__(
        self,
        request_id: str,
        provider_request_id: str,
        protocol: str,
        api: str,
        on_end: Callable[[], None],
        number: int,
    ) -> None:
        self.number = number
        self.request_id = request_id
        self.provider_request_id = provider_request_id
        self.protocol = protocol
        self.api = api
        self.body = b""
        self.signatures: Signed | None = None
        self.completion_id: str | None = None
        self.model: str | None = None
        self.stream = False
        self.directives = ""
        self.tag: str | None = None
        self.status: int | None = None
        self.message: str | None = None
        self.input_tokens = 0
        self.taken: Mapping[str, int] = {}
        self.parts: Sequence[Mapping[str, Any]] = ()
        self.files: Sequence[Mapping[str, Any]] = ()
        self.tokens_generated = 0
        self.tokens_written = 0
        self.answer = _NOTHING
        self.choice_count = 1
        self.replayed_text: str | None = None
        self.usage_reported: dict[str, Any] | None = None
        self.ended: Ending | None = None
        self._on_end = on_end
        self.started_at = time.time()
        self.first_token_at: float | None = None
        self.ended_at: float | None = None
        self.ended_monotonic_s: float | None = None

    def _prose(self, tokens: int, *kinds: Kind) -> list[str]:
        position = tokens // self.choice_count
        return [self.answer.prose(i, position, *kinds) for i in range(self.choice_count)]

    @property
    def choices(self) -> list[str]:
        """The text generated so far, one a choice; a refusal is text, reasoning is not."""
        if self.replayed_text is not None:
            return [self.replayed_text]
        return self._prose(self.tokens_generated, "text", "refusal")

    @property
    def text(self) -> str:
        """The text generated so far by the first choice."""
        return self.choices[0]

    @property
    def text_written(self) -> str:
        """The same of what was handed to the operating system; exact for a single choice."""
        if self.replayed_text is not None:
            return self.replayed_text
        return self._prose(self.tokens_written, "text", "refusal")[0]

    @property
    def reasoning(self) -> str:
        """What the first choice has thought so far, shown or not."""
        return self._prose(self.tokens_generated, "reasoning")[0]

    @property
    def calls(self) -> list[ToolCall]:
        """The tools called so far; the arguments of the last may be incomplete."""
        return self.answer.begun_calls(self.tokens_generated // self.choice_count)

    @property
    def consumed(self) -> dict[str, int]:
        """What the request took and what was generated so far, in each unit; none is zero.

        Tokens of the input and the output, `characters`, `milliseconds` of sound, `images`,
        `searches`, and what of the tokens is of images or of sound.
        """
        produced = self.answer.produced(self.tokens_generated // self.choice_count)
        produced["output_tokens"] = produced.get("output_tokens", 0) * self.choice_count
        if self.replayed_text is not None:
            produced["output_tokens"] = self.tokens_generated
        units = {"input_tokens": self.input_tokens, **self.taken}
        for unit, amount in produced.items():
            units[unit] = units.get(unit, 0) + amount
        return {unit: amount for unit, amount in units.items() if amount}

    @property
    def request(self) -> Any:
        """The request's body, parsed; None when it was no JSON or is no longer kept."""
        try:
            return orjson.loads(self.body)
        except orjson.JSONDecodeError:
            return None

    def note_first_token(self) -> None:
        """The first token exists."""
        if self.first_token_at is None:
            self.first_token_at = time.time()

    def end(self, ending: Ending) -> None:
        """Say how it ended. The first to say so is right."""
        if self.ended is None:
            self.ended = ending
            self.ended_at = time.time()
            self.ended_monotonic_s = time.monotonic()
            self._on_end()

    def to_json(self, *, text: bool = True) -> dict[str, Any]:
        """As `GET /_truth` shows it; without the texts, which are made anew each time, if told."""
        choices = self.choices if text else None
        return {
            "number": self.number,
            "tag": self.tag,
            "request_id": self.request_id,
            "provider_request_id": self.provider_request_id,
            "id": self.completion_id,
            "protocol": self.protocol,
            "api": self.api,
            "model": self.model,
            "stream": self.stream,
            "directives": self.directives,
            "status": self.status,
            "message": self.message,
            "input_tokens": self.input_tokens,
            "tokens_generated": self.tokens_generated,
            "tokens_written": self.tokens_written,
            "consumed": self.consumed,
            "parts": list(self.parts),
            "files": list(self.files),
            "text": choices[0] if choices else None,
            "choices": choices,
            "reasoning": self.reasoning if text else None,
            "calls": [[call.name, call.arguments] for call in self.calls] if text else None,
            "signatures": self.signatures,
            "usage_reported": self.usage_reported,
            "ended": self.ended,
            "started_at": self.started_at,
            "first_token_at": self.first_token_at,
            "ended_at": self.ended_at,
            "ended_monotonic_s": self.ended_monotonic_s,
        }


class TruthLog:
    """The last `max_records` requests, in order of arrival; the oldest goes when full.

    Attributes:
        opened: requests so far.
        running: of those, the ones that have not ended.
    """

    def __init__(self, max_records: int = 10_000) -> None:
        if max_records < 1:
            raise ValueError("max_records must be positive")
        self._max_records = max_records
        self._records: deque[TruthRecord] = deque()
        self._by_id: dict[str, list[TruthRecord]] = {}
        self._bodied: deque[TruthRecord] = deque()
        self._body_bytes = 0
        self._ending = trio.Event()
        self.opened = 0
        self.running = 0

    @property
    def lost(self) -> int:
        """Requests that are no longer in the log."""
        return self.opened - len(self._records)

    def __len__(self) -> int:
        return len(self._records)

    def open(
        self, request_id: str, provider_request_id: str, protocol: str, api: str = "openai"
    ) -> TruthRecord:
        """Begin a record. Several requests may carry one id: each attempt has its record."""
        if len(self._records) == self._max_records:
            self._forget(self._records.popleft())
        self.opened += 1
        self.running += 1
        record = TruthRecord(
            request_id, provider_request_id, protocol, api, self._announce, self.opened
        )
        self._records.append(record)
        for name in {request_id, provider_request_id}:
            self._by_id.setdefault(name, []).append(record)
        return record

    def keep_body(self, record: TruthRecord, body: bytes) -> None:
        """Remember what was asked, while there is room for it; the oldest bodies go first."""
        if len(body) > REQUESTS_MAX_BYTES:
            return
        record.body = body
        self._bodied.append(record)
        self._body_bytes += len(body)
        while self._body_bytes > REQUESTS_MAX_BYTES:
            oldest = self._bodied.popleft()
            self._body_bytes -= len(oldest.body)
            oldest.body = b""

    def record(self, request_id: str) -> TruthRecord | None:
        """The latest record of that id, the client's or the provider's own."""
        found = self._by_id.get(request_id)
        return found[-1] if found else None

    def records(self, request_id: str | None = None) -> list[TruthRecord]:
        """All records in order of arrival, or those of one id."""
        return list(self._records if request_id is None else self._by_id.get(request_id, ()))

    def records_after(self, number: int, limit: int) -> list[TruthRecord]:
        """At most `limit` records, in order of arrival, from the first one past this number on."""
        passed = max(0, number - self.lost)
        return list(islice(self._records, passed, passed + limit))

    async def wait_ended(self, request_id: str) -> TruthRecord:
        """The latest record of that id, once it has ended. The caller bounds the wait."""
        while (record := self.record(request_id)) is None or record.ended is None:
            await self._ending.wait()
        return record

    def _announce(self) -> None:
        self.running -= 1
        self._ending.set()
        self._ending = trio.Event()

    def _forget(self, record: TruthRecord) -> None:
        if self._bodied and self._bodied[0] is record:
            self._bodied.popleft()
            self._body_bytes -= len(record.body)
        for name in {record.request_id, record.provider_request_id}:
            kept = self._by_id[name]
            kept.remove(record)
            if not kept:
                del self._by_id[name]
