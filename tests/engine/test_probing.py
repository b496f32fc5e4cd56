"""Providers that are asked whether they are well."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest
import trio

from engine.gateway import Gateway
from engine.probing import is_well
from engine.upstream.pool import open_pool
from engine.upstream.providers import Provider
from tests.engine.upstream.peer import Request, open_peer
from tests.gateways import open_setup, settled

PATIENCE_S = 20.0


@dataclass(slots=True)
class Asked:
    """A provider that answers with one status after another's change; None: not at all."""

    port: int
    status: int | None
    requests: list[Request] = field(default_factory=list)

    @property
    def provider(self) -> Provider:
        return row(self.port)


def row(port: int, protocol: Literal["openai", "anthropic"] = "openai") -> Provider:
    return Provider(
        name="p",
        protocol=protocol,
        base_url=f"http://127.0.0.1:{port}/v1",
        api_key="sk-1",
        http2="prior-knowledge",
    )


@asynccontextmanager
async def open_asked(status: int | None) -> AsyncIterator[Asked]:
    async with open_peer() as peer, trio.open_nursery() as nursery:
        asked = Asked(peer.port, status)

        async def answer_all() -> None:
            while True:
                request = await peer.next_request()
                asked.requests.append(request)
                if asked.status is not None:
                    head = [(b":status", str(asked.status).encode())]
                    request.connection.http2.send_headers(request.stream_id, head)
                    request.send(b"{}", ended=True)

        nursery.start_soon(answer_all)
        yield asked
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("status", "well"), [(200, True), (401, True), (404, True), (500, False), (529, False)]
)
async def test_only_a_failure_of_its_own_speaks_against_a_provider(status: int, well: bool) -> None:
    async with open_asked(status) as asked, open_pool() as pool:
        assert await is_well(pool, row(asked.port, "anthropic"), PATIENCE_S) is well
        head = dict(asked.requests[0].head)
        assert (head[b":method"], head[b":path"]) == (b"GET", b"/v1/models")
        assert head[b"x-api-key"] == b"sk-1"
        assert b"anthropic-version" in head


async def test_one_that_cannot_be_reached_or_says_nothing_is_not_well() -> None:
    async with open_asked(None) as silent, open_pool() as pool:
        assert await is_well(pool, silent.provider, 0.5) is False
    async with open_pool() as pool:
        assert await is_well(pool, silent.provider, PATIENCE_S) is False


LASTING = "breaker = { open_s = 600, open_max_s = 600 }"
"""So that nothing but a check ends it."""
CHECKED = """
[providers.checked]
protocol = "openai"
base_url = "http://127.0.0.1:$PORT/v1"
http2 = "prior-knowledge"
health_check_s = 0.02
[models.checked]
deployments = [{ provider = "checked", model = "m" }]
free = true
"""


def state(gateway: Gateway) -> str:
    """Of the breaker before the only deployment of the provider that is asked."""
    parts = gateway._parts
    deployments = parts.catalogue["checked"].deployments
    (found,) = parts.health.rows(deployments, trio.current_time())
    return found.state


async def test_it_is_left_alone_until_it_is_well_again(tmp_path: Path) -> None:
    """Without a request that would have to fail first, or succeed."""
    async with open_asked(500) as asked:
        models = CHECKED.replace("$PORT", str(asked.port))
        async with open_setup(tmp_path, models=models, routing=LASTING) as setup:
            assert state(setup.gateway) == "closed"
            await settled(lambda: state(setup.gateway) == "open", within_s=30)
            assert asked.requests, "it was asked, and nothing else opened it"
            asked.status = 200
            await settled(lambda: state(setup.gateway) == "half-open", within_s=30)
