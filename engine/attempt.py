"""One try of one deployment: the receiver of an upstream stream, fed by the connection's reader.

Everything here is synchronous: bytes go from the reader through the relay into the client's sink
without a task switch. What the exchange has to act on wakes it.
"""

from __future__ import annotations

import logging
import re
import traceback
from collections.abc import Callable
from typing import Final

import trio

from engine.alarm import Alarm
from engine.clock import wall_ms
from engine.errors import UpstreamError
from engine.protocols.codec import ClientCodec
from engine.relay import Relay
from engine.sink import Discard, PullSink, Sink
from engine.upstream.errors import StreamLostError
from engine.upstream.pool import UpstreamStream
from engine.wire.http import Delivery, Headers
from engine.wire.inflate import InflateError, Inflater, choose_coding
from engine.wire.retry_after import retry_after_s

logger = logging.getLogger(__name__)

_ERROR_BODY_MAX_BYTES = 64 * 1024
# An event larger than this is parsed in the exchange's own task: the reader has other streams.
_SMALL_EVENT_MAX_BYTES = 64 * 1024
# Receipts keep it, and clients are told it in a header.
_is_id = re.compile(r"[!-~]{1,256}").fullmatch
_OK: Final = frozenset({200})
_TAKEN: Final = frozenset({200, 201, 202})
"""What is made later is answered with any of them."""


