"""The serving process: gateway, control socket and listener in one, until a signal ends it."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from functools import partial

import trio

from engine import Config, ConfigError, Gateway, GatewayError, open_gateway
from engine.alarm import Alarm
from engine.config import require_operator
from engine.config_tables import ServerConfig
from engine.nurseries import open_tasks
from engine.reload import NothingToReloadError, Read
from frontends.app import create_app, render_server_error
from frontends.collecting import calm_collector
from frontends.commands import Actor, execute
from frontends.control import open_control
from frontends.notify import READY, notify, reloading
from frontends.server import Server, ServerSettings, open_server
from frontends.server.forwarded import parse_trusted
from frontends.server.tls import CertificateStore, TlsError
from frontends.supervised import Superior, open_superior

log = logging.getLogger("parshall.server")

_STOPS = (signal.SIGINT, signal.SIGTERM)

Announce = Callable[[Gateway, tuple[str, ...]], Awaitable[None]]
"""Told once it serves: the gateway, and the bound addresses."""

_HANGUP = Actor("signal:SIGHUP")


async def serve(config: Config, announce: Announce, read: Read | None = None) -> None:
    """Serve until SIGTERM or SIGINT. SIGHUP has the certificate read again, and by `read` the
    configuration; of a terminal that goes away, it stops too.

    The first signal stops gracefully: not ready for `drain_delay_s`, then no new connection and no
    new call, and what is under way may end within `shutdown_grace_s`; the rest ends in its
    protocol's error ending. A second one ends the grace. A third, or one before it serves, cuts
    everything at once. What was received until then is billed and made durable all the same.

    Raises:
        ConfigError: no operator has a credential, or as `open_gateway`.
        LedgerError, BindError, OSError: it cannot start.
    """
    require_operator(config)
    stop, bounds = _Stop(), server_settings(config)
    with (
        open_superior(os.environ) as superior,
        trio.open_signal_receiver(*_STOPS, signal.SIGHUP) as signals,
    ):
        async with open_tasks() as nursery:
            nursery.start_soon(_obey, signals, stop, nursery.cancel_scope)
            nursery.start_soon(_read_again, stop, bounds.tls)
            nursery.start_soon(_outlive, superior, stop, nursery.cancel_scope)
            nursery.start_soon(superior.reassure)
            binds = superior.binds(config.server.bind)
            async with (
                open_gateway(config, read=read) as gateway,
                open_control(gateway, config.storage.path),
                open_server(
                    create_app(gateway),
                    binds,
                    replace(bounds, loop_lag_s=lambda: gateway.load.lag.seconds),
                    superior,
                ) as server,
            ):
                stop.gateway = gateway  # it serves: from here on a signal ends it gracefully
                await announce(gateway, server.addresses)
                superior.ready()
                with calm_collector():
                    await stop.asked.wait()
                    superior.stopping()
                    await _stop_serving(gateway, server, config.server, stop.hurried)
            nursery.cancel_scope.cancel()


class _Stop:
    """What the signals have said so far."""

    def __init__(self) -> None:
        self.asked = trio.Event()
        self.hurried = trio.Event()
        self.hung_up = Alarm()
        self.gateway: Gateway | None = None
        """None before it serves: then there is nothing to end gracefully."""


async def _obey(signals: AsyncIterator[int], stop: _Stop, everything: trio.CancelScope) -> None:
    heard = 0
    has_terminal = os.isatty(0)
    async for number in signals:
        if number == signal.SIGHUP and not has_terminal:
            if stop.gateway is not None:  # or all has just been read
                stop.hung_up.set()
            continue
        heard += 1
        if stop.gateway is None:
            everything.cancel()
        elif heard == 1:
            stop.asked.set()
        elif heard == 2:
            stop.hurried.set()
        else:
            stop.gateway.cut_off()
            everything.cancel()


async def _read_again(stop: _Stop, certificate: CertificateStore | None) -> None:
    """Read again what may change, each time that SIGHUP asks for it; others need not wait."""
    while True:
        await stop.hung_up.wait()
        assert stop.gateway is not None
        notify(reloading())
        if certificate is not None:
            await trio.to_thread.run_sync(partial(certificate.reload, force=True))
        await _reload(stop.gateway, has_certificate=certificate is not None)
        if not stop.asked.is_set():
            notify(READY)


async def _reload(gateway: Gateway, *, has_certificate: bool) -> None:
    try:
        report = await execute(gateway, "serving.reload", {}, by=_HANGUP)
    except NothingToReloadError:
        if not has_certificate:
            log.info("SIGHUP: there is neither a certificate nor a configuration to read again")
    except GatewayError as error:
        log.error("the configuration in use stays: %s", error.message)
    except Exception:  # whoever is served must not pay for it
        log.exception("the configuration could not be read again")
    else:
        log.info("the configuration was read again", extra={"fields": report})
        if report["needs_restart"]:
            log.warning("it takes a restart to change %s", ", ".join(report["needs_restart"]))


async def _outlive(superior: Superior, stop: _Stop, everything: trio.CancelScope) -> None:
    """End gracefully when the supervisor has died: nobody else would end this process."""
    await superior.wait_gone()
    log.error("the supervisor has died: stopping")
    if stop.gateway is None:
        everything.cancel()
    stop.asked.set()


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


def server_settings(config: Config) -> ServerSettings:
    """What `[server]` says of the boundary. Raises ConfigError: the certificate is none."""
    server = config.server
    tls = None
    if server.tls_cert is not None and server.tls_key is not None:
        try:
            tls = CertificateStore(server.tls_cert, server.tls_key)
        except TlsError as error:
            raise ConfigError(str(error)) from None
    return ServerSettings(
        server=server.server,
        tls=tls,
        trusted=parse_trusted(server.trusted_proxies),
        proxy_protocol=server.proxy_protocol,
        connections_max=server.connections_max,
        connections_per_ip_max=server.connections_per_ip_max,
        header_max_bytes=server.header_max_bytes,
        header_timeout_s=server.header_timeout_s,
        keep_alive_s=server.keep_alive_s,
        write_stall_s=server.write_stall_s,
        sink_high_water_bytes=server.buffered_output_max_bytes,
        output_max_bytes=server.output_max_bytes,
        streams_max=server.streams_max,
        coalesce_s=server.coalesce_ms / 1_000,
        render_error=render_server_error,
    )
