"""The whole way for tests: simulated provider, gateway, app, listener on a loopback port."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from quart_trio import QuartTrio

from frontends.app import create_app, render_server_error
from frontends.server import Server, ServerSettings, open_server
from tests.gateways import Setup, open_setup


@dataclass(frozen=True, slots=True)
class Front:
    """A served gateway, and a client that has its key."""

    setup: Setup
    app: QuartTrio
    server: Server
    client: httpx.AsyncClient

    @property
    def address(self) -> tuple[str, int]:
        host, _, port = self.server.addresses[0].rpartition(":")
        return host, int(port)


@asynccontextmanager
async def open_front(folder: Path, **options: Any) -> AsyncIterator[Front]:
    """As `open_setup`, served."""
    settings = ServerSettings(render_error=render_server_error)
    async with (
        open_setup(folder, **options) as setup,
        open_server(app := create_app(setup.gateway), ["127.0.0.1:0"], settings) as server,
        httpx.AsyncClient(
            base_url=f"http://{server.addresses[0]}",
            headers={"authorization": f"Bearer {setup.key}"},
            timeout=30,
            verify=False,  # nothing is TLS here, and loading the authorities takes long
        ) as client,
    ):
        yield Front(setup, app, server, client)
