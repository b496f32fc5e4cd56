"""The truth log: what the provider really generated, wrote and reported, request by request."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Any, Literal

import trio

Ending = Literal["done", "cut", "reset", "error"]

TextMaker = Callable[[int], list[str]]
"""Tokens generated, over all choices → the text of each choice. So that records hold no text."""


def _no_texts(_tokens: int) -> list[str]:
    return [""]


class TruthRecord:
    """One request to the chat endpoint. Written by the reply, read by tests and `GET /_truth`.

    `tokens_generated` counts what was produced by the clock, over all choices;
    `tokens_written` those of them whose event was wholly handed to the operating system. `ended` is
    None while it runs; then `done` (all of it was written), `cut` (a fault of ours), `reset`
    (the client left or reset the stream) or `error` (an error status or an error event).
    Times are seconds since the epoch, for people; nothing is computed from them.
    """

    __slots__ = (
        "_on_end",
        "completion_id",
        "directives",
        "ended",
        "ended_at",
        "first_token_at",
        "input_tokens",
        "message",
        "model",
        "protocol",
        "provider_request_id",
        "request_id",
        "started_at",
        "status",
        "stream",
        "texts",
        "tokens_generated",
        "tokens_written",
        "usage_reported",
    )

    def __init__(
        self,
        request_id: str,
        provider_request_id: str,
        protocol: str,
        on_end: Callable[[], None],
    ) -> None:
        self.request_id = request_id
        self.provider_request_id = provider_request_id
        self.protocol = protocol
        self.completion_id: str | None = None
        self.model: str | None = None
        self.stream = False
        self.directives = ""
        self.status: int | None = None
        self.message: str | None = None
        self.input_tokens = 0
        self.tokens_generated = 0
        self.tokens_written = 0
        self.texts: TextMaker = _no_texts
        self.usage_reported: dict[str, Any] | None = None
        self.ended: Ending | None = None
        self._on_end = on_end
        self.started_at = time.time()
        self.first_token_at: float | None = None
        self.ended_at: float | None = None

    @property
    def choices(self) -> list[str]:
        """The text generated so far, one a choice."""
        return self.texts(self.tokens_generated)

    @property
    def text(self) -> str:
        """The text generated so far by the first choice."""
        return self.choices[0]

    @property
    def text_written(self) -> str:
        """The same of what was handed to the operating system; exact for a single choice."""
        return self.texts(self.tokens_written)[0]

    def note_first_token(self) -> None:
        """The first token exists."""
        if self.first_token_at is None:
            self.first_token_at = time.time()

    def end(self, ending: Ending) -> None:
        """Say how it ended. The first to say so is right."""
        if self.ended is None:
            self.ended = ending
            self.ended_at = time.time()
            self._on_end()

    def to_json(self, *, text: bool = True) -> dict[str, Any]:
        """As `GET /_truth` shows it; without the texts, which are made anew each time, if told."""
        choices = self.choices if text else None
        return {
            "request_id": self.request_id,
            "provider_request_id": self.provider_request_id,
            "id": self.completion_id,
            "protocol": self.protocol,
            "model": self.model,
            "stream": self.stream,
            "directives": self.directives,
            "status": self.status,
            "message": self.message,
            "input_tokens": self.input_tokens,
            "tokens_generated": self.tokens_generated,
            "tokens_written": self.tokens_written,
            "text": choices[0] if choices else None,
            "choices": choices,
            "usage_reported": self.usage_reported,
            "ended": self.ended,
            "started_at": self.started_at,
            "first_token_at": self.first_token_at,
            "ended_at": self.ended_at,
        }


class TruthLog:
    """The last `max_records` requests, in order of arrival; the oldest goes when full."""

    def __init__(self, max_records: int = 10_000) -> None:
        if max_records < 1:
            raise ValueError("max_records must be positive")
        self._max_records = max_records
        self._records: deque[TruthRecord] = deque()
        self._by_id: dict[str, list[TruthRecord]] = {}
        self._ending = trio.Event()

    def __len__(self) -> int:
        return len(self._records)

    def open(self, request_id: str, provider_request_id: str, protocol: str) -> TruthRecord:
        """Begin a record. Several requests may carry one id: each attempt has its record."""
        if len(self._records) == self._max_records:
            self._forget(self._records.popleft())
        record = TruthRecord(request_id, provider_request_id, protocol, self._announce)
        self._records.append(record)
        for name in {request_id, provider_request_id}:
            self._by_id.setdefault(name, []).append(record)
        return record

    def record(self, request_id: str) -> TruthRecord | None:
        """The latest record of that id, the client's or the provider's own."""
        found = self._by_id.get(request_id)
        return found[-1] if found else None

    def records(self, request_id: str | None = None) -> list[TruthRecord]:
        """All records in order of arrival, or those of one id."""
        return list(self._records if request_id is None else self._by_id.get(request_id, ()))

    async def wait_ended(self, request_id: str) -> TruthRecord:
        """The latest record of that id, once it has ended. The caller bounds the wait."""
        while (record := self.record(request_id)) is None or record.ended is None:
            await self._ending.wait()
        return record

    def _announce(self) -> None:
        self._ending.set()
        self._ending = trio.Event()

    def _forget(self, record: TruthRecord) -> None:
        for name in {record.request_id, record.provider_request_id}:
            kept = self._by_id[name]
            kept.remove(record)
            if not kept:
                del self._by_id[name]
