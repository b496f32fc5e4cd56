"""The root of the engine: wires the parts, and owns what runs beside them."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any

import trio

from engine import counting, exchange
from engine.admission.keys import KeyIndex, Principal, digest, new_secret, shown_prefix
from engine.catalogue import build_catalogue
from engine.clock import Clock, wall_ms
from engine.config import Config, ProviderConfig
from engine.drains import open_drains
from engine.errors import NotFoundError
from engine.events import Call, Head
from engine.exchange import Exchange
from engine.idempotency import IdempotencyKeys
from engine.inlining import Inliner
from engine.ledger.ledger import Ledger, open_ledger
from engine.ledger.receipt_lists import ReceiptPage, ReceiptQuery
from engine.ledger.receipts import for_customer
from engine.ledger.records import KeyRow, LedgerSettings
from engine.listing import ModelInfo, list_models
from engine.load import Load
from engine.metering.tokens import counter_for
from engine.notices import open_notices
from engine.parsing.pool import ParsingSettings, open_parsing
from engine.parts import Parts
from engine.protocols.quirks import Quirks
from engine.spool import Spool, SpoolError
from engine.telemetry import Telemetry
from engine.upkeep import expose, open_upkeep
from engine.upstream.credentials import open_credentials
from engine.upstream.pool import open_pool
from engine.upstream.providers import Provider

_END_SLICE_S = 0.1
"""So long at most exchanges are ended before others have their turn; a turn under load is long."""


class Gateway:
    """Made by `open_gateway`. One gateway owns its database."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._models = list_models(parts.catalogue, parts.config, parts.clock() // 1_000)

    @property
    def config(self) -> Config:
        """What it was told."""
        return self._parts.config

    @property
    def ledger(self) -> Ledger:
        """For administration."""
        return self._parts.ledger

    @property
    def telemetry(self) -> Telemetry:
        """Its metrics."""
        return self._parts.telemetry

    @property
    def load(self) -> Load:
        """How loaded the process is."""
        return self._parts.load

    @property
    def spool(self) -> Spool:
        """Where bodies go that are too large for memory."""
        return self._parts.spool

    def authenticate(self, key: str | None) -> Principal:
        """Who a key belongs to. Raises AuthenticationError."""
        return self._parts.keys.authenticate(key)

    def open_exchange(self, call: Call) -> AbstractAsyncContextManager[Exchange]:
        """Admit a call and own it for the block; see `engine.exchange.open_exchange`."""
        return exchange.open_exchange(self._parts, call)

    async def count_tokens(self, call: Call) -> tuple[Head, bytes]:
        """How many tokens a prompt has; see `engine.counting.count_tokens`."""
        return await counting.count_tokens(self._parts, call)

    def models(self, principal: Principal) -> tuple[ModelInfo, ...]:
        """The models that this principal may use: all, until there are plans."""
        return self._models

    async def receipt(self, principal: Principal, request_id: str) -> dict[str, Any]:
        """A receipt of the principal's own account, as its customer sees it; also of an exchange
        under way.

        Raises:
            NotFoundError: this account has none of that id.
        """
        found = await self._parts.ledger.read_receipt(principal.account_id, request_id)
        if found is None:
            raise NotFoundError(f"There is no receipt '{request_id}'.")
        return for_customer(found)

    async def receipts(self, principal: Principal, query: ReceiptQuery) -> ReceiptPage:
        """A page of the receipts of the principal's own account, those under way first.

        Raises:
            InvalidRequestError: the cursor is none.
        """
        page = await self._parts.ledger.list_receipts(principal.account_id, query)
        return replace(page, receipts=tuple(map(for_customer, page.receipts)))

    async def cancel(self, principal: Principal, request_id: str) -> dict[str, Any]:
        """End a stream of the principal's own account where it is, and return its receipt.

        One that has ended already is left as it is. The client of the stream gets a valid ending
        with its usage; nothing that comes after this moment is charged.

        Raises:
            NotFoundError: this account has none of that id.
            NotAStreamError: the answer comes in one piece.
        """
        parts = self._parts
        exchange = parts.open_exchanges.get(request_id) or parts.draining.get(request_id)
        if exchange is not None and exchange.receipt.account_id == principal.account_id:
            exchange.cancel()
            if exchange.receipt.state == "settled":
                await exchange.wait_settled()
                return for_customer(exchange.receipt.to_json())
        return await self.receipt(principal, request_id)

    async def create_key(self, account_id: str, name: str) -> tuple[KeyRow, str]:
        """A new key and its secret, which is known only now. Raises NotFoundError."""
        secret = new_secret()
        return await self.adopt_key(account_id, name, secret), secret

    async def adopt_key(self, account_id: str, name: str, secret: str) -> KeyRow:
        """Make a secret that was made before a key of this account."""
        row = await self._parts.ledger.create_key(
            account_id, name, digest(secret), shown_prefix(secret)
        )
        self._parts.keys.add(row.digest, Principal(account_id, row.key_id))
        return row

    async def revoke_key(self, key_id: str) -> KeyRow:
        """Refuse a key from now on; what it has started goes on. Raises NotFoundError."""
        row = await self._parts.ledger.revoke_key(key_id)
        self._parts.keys.remove(key_id)
        return row

    @property
    def not_ready(self) -> str | None:
        """Why no requests are taken now, for the operator; None when they are."""
        if self._parts.leaving or self._parts.stopping:
            return "stopping"
        return self._parts.ledger.problem

    @property
    def open_exchanges(self) -> int:
        """How many exchanges are under way."""
        return len(self._parts.open_exchanges)

    def withdraw(self) -> None:
        """Say that it will stop: it is not ready any more, but takes calls still."""
        self._parts.leaving = True

    def stop_admission(self) -> None:
        """Refuse new calls; what is under way goes on."""
        self._parts.stopping = True

    def cut_off(self) -> None:
        """Say that what is cancelled from now on is cut by us: it ends as `shutdown`."""
        self._parts.stopping = self._parts.cutting = True

    def refused_at_end(self) -> AbstractContextManager[trio.CancelScope]:
        """For what precedes a call: give up the block at `end_all`. Raises ShutdownError then; a
        deadline that the scope is given only ends the block."""
        return self._parts.preliminaries.refused_at_end()

    async def end_all(self) -> None:
        """End what is under way: each is settled as `shutdown`, and its client gets the error
        ending of its protocol, or a refusal where no head has gone out."""
        self.cut_off()
        self._parts.preliminaries.end()
        slice_ends = time.monotonic() + _END_SLICE_S
        for under_way in tuple(self._parts.open_exchanges.values()):
            under_way.shut_down()
            if time.monotonic() >= slice_ends:
                await trio.lowlevel.checkpoint()  # the endings leave meanwhile
                slice_ends = time.monotonic() + _END_SLICE_S

    def statistics(self) -> dict[str, Any]:
        """Figures of the parts, for people."""
        return {
            "open_exchanges": self.open_exchanges,
            "counts_open": self._parts.counts_open,
            "open_drains": self._parts.drains.open,
            "ledger": asdict(self._parts.ledger.statistics()),
            "parsing": asdict(self._parts.parsing.statistics),
            "upstream": asdict(self._parts.pool.statistics()),
        }


