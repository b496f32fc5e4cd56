"""A request that has been answered is freed at once, whichever version of HTTP it came in."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import trio.testing

from engine import Exchange
from frontends.connection import GatewayConnection
from frontends.server.asgi import Conversation
from frontends.server.http1_answer import Http1Answer
from frontends.server.http2_stream import Http2Stream
from tests.frontends.apps import open_front
from tests.gateways import chat_body


@pytest.fixture(autouse=True)
def _no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def left_behind() -> list[object]:
    kinds = (Exchange, GatewayConnection, Conversation, Http1Answer, Http2Stream)
    return [each for each in gc.get_objects() if isinstance(each, kinds)]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("http2", [False, True])
async def test_a_call(tmp_path: Path, http2: bool, stream: bool) -> None:
    async with open_front(tmp_path) as front:
        headers = front.client.headers
        url = f"{front.client.base_url}/v1/chat/completions"
        async with httpx.AsyncClient(
            http1=not http2, http2=http2, headers=headers, verify=False
        ) as client:
            answer = await client.post(url, content=chat_body("tokens=16", stream=stream))
            assert answer.status_code == 200
            assert answer.http_version == ("HTTP/2" if http2 else "HTTP/1.1")
            await trio.testing.wait_all_tasks_blocked()
            assert left_behind() == []
