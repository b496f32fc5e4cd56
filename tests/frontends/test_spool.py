"""Large bodies over HTTP: to a file, through the helper, to another file, to the provider."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.frontends.apps import Front, open_front
from tests.gateways import DOLLAR, chat_body, settled

TEXT = "All work and no play makes a dull day. " * 10_000
SERVER = "parsed_here_max_bytes = 1000\nspooled_min_bytes = 100_000"


def spooled_bytes(front: Front) -> float | None:
    return front.setup.gateway.telemetry.registry.get_sample_value("parshall_spool_bytes")


def body_of(directives: str, **changes: Any) -> bytes:
    """Some 400 kB."""
    prompt = f"#sim {directives}\n{TEXT}"
    return chat_body(messages=[{"role": "user", "content": prompt}], **changes)


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="descriptors are not listed here")
@pytest.mark.parametrize("http2", ["prior-knowledge", "off"])
async def test_a_large_body_reaches_its_provider_by_way_of_files(
    tmp_path: Path, http2: str
) -> None:
    folder = tmp_path / "spool"
    folder.mkdir()
    server = f'{SERVER}\nspool_dir = "{folder}"'
    async with open_front(
        tmp_path, server=server, http2=http2, funds_nanodollars=1_000 * DOLLAR
    ) as front:
        small = chat_body("tokens=1", stream=False)
        assert (await front.client.post("/v1/chat/completions", content=small)).status_code == 200
        inputs = []
        for model in ("sim-openai", "sim-anthropic"):
            for stream in (True, False):
                body = body_of("tokens=5", model=model, stream=stream)
                answer = await front.client.post("/v1/chat/completions", content=body)
                assert answer.status_code == 200, answer.text
                inputs.append(front.setup.sim.truth.records()[-1].input_tokens)
        assert min(inputs) > 50_000
        assert os.listdir(folder) == []
        files = open_files()
        streaming = body_of("tokens=10_000 tokens_per_second=100 head_ms=300")
        async with trio.open_nursery() as nursery:

            async def ask() -> None:
                request = front.client.stream("POST", "/v1/chat/completions", content=streaming)
                async with request as response:
                    assert response.status_code == 200
                    # The provider has all of it and has begun to answer: nobody needs the files.
                    assert spooled_bytes(front) == 0
                nursery.cancel_scope.cancel()

            nursery.start_soon(ask)
            await settled(lambda: (spooled_bytes(front) or 0) >= len(streaming))
            assert os.listdir(folder) == [], "a kill leaves nothing behind"
        await settled(lambda: front.setup.gateway.open_exchanges == 0)
        assert open_files() <= files
        helper = front.setup.gateway.statistics()["parsing"]
        assert (helper["apart"], helper["starts"]) == (5, 1)


async def test_nothing_is_left_of_what_is_refused_or_broken_off(tmp_path: Path) -> None:
    server = f"{SERVER}\nspool_max_bytes = 1_000_000"
    head = (
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\nauthorization: Bearer %s\r\n"
        b"content-length: 600000\r\n\r\n"
    )
    async with open_front(tmp_path, server=server) as front:
        # It cannot be served.
        refused = await front.client.post("/v1/chat/completions", content=b"[" + b"1," * 300_000)
        assert refused.status_code == 400
        await settled(lambda: spooled_bytes(front) == 0)
        async with await trio.open_tcp_stream(*front.address) as stream:
            await stream.send_all(head % front.setup.key.encode() + b"x" * 500_000)
            await settled(lambda: (spooled_bytes(front) or 0) >= 250_000)
            # There is no room for another one.
            full = await front.client.post("/v1/chat/completions", content=b"x" * 800_000)
            assert (full.status_code, full.json()["error"]["code"]) == (503, "unavailable")
            assert full.headers["retry-after"] in set("12345")
        # The client has left.
        await settled(lambda: spooled_bytes(front) == 0)
        assert await front.setup.balance() == DOLLAR
