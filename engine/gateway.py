"""The root of the engine: what it offers, and what runs beside the exchanges."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager
from dataclasses import asdict, replace
from typing import Any

import trio

from engine import admitting, counting, exchange
from engine.admission.keys import (
    KeyEntry,
    Principal,
    Scope,
    digest,
    new_secret,
    shown_prefix,
)
from engine.admission.limits import LimitStatus
from engine.agents.book import Agents
from engine.batches.following import BatchFollow
from engine.clock import Clock, wall_ms
from engine.config import Config
from engine.errors import NotFoundError
from engine.events import Call, Head
from engine.exchange import Exchange
from engine.fine_tuning.following import TuningFollow
from engine.jobs.copying import open_copying
from engine.jobs.desk import Desk
from engine.jobs.follow_table import FOLLOWS
from engine.jobs.follows import Follows
from engine.jobs.poller import open_poller
from engine.jobs.results import Results, result_policy
from engine.jobs.runs import RunFollow
from engine.jobs_api import JobsApi
from engine.ledger.ledger import Ledger
from engine.ledger.receipt_lists import ReceiptPage, ReceiptQuery
from engine.ledger.receipts import for_customer
from engine.ledger.records import KeyRow
from engine.listing import ModelInfo
from engine.load import Load
from engine.notices import open_notices
from engine.operations import Operations
from engine.parts import Parts
from engine.passing.service import Passing
from engine.probing import open_probing
from engine.referring import Referring
from engine.reload import (
    Listener,
    Read,
    Reloader,
    ReloadReport,
)
from engine.rules import Admitted
from engine.spool import Spool
from engine.storage.files import FileStore
from engine.storage.media import MediaStore
from engine.storage.sessions import UploadSessions
from engine.telemetry import Telemetry
from engine.upkeep import open_upkeep
from engine.upstream.credentials import open_credentials
from engine.webhooks import open_webhooks
from engine.wiring import open_parts

_END_SLICE_S = 0.1
"""So long at most exchanges are ended before others have their turn; a turn under load is long."""


class Gateway(JobsApi):
    """Made by `open_gateway`. One gateway owns its database."""

    def __init__(self, parts: Parts, reloader: Reloader, desk: Desk, results: Results) -> None:
        super().__init__(parts, desk, results)
        self._parts = parts
        self._reloader = reloader
        self._running = Operations(parts, reloader.reload)
        self._passing = Passing(parts, self.settle_first)
        parts.files.fetch = self._passing.files.fetch
        parts.files.keep_made = self._passing.files.keep_made

    @property
    def config(self) -> Config:
        """What it is told now."""
        return self._parts.config

    @property
    def ledger(self) -> Ledger:
        """For administration."""
        return self._parts.ledger

    @property
    def running(self) -> Operations:
        """What operators can do to it while it runs."""
        return self._running

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

    @property
    def media(self) -> MediaStore:
        """Generated media that wait to be fetched."""
        return self._parts.media

    @property
    def files(self) -> FileStore:
        """Files of accounts."""
        return self._parts.files

    @property
    def uploads(self) -> UploadSessions:
        """Files that come in several requests."""
        return self._parts.uploads

    @property
    def agents(self) -> Agents:
        """What accounts have set up to be called like models."""
        return self._parts.agents

    @property
    def passing(self) -> Passing:
        """What is passed through to providers that keep state."""
        return self._passing

    @property
    def referring(self) -> Referring:
        """What gives them to providers."""
        return self._parts.referring

    async def reload(self) -> ReloadReport:
        """Read the configuration again; see `engine.reload.Reloader.reload`."""
        return await self._reloader.reload()

    def follow_rules(self, listener: Listener) -> None:
        """Call this with the rules of each reload: for what is made of the configuration once."""
        self._reloader.follow(listener)

    @property
    def key_prefixes(self) -> tuple[str, ...]:
        """What its keys begin with: nothing of the kind belongs in a log."""
        return self._parts.keys.prefixes

    def authenticate(self, key: str | None) -> Principal:
        """Who a key belongs to.

        Raises:
            AuthenticationError: there is no key, or it is unknown, revoked or expired.
            KeyDisabledError, AccountDisabledError: an operator has switched it off.
        """
        return self._parts.keys.find(key, self._parts.clock()).principal

    def identify(self, key: str | None, scope: Scope | None) -> Admitted:
        """Who asks and by which rules, without a limit; see `engine.admitting.identify`."""
        return admitting.identify(self._parts, key, scope)

    def identify_again(self, entry: KeyEntry, scope: Scope | None) -> Admitted:
        """As `identify`, of a key that was found before."""
        return admitting.identify_again(self._parts, entry, scope)

    async def admit(self, key: str | None, scope: Scope) -> Admitted:
        """Who may call, which is one request of the limits; see `engine.admitting.admit`."""
        return await admitting.admit(self._parts, key, scope)

    async def take_request(self, admitted: Admitted) -> None:
        """One request of the limits of who was identified. Raises RateLimitedError."""
        await self._parts.limiter.take_request(admitted.demand)

    def limit_status(self, admitted: Admitted) -> LimitStatus:
        """What is left of the limits of who was admitted."""
        return self._parts.limiter.status(admitted.demand)

    def open_exchange(
        self, call: Call, admitted: Admitted | None = None
    ) -> AbstractAsyncContextManager[Exchange]:
        """Admit a call, unless its key was admitted before, and own it for the block; see
        `engine.exchange.open_exchange`."""
        return exchange.open_exchange(self._parts, call, admitted)

    async def count_tokens(
        self, call: Call, admitted: Admitted | None = None
    ) -> tuple[Head, bytes]:
        """How many tokens a prompt has; see `engine.counting.count_tokens`."""
        return await counting.count_tokens(self._parts, call, admitted)

    def models(self, admitted: Admitted) -> tuple[ModelInfo, ...]:
        """The models that a key may use, with what its account pays for them."""
        return self._parts.rules.models_of(admitted)

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
        secret = new_secret(self.config.limits.key_prefix)
        return await self.adopt_key(account_id, name, secret), secret

    async def adopt_key(self, account_id: str, name: str, secret: str) -> KeyRow:
        """Make a secret that was made before a key of this account."""
        prefix = shown_prefix(secret, self.config.limits.key_prefix)
        return await self._parts.ledger.create_key(account_id, name, digest(secret), prefix)

    async def revoke_key(self, key_id: str) -> KeyRow:
        """Refuse a key from now on; what it has started goes on. Raises NotFoundError."""
        return await self._parts.ledger.revoke_key(key_id)

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
        self._parts.state.leaving = True

    def stop_admission(self) -> None:
        """Refuse new calls; what is under way goes on."""
        self._parts.state.stopping = True

    def cut_off(self) -> None:
        """Say that what is cancelled from now on is cut by us: it ends as `shutdown`."""
        self._parts.state.stopping = self._parts.state.cutting = True

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
async def open_gateway(
    config: Config, *, clock: Clock = wall_ms, read: Read | None = None
) -> AsyncIterator[Gateway]:
    """Open the gateway: recover the ledger, load prices and vocabularies, keep connections.

    Leaving the block makes everything durable that was settled in it. `clock` is the wall clock
    that everything is dated by; `read` reads the configuration again for a reload.

    Raises:
        ConfigError: a model without a price, or an impossible one; accounts are on a plan that
            there is not; files cannot be where it says.
        LedgerLockedError: another process owns the database.
    """
    async with open_parts(config, clock) as parts:
        ledger, pool, files = parts.ledger, parts.pool, parts.files
        results = Results(
            files, pool, lambda: parts.providers, lambda: result_policy(parts.config.egress)
        )

        async def storage_limit(account_id: str) -> int:
            plan = (await ledger.account(account_id)).plan
            return files.limit_bytes(None if plan is None else parts.rules.plans.get(plan))

        batches = BatchFollow(ledger, files, pool, lambda: parts.providers, storage_limit)
        follows: Follows = {
            **FOLLOWS,
            "batch": batches,
            "fine_tune": TuningFollow(ledger),
            "run": RunFollow(ledger),
        }
        desk = Desk(
            pool, lambda: parts.providers, lambda: parts.config.jobs.poll_timeout_s, follows
        )
        for provider in parts.providers.values():
            pool.keep_warm(provider)
        async with (
            open_credentials(p.credentials for p in parts.providers.values()) as credentials,
            open_notices(ledger, pool, config.notices, clock) as notices,
            open_webhooks(ledger, lambda: parts.config, clock) as webhooks,
            open_copying(ledger, results, files, storage_limit, webhooks.ended) as copier,
            open_upkeep(parts),
            open_probing(parts),
            open_poller(parts.jobs, desk, lambda: parts.config.jobs, clock, parts.chance.random),
        ):
            parts.jobs.follow(lambda _, ticket: webhooks.ended(ticket))
            parts.jobs.follow(lambda _, ticket: copier.ended(ticket))
            yield Gateway(parts, Reloader(parts, read, credentials, notices), desk, results)
