"""Requests whose answer has not begun when the gateway ends all, over HTTP."""

from __future__ import annotations

from pathlib import Path

import trio

from tests.gateways import chat_body
from tests.served import RawStream, open_served, raw_request


async def test_who_is_still_sending_its_body_is_refused(tmp_path: Path) -> None:
    async with open_served(tmp_path) as served:
        request = raw_request(served, "/v1/chat/completions", chat_body("tokens=5"))
        async with await trio.open_tcp_stream("127.0.0.1", served.port) as stream:
            await stream.send_all(request[:-5])
            await trio.testing.wait_all_tasks_blocked(0.05)
            await served.setup.gateway.end_all()
            client = RawStream(stream)
            with trio.fail_after(30):
                await client.read_head()
    assert client.status == 503
    assert client.headers["retry-after"] == "1"
    assert client.headers["connection"] == "close"
