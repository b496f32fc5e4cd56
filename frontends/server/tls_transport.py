"""A client's socket over TLS: `ssl.SSLObject` between two memory buffers.

Trio's `SSLStream` has no synchronous write.
"""

from __future__ import annotations

import logging
import socket
import ssl
from contextlib import suppress
from typing import Final

import trio

from frontends.server.interfaces import Peer
from frontends.server.settings import ServerSettings
from frontends.server.transport import OutputBudget, Transport

log = logging.getLogger("parshall.server")

RECORD_BYTES: Final = 16_384
"""Plaintext of one record (RFC 8446 section 5.1)."""
UNREAD_MAX_BYTES: Final = 65_536
"""What TLS itself may have to say to a client that does not read: answers to key updates."""
_HANDSHAKE: Final = 0x16
"""The first byte of a client's first record."""


class CleartextError(Exception):
    """The client does not speak TLS."""


class TlsTransport(Transport):
    """The same over TLS; `handshake` comes first.

    What a lagging client is owed waits as plaintext and is made records of as the socket takes
    them, so it is held once, and one record ahead at most.
    """

    def __init__(
        self,
        sock: socket.socket,
        peer: Peer,
        server: tuple[str, int | None],
        settings: ServerSettings,
        nursery: trio.Nursery,
        budget: OutputBudget,
        context: ssl.SSLContext,
    ) -> None:
        super().__init__(sock, peer, server, settings, nursery, budget)
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._sealed = bytearray()
        self._sealed_plain_bytes = 0
        """How much plaintext is out once all of `_sealed` is."""
        self._notified = False

    @property
    def buffered_bytes(self) -> int:
        """What waits for the client to read."""
        return len(self._buffer) + self._sealed_plain_bytes

    @property
    def alpn(self) -> str | None:
        """The protocol that the handshake chose, if it chose one."""
        return self._tls.selected_alpn_protocol()

    async def handshake(self) -> bool:
        """Agree on keys and protocol; False when the client left, or knows no TLS of ours.

        Raises:
            CleartextError: it speaks something else.
        """
        data = await self.receive_raw()
        if data and data[0] != _HANDSHAKE:
            raise CleartextError
        while data:
            self._incoming.write(data)
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self._say_own()
            except ssl.SSLError as error:
                log.info("%s: no TLS: %s", self.peer.address, error.reason)
                self._say_own()  # an alert
                return False
            else:
                self._say_own()
                return True
            data = await self.receive_raw()
        return False

    async def receive(self) -> bytes:
        """What the client sent next, deciphered."""
        while True:
            if self._incoming.pending and (plain := self._read()):
                return plain
            data = await self.receive_raw()
            if not data:
                return b""
            self._incoming.write(data)

    def refuse_cleartext(self, answer: bytes) -> None:
        """Say something without TLS, and end."""
        self._notified = True
        self._sealed += answer
        self._send_sealed()
        self.end()

    def _read(self) -> bytes:
        """All that can be deciphered, maybe nothing yet."""
        parts = []
        try:
            while piece := self._tls.read(RECORD_BYTES):
                parts.append(piece)
            self.hear_leaving()  # by a close_notify
        except ssl.SSLWantReadError:
            self._say_own()
        except ssl.SSLZeroReturnError:  # a close_notify that answers ours
            self.hear_leaving()
        except ssl.SSLError as error:
            self._break(error)
        return b"".join(parts)

    def _write_through(self, data: bytes | memoryview) -> bytes | memoryview | None:
        rest = memoryview(data)
        while rest:
            if not self._seal(rest[:RECORD_BYTES]):
                return b""
            rest = rest[RECORD_BYTES:]
            if not self._send_sealed():
                return rest
        return None

    def _push(self) -> bool:
        while self._send_sealed():
            if not self._buffer:
                return True
            piece = bytes(memoryview(self._buffer)[:RECORD_BYTES])
            if not self._seal(piece):
                return True
            del self._buffer[:RECORD_BYTES]
            self._budget.change(-len(piece))
        return self.gone

    def _seal(self, piece: bytes | memoryview) -> bool:
        """Make a record of it; False if TLS is broken, and with it the connection."""
        try:
            self._tls.write(piece)
        except ssl.SSLError as error:
            self._break(error)
            return False
        self._sealed += self._outgoing.read()
        self._sealed_plain_bytes += len(piece)
        return True

    def _send_sealed(self) -> bool:
        """True when all of it is out."""
        sent = self._send(self._sealed) if self._sealed else 0
        if self.gone:
            return False
        del self._sealed[:sent]
        if self._sealed:
            return False
        self.written_bytes += self._sealed_plain_bytes
        self._sealed_plain_bytes = 0
        return True

    def _say_own(self) -> None:
        """What TLS itself has to say: handshake, alerts, answers to key updates."""
        self._sealed += self._outgoing.read()
        if len(self._sealed) > UNREAD_MAX_BYTES:
            log.info("%s: a client that reads no answers of TLS is cut", self.peer.address)
            self.abort()
        elif self._sealed and not (self._flushing or self._send_sealed() or self.gone):
            self._begin_flushing()

    def _break(self, error: ssl.SSLError) -> None:
        log.info("%s: TLS is broken: %s", self.peer.address, error.reason)
        self.abort()

    def _finish(self) -> None:
        if not self._notified:
            self._notified = True
            with suppress(ssl.SSLError):  # it would wait for the client's close_notify in turn
                self._tls.unwrap()
            self._say_own()
        if not self._flushing and not self.gone:
            super()._finish()