class Attempt:
    """Receives one upstream answer.

    Attributes:
        status, headers: of the answer; None before it came.
        answered: the provider has accepted the request.
        error: why it failed, for the client; set at most once.
        crash: an exception of our own in the relay; the exchange is then `gateway_failed`.
    """

    def __init__(
        self,
        relay: Relay,
        sink: PullSink,
        codec: ClientCodec,
        *,
        unary: bool,
        metered: Callable[[Relay], bool],
        changed: Alarm | None = None,
        of_job: bool = False,
    ) -> None:
        self.relay = relay
        self._accepts = _TAKEN if of_job else _OK
        self.sink: Sink = sink
        self.status: int | None = None
        self.answered = False
        self.headers: Headers = []
        self.error: UpstreamError | None = None
        self.crash: Exception | None = None
        self.unprocessed = False
        """The provider never acted on the request: sending it again is safe."""
        self.answered_at: float | None = None
        self.first_output_at: float | None = None
        self._now = trio.lowlevel.current_clock().current_time  # Trio's own call looks it up again
        self.last_activity = self.last_sent = self._now()
        self._codec = codec
        self._unary = unary
        self._metered = metered
        self._stream: UpstreamStream | None = None
        self._inflater: Inflater | None = None
        self._ended = False
        self._closed = False
        self._pull = False
        self._stopped = False
        self._until_tokens: int | None = None
        self._unacknowledged = 0
        self._large: list[tuple[bytes, int]] = []  # a deque takes 600 bytes empty
        self._error_body = b""
        self._error_body_max_bytes = _ERROR_BODY_MAX_BYTES
        self.changed = Alarm() if changed is None else changed
        """Set when there is something for the exchange to look at."""

    # What the exchange asks.

    @property
    def over(self) -> bool:
        """Nothing more will come that the client could get."""
        if self.error is not None or self.crash is not None or self._stopped:
            return True
        relay = self.relay
        if (relay.terminal or relay.exhausted) and not self._large:
            return True
        return self._until_tokens is not None and self._read_far_enough

    @property
    def _read_far_enough(self) -> bool:
        until = self._until_tokens
        return until is not None and self.relay.meter.spent_tokens >= until

    @property
    def under_way(self) -> bool:
        """The request went out, and its answer has not ended."""
        return self._stream is not None and not self.over

    @property
    def sent(self) -> bool:
        """The request has gone out."""
        return self._stream is not None

    @property
    def uploaded(self) -> bool:
        """All of the request's body is on its way."""
        return self._stream is not None and not self._stream.unsent_bytes

    @property
    def committed(self) -> bool:
        """Something was generated, or will be without us, or all is over."""
        return self.over or self.first_output_at is not None or self.begun

    @property
    def begun(self) -> bool:
        """Something was generated, or will be without us: nobody else is asked."""
        return self.first_output_at is not None or self.relay.accepted is not None

    @property
    def held_up(self) -> bool:
        """The client is past its high-water mark; the provider's stream waits for it."""
        return self._unacknowledged > 0

    def header(self, name: bytes) -> str | None:
        """A header of the answer."""
        for each, value in self.headers:
            if each == name:
                return value.decode("latin-1")
        return None

    @property
    def provider_request_id(self) -> str | None:
        """The provider's own id of the request, if it said one that is one."""
        for name in self._codec.request_id_headers:
            if (said := self.header(name)) is not None:
                return said if _is_id(said) else None
        return None

    def opened(self, stream: UpstreamStream) -> None:
        """The request is on its way on this stream; where it was given up meanwhile, no longer."""
        self._stream = stream
        self.last_activity = self._now()
        self.drained()
        if self._closed:
            stream.reset_nowait()

    def attach(self, sink: Sink, *, pulled: bool = False) -> None:
        """From now on bytes go straight to this sink; what has gathered goes first. Whoever pulls
        them is to be woken for them."""
        gathered = self.sink
        assert isinstance(gathered, PullSink)
        self.sink, self._pull = sink, pulled
        sink.send_nowait(gathered.take())

    def detach(self, more_tokens_max: int) -> None:
        """Read on without the client, for so much more output at most."""
        self.sink, self._pull = Discard(self.sink.delivered_bytes), False
        self._until_tokens = self.relay.meter.spent_tokens + more_tokens_max
        self.drained()
        self.changed.set()

    def stop(self) -> None:
        """End the answer where it is: nothing more is generated."""
        self._stopped = True
        self.close()
        self.changed.set()

    def go_on(self) -> None:
        """More output is paid for where it had stopped for want of that: it is the one that the
        client gets."""
        if self.relay.exhausted and not self._closed:
            try:
                self._relay(b"", 0)
            except Exception as error:  # noqa: BLE001
                self.crashed(error)

    def drained(self) -> None:
        """The client has caught up: let the provider send on."""
        if self._stream is not None and self._unacknowledged:
            # While the client held it up, the provider was not silent of its own accord.
            self.last_activity = self._now()
            self._stream.acknowledge(self._unacknowledged)
            self._unacknowledged = 0

    def relay_large(self) -> None:
        """Work off what was too large for the reader, in the exchange's own task."""
        if not self._large:
            return
        try:
            while self._large:
                self._relay(*self._large.pop(0))
            if self._ended and not self._closed:
                self._end()
        except Exception as error:  # noqa: BLE001
            self.crashed(error)

    def fail(self, error: UpstreamError) -> None:
        """Give up on the provider."""
        if self.error is None and not (self.relay.terminal or self._stopped):
            self.error = error  # a whole answer stays whole, and one that was stopped ends well
        self.changed.set()

    def close(self) -> None:
        """Reset the stream if it has not ended; late bytes are dropped and acknowledged."""
        self._closed = True
        self._large.clear()
        self._metered = _not_metered  # its owner holds the attempt, and could not be freed
        if self._stream is not None:
            self._stream.reset_nowait()

    # What the connection's reader calls.

    def deliver(self, delivery: Delivery) -> None:
        """Take what one read brought."""
        self.last_activity = self._now()
        if self.crash is not None:
            return  # it stands behind what the fault has swallowed
        try:
            if not self._pass_by(delivery):
                self._deliver(delivery)
        except Exception as error:  # noqa: BLE001
            self.crashed(error)

    def lost(self, error: UpstreamError) -> None:
        """The connection or the stream is gone."""
        if not self._ended:
            if isinstance(error, StreamLostError) and error.unprocessed:
                self.unprocessed = self.status is None  # what was answered was acted on
            self.fail(error)

    def crashed(self, error: Exception) -> None:
        """A fault of ours ends this exchange, not the connection that others share."""
        # The trace only: the message may quote the stream.
        trace = "".join(traceback.format_tb(error.__traceback__))
        logger.error("a relay failed with %s\n%s", type(error).__name__, trace)
        self.crash = error
        self._large.clear()
        self.changed.set()

    def _pass_by(self, delivery: Delivery) -> bool:
        """Send what only brings more of the same text, as nearly every read does; False where it
        has to be looked at."""
        _, head, data, flow_bytes, _, ended, reset_code, _ = delivery
        if (
            head is not None
            or ended
            or reset_code is not None
            or self._closed
            or self._large
            or self._inflater is not None
            or self.error is not None
            or (out := self.relay.pass_by(data)) is None
        ):
            return False
        self.last_sent = self.last_activity
        sink = self.sink
        if sink.send_nowait(out) and self._stream is not None:
            self._stream.acknowledge(flow_bytes)
        else:
            self._unacknowledged += flow_bytes
            self.changed.set()
        if self._pull or sink.gone or self._until_tokens is not None:
            self.changed.set()
        return True

    def _deliver(self, delivery: Delivery) -> None:
        if delivery.head is not None:
            self._take_head(delivery.head)
        if delivery.data or delivery.flow_bytes:
            self._take_data(delivery.data, delivery.flow_bytes)
        if delivery.reset_code is not None:
            self.lost(
                StreamLostError(
                    "The provider refused the request before answering it.", unprocessed=True
                )
                if delivery.unprocessed
                else UpstreamError("The provider broke off its answer.")
            )
        elif delivery.ended:
            self._ended = True
            if not self._large and not self._closed:
                self._end()

    def _take_head(self, head: Headers) -> None:
        self.headers = head
        self.answered_at = self.last_activity
        status = self.header(b":status") or ""
        self.status = int(status) if status.isdecimal() else 0
        self.answered = self.status in self._accepts
        codings = [v.decode("latin-1") for n, v in head if n == b"content-encoding"]
        if codings:
            self._choose_inflater(", ".join(codings))
        self.changed.set()

    def _choose_inflater(self, content_encoding: str) -> None:
        """The provider was asked for `identity`; the client gets that all the same."""
        try:
            coding = choose_coding(content_encoding)
            self._inflater = Inflater(coding) if coding is not None else None
        except InflateError as error:
            self._unreadable(error)

    def _inflate(self, data: bytes) -> bytes:
        assert self._inflater is not None
        try:
            return self._inflater.feed(data)
        except InflateError as error:
            self._unreadable(error)
            return b""

    def _unreadable(self, error: InflateError) -> None:
        """A refusal is one by its status, whatever it says."""
        self._inflater = None
        self._error_body_max_bytes = 0
        if self.answered:
            self.fail(UpstreamError(f"The provider's answer cannot be read: {error}."))

    def _take_data(self, data: bytes, flow_bytes: int) -> None:
        if self._inflater is not None and not self._closed and self.error is None:
            data = self._inflate(data)
        if self._closed or self.error is not None:
            self._acknowledge(flow_bytes)
        elif not self.answered:
            self._error_body += data[: max(0, self._error_body_max_bytes - len(self._error_body))]
            self._acknowledge(flow_bytes)
        elif self._large or (
            not self._unary and self.relay.pending_bytes + len(data) > _SMALL_EVENT_MAX_BYTES
        ):
            self._large.append((data, flow_bytes))
            self.changed.set()
        else:
            self._relay(data, flow_bytes)

    def _relay(self, data: bytes, flow_bytes: int) -> None:
        relay = self.relay
        taken = relay.accepted is not None
        out = relay.feed(data)
        if relay.accepted is not None and not taken:
            self.changed.set()
        while self._metered(relay):
            out += relay.feed(b"")
        if relay.error is not None:
            self.fail(relay.error)
        self._send(out, flow_bytes)

    def _send(self, out: bytes, flow_bytes: int) -> None:
        relay = self.relay
        if self.first_output_at is None and relay.meter.has_output:
            self.first_output_at = self.last_activity
            self.changed.set()
        if out:
            self.last_sent = self.last_activity
        if self.sink.send_nowait(out):
            self._acknowledge(flow_bytes)
        else:
            self._unacknowledged += flow_bytes
            self.changed.set()
        ended = relay.terminal or relay.exhausted
        if self._until_tokens is not None:
            ended = ended or self._read_far_enough
        if ended or (self._pull and out) or self.sink.gone:
            self.changed.set()

    def _acknowledge(self, flow_bytes: int) -> None:
        if self._stream is None:
            self._unacknowledged += flow_bytes
        elif flow_bytes:
            self._stream.acknowledge(flow_bytes)

    def _end(self) -> None:
        if not self.answered:
            error = self._codec.read_error(
                self.status or 0, self._error_body, retry_after_s(self.headers, wall_ms() / 1_000)
            )
            error.provider_request_id = self.provider_request_id
            self.fail(error)
            return
        if self._inflater is not None and not self.relay.terminal:
            try:
                self._inflater.finish()
            except InflateError as error:
                self._unreadable(error)
                return
        out = self.relay.end_of_input()
        if self.relay.error is not None:
            self.fail(self.relay.error)
        self._send(out, 0)
        self.changed.set()


def _not_metered(_: Relay) -> bool:
    """Nothing more is relayed."""
    return False
