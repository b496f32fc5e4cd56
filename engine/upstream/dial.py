"""A byte stream to an origin: TCP or a proxy's tunnel, TLS, ALPN.

Names are resolved for every connection. Of several addresses, trio.open_tcp_stream tries the next
one as soon as one fails or has taken 250 ms, IPv6 and IPv4 in turn, and keeps the first that
connects (the connecting half of Happy Eyeballs: RFC 8305 section 5). What bounds it is the
deadline of the whole dial.
"""

from __future__ import annotations

import logging
import platform
import ssl
from functools import lru_cache
from pathlib import Path
from typing import Final

import trio
import truststore

from engine.errors import UpstreamTimeoutError, UpstreamUnreachableError

from .errors import lost_message
from .providers import Origin
from .tunnel import open_tunnel

logger = logging.getLogger(__name__)

_HTTP1: Final = "http/1.1"


async def dial(origin: Origin) -> trio.abc.Stream:
    """Connect within `origin.connect_timeout_s`.

    Raises:
        UpstreamTimeoutError: it took longer.
        UpstreamUnreachableError: no route, refused, a bad certificate, or no protocol in common.
    """
    try:
        with trio.fail_after(origin.connect_timeout_s):
            if not origin.secure:
                return await _reach(origin)
            context = await _load_context(origin)
            return await _secure(await _reach(origin), origin, context)
    except trio.TooSlowError:
        logger.warning("connecting to %s took too long", origin.authority)
        raise UpstreamTimeoutError("Connecting to the provider took too long.") from None
    except (OSError, UnicodeError) as error:  # the latter: a host that is no host name
        logger.warning("cannot connect to %s: %s", origin.authority, error)
        raise UpstreamUnreachableError("The provider cannot be reached.") from error


async def _reach(origin: Origin) -> trio.abc.Stream:
    if origin.proxy is not None:
        return await open_tunnel(origin.proxy, origin.host, origin.port)
    return await trio.open_tcp_stream(origin.host, origin.port)


async def _secure(
    tcp: trio.abc.Stream, origin: Origin, context: ssl.SSLContext
) -> trio.SSLStream[trio.abc.Stream]:
    try:
        # Not `https_compatible`: an end without close_notify may be an attacker's, and would pass
        # for the end of an answer that only the connection's end delimits (RFC 9112 section 9.8).
        stream = trio.SSLStream(tcp, context, server_hostname=origin.host)
        await stream.do_handshake()
    except (trio.BrokenResourceError, ssl.SSLError) as error:
        await trio.aclose_forcefully(tcp)
        cause = error.__cause__ if isinstance(error, trio.BrokenResourceError) else error
        logger.warning("no TLS with %s: %s", origin.authority, cause)
        if isinstance(cause, ssl.SSLCertVerificationError):
            raise UpstreamUnreachableError("The provider's certificate is not trusted.") from error
        raise UpstreamUnreachableError(
            lost_message(cause, "The provider's TLS handshake failed.")
        ) from error
    except BaseException:
        await trio.aclose_forcefully(tcp)
        raise
    if spoken_protocol(stream, origin) not in origin.protocols:
        await trio.aclose_forcefully(stream)
        logger.warning("%s does not offer %s by ALPN", origin.authority, origin.protocols[0])
        raise UpstreamUnreachableError(
            "The provider offers only HTTP/1.1 (by ALPN); HTTP/2 is needed."
        )
    return stream


def spoken_protocol(stream: trio.abc.Stream, origin: Origin) -> str:
    """The ALPN name of what is spoken on a stream that `dial` has made."""
    if isinstance(stream, trio.SSLStream):
        chosen: str | None = stream.selected_alpn_protocol()
        return chosen or _HTTP1
    return origin.protocols[0]


async def _load_context(origin: Origin) -> ssl.SSLContext:
    try:
        return await trio.to_thread.run_sync(_current_context, origin)
    except OSError as error:  # ssl.SSLError is one
        logger.error("the TLS files for %s cannot be used: %s", origin.authority, error)
        raise UpstreamUnreachableError(
            "The gateway's certificates for the provider cannot be used."
        ) from error


def _current_context(origin: Origin) -> ssl.SSLContext:
    """From what the files hold now: a renewed certificate is used from the next connection on."""
    files = (origin.ca_file, origin.client_cert_file, origin.client_key_file)
    versions = tuple(None if path is None else path.stat().st_mtime_ns for path in files)
    return _tls_context(origin.protocols, *files, versions)


@lru_cache(maxsize=64)
def _tls_context(
    protocols: tuple[str, ...],
    ca_file: Path | None,
    cert_file: Path | None,
    key_file: Path | None,
    versions: tuple[int | None, ...],
) -> ssl.SSLContext:
    """The trust store is loaded here, once: it takes tens of milliseconds."""
    context: ssl.SSLContext
    paths = ssl.get_default_verify_paths()
    if ca_file is not None:
        context = ssl.create_default_context(cafile=ca_file)
    elif platform.system() == "Linux" and (paths.cafile or paths.capath):
        # truststore would read the same files, but again for every connection.
        context = ssl.create_default_context()
    else:
        context = truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if cert_file is not None:
        # An encrypted key fails with an empty password; without one OpenSSL asks the terminal.
        context.load_cert_chain(cert_file, key_file, password="")
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # HTTP/1.1 is always offered: a server without HTTP/2 then says so, instead of an obscure alert.
    context.set_alpn_protocols(dict.fromkeys((*protocols, _HTTP1)))
    return context
