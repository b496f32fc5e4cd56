"""Reading the configuration again while the gateway serves.

All that can fail comes first; then the rules are replaced at once, by one assignment, and what
follows from them is told. Requests that run keep the rules that they were admitted by.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import trio

from engine.config import Config, ProviderConfig
from engine.errors import ClientError, ConfigError
from engine.inlining import Inliner
from engine.metering.tokens import counter_for
from engine.notices import Notices
from engine.parts import Parts
from engine.rules import Rules, build_rules
from engine.upstream.credentials import Keeper
from engine.upstream.providers import Provider

_AT_START: Final = ("server", "storage", "media", "files")
"""The tables that are read at the start only."""

Read = Callable[[], Config]
"""Reads the configuration anew. Runs in a thread; raises ConfigError."""
Listener = Callable[[Rules], None]


class BadConfigurationError(ClientError):
    """The configuration cannot be used; all is as it was (400)."""

    code = "bad_configuration"


class NothingToReloadError(ClientError):
    """The server was started without a configuration that could be read again (409)."""

    status = 409
    code = "nothing_to_reload"


@dataclass(frozen=True, slots=True)
class ReloadReport:
    """What a reload has done.

    Attributes:
        number: of the rules that hold now.
        changed: what is another now than before, e.g. "models.gpt-5", "billing".
        needs_restart: what is another in the file than in force: it is read at the start only.
    """

    number: int
    changed: tuple[str, ...]
    needs_restart: tuple[str, ...]
    took_ms: int


class Reloader:
    """Of one gateway. `read` is None where there is nothing to read."""

    def __init__(
        self, parts: Parts, read: Read | None, credentials: Keeper, notices: Notices
    ) -> None:
        self._parts = parts
        self._read = read
        self._credentials = credentials
        self._notices = notices
        self._lock = trio.Lock()
        self._listeners: list[Listener] = []

    def follow(self, listener: Listener) -> None:
        """Call this, in the Trio thread, with the rules of each reload; it must not raise."""
        self._listeners.append(listener)

    async def reload(self) -> ReloadReport:
        """Read the configuration again and go by it from now on. One at a time, others wait.

        Raises:
            NothingToReloadError: there is nothing to read.
            BadConfigurationError: it cannot be used; all is as it was.
        """
        if self._read is None:
            raise NothingToReloadError(
                "The server was started without a configuration file: there is nothing to read."
            )
        async with self._lock:
            began_s = trio.current_time()
            try:
                config = await trio.to_thread.run_sync(self._read)
                return await self._use(config, began_s)
            except ConfigError as error:
                raise BadConfigurationError(str(error)) from None

    async def _use(self, config: Config, began_s: float) -> ReloadReport:
        parts, before = self._parts, self._parts.rules
        needs_restart = tuple(_differences(before.config, config, _AT_START))
        kept = {name: getattr(before.config, name) for name in _AT_START}
        config = dataclasses.replace(config, **kept)
        fresh = await trio.to_thread.run_sync(build_rules, config, parts.clock, before)
        await load_vocabularies(fresh)
        added = _apart(fresh.providers, before.providers)
        try:
            await self._credentials.keep(provider.credentials for provider in added)
            # Operators may have changed plans meanwhile. From here on there is no checkpoint.
            fresh = fresh.after(parts.rules)
            check_plans(fresh, parts.ledger.plans_in_use)
        except BaseException:
            self._credentials.drop(provider.credentials for provider in added)
            raise
        parts.renew(fresh)
        self._follow_up(before, fresh)
        return ReloadReport(
            number=fresh.number,
            changed=tuple(_differences(before.config, config)),
            needs_restart=needs_restart,
            took_ms=round((trio.current_time() - began_s) * 1_000),
        )

    def _follow_up(self, before: Rules, rules: Rules) -> None:
        parts, config = self._parts, rules.config
        if config.egress != before.config.egress:
            parts.inliner = Inliner(config.egress)
        parts.drains.per_account_max = config.billing.drains_per_account_max
        for provider in rules.providers.values():
            parts.pool.keep_warm(provider)
        parts.pool.let_cool(rules.providers.values())
        gone = _apart(before.providers, rules.providers)
        self._credentials.drop(
            (provider.credentials for provider in gone), config.server.exchange_deadline_s
        )
        self._notices.use(config.notices)
        _renew_health(parts, before, rules)
        parts.plan_budgets.look()
        for listener in self._listeners:
            listener(rules)


def _renew_health(parts: Parts, before: Rules, rules: Rules) -> None:
    """What is known of deployments that stay is kept."""
    rows, known = rules.config.providers, before.config.providers
    parts.health.renew(
        rules.config.routing,
        [each for model in rules.catalogue.values() for each in model.deployments],
        rules.catalogue.values(),
        [name for name, row in rows.items() if name in known and _keys(row) != _keys(known[name])],
    )
    if rules.config.routing.seed != before.config.routing.seed:
        parts.chance.seed(rules.config.routing.seed)


def _keys(row: ProviderConfig) -> tuple[object, ...]:
    return row.api_key, row.api_keys


def check_plans(rules: Rules, in_use: Mapping[str, int]) -> None:
    """Nobody's plan may go away: then nothing would limit them, or nothing would be served.

    Raises:
        ConfigError: accounts are on a plan that the rules have not.
    """
    for name, accounts in sorted(in_use.items()):
        if name not in rules.plans:
            raise rules.config.error(
                ("plans",),
                f"has no '{name}', and {accounts:,} account{'s are' if accounts > 1 else ' is'} "
                "on it: put them on another plan first",
            )


async def load_vocabularies(rules: Rules) -> tuple[str, ...]:
    """Have in memory what prompts and answers of all models are counted with; its names."""
    encodings = {
        deployment.encoding
        for model in rules.catalogue.values()
        for deployment in model.deployments
    }
    for encoding in sorted(encodings):
        await trio.to_thread.run_sync(counter_for, encoding)
    return tuple(sorted(encodings))


def _apart(some: Mapping[str, Provider], others: Mapping[str, Provider]) -> list[Provider]:
    return [provider for name, provider in some.items() if others.get(name) is not provider]


def _differences(
    before: Config, after: Config, tables: tuple[str, ...] | None = None
) -> Iterator[str]:
    """The keys of two configurations that differ, to the depth that an operator thinks in."""
    for spec in dataclasses.fields(Config):
        if not spec.compare or (tables is not None and spec.name not in tables):
            continue
        was, is_now = getattr(before, spec.name), getattr(after, spec.name)
        if was == is_now:
            continue
        if isinstance(was, Mapping):
            names = {**was, **is_now}
            yield from (
                f"{spec.name}.{name}" for name in names if was.get(name) != is_now.get(name)
            )
        elif dataclasses.is_dataclass(was) and dataclasses.is_dataclass(is_now):
            yield from (
                f"{spec.name}.{inner.name}"
                for inner in dataclasses.fields(was)
                if getattr(was, inner.name) != getattr(is_now, inner.name)
            )
        else:
            yield spec.name
