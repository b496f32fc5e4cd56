"""The net in front of all requests: how many one address may make, whoever it says it is.

Asked before anything is done for a request; see `engine.admission.net`.
"""

from __future__ import annotations

import logging
from typing import Any, Final

import trio

from engine import Gateway
from engine.admission.net import NetLimiter
from engine.errors import AddressLimitedError
from engine.rules import Rules
from frontends.server.forwarded import is_forwarded, parse_trusted
from frontends.server.peers import group_of

log = logging.getLogger("parshall.app")

UNCOUNTED_PATHS: Final = frozenset({"/healthz", "/readyz"})
"""Asked by balancers, which would take a refusal for the end of the process."""
_GROUPS_MAX: Final = 10_000
"""Addresses whose group is remembered: to parse one costs more than all else here."""


class Net:
    """Of one gateway's front; its bounds follow the configuration."""

    def __init__(self, gateway: Gateway) -> None:
        self._trusted = parse_trusted(gateway.config.server.trusted_proxies)
        self._groups: dict[str, str] = {}
        limits = gateway.config.limits
        self._limiter = NetLimiter(limits.requests_per_ip, limits.per_ip_window_s)
        self._warned_s: float | None = None
        gateway.telemetry.gauge(
            "parshall_addresses",
            "Addresses whose requests are counted.",
            lambda: self._limiter.addresses,
        )
        gateway.telemetry.gauge(
            "parshall_addresses_uncounted",
            "Requests that passed because more addresses asked than are remembered.",
            lambda: self._limiter.uncounted,
        )
        gateway.follow_rules(self._follow)

    def take(self, scope: Any) -> None:
        """Count the request that an ASGI scope is of.

        Raises:
            AddressLimitedError: its address has made too many.
        """
        client = scope.get("client")
        if client is None or scope["path"] in UNCOUNTED_PATHS:
            return
        group = self._group(client[0])
        if not group:
            return
        try:
            self._limiter.take(group)
        except AddressLimitedError:
            if is_forwarded(scope["headers"]):
                self._warn(client[0])
            raise

    def _group(self, address: str) -> str:
        group = self._groups.get(address)
        if group is None:
            if len(self._groups) >= _GROUPS_MAX:
                self._groups.clear()
            group = self._groups[address] = group_of(address, self._trusted)
        return group

    def _follow(self, rules: Rules) -> None:
        """Go by the limits of a reload: other ones count anew."""
        limits = rules.config.limits
        bounds = limits.requests_per_ip, limits.per_ip_window_s
        if bounds != (self._limiter.requests, self._limiter.window_s):
            self._limiter = NetLimiter(*bounds)

    def _warn(self, address: str) -> None:
        """That a proxy is taken for a client, once a window: all of its clients are refused."""
        now_s = trio.current_time()
        if self._warned_s is None or now_s - self._warned_s >= self._limiter.window_s:
            self._warned_s = now_s
            log.warning(
                "%s has made %d requests in %d s, and says that they are others': "
                "if it is a proxy of yours, name it in 'trusted_proxies'",
                address,
                self._limiter.requests,
                self._limiter.window_s,
            )
