"""One question to a provider about a job, and its whole answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import trio

from engine.errors import UpstreamError
from engine.upstream.pool import Pool, UpstreamStream
from engine.upstream.providers import Provider
from engine.wire.http import Delivery, Headers
from engine.wire.inflate import InflateError, Inflater, choose_coding
from engine.wire.retry_after import retry_after_s

_ANSWER_MAX_BYTES: Final = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """What a provider says."""

    status: int
    headers: Headers
    body: bytes

    @property
    def ok(self) -> bool:
        """It has done what it was asked for."""
        return 200 <= self.status < 300

    def retry_after_s(self, now_s: float) -> float | None:
        """When to come again, where it says so."""
        return retry_after_s(self.headers, now_s)


class _Listener:
    """Receives an answer."""

    def __init__(self) -> None:
        self.head: Headers = []
        self.stream: UpstreamStream | None = None
        self.error: UpstreamError | None = None
        self.done = trio.Event()
        self._pieces: list[bytes] = []
        self._size = self._unacknowledged = 0

    def opened(self, stream: UpstreamStream) -> None:
        self.stream = stream
        if self._unacknowledged:
            stream.acknowledge(self._unacknowledged)

    def deliver(self, delivery: Delivery) -> None:
        if delivery.head is not None:
            self.head = delivery.head
        if delivery.data:
            self._size += len(delivery.data)
            if self._size > _ANSWER_MAX_BYTES:
                self.lost(UpstreamError("The provider's answer is larger than the gateway takes."))
            else:
                self._pieces.append(delivery.data)
        if delivery.flow_bytes:
            if self.stream is None:
                self._unacknowledged += delivery.flow_bytes
            else:
                self.stream.acknowledge(delivery.flow_bytes)
        if delivery.reset_code is not None:
            self.lost(UpstreamError("The provider broke off its answer."))
        elif delivery.ended:
            self.done.set()

    def lost(self, error: UpstreamError) -> None:
        if not self.done.is_set():
            self.error = error
            self.done.set()

    def answer(self) -> Answer:
        """All of it. Raises UpstreamError."""
        if self.error is not None:
            raise self.error
        status = next((value for name, value in self.head if name == b":status"), b"")
        codings = b", ".join(value for name, value in self.head if name == b"content-encoding")
        body = b"".join(self._pieces)
        if codings:
            body = _inflated(body, codings.decode("latin-1"))
        return Answer(int(status) if status.isdigit() else 0, self.head, body)


def _inflated(body: bytes, content_encoding: str) -> bytes:
    try:
        coding = choose_coding(content_encoding)
        if coding is None:
            return body
        inflater = Inflater(coding)
        data = inflater.feed(body)
        inflater.finish()
    except InflateError as error:
        raise UpstreamError(f"The provider's answer cannot be read: {error}.") from None
    return data


async def ask(
    pool: Pool,
    provider: Provider,
    key: int,
    method: str,
    path: str,
    timeout_s: float,
    *,
    body: bytes = b"",
    content_type: str | None = None,
    more: Sequence[tuple[bytes, bytes]] = (),
) -> Answer:
    """Ask by one of the provider's keys; `path` is whole, as `Provider.path` gives it.

    Raises:
        UpstreamError: it cannot be reached, breaks off, or has said nothing in time; or there is
            nothing to sign with now.
    """
    headers: Headers = [
        (b":method", method.encode()),
        (b":scheme", provider.origin.scheme.encode()),
        (b":authority", provider.origin.authority.encode()),
        (b":path", path.encode()),
        (b"accept", b"application/json"),
        (b"accept-encoding", b"identity"),
        (b"user-agent", b"parshall"),
        *provider.credentials_of(key).sign(method, path, body),
        *more,
    ]
    if content_type is not None:
        headers.append((b"content-type", content_type.encode("latin-1", "replace")))
    listener = _Listener()
    try:
        with trio.fail_after(timeout_s):
            listener.opened(await pool.open_stream(provider, headers, body, listener))
            await listener.done.wait()
    except trio.TooSlowError:
        raise UpstreamError("The provider has not answered in time.") from None
    finally:
        if listener.stream is not None:
            listener.stream.reset_nowait()
    return listener.answer()
