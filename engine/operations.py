"""What operators do to what runs: look at it, end it, have the configuration read again."""

from __future__ import annotations

import heapq
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import asdict
from typing import Any, Final

import trio

from engine.admission.switches import SwitchKind
from engine.config import Config
from engine.errors import NotFoundError
from engine.events import Call, Outcome
from engine.explaining import explain, routes_json
from engine.ledger.receipt_lists import ReceiptPage
from engine.ledger.receipts import Receipt, format_time
from engine.ledger.records import Finding
from engine.parts import OpenExchange, Parts
from engine.reload import ReloadReport
from engine.rules import Rules
from engine.storage.auditing import audit_files
from engine.telemetry import Telemetry

_END_SLICE_S: Final = 0.1
"""So long at most exchanges are ended before others have their turn; a turn under load is long."""


class Operations:
    """Of one gateway, which offers it as `Gateway.running`."""

    def __init__(self, parts: Parts, reload: Callable[[], Awaitable[ReloadReport]]) -> None:
        self._parts = parts
        self._reload = reload

    @property
    def config(self) -> Config:
        """What the gateway goes by now."""
        return self._parts.config

    @property
    def rules(self) -> Rules:
        """The generation of now."""
        return self._parts.rules

    @property
    def telemetry(self) -> Telemetry:
        """Its metrics."""
        return self._parts.telemetry

    async def reload(self) -> ReloadReport:
        """Have the configuration read again. Raises as `Reloader.reload`."""
        return await self._reload()

    async def audit_files(self) -> list[Finding]:
        """Check what is stored; see `engine.storage.auditing`. Raises UnavailableError."""
        return await audit_files(self._parts.files)

    async def spread_budgets(self) -> None:
        """Have the accounts of plans follow what the plans allow them in a month. Raises
        UnavailableError: the database cannot be written now; they will later."""
        await self._parts.plan_budgets.spread()

    # ---- exchanges under way ------------------------------------------------------------------

    def exchange(self, request_id: str) -> OpenExchange:
        """An exchange under way, or whose provider is read on without its client.

        Raises:
            NotFoundError: there is none of this id.
        """
        found = self._find(request_id)
        if found is None:
            raise NotFoundError(f"No request '{request_id[:100]}' is under way.")
        return found

    def _find(self, request_id: str) -> OpenExchange | None:
        parts = self._parts
        return parts.open_exchanges.get(request_id) or parts.draining.get(request_id)

    def account_of(self, request_id: str) -> str | None:
        """The account whose request this is, if it is under way."""
        found = self._find(request_id)
        return None if found is None else found.receipt.account_id

    def exchanges(self, *, account_id: str | None, limit: int, cursor: str | None) -> ReceiptPage:
        """A page of the receipts of what is under way, the youngest first, of one account or all.

        Request ids begin with the time: a page begins below the id that the one before ended with.
        """
        ids = (
            request_id
            for under_way in (self._parts.open_exchanges, self._parts.draining)
            for request_id, exchange in under_way.items()
            if (cursor is None or request_id < cursor)
            and account_id in (None, exchange.receipt.account_id)
        )
        found = heapq.nlargest(limit + 1, ids)
        receipts = tuple(self._receipt(self.exchange(each)).to_json() for each in found[:limit])
        return ReceiptPage(receipts, found[limit - 1] if len(found) > limit else None)

    def _receipt(self, exchange: OpenExchange) -> Receipt:
        """With what it has consumed until now."""
        receipt = exchange.receipt
        now = self._parts.ledger.running_receipt(receipt.account_id, receipt.request_id)
        return receipt if now is None else now

    def end(self, exchange: OpenExchange) -> None:
        """End it here: what came is billed, its client gets its protocol's error ending or, where
        no head has gone out, a refusal. What has come to its end already is left as it is."""
        exchange.end_by_operator()

    async def ended(self, exchange: OpenExchange) -> dict[str, Any]:
        """The receipt of an exchange that was ended, once that is durable, or
        `barrier_timeout_s` later."""
        if exchange.receipt.state == "settled":
            await exchange.wait_settled()
        return exchange.receipt.to_json()

    async def end_all_of(self, kind: SwitchKind, subject: str) -> int:
        """End whatever is under way of something that has been switched off; how many."""
        parts, ended = self._parts, 0
        slice_ends = time.monotonic() + _END_SLICE_S
        for exchange in (*parts.open_exchanges.values(), *parts.draining.values()):
            receipt = exchange.receipt
            if receipt.state != "settled" and _is_of(receipt, kind, subject):
                exchange.end_by_operator()
                ended += 1
            if time.monotonic() >= slice_ends:
                await trio.lowlevel.checkpoint()  # the endings leave meanwhile
                slice_ends = time.monotonic() + _END_SLICE_S
        return ended

    # ---- routing ------------------------------------------------------------------------------

    def routes(self) -> dict[str, Any]:
        """How deployments and models do."""
        return routes_json(self._parts)

    async def explain(self, call: Call, account_plan: str | None) -> dict[str, Any]:
        """What would become of a request of an account on this plan. Raises as `explain`."""
        return await explain(self._parts, call, account_plan)

    # ---- the process --------------------------------------------------------------------------

    def knows(self, kind: SwitchKind, subject: str) -> bool:
        """Whether the configuration has such a provider, deployment or model; of keys and accounts
        the ledger knows."""
        match kind:
            case "provider":
                return subject in self._parts.providers
            case "model":
                model = self._parts.catalogue.get(subject)
                return model is not None and model.name == subject  # not an alias
            case "deployment":
                return any(
                    subject == deployment.path
                    for model in self._parts.catalogue.values()
                    for deployment in model.deployments
                )
            case _:
                return True

    def status(self) -> dict[str, Any]:
        """What the process is doing, for people."""
        parts, rules = self._parts, self._parts.rules
        stopping = parts.leaving or parts.stopping
        return {
            "ready": not stopping and parts.ledger.problem is None,
            "problem": "stopping" if stopping else parts.ledger.problem,
            "open_exchanges": len(parts.open_exchanges),
            "draining": len(parts.draining),
            "counts_open": parts.counts_open,
            "keys": len(parts.keys),
            "models": len(rules.catalogue),
            "providers": len(rules.providers),
            "plans": len(rules.plans),
            "switched_off": len(parts.ledger.switched_off()),
            "configuration": {
                "number": rules.number,
                "loaded_at": format_time(rules.loaded_at_ms),
            },
            "ledger": asdict(parts.ledger.statistics()),
        }

    def upstream_statistics(self) -> dict[str, Any]:
        """The connections to providers."""
        return asdict(self._parts.pool.statistics())


def _is_of(receipt: Receipt, kind: SwitchKind, subject: str) -> bool:
    """Whether it uses this now. Of two attempts at once either counts."""
    match kind:
        case "provider":
            return any(provider == subject for provider, _ in _used_now(receipt))
        case "deployment":
            return any(f"{provider}/{model}" == subject for provider, model in _used_now(receipt))
        case "model":
            route = receipt.route
            return subject in (receipt.model, None if route is None else route.served)
        case "key":
            return receipt.key_id == subject
        case "account":
            return receipt.account_id == subject


def _used_now(receipt: Receipt) -> Iterator[tuple[str | None, str | None]]:
    """The providers and their models that an exchange waits for, or reads."""
    yield receipt.provider, receipt.model_used
    for attempt in receipt.attempts:
        if attempt.outcome == Outcome.RUNNING:
            yield attempt.provider, attempt.upstream_model
