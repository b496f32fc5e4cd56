"""Upstream bytes to client bytes for one attempt: verbatim, with the metering tap.

A relay is pure: no I/O, no clock, no awaits. Any split of the same bytes gives the same result.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from engine.errors import GatewayError, UpstreamError
from engine.events import Usage
from engine.metering.tokens import Count
from engine.metering.usage import OutputMeter
from engine.protocols import openai_chat
from engine.protocols.openai_chat import ChatRequest, Chunk
from engine.wire.sse import EventSplitter, EventTooLargeError, event_data


class Relay(Protocol):
    """What an exchange asks of the relay of its attempt."""

    meter: OutputMeter
    error: UpstreamError | None
    """Set when the provider broke inside its answer; nothing after it is relayed."""
    terminal: bool
    """The provider has said that its answer is whole."""
    exhausted: bool
    """`output_limit` is used up: `feed` holds back what came after it."""
    output_limit: int | None

    @property
    def pending_bytes(self) -> int:
        """What is held back as an incomplete event."""

    def feed(self, data: bytes) -> bytes:
        """Whole events for the client, never the terminal one."""

    def end_of_input(self) -> bytes:
        """The upstream stream has ended: is the answer whole? Gives what is left of it."""

    def finish(self) -> bytes:
        """The terminal bytes, after the settlement is durable."""

    def cut(self, usage: Usage) -> bytes:
        """A valid early ending with the length reason and usage."""

    def fail(self, error: GatewayError) -> bytes:
        """The client protocol's own error ending."""


class VerbatimStream:
    """OpenAI chat stream to OpenAI chat client: untouched but for usage not asked for."""

    def __init__(self, request: ChatRequest, count: Count, *, done_required: bool) -> None:
        self.meter = OutputMeter(count)
        self.error: UpstreamError | None = None
        self.terminal = False
        self.exhausted = False
        self.output_limit: int | None = None
        self.sent_bytes = 0
        self._request = request
        self._done_required = done_required
        self._splitter = EventSplitter()
        self._waiting: list[bytes] = []
        self._terminal_event = b""
        self._like: dict[str, Any] = {}
        self._open_choices = set(range(request.choices))

    @property
    def pending_bytes(self) -> int:
        """Bytes of the incomplete event held back."""
        return self._splitter.pending_bytes

    def feed(self, data: bytes) -> bytes:
        """Whole events for the client; stops at the output limit and keeps the rest.

        After `output_limit` was raised, `feed(b"")` goes on with what was kept.
        """
        if self.error is not None or self.terminal:
            return b""
        try:
            events = self._splitter.feed(data)
        except EventTooLargeError as error:
            self.error = UpstreamError(f"The provider's stream is broken: {error}.")
            return b""
        if self._waiting:
            events, self._waiting = self._waiting + events, []
        return b"".join(self._relay(events))

    def _relay(self, events: Sequence[bytes]) -> list[bytes]:
        out: list[bytes] = []
        self.exhausted = False
        for position, event in enumerate(events):
            try:
                chunk = openai_chat.read_chunk(
                    event, event_data(event), keep_usage=self._request.include_usage
                )
            except ValueError:
                self.error = UpstreamError("The provider sent a stream event that is not JSON.")
                break
            if chunk.terminal:
                self.terminal = True
                self._terminal_event = event
                break
            if chunk.error is not None:
                self.error = chunk.error
                break
            if not self._meter(chunk):
                self.exhausted = True
                self._waiting = list(events[position:])
                break
            if chunk.client_bytes:
                out.append(chunk.client_bytes)
        return out

    def _meter(self, chunk: Chunk) -> bool:
        """Count a chunk; False, and nothing counted, if the output limit does not allow it."""
        meter = self.meter
        if chunk.document.get("id"):
            self._like = chunk.document
        if (
            self.output_limit is not None
            and chunk.texts
            and not meter.fits(chunk.texts, self.output_limit)
        ):
            return False
        self.sent_bytes += len(chunk.client_bytes)
        for channel, text in chunk.texts:
            meter.add(channel, text, self.sent_bytes)
        if chunk.usage is not None:
            meter.report(chunk.usage)
        self._open_choices.difference_update(chunk.finished)
        return True

    def end_of_input(self) -> bytes:
        """Whether an end without a terminal event is an end or a fault is the provider's row."""
        if self.terminal or self.error is not None or self.exhausted:
            return b""
        rest = self._splitter.finish().strip()
        if event_data(rest) == openai_chat.DONE:
            self.terminal = True
            self._terminal_event = rest + b"\n\n"
        elif self._done_required or rest:
            self.error = UpstreamError("The provider's stream broke off before its end.")
        else:
            self.terminal = True
        return b""

    def finish(self) -> bytes:
        """`data: [DONE]` as the provider sent it; nothing if it sends none."""
        return self._terminal_event

    def cut(self, usage: Usage) -> bytes:
        """`finish_reason: "length"` for every open choice, usage if it was asked for, `[DONE]`."""
        return openai_chat.encode_length_ending(
            self._like, sorted(self._open_choices), usage if self._request.include_usage else None
        )

    def fail(self, error: GatewayError) -> bytes:
        """An event with OpenAI's error object, which its SDKs raise; no `[DONE]` follows."""
        return b"data: " + openai_chat.encode_error(error) + b"\n\n"


