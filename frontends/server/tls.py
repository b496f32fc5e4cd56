"""TLS: its settings, and the certificate, which may be renewed while it is in use."""

from __future__ import annotations

import logging
import os
import ssl
from contextlib import suppress
from pathlib import Path
from typing import Final

import trio

log = logging.getLogger("parshall.server")

RELOAD_S: Final = 1.0
"""Between two looks at the files."""


class TlsError(Exception):
    """A certificate and its key cannot be used; the message says why."""


def make_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """TLS 1.2 and 1.3, without renegotiation, for HTTP/2 and HTTP/1.1.

    Raises:
        TlsError: the files are not a certificate and its key in PEM.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.num_tickets = 1
    context.set_alpn_protocols(["h2", "http/1.1"])
    try:
        # An encrypted key fails with an empty password; without one OpenSSL asks the terminal.
        context.load_cert_chain(certificate, key, password="")
    except OSError as error:  # ssl.SSLError is one
        raise TlsError(
            f"{certificate} and {key} cannot be used as certificate and key: {error.strerror}"
        ) from None
    return context


class CertificateStore:
    """A certificate in files that may be replaced; a pair that cannot be used changes nothing.

    Raises:
        TlsError: the pair that is there at first cannot be used.
    """

    def __init__(self, certificate: Path, key: Path) -> None:
        self._files = (certificate, key)
        self._seen = self._stamp()
        self.context = make_context(certificate, key)
        """For the next handshake."""

    async def watch(self) -> None:
        """Follow the files. A thread does it: a disk may be slow."""
        while True:
            await trio.sleep(RELOAD_S)
            await trio.to_thread.run_sync(self.reload)

    def reload(self, *, force: bool = False) -> None:
        """Read the files again if they have changed."""
        stamp = self._stamp()
        if stamp == self._seen and not force:
            return
        self._seen = stamp
        try:
            self.context = make_context(*self._files)
        except TlsError as error:
            log.error("the certificate in use stays: %s", error)
        else:
            log.info("%s: the certificate was read again", self._files[0])

    def _stamp(self) -> list[tuple[int, int, int]]:
        stamps = []
        for file in self._files:
            with suppress(OSError):
                status = os.stat(file)
                stamps.append((status.st_mtime_ns, status.st_size, status.st_ino))
        return stamps
