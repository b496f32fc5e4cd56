"""A provider over real HTTP/2 that sends exactly the bytes a test names."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import orjson
import trio
import trio.testing

from engine.clock import Clock, wall_ms
from tests.engine.upstream.peer import Request, open_peer
from tests.gateways import (
    DOLLAR,
    Setup,
    open_setup,
)

DONE = b"data: [DONE]\n\n"
Script = Callable[[Request], Awaitable[None] | None]


def event(**document: object) -> bytes:
    return b"data: " + orjson.dumps(document) + b"\n\n"


def word(text: str, index: int = 0, **more: object) -> bytes:
    choice = {"index": index, "delta": {"content": text}, "finish_reason": None}
    return event(id="c1", object="chat.completion.chunk", model="m", choices=[choice], **more)


def usage(input_tokens: object, output_tokens: object) -> dict[str, object]:
    return {"prompt_tokens": input_tokens, "completion_tokens": output_tokens}


def usage_only(input_tokens: object, output_tokens: object) -> bytes:
    return event(id="c1", choices=[], usage=usage(input_tokens, output_tokens))


def answering(body: bytes) -> Script:
    """A provider that sends this and ends."""

    async def script(request: Request) -> None:
        request.answer()
        await request.send_all(body, ended=True)

    return script


@asynccontextmanager
async def open_scripted(
    folder: Path,
    script: Script,
    *,
    funds_nanodollars: int = DOLLAR,
    clock: Clock = wall_ms,
    **sections: str,
) -> AsyncIterator[Setup]:
    """A gateway whose provider follows a script for each request."""
    async with open_peer() as peer, trio.open_nursery() as nursery:

        async def follow_all() -> None:
            while True:
                nursery.start_soon(follow, await peer.next_request())

        async def follow(request: Request) -> None:
            await request.wait_ended()
            if (rest := script(request)) is not None:
                await rest

        nursery.start_soon(follow_all)
        async with open_setup(
            folder,
            funds_nanodollars=funds_nanodollars,
            base_url=f"http://127.0.0.1:{peer.port}",
            clock=clock,
            **sections,
        ) as setup:
            yield setup
        nursery.cancel_scope.cancel()
