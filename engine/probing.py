"""Asking providers whether they are well, beside the requests: where `health_check_s` says so.

What is asked for is the list of models, which no provider charges for. Whatever it answers but a
failure of its own (5xx) is well: a refused key or an unknown path is nothing that another request
would not be told too. `engine.routing.health` makes of it what it means for deployments.
"""

from __future__ import annotations

import logging
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import httpx
import trio

from engine.errors import UpstreamError
from engine.nurseries import open_tasks
from engine.parts import Parts
from engine.protocols.registry import provider_codec
from engine.upstream.pool import Pool
from engine.upstream.providers import Provider
from engine.upstream.transport import MultiplexTransport

logger = logging.getLogger(__name__)

_LOOK_S: Final = 1.0
"""So often the configuration is looked at for providers that are to be asked."""
_PAUSE_MIN_S: Final = 0.05
_PATIENCE_MIN_S: Final = 1.0
"""However often it is asked: whoever is asked more often is not slow for that."""
_PATIENCE_MAX_S: Final = 10.0
_PATIENCES: Final = 3
"""One each to connect, for a stream, and for the head of the answer."""
_AT_ONCE_MAX: Final = 16
_FAILED_FROM: Final = 500


@asynccontextmanager
async def open_probing(parts: Parts) -> AsyncIterator[None]:
    """Ask, for the block, all providers of the rules of the moment that are to be asked."""
    async with open_tasks() as nursery:
        nursery.start_soon(_Prober(parts, nursery).run)
        yield
        nursery.cancel_scope.cancel()


class _Prober:
    def __init__(self, parts: Parts, nursery: trio.Nursery) -> None:
        self._parts = parts
        self._nursery = nursery
        self._room = trio.CapacityLimiter(_AT_ONCE_MAX)
        self._due: dict[str, float] = {}
        """By provider, in Trio's time; of one that is being asked: infinite."""

    async def run(self) -> None:
        """Begin what is due, again and again."""
        while True:
            now = trio.current_time()
            nearest = self._begin_due(now)
            await trio.sleep_until(min(now + _LOOK_S, max(now + _PAUSE_MIN_S, nearest)))

    def _begin_due(self, now: float) -> float:
        """When the next one is due."""
        rows, draw = self._parts.config.providers, self._parts.chance.random
        every = {n: row.health_check_s for n, row in rows.items() if row.health_check_s is not None}
        for name in self._due.keys() - every.keys():
            del self._due[name]
        for name, every_s in every.items():
            due = self._due.get(name)
            if due is None:  # spread out, so that not all of them are asked at the same moment
                self._due[name] = now + every_s * draw()
            elif due <= now:
                self._due[name] = math.inf
                self._nursery.start_soon(self._ask, name, every_s)
        return min(self._due.values(), default=math.inf)

    async def _ask(self, name: str, every_s: float) -> None:
        parts = self._parts
        async with self._room:
            provider = parts.providers.get(name)
            if provider is not None:
                patience_s = min(max(every_s, _PATIENCE_MIN_S), _PATIENCE_MAX_S)
                well = await is_well(parts.pool, provider, patience_s)
                if well is not None and parts.providers.get(name) is provider:
                    parts.health.checked(name, trio.current_time(), well=well)
        if name in self._due:
            self._due[name] = trio.current_time() + every_s


async def is_well(pool: Pool, provider: Provider, patience_s: float) -> bool | None:
    """Whether a provider answers, and is not at fault in what it answers; None: there was no room
    on our connections to it, which says nothing of it. Never raises."""
    path = provider.path("/models")
    url = f"{provider.origin.scheme}://{provider.origin.authority}{path}"
    transport = MultiplexTransport(pool, **provider.connection)
    try:
        headers = [
            (b"accept", b"application/json"),
            (b"accept-encoding", b"identity"),
            (b"user-agent", b"parshall"),
            *provider.credentials.sign("GET", path, b""),
            *provider_codec(provider.protocol).provider_headers((), provider.quirks),
        ]
        with trio.move_on_after(_PATIENCES * patience_s):
            async with (
                httpx.AsyncClient(transport=transport, timeout=patience_s) as client,
                client.stream("GET", url, headers=headers) as response,
            ):
                return response.status_code < _FAILED_FROM
    except httpx.PoolTimeout:
        return None
    except (UpstreamError, httpx.TransportError) as error:
        logger.debug("the provider %s is not well: %s", provider.name, type(error).__name__)
    return False
