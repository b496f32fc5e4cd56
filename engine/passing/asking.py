"""One question to the provider: its head, and its answer as it comes or whole."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Final

import httpx

from engine.clock import wall_ms
from engine.errors import UpstreamError, UpstreamRejectedError, UpstreamTimeoutError
from engine.passing.places import Place
from engine.protocols.registry import provider_codec
from engine.upstream.answers import Answer
from engine.upstream.pool import Pool
from engine.wire.http import Headers
from engine.wire.retry_after import retry_after_s

ANSWER_MAX_BYTES: Final = 32 * 1024 * 1024
_ERROR_MAX_BYTES: Final = 64 * 1024
_TRIES: Final = 3
"""Of what the provider says that it never acted on (RFC 9113 section 8.7)."""


@asynccontextmanager
async def ask(
    pool: Pool,
    place: Place,
    method: str,
    path: str,
    *,
    body: bytes = b"",
    more: Sequence[tuple[bytes, bytes]] = (),
) -> AsyncIterator[tuple[int, Headers, Answer]]:
    """Ask at a path behind the base URL, for the block: status, fields, and what is read of it. It
    is reset where the block is left before its end.

    Raises:
        UpstreamError: there is no head of an answer.
    """
    provider = place.provider
    whole = provider.path(path)
    headers: Headers = [
        (b":method", method.encode()),
        (b":scheme", provider.origin.scheme.encode()),
        (b":authority", provider.origin.authority.encode()),
        (b":path", whole.encode()),
        (b"accept-encoding", b"identity"),
        (b"user-agent", b"parshall"),
        *provider.credentials_of(place.key).sign(method, whole, body),
        *more,
    ]
    silent_s = max(provider.idle_timeout_s, provider.first_byte_timeout_s)
    for tries_left in reversed(range(_TRIES)):
        answer = Answer(silent_s, lambda _: None)
        try:
            try:
                with worded():
                    answer.opened(await pool.open_stream(provider, headers, body, answer))
                    head = await answer.wait_head(silent_s)
            except UpstreamError:
                if answer.unprocessed and tries_left:
                    continue
                raise
            yield int(head[0][1]), head[1:], answer
            return
        finally:
            answer.close()


@contextmanager
def worded() -> Iterator[None]:
    """Raises UpstreamError for what reading an answer raises."""
    try:
        yield
    except httpx.TimeoutException:
        raise UpstreamTimeoutError("The provider did not answer in time.") from None
    except httpx.TransportError:
        raise UpstreamError("The provider broke off its answer.") from None


async def read_whole(answer: Answer, most_bytes: int = ANSWER_MAX_BYTES) -> bytes:
    """All of an answer. Raises UpstreamError: it breaks off, or is too large."""
    pieces, size_bytes = [], 0
    with worded():
        async for piece in answer:
            pieces.append(piece)
            size_bytes += len(piece)
            if size_bytes > most_bytes:
                raise UpstreamError("The provider's answer is larger than the gateway takes.")
    return b"".join(pieces)


async def ask_whole(
    pool: Pool,
    place: Place,
    method: str,
    path: str,
    *,
    body: bytes = b"",
    more: Sequence[tuple[bytes, bytes]] = (),
) -> tuple[int, Headers, bytes]:
    """As `ask`, and all of the answer. Raises UpstreamError."""
    async with ask(pool, place, method, path, body=body, more=more) as (status, headers, answer):
        return status, headers, await read_whole(answer)


async def refusal_of(
    place: Place, status: int, headers: Headers, answer: Answer
) -> UpstreamRejectedError:
    """The provider's error, in words that a client may see. Raises UpstreamError: it breaks off."""
    body = await read_whole(answer, _ERROR_MAX_BYTES)
    wait_s = retry_after_s(headers, wall_ms() / 1_000)
    error = provider_codec(place.provider.protocol).read_error(status, body, wait_s)
    said = next((value for name, value in headers if name == b"x-request-id"), None)
    error.provider_request_id = None if said is None else said.decode("latin-1")
    return error
