"""A byte stream to an origin that speaks HTTP/2: TCP, TLS, ALPN."""

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

from .providers import Origin

logger = logging.getLogger(__name__)

_ALPN: Final = ["h2", "http/1.1"]
"""HTTP/1.1 is offered too, so that a server without h2 says so instead of an obscure alert."""


async def dial(origin: Origin) -> trio.abc.Stream:
    """Connect within `origin.connect_timeout_s`.

    Raises:
        UpstreamTimeoutError: it took longer.
        UpstreamUnreachableError: no route, refused, a bad certificate, or no HTTP/2.
    """
    if not origin.secure and origin.http2 != "prior-knowledge":
        raise UpstreamUnreachableError(
            "The provider is configured without TLS, which would mean HTTP/1.1; "
            'HTTP/2 over cleartext needs http2 = "prior-knowledge".'
        )
    try:
        with trio.fail_after(origin.connect_timeout_s):
            tcp = await trio.open_tcp_stream(origin.host, origin.port)
            return await _secure(tcp, origin) if origin.secure else tcp
    except trio.TooSlowError:
        logger.warning("connecting to %s took too long", origin.authority)
        raise UpstreamTimeoutError("Connecting to the provider took too long.") from None
    except OSError as error:
        logger.warning("cannot connect to %s: %s", origin.authority, error)
        raise UpstreamUnreachableError("The provider cannot be reached.") from error


async def _secure(tcp: trio.SocketStream, origin: Origin) -> trio.SSLStream[trio.SocketStream]:
    try:
        context = await trio.to_thread.run_sync(_tls_context, origin.ca_file)
        stream = trio.SSLStream(tcp, context, server_hostname=origin.host, https_compatible=True)
        await stream.do_handshake()
        protocol = stream.selected_alpn_protocol()
    except (trio.BrokenResourceError, ssl.SSLError) as error:
        await trio.aclose_forcefully(tcp)
        cause = error.__cause__ if isinstance(error, trio.BrokenResourceError) else error
        logger.warning("no TLS with %s: %s", origin.authority, cause)
        if isinstance(cause, ssl.SSLCertVerificationError):
            raise UpstreamUnreachableError("The provider's certificate is not trusted.") from error
        raise UpstreamUnreachableError("The provider's TLS handshake failed.") from error
    except BaseException:
        await trio.aclose_forcefully(tcp)
        raise
    if protocol != "h2":
        await trio.aclose_forcefully(stream)
        logger.warning("%s chose %s by ALPN", origin.authority, protocol)
        raise UpstreamUnreachableError(
            "The provider offers only HTTP/1.1 (by ALPN); HTTP/2 is needed."
        )
    return stream


@lru_cache(maxsize=64)
def _tls_context(ca_file: Path | None) -> ssl.SSLContext:
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
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(_ALPN)
    return context
