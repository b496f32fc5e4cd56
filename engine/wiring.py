"""How the parts of a gateway are made, and take up what the database says."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

from engine.admission.keys import KeyIndex
from engine.admission.limits import LocalLimiter
from engine.admission.switches import Switches
from engine.agents.book import Agents
from engine.agents.knowledge import open_knowledge
from engine.clock import Clock
from engine.config import Config
from engine.drains import open_drains
from engine.errors import ConfigError
from engine.idempotency import IdempotencyKeys
from engine.inlining import Inliner
from engine.jobs.book import JobBook
from engine.keyring import follow_keys
from engine.ledger.changes import Change, PlanSet, PriceSet, Switched
from engine.ledger.ledger import open_ledger
from engine.ledger.records import LedgerSettings
from engine.load import Load
from engine.parsing.pool import ParsingSettings, open_parsing
from engine.parts import Parts
from engine.referring import open_referring
from engine.reload import check_plans, load_vocabularies
from engine.routing.health import HealthBook
from engine.rules import build_rules
from engine.spool import Spool, SpoolError
from engine.storage.media import MediaStore
from engine.storage.sessions import open_sessions
from engine.storing import open_file_store
from engine.telemetry import Telemetry
from engine.upkeep import expose
from engine.upstream.pool import open_pool

logger = logging.getLogger(__name__)


@asynccontextmanager
async def open_parts(config: Config, clock: Clock) -> AsyncIterator[Parts]:
    """All that exchanges use, for the block: the ledger recovered, prices and vocabularies loaded.
    Raises as `engine.gateway.open_gateway`."""
    rules = build_rules(config, clock)
    encodings = await load_vocabularies(rules)
    settings = LedgerSettings(
        path=config.storage.path,
        barrier_timeout_s=config.storage.barrier_timeout_s,
        clock=clock,
    )
    parsing_settings = ParsingSettings(
        here_max_bytes=config.server.parsed_here_max_bytes, encodings=encodings
    )
    spool = open_spool(config)
    chance = Random(config.routing.seed)  # noqa: S311 - spreads load, and guards nothing
    async with (
        open_ledger(settings) as ledger,
        open_pool() as pool,
        open_drains(config.billing.drains_per_account_max) as drains,
        open_parsing(parsing_settings, spool) as parsing,
        open_file_store(config, ledger, clock) as files,
        open_sessions(files) as uploads,
        open_knowledge(
            config.knowledge_path, files, lambda: parts.config.agents, ledger.all_agent_ids
        ) as knowledge,
        open_referring(files, pool, clock) as referring,
    ):
        telemetry = Telemetry()
        parts = Parts(
            rules=rules,
            ledger=ledger,
            keys=KeyIndex(),
            limiter=LocalLimiter(),
            switches=Switches(),
            pool=pool,
            telemetry=telemetry,
            jobs=JobBook(ledger, telemetry, clock),
            drains=drains,
            idempotency=IdempotencyKeys(ledger, clock, config.storage.idempotency_keep_s),
            inliner=Inliner(config.egress),
            referring=referring,
            load=Load(),
            parsing=parsing,
            health=HealthBook(config.routing, chance.random),
            chance=chance,
            spool=spool,
            media=MediaStore(
                spool,
                clock,
                max_bytes=config.media.store_max_bytes,
                ttl_s=config.media.url_ttl_s,
                base_url=config.media.base_url,
            ),
            files=files,
            uploads=uploads,
            agents=Agents(ledger, knowledge, clock, lambda: parts.config.agents),
            clock=clock,
        )
        files.remove_copy = lambda copy: referring.remove_copy(parts.providers, copy)
        await _take_up(parts)
        expose(parts)
        yield parts


async def _take_up(parts: Parts) -> None:
    """Go by what operators have made, and follow what they change from now on.

    Raises:
        ConfigError: the configuration does not go with it.
    """
    changes = await parts.ledger.load_operations()
    ordered = [change for change in changes if isinstance(change, PlanSet | PriceSet)]
    if ordered:
        parts.renew(parts.rules.changed(ordered))
    for change in changes:
        if not isinstance(change, PlanSet | PriceSet):
            _follow(parts, change)
    check_plans(parts.rules, parts.ledger.plans_in_use)
    parts.ledger.follow(lambda change: _follow(parts, change))


def _follow(parts: Parts, change: Change) -> None:
    match change:
        case PlanSet() | PriceSet():
            try:
                parts.rules = parts.rules.changed([change])
            except ConfigError as error:  # refused before, where it was asked for
                logger.error("a change of plans or prices is not followed: %s", error)
        case Switched(kind, subject, off, reason):
            parts.switches.turn(kind, subject, off=off, reason=reason)
            follow_keys(parts.keys, parts.limiter, change)
        case _:
            follow_keys(parts.keys, parts.limiter, change)


def open_spool(config: Config) -> Spool:
    """The spool that the configuration names. Raises ConfigError: nothing can be written there."""
    spool = Spool(config.server.spool_dir, config.server.spool_max_bytes)
    try:
        spool.open().close()
    except SpoolError as error:
        reason = getattr(error.__cause__, "strerror", None) or error
        problem = f"is no folder that files can be made in: {reason}"
        raise config.error(("server", "spool_dir"), problem) from None
    return spool
