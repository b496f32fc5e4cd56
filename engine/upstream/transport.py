"""The pool as an httpx transport: HTTP/2 multiplexing for any SDK that takes an httpx client.

    import httpx, trio
    from openai import AsyncOpenAI
    from engine.upstream.transport import open_multiplex_transport

    async def main():
        async with open_multiplex_transport() as transport:
            client = AsyncOpenAI(http_client=httpx.AsyncClient(transport=transport))
            stream = await client.chat.completions.create(
                model="gpt-5", messages=[{"role": "user", "content": "Hello!"}], stream=True
            )
            async for chunk in stream:
                print(chunk.choices[0].delta.content or "", end="")

    trio.run(main)

What httpx's own transport does not: requests share a few connections, a cancelled or closed one is
reset at once (so the provider stops generating), and no stream's timeout or fault hurts another's.
Trio only.

The connections are tasks, so somebody has to own them for as long as they live: the `async with`
block does. `aclose()`, which clients and SDKs call, ends this transport's own requests and leaves
the connections to the block.

The openai SDK takes clients of `httpx` as well as of its successor `httpx2` (its annotations name
only the latter, so a type checker wants a cast). This transport is one of `httpx`.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import httpx
import trio

from engine.errors import UpstreamError, UpstreamTimeoutError
from engine.wire.http import Headers
from engine.wire.http2 import MalformedFieldsError

from .answers import Answer
from .bodies import Body
from .collecting import CollectedBody, collect_body
from .pool import Pool, PoolSettings, UpstreamStream, open_pool
from .providers import Provider

__all__ = ["MultiplexTransport", "open_multiplex_transport"]

_ORIGINS_MAX: Final = 1_024
"""Provider rows that are remembered."""
_TRIES: Final = 3
"""Of a request that the provider says it never acted on (RFC 9113 section 8.7)."""
_NOT_SENT: Final = frozenset(
    {
        b"connection",
        b"host",  # as :authority
        b"keep-alive",
        b"proxy-connection",
        b"transfer-encoding",
        b"upgrade",
    }
)
_DEFAULT_SETTINGS: Final = PoolSettings(waiters_max=10_000, wait_timeout_s=600.0)


class MultiplexTransport(httpx.AsyncBaseTransport):
    """Sends httpx's requests over a pool that somebody else owns; several may share one.

    httpx's timeouts mean: `connect`, the wait while no connection to the origin is open (a dial
    that others wait for too goes on, for `connect_timeout_s`); `pool`, the wait for a free stream;
    `write`, between two pieces of the body that the provider takes; `read`, between two pieces of
    its answer, the first counted from the end of the request.

    A request the provider says it never acted on is sent again. For that, and because HTTP/1.1 is
    told the length, a body that is an iterator is read to its end first (past 1 MiB into a
    temporary file). Sync iterators work too where httpx lets them through.
    Informational answers and trailers are dropped. The answer's `extensions` name the
    `http_version`.

    Args:
        pool: whose connections are used; closing the transport leaves them open.
        connection: fields of `Provider` that say how connections are made: `http2`, `ca_file`,
            `connect_timeout_s`, `max_streams_per_connection`, and so on.

    Raises:
        TypeError, ValueError: `connection` holds no such fields, or a wrong value.
    """

    def __init__(self, pool: Pool, **connection: Any) -> None:
        self._pool = pool
        self._connection = connection
        self._providers: dict[tuple[str, str, int | None], Provider] = {}
        self._open: dict[Answer, CollectedBody | None] = {}
        self._closed = False
        _row("https://localhost", connection)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request and wait for the head of its answer.

        Raises:
            httpx.TransportError: ConnectError, ConnectTimeout, PoolTimeout before the request was
                sent; WriteTimeout, ReadTimeout, ReadError, RemoteProtocolError after;
                LocalProtocolError and UnsupportedProtocol for what cannot be sent at all.
        """
        if self._closed:
            raise RuntimeError("the transport has been closed")
        collected = await collect_body(request)
        try:
            answer = await self._send(request, collected.body)
            head = answer.head
            assert head is not None
        except BaseException:
            collected.close()
            raise
        if answer.over:
            collected.close()
        else:  # the body may still be on its way
            self._open[answer] = collected
        return httpx.Response(
            status_code=int(head[0][1]),
            headers=head[1:],
            stream=answer,
            extensions={"http_version": answer.http_version.encode()},
        )

    async def _send(self, request: httpx.Request, body: Body) -> Answer:
        provider = self._provider(request.url)
        headers = _request_head(request)
        timeouts = request.extensions.get("timeout", {})
        for tries_left in reversed(range(_TRIES)):
            answer = Answer(_seconds(timeouts, "read"), self._answer_over)
            try:
                answer.opened(await self._open_stream(provider, headers, body, answer, timeouts))
                self._open[answer] = None
                await answer.wait_head(_seconds(timeouts, "write"))
            except httpx.TransportError:
                answer.close()
                if not answer.unprocessed or not tries_left:
                    raise
            except BaseException:
                answer.close()
                raise
            else:
                break
        return answer

    def _answer_over(self, answer: Answer) -> None:
        collected = self._open.pop(answer, None)
        if collected is not None:
            collected.close()

    async def aclose(self) -> None:
        """Reset the requests that are open, and refuse new ones. Does not wait."""
        self._closed = True
        for answer in list(self._open):
            answer.fail(httpx.ReadError("The transport was closed."))

    def _provider(self, url: httpx.URL) -> Provider:
        key = (url.scheme, url.host, url.port)
        provider = self._providers.get(key)
        if provider is None:
            if url.scheme not in {"http", "https"} or not url.host:
                raise httpx.UnsupportedProtocol(f"Not an http or https URL with a host: {url}")
            if len(self._providers) >= _ORIGINS_MAX:
                self._providers.clear()
            host = url.raw_host.decode("ascii")
            port = "" if url.port is None else f":{url.port}"
            base_url = f"{url.scheme}://{f'[{host}]' if ':' in host else host}{port}"
            provider = _row(base_url, self._connection)
            self._providers[key] = provider
        return provider

    async def _open_stream(
        self,
        provider: Provider,
        headers: Headers,
        body: Body,
        answer: Answer,
        timeouts: Mapping[str, float | None],
    ) -> UpstreamStream:
        """Wait for a connection as long as `connect` allows, for a free stream as `pool` does."""
        connect_s, pool_s = _seconds(timeouts, "connect"), _seconds(timeouts, "pool")
        started_s = trio.current_time()
        try:
            connected = self._pool.connected(provider)
            with trio.move_on_at(started_s + (pool_s if connected else connect_s)):
                return await self._pool.open_stream(provider, headers, body, answer)
            if not connected and self._pool.connected(provider):  # the dial did not serve all
                with trio.move_on_at(started_s + pool_s):
                    return await self._pool.open_stream(provider, headers, body, answer)
        except UpstreamTimeoutError as error:
            raise _timed_out(self._pool.connected(provider), error.message) from error
        except UpstreamError as error:
            raise httpx.ConnectError(error.message) from error
        except MalformedFieldsError as error:
            raise httpx.LocalProtocolError(str(error)) from error
        raise _timed_out(self._pool.connected(provider), "No stream in time.")


