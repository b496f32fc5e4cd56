"""The serving process: gateway, control socket and listener in one, until a signal ends it."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Awaitable, Callable

import trio

from engine import Config, Gateway, open_gateway
from engine.nurseries import open_tasks
from frontends.app import create_app, render_server_error
from frontends.control import open_control
from frontends.server import Server, ServerSettings, open_server

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
    serving = trio.Event()
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with open_tasks() as nursery:
            nursery.start_soon(_obey, signals, serving, stopping, nursery.cancel_scope)
            async with (
                open_gateway(config) as gateway,
                open_control(gateway, config.storage.path),
                open_server(create_app(gateway), config.server.bind, _bounds(config)) as server,
            ):
                await announce(gateway, server.addresses)
                serving.set()
                await stopping.wait()
                await _stop(gateway, server, config.server.shutdown_grace_s)
            nursery.cancel_scope.cancel()


async def _stop(gateway: Gateway, server: Server, grace_s: float) -> None:
    gateway.stop_admission()
    await server.stop(grace_s)


async def _obey(
    signals: AsyncIterator[int], serving: trio.Event, stopping: trio.Event, all_: trio.CancelScope
) -> None:
    async for _ in signals:
        if not serving.is_set() or stopping.is_set():
            all_.cancel()
        stopping.set()


def _bounds(config: Config) -> ServerSettings:
    return ServerSettings(
        connections_max=config.server.connections_max,
        write_stall_s=config.server.write_stall_s,
        sink_high_water_bytes=config.server.buffered_output_max_bytes,
        render_error=render_server_error,
    )
