"""The serving process: gateway, control socket and listener in one, until a signal ends it."""

from __future__ import annotations

import logging
import signal
from collections.abc import AsyncIterator, Awaitable, Callable

import trio

from engine import Config, Gateway, open_gateway
from engine.config_tables import ServerConfig
from engine.nurseries import open_tasks
from frontends.app import create_app, render_server_error
from frontends.control import open_control
from frontends.server import Server, ServerSettings, open_server

log = logging.getLogger("parshall.server")

Announce = Callable[[Gateway, tuple[str, ...]], Awaitable[None]]
"""Told once it serves: the gateway, and the bound addresses."""


async def serve(config: Config, announce: Announce) -> None:
    """Serve until SIGTERM or SIGINT.

    The first signal stops gracefully: not ready for `drain_delay_s`, then no new connection and no
    new call, and what is under way may end within `shutdown_grace_s`; the rest ends in its
    protocol's error ending. A second one ends the grace. A third, or one before it serves, cuts
    everything at once. What was received until then is billed and made durable all the same.

    Raises:
        ConfigError, LedgerError, BindError, OSError: it cannot start.
    """
    stop = _Stop()
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with open_tasks() as nursery:
            nursery.start_soon(_obey, signals, stop, nursery.cancel_scope)
            async with (
                open_gateway(config) as gateway,
                open_control(gateway, config.storage.path),
                open_server(create_app(gateway), config.server.bind, _bounds(config)) as server,
            ):
                await announce(gateway, server.addresses)
                stop.gateway = gateway
                await stop.asked.wait()
                await _stop_serving(gateway, server, config.server, stop.hurried)
            nursery.cancel_scope.cancel()


class _Stop:
    """What the signals have said so far."""

    def __init__(self) -> None:
        self.asked = trio.Event()
        self.hurried = trio.Event()
        self.gateway: Gateway | None = None
        """None before it serves: then there is nothing to end gracefully."""


async def _obey(signals: AsyncIterator[int], stop: _Stop, everything: trio.CancelScope) -> None:
    async for _ in signals:
        if stop.gateway is None:
            everything.cancel()
        elif not stop.asked.is_set():
            stop.asked.set()
        elif not stop.hurried.is_set():
            stop.hurried.set()
        else:
            stop.gateway.cut_off()
            everything.cancel()


async def _stop_serving(
    gateway: Gateway, server: Server, settings: ServerConfig, hurried: trio.Event
) -> None:
    log.info(
        "stopping: what runs may end within %g s; a second signal ends it",
        settings.drain_delay_s + settings.shutdown_grace_s,
    )
    gateway.withdraw()
    with trio.move_on_after(settings.drain_delay_s):
        await hurried.wait()
    gateway.stop_admission()

    async def hurry() -> None:
        await hurried.wait()
        await server.stop(0, before_cut=gateway.end_all)

    async with open_tasks() as nursery:
        nursery.start_soon(hurry)
        await server.stop(settings.shutdown_grace_s, before_cut=gateway.end_all)
        nursery.cancel_scope.cancel()


def _bounds(config: Config) -> ServerSettings:
    return ServerSettings(
        connections_max=config.server.connections_max,
        write_stall_s=config.server.write_stall_s,
        sink_high_water_bytes=config.server.buffered_output_max_bytes,
        render_error=render_server_error,
    )
