"""What a URL leads to, piece by piece: of any size within the policy, and never as a whole here."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Final

import trio

from engine.egress.errors import EgressFailedError, EgressRefusedError
from engine.egress.policy import EgressPolicy
from engine.egress.reaching import FAILED, TOO_SLOW, reach
from engine.egress.targets import Target, parse_target
from engine.wire.http import Delivery, Headers
from engine.wire.http1 import Http1Connection, Http1Error
from engine.wire.http2_fields import MalformedFieldsError
from engine.wire.inflate import InflateError, InflateLimits, Inflater, choose_coding

READ_MAX_BYTES: Final = 16_384
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_RATIO_FREE_BYTES: Final = 65_536


class Download:
    """What is at a URL; made by `open_download`.

    Attributes:
        content_type: in lower case, without parameters.
        size_bytes: of all its pieces, where the server has said so.
    """

    def __init__(
        self, stream: trio.abc.Stream, target: Target, policy: EgressPolicy, deadline: float
    ) -> None:
        self.content_type = ""
        self.size_bytes: int | None = None
        self._stream = stream
        self._target = target
        self._policy = policy
        self._deadline = deadline
        self._http = Http1Connection()
        self._inflater: Inflater | None = None
        self._came = b""
        self._bytes = 0
        self._ended = False

    async def receive(self) -> bytes | None:
        """The next piece, as it came; None at the end.

        Raises:
            EgressRefusedError: it is larger than the policy allows, or cannot be inflated.
            EgressFailedError: it broke off, or is too slow.
        """
        with _worded(self._deadline):
            while not self._came and not self._ended:
                self._take(await self._read())
        piece, self._came = self._came, b""
        return piece or None

    async def begin(self) -> Target | None:
        """Ask, and judge the head; where it is a redirect, where to."""
        self._http.next_stream(self._request(), body_bytes=0)
        with trio.fail_after(self._policy.idle_timeout_s):
            await self._stream.send_all(self._http.outgoing())
        while (delivery := await self._read()) is None or delivery.head is None:
            pass
        if (moved := self._judge(dict(delivery.head))) is None:
            self._take(delivery)
        return moved

    async def _read(self) -> Delivery | None:
        with trio.fail_after(self._policy.idle_timeout_s):
            data = bytes(await self._stream.receive_some(READ_MAX_BYTES))
        return self._http.receive(data) if data else self._http.receive_eof()

    def _request(self) -> Headers:
        """Nothing of the client's, and nothing that says whose gateway this is."""
        return [
            (b":method", b"GET"),
            (b":scheme", self._target.scheme.encode()),
            (b":authority", self._target.authority.encode()),
            (b":path", self._target.path.encode()),
            (b"accept", (", ".join(self._policy.accept) or "*/*").encode()),
            (b"accept-encoding", b"identity"),
            (b"user-agent", b"parshall"),
        ]

    def _judge(self, head: dict[bytes, bytes]) -> Target | None:
        status = int(head[b":status"])
        if status in _REDIRECTS and (location := head.get(b"location")):
            return parse_target(location.decode("latin-1"), self._target)
        if status >= 500:
            raise EgressFailedError(f"The server of the URL answers with status {status}.")
        if status != 200:
            raise EgressRefusedError(f"The server of the URL answers with status {status}.")
        accept = self._policy.accept
        self.content_type = _content_type(head)
        if accept and self.content_type not in accept:
            raise EgressRefusedError(f"What is at the URL is none of {', '.join(accept)}.")
        coding = choose_coding(head.get(b"content-encoding", b"").decode("latin-1"))
        length = head.get(b"content-length", b"")
        if length.isdigit() and int(length) > self._policy.max_bytes:
            raise self._too_large()
        if coding is not None:
            limits = InflateLimits(self._policy.max_bytes, ratio_free_bytes=_RATIO_FREE_BYTES)
            self._inflater = Inflater(coding, limits)
        elif length.isdigit():
            self.size_bytes = int(length)
        return None

    def _take(self, delivery: Delivery | None) -> None:
        if delivery is None:
            return
        data = delivery.data
        if self._inflater is not None:
            data = self._inflater.feed(data)
            if delivery.ended:
                self._inflater.finish()
        self._ended = delivery.ended
        self._bytes += len(data)
        if self._bytes > self._policy.max_bytes:
            raise self._too_large()
        self._came += data

    def _too_large(self) -> EgressRefusedError:
        return EgressRefusedError(
            f"What is at the URL is larger than {self._policy.max_bytes} bytes."
        )


@asynccontextmanager
async def open_download(url: str, policy: EgressPolicy) -> AsyncIterator[Download]:
    """Ask for what is at a URL that a user has named, for the block.

    Nothing is read ahead: a server waits for who reads slowly, within `timeout_s` for the whole.

    Raises:
        EgressRefusedError: the policy refuses it, where it leads, or what is there.
        EgressFailedError: nothing came, in time or at all.
    """
    deadline = trio.current_time() + policy.timeout_s
    target = parse_target(url)
    for _ in range(policy.redirects_max + 1):
        async with AsyncExitStack() as connection:
            with _worded(deadline):
                stream = await connection.enter_async_context(reach(target, policy))
                download = Download(stream, target, policy, deadline)
                moved = await download.begin()
            if moved is None:
                yield download
                return
        target = moved
    raise EgressRefusedError("The URL is redirected too often.")


@contextmanager
def _worded(deadline: float) -> Iterator[None]:
    """What goes wrong in the block, as a client may be told it."""
    try:
        with trio.fail_at(deadline):
            yield
    except trio.TooSlowError:
        raise EgressFailedError(TOO_SLOW) from None
    except (OSError, trio.BrokenResourceError, Http1Error, MalformedFieldsError) as error:
        raise EgressFailedError(FAILED) from error
    except InflateError as error:
        raise EgressRefusedError(f"What is at the URL cannot be read: {error}.") from None


def _content_type(head: dict[bytes, bytes]) -> str:
    kind = head.get(b"content-type", b"").decode("latin-1")
    return kind.partition(";")[0].strip().lower()
