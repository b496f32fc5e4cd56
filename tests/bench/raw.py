"""A bare HTTP/1.1 client: what a connection brings until it ends, and how it ended."""

from __future__ import annotations

from dataclasses import dataclass

import orjson
import trio

from tests.bench.peer import PATIENCE_S


@dataclass(frozen=True)
class Received:
    """All bytes of one connection."""

    data: bytes
    reset: bool
    """It ended with a TCP RST rather than a FIN."""

    @property
    def head(self) -> bytes:
        return self.data.partition(b"\r\n\r\n")[0]

    @property
    def status(self) -> int:
        return int(self.data.split(b" ", 2)[1])

    @property
    def body(self) -> bytes:
        """Without the framing of chunks, as far as it came."""
        body = self.data.partition(b"\r\n\r\n")[2]
        if b"transfer-encoding: chunked" not in self.head:
            return body
        pieces = []
        while body:
            size, _, body = body.partition(b"\r\n")
            pieces.append(body[: int(size, 16)])
            body = body[int(size, 16) + 2 :]
        return b"".join(pieces)

    @property
    def terminated(self) -> bool:
        """The chunked body came to its end."""
        return self.data.endswith(b"0\r\n\r\n")


def post(
    request: dict[str, object],
    *,
    path: str = "/v1/chat/completions",
    more: str = "",
    version: str = "1.1",
) -> bytes:
    """A request as bytes; one of OpenAI chat unless told."""
    body = orjson.dumps(request)
    head = f"POST {path} HTTP/{version}\r\nhost: x\r\n{more}content-length: {len(body)}"
    return f"{head}\r\n\r\n".encode() + body


async def converse(port: int, data: bytes) -> Received:
    """Send and read to the end."""
    received = b""
    with trio.fail_after(PATIENCE_S):
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            await stream.send_all(data)
            try:
                while more := await stream.receive_some():
                    received += more
            except trio.BrokenResourceError:
                return Received(received, reset=True)
    return Received(received, reset=False)