@asynccontextmanager
async def open_multiplex_transport(
    settings: PoolSettings = _DEFAULT_SETTINGS, **connection: Any
) -> AsyncIterator[MultiplexTransport]:
    """A transport with a pool of its own, for as long as the block lasts.

    For one pool under several clients, open the pool and make a `MultiplexTransport` for each.

    Args:
        settings: bounds of the pool.
        connection: as for `MultiplexTransport`.
    """
    async with open_pool(settings) as pool:
        transport = MultiplexTransport(pool, **connection)
        try:
            yield transport
        finally:
            await transport.aclose()


def _row(base_url: str, connection: Mapping[str, Any]) -> Provider:
    return Provider(name=base_url, protocol="openai", base_url=base_url, **connection)


def _timed_out(connected: bool, message: str) -> httpx.TimeoutException:
    return httpx.PoolTimeout(message) if connected else httpx.ConnectTimeout(message)


def _seconds(timeouts: Mapping[str, float | None], name: str) -> float:
    value = timeouts.get(name)
    return math.inf if value is None else value


def _request_head(request: httpx.Request) -> Headers:
    url = request.url
    fields: Headers = []
    authority = url.netloc
    for raw_name, value in request.headers.raw:
        name = raw_name.lower()
        if name == b"host":
            authority = value
        elif name not in _NOT_SENT:
            fields.append((name, value))
    return [
        (b":method", request.method.encode("ascii")),
        (b":scheme", url.raw_scheme),
        (b":authority", authority),
        (b":path", url.raw_path),
        *fields,
    ]
