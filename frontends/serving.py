"""The serving process: gateway, control socket and listener in one, until a signal ends it."""

from __future__ import annotations

import logging
import signal
from collections.abc import AsyncIterator, Awaitable, Callable

import trio

from engine import Config, Gateway, open_gateway
from engine.nurseries import open_tasks
from frontends.app import create_app, render_server_error
from frontends.control import open_control
from frontends.server import ServerSettings, open_server

log = logging.getLogger("parshall.server")

Announce = Callable[[Gateway, tuple[str, ...]], Awaitable[None]]
"""Told once it serves: the gateway, and the bound addresses."""


async def serve(config: Config, announce: Announce) -> None:
    """Serve until SIGTERM or SIGINT.

    The first signal stops gracefully: no new connection, no new call, and what is under way may
    end within `shutdown_grace_s`. A second one, or one before it serves, cuts everything at once;
    what was received until then is billed and made durable all the same.

    Raises:
        ConfigError, LedgerError, BindError, OSError: it cannot start.
    """
    stopping = trio.Event()
    serving: Gateway | None = None

    async def obey(signals: AsyncIterator[int], everything: trio.CancelScope) -> None:
        async for _ in signals:
            if serving is None or stopping.is_set():
                if serving is not None:
                    serving.cut_off()
                everything.cancel()
            stopping.set()

    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with open_tasks() as nursery:
            nursery.start_soon(obey, signals, nursery.cancel_scope)
            async with (
                open_gateway(config) as gateway,
                open_control(gateway, config.storage.path),
                open_server(create_app(gateway), config.server.bind, _bounds(config)) as server,
            ):
                await announce(gateway, server.addresses)
                serving = gateway
                await stopping.wait()
                log.info(
                    "stopping: what runs may end within %g s; a second signal cuts it",
                    config.server.shutdown_grace_s,
                )
                gateway.stop_admission()

                async def cut_off() -> None:
                    gateway.cut_off()

                await server.stop(config.server.shutdown_grace_s, before_cut=cut_off)
            nursery.cancel_scope.cancel()


def _bounds(config: Config) -> ServerSettings:
    return ServerSettings(
        connections_max=config.server.connections_max,
        write_stall_s=config.server.write_stall_s,
        sink_high_water_bytes=config.server.buffered_output_max_bytes,
        render_error=render_server_error,
    )
