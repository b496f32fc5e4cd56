"""A small streaming provider under uvicorn: `python -m tests.engine.upstream.asgi_app SECONDS`
serves it on a free port, which it prints, and keeps idle connections for so long.

`/stream` sends as many numbered chunks as the body says, `/echo` the body, `/left` how many clients
have left before the end of what they asked for.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import uvicorn

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

left = 0


def chunk(number: int) -> bytes:
    """What `/stream` sends, piece by piece."""
    return b"data: %d %s\n\n" % (number, b"x" * (number * 37 % 400))


async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """Serve one request."""
    if scope["type"] != "http":
        return
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    if scope["path"] == "/stream":
        await stream(int(body), receive, send)
        return
    answer = b"%d" % left if scope["path"] == "/left" else body
    await send({"type": "http.response.body", "body": answer})


async def stream(count: int, receive: Receive, send: Send) -> None:
    """Numbered chunks, until the client leaves."""
    global left
    gone = asyncio.ensure_future(receive())
    for number in range(count):
        if gone.done():
            left += 1
            return
        await send({"type": "http.response.body", "body": chunk(number), "more_body": True})
        await asyncio.sleep(0)
    gone.cancel()
    await send({"type": "http.response.body", "body": b""})


def main() -> None:
    """Serve until killed."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=2_048)
    sys.stdout.write(f"{listener.getsockname()[1]}\n")
    sys.stdout.flush()
    config = uvicorn.Config(
        app, log_level="warning", lifespan="off", timeout_keep_alive=int(sys.argv[1])
    )
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