# What a socket's buffer takes at once.
_ONE_WRITE_MAX_BYTES = 65_536


class VerbatimUnary:
    """OpenAI chat answer in one piece: gathered, metered, passed on untouched.

    Its terminal bytes are all of a small answer, so that it leaves in one write; of a larger one,
    the last brace and what follows: without it, it is no JSON yet.
    """

    def __init__(self, count: Count, *, body_max_bytes: int) -> None:
        self.meter = OutputMeter(count)
        self.error: UpstreamError | None = None
        self.terminal = False
        self.exhausted = False
        self.output_limit: int | None = None
        self._parts: list[bytes] = []
        self._body_max_bytes = body_max_bytes
        self._gathered_bytes = 0
        self._ending = b""

    @property
    def pending_bytes(self) -> int:
        """Bytes gathered so far."""
        return self._gathered_bytes

    def feed(self, data: bytes) -> bytes:
        """Gathers; the body comes out of `end_of_input`."""
        self._gathered_bytes += len(data)
        if self._gathered_bytes > self._body_max_bytes:
            self.error = UpstreamError("The provider's answer is larger than the gateway accepts.")
            self._parts.clear()
        else:
            self._parts.append(data)
        return b""

    def end_of_input(self) -> bytes:
        """What of the answer may go out before its end; decides whether it is one."""
        if self.error is not None:
            return b""
        body = b"".join(self._parts)
        self._parts.clear()
        try:
            chunk = openai_chat.read_response(body)
        except ValueError:
            self.error = UpstreamError("The provider's answer is not a JSON object.")
            return b""
        if chunk.error is not None:
            self.error = chunk.error
            return b""
        ending_at = len(body.rstrip()) - 1 if len(body) > _ONE_WRITE_MAX_BYTES else 0
        for channel, text in chunk.texts:
            self.meter.add(channel, text, ending_at)
        self.meter.reported = chunk.usage
        self.terminal = True
        self._ending = body[ending_at:]
        return body[:ending_at]

    def finish(self) -> bytes:
        """The terminal bytes."""
        return self._ending

    def cut(self, usage: Usage) -> bytes:
        """An answer in one piece cannot end early: nothing of it has gone out."""
        return b""

    def fail(self, error: GatewayError) -> bytes:
        """Once its head is out, an answer can only break off."""
        return b""


def open_relay(
    request: ChatRequest, count: Count, *, done_required: bool, body_max_bytes: int
) -> Relay:
    """The relay for an OpenAI chat request to a provider that speaks OpenAI chat."""
    if request.stream:
        return VerbatimStream(request, count, done_required=done_required)
    return VerbatimUnary(count, body_max_bytes=body_max_bytes)
