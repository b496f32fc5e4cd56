"""A server of files that answers, byte for byte, what a test says; and how names resolve."""

from __future__ import annotations

import gzip
import socket
import ssl
import struct
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import pytest
import trio

from engine.nurseries import open_tasks

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(64))
Script = Callable[[trio.abc.Stream], Awaitable[None]]
Answer = bytes | Script


def answer(
    body: bytes = PNG, content_type: str = "image/png", status: str = "200 OK", **headers: str
) -> bytes:
    """A whole answer; of headers, `_` stands for `-`."""
    fields = {"content-type": content_type, "content-length": str(len(body))}
    fields |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items() if value)
    return f"HTTP/1.1 {status}\r\n{lines}\r\n".encode("latin-1") + body


def gzip_of_zeros(megabytes: int) -> bytes:
    """A small file of a large one, made in a moment: it says one block again and again."""
    megabyte = bytes(1_000_000)
    compressor = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    block = compressor.compress(megabyte) + compressor.flush(zlib.Z_FULL_FLUSH)
    checksum = 0
    for _ in range(megabytes):
        checksum = zlib.crc32(megabyte, checksum)
    trailer = struct.pack("<II", checksum, megabytes * 1_000_000)
    return gzip.compress(b"")[:10] + block * megabytes + compressor.flush() + trailer


def moved(location: str, status: str = "302 Found") -> bytes:
    """A redirect."""
    return answer(b"", status=status, location=location)


@dataclass
class WebServer:
    """What it answers by path, and what it was asked."""

    port: int
    answers: dict[str, Answer]
    heads: list[bytes] = field(default_factory=list)

    @property
    def paths(self) -> list[str]:
        """The targets of all requests, in their order."""
        return [head.split(b" ")[1].decode() for head in self.heads]

    async def serve(self, stream: trio.abc.Stream) -> None:
        """One request."""
        head = b""
        async with stream:
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                while b"\r\n\r\n" not in head:
                    data = await stream.receive_some()
                    if not data:
                        return
                    head += data
                self.heads.append(head)
                given = self.answers.get(self.paths[-1], answer(b"", status="404 Not Found"))
                if isinstance(given, bytes):
                    await stream.send_all(given)
                else:
                    await given(stream)


@asynccontextmanager
async def open_webserver(
    answers: Mapping[str, Answer],
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[WebServer]:
    """Serve until the block is left."""
    async with open_tasks() as nursery:
        plain = await trio.open_tcp_listeners(port, host=host)
        bound: int = plain[0].socket.getsockname()[1]
        listeners: list[trio.abc.Listener[trio.abc.Stream]] = [
            listener if tls is None else trio.SSLListener(listener, tls) for listener in plain
        ]
        server = WebServer(bound, dict(answers))
        await nursery.start(trio.serve_listeners, server.serve, listeners)
        yield server
        nursery.cancel_scope.cancel()


class Names:
    """Answers for names below `.test` in place of the system's resolver.

    Each name has its answers in turn, the last one for ever after.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[str] = []
        self._answers: dict[str, list[list[str]]] = {}
        self._system = socket.getaddrinfo
        monkeypatch.setattr(socket, "getaddrinfo", self._getaddrinfo)

    def __setitem__(self, name: str, answers: list[list[str]]) -> None:
        self._answers[name] = answers

    def _getaddrinfo(self, host: object, port: object, *args: int, **kwargs: int) -> object:
        if not isinstance(host, str) or not host.endswith(".test"):
            return self._system(host, port, *args, **kwargs)  # type: ignore[arg-type]
        self.asked.append(host)
        answers = self._answers.get(host)
        if not answers:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        found = answers.pop(0) if len(answers) > 1 else answers[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (a, port)) for a in found]