@asynccontextmanager
async def open_gateway(config: Config, *, clock: Clock = wall_ms) -> AsyncIterator[Gateway]:
    """Open the gateway: recover the ledger, load prices and vocabularies, keep connections.

    Leaving the block makes everything durable that was settled in it. `clock` is the wall clock
    that everything is dated by.

    Raises:
        ConfigError: a model without a price, or an impossible one.
        LedgerLockedError: another process owns the database.
    """
    catalogue = build_catalogue(config, datetime.fromtimestamp(clock() / 1_000, UTC), clock)
    providers = {name: build_provider(name, row) for name, row in config.providers.items()}
    encodings = {m.deployments[0].encoding for m in catalogue.values()}
    await _load_vocabularies(encodings)
    settings = LedgerSettings(
        path=config.storage.path,
        barrier_timeout_s=config.storage.barrier_timeout_s,
        clock=clock,
    )
    parsing_settings = ParsingSettings(
        here_max_bytes=config.server.parsed_here_max_bytes, encodings=tuple(encodings)
    )
    spool = open_spool(config)
    async with (
        open_ledger(settings) as ledger,
        open_pool() as pool,
        open_drains(config.billing.drains_per_account_max) as drains,
        open_parsing(parsing_settings, spool) as parsing,
    ):
        parts = Parts(
            config=config,
            ledger=ledger,
            keys=await _load_keys(ledger),
            catalogue=catalogue,
            providers=providers,
            pool=pool,
            telemetry=Telemetry(),
            drains=drains,
            idempotency=IdempotencyKeys(ledger, clock, config.storage.idempotency_keep_s),
            inliner=Inliner(config.egress),
            load=Load(),
            parsing=parsing,
            spool=spool,
            clock=clock,
        )
        expose(parts)
        for provider in providers.values():
            pool.keep_warm(provider)
        credentials = [provider.credentials for provider in providers.values()]
        async with (
            open_credentials(credentials),
            open_notices(ledger, pool, config.notices, clock),
            open_upkeep(parts),
        ):
            yield Gateway(parts)


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


def build_provider(name: str, row: ProviderConfig) -> Provider:
    """A provider as the pool and the codecs take it."""
    return Provider(
        name=name,
        protocol=row.protocol,
        base_url=row.base_url,
        api_key=row.api_key,
        on_cancel=row.on_cancel,
        cancel_drain_s=row.cancel_drain_s,
        cancel_drain_tokens=row.cancel_drain_tokens,
        http2=row.http2,
        terminal=row.terminal,
        ca_file=row.ca_file,
        client_cert_file=row.client_cert_file,
        client_key_file=row.client_key_file,
        proxy=row.proxy,
        auth=row.auth,
        credentials_file=row.credentials_file,
        region=row.region,
        profile=row.profile,
        also=frozenset(
            name
            for name, spoken in (
                ("openai_responses", row.responses),
                ("openai_completions", row.completions),
            )
            if spoken
        ),
        model_path=row.model_path,
        api_version=row.api_version,
        quirks=Quirks(
            include_usage=row.include_usage,
            output_limit_field=row.output_limit_field,
            refuses=row.refuses,
            reasoning_apart=row.reasoning_apart,
            hosting=row.hosting,
            inlines=row.inlines,
        ),
        connect_timeout_s=row.connect_timeout_s,
        first_byte_timeout_s=row.first_byte_timeout_s,
        idle_timeout_s=row.idle_timeout_s,
        total_timeout_s=row.total_timeout_s,
        connections_max=row.connections_max,
        warm_connections=row.warm_connections,
        connection_max_age_s=row.connection_max_age_s,
    )


async def _load_vocabularies(encodings: set[str]) -> None:
    for encoding in encodings:
        await trio.to_thread.run_sync(counter_for, encoding)


async def _load_keys(ledger: Ledger) -> KeyIndex:
    index = KeyIndex()
    for row in await ledger.keys():
        if row.revoked_at_ms is None:
            index.add(row.digest, Principal(row.account_id, row.key_id))
    return index
