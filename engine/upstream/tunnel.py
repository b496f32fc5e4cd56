"""A tunnel through an HTTP proxy."""

from __future__ import annotations

import logging

import trio

from engine.errors import UpstreamUnreachableError
from engine.wire.proxy import Connect, Proxy, ProxyRefusedError

logger = logging.getLogger(__name__)

_READ_BYTES = 4_096
_CREDENTIALS_WANTED = 407


async def open_tunnel(proxy: Proxy, host: str, port: int) -> trio.abc.Stream:
    """A stream to `host:port` by way of a proxy, which resolves the name. The caller's deadline
    bounds it.

    Raises:
        UpstreamUnreachableError: the proxy cannot be reached, or refuses.
    """
    try:
        tcp = await trio.open_tcp_stream(proxy.host, proxy.port)
    except (OSError, UnicodeError) as error:
        logger.warning("cannot connect to the proxy %s: %s", proxy.authority, error)
        raise UpstreamUnreachableError("The proxy cannot be reached.") from error
    try:
        rest = await _connect(tcp, Connect(proxy, host, port))
    except ProxyRefusedError as error:
        await trio.aclose_forcefully(tcp)
        logger.warning("the proxy %s refused a tunnel to %s: %s", proxy.authority, host, error)
        raise UpstreamUnreachableError(_reason(proxy, error.status)) from None
    except trio.BrokenResourceError as error:
        await trio.aclose_forcefully(tcp)
        logger.warning("the proxy %s was lost: %s", proxy.authority, error.__cause__)
        raise UpstreamUnreachableError("The connection to the proxy was lost.") from None
    except ValueError:
        await trio.aclose_forcefully(tcp)
        raise UpstreamUnreachableError("The proxy cannot be asked for such a host.") from None
    except BaseException:
        await trio.aclose_forcefully(tcp)
        raise
    return trio.StapledStream(tcp, _Begun(tcp, rest)) if rest else tcp


async def _connect(tcp: trio.SocketStream, connect: Connect) -> bytes:
    await tcp.send_all(connect.request())
    while True:
        rest = connect.receive(bytes(await tcp.receive_some(_READ_BYTES)))
        if rest is not None:
            return rest


def _reason(proxy: Proxy, status: int | None) -> str:
    if status is None:
        return "The proxy did not answer in HTTP."
    if status != _CREDENTIALS_WANTED:
        return f"The proxy refused a tunnel to the provider ({status})."
    if proxy.authorization is None:
        return "The proxy asks for a user and a password (407)."
    return "The proxy does not accept the user and password (407)."


class _Begun(trio.abc.ReceiveStream):
    """A stream of which something has been read already."""

    def __init__(self, stream: trio.abc.ReceiveStream, begin: bytes) -> None:
        self._stream = stream
        self._begin = begin

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        if not self._begin:
            return await self._stream.receive_some(max_bytes)
        await trio.lowlevel.checkpoint()
        size = len(self._begin) if max_bytes is None else max_bytes
        data, self._begin = self._begin[:size], self._begin[size:]
        return data

    async def aclose(self) -> None:
        await self._stream.aclose()
