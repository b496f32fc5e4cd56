"""Tells clients that their jobs have ended: signed, tried again, given up in the end.

The queue is a table that the end of a job fills, so nothing is lost by a restart. One account's
messages to one receiver go one after the other; a few receivers of an account are spoken to at the
same time, and more of all accounts: who hangs holds up nobody else. A receiver may get a message
twice and knows it by its id.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Final

import trio

from engine.clock import Clock
from engine.config_tables import Config
from engine.config_webhooks import WebhooksConfig
from engine.egress import (
    EgressFailedError,
    EgressPolicy,
    EgressRefusedError,
    parse_target,
    send,
)
from engine.errors import InvalidRequestError, UnavailableError
from engine.inlining import egress_policy
from engine.ledger.ledger import Ledger
from engine.ledger.records import Ticket
from engine.ledger.webhook_jobs import PRUNED_AT_ONCE, Lane, PendingWebhook, WebhookSecrets
from engine.nurseries import open_tasks
from engine.queue_work import keep_trying, pause_s
from engine.wire.http import Headers
from engine.wire.webhooks import signed_headers, signing_key

logger = logging.getLogger(__name__)

_LANES_READ: Final = 100
_BATCH: Final = 50
_LOOK_AGAIN_S: Final = 60.0
"""A wall clock that was set is noticed within this time."""
_PACE_S: Final = 0.02
"""Between two looks at the queue."""
_UNWELL_S: Final = 1.0
_REFUSED_S: Final = 60.0  # what was sent may be sent again then
_GONE: Final = 410
"""By Standard Webhooks: the receiver wants no more of it."""
_PRUNE_EVERY_S: Final = 600.0
_DAY_MS: Final = 86_400_000


class Webhooks:
    """Of one gateway; made by `open_webhooks`."""

    def __init__(
        self, ledger: Ledger, config: Callable[[], Config], clock: Clock, nursery: trio.Nursery
    ) -> None:
        self._ledger = ledger
        self._config_now = config
        self._clock = clock
        self._nursery = nursery
        self._busy: set[Lane] = set()
        self._ticket = Ticket(0)
        self._changed = trio.Event()

    def ended(self, ticket: Ticket) -> None:
        """A job has ended by this record, or something of it has changed that it is told with."""
        self._ticket = max(self._ticket, ticket)
        self._changed.set()

    @property
    def _config(self) -> WebhooksConfig:
        return self._config_now().webhooks

    async def run(self) -> None:
        """Send what is due, for as long as it runs."""
        await keep_trying(self._work, "webhooks", logger)

    async def _work(self) -> None:
        await self._wait(await self._begin_due())

    async def prune(self) -> None:
        """Forget old messages, again and again."""
        while True:
            try:
                before_ms = self._clock() - self._config.keep_days * _DAY_MS
                while removed := await self._ledger.prune_webhooks(before_ms):
                    logger.info("%d old webhooks were removed", removed)
                    if removed < PRUNED_AT_ONCE:
                        break
            except Exception as error:  # noqa: BLE001 - as above
                logger.error("old webhooks are kept: %s", error)
            await trio.sleep(_PRUNE_EVERY_S)

    async def _begin_due(self) -> float | None:
        """Begin to send what is due, as far as there is room; in how many seconds the next is due,
        None: when something changes."""
        while self._config.enabled and len(self._busy) < self._config.at_once:
            talking = Counter(lane.account_id for lane in self._busy)
            most = self._config.at_once_per_account
            full = [account_id for account_id, lanes in talking.items() if lanes >= most]
            found = await self._ledger.webhook_lanes(self._busy, full, _LANES_READ)
            now_ms = self._clock()
            due = [lane for lane, due_at_ms in found if due_at_ms <= now_ms]
            if not due:
                return (found[0][1] - now_ms) / 1_000 if found else None
            for lane in due:
                if talking[lane.account_id] < most and len(self._busy) < self._config.at_once:
                    talking[lane.account_id] += 1
                    self._busy.add(lane)
                    self._nursery.start_soon(self._run_lane, lane)
        return None

    async def _wait(self, next_s: float | None) -> None:
        with trio.move_on_after(_LOOK_AGAIN_S if next_s is None else min(next_s, _LOOK_AGAIN_S)):
            await self._changed.wait()
            self._changed = trio.Event()
            await self._ledger.wait_durable(self._ticket)
        await trio.sleep(_PACE_S)

    async def _run_lane(self, lane: Lane) -> None:
        """Send what is due in a lane; after a failure it is others' turn."""
        try:
            while await self._send_due(lane):
                pass
        except UnavailableError as error:
            logger.info("webhooks wait: %s", error.message)
            await trio.sleep(_UNWELL_S)
        except Exception as error:  # noqa: BLE001 - as above
            logger.error("webhooks wait: %s", error)
            await trio.sleep(_REFUSED_S)
        finally:
            self._busy.discard(lane)
            self._changed.set()

    async def _send_due(self, lane: Lane) -> bool:
        """Whether all that was due was taken, and there may be more."""
        overlap_ms = int(self._config.secret_overlap_s * 1_000)
        due = await self._ledger.due_webhooks(lane, self._clock(), _BATCH)
        if not due:
            return False
        secrets = await self._ledger.webhook_secrets(lane.account_id, overlap_ms)
        for message in due:
            if not await self._try(message, secrets):
                return False
        return len(due) == _BATCH

    async def _try(self, message: PendingWebhook, secrets: WebhookSecrets) -> bool:
        """Whether it is done with, and the receiver was well."""
        failure = await self._post(message, secrets)
        if failure is None:
            await self._ledger.end_webhook(message.seq, "delivered")
            return True
        config, now_ms = self._config, self._clock()
        last_ms = message.at_ms + int(config.give_up_after_s * 1_000)
        if now_ms >= last_ms or failure == _status(_GONE):
            logger.error(
                "webhook %s of account %s is given up after %d tries: %s",
                message.webhook_id,
                message.account_id,
                message.tries + 1,
                failure,
            )
            await self._ledger.end_webhook(message.seq, "given_up")
            return False
        logger.warning(
            "webhook %s of account %s was not delivered: %s",
            message.webhook_id,
            message.account_id,
            failure,
        )
        wait_s = pause_s(message.tries, config.retry_min_s, config.retry_max_s)
        due_ms = min(now_ms + int(wait_s * 1_000), last_ms)
        await self._ledger.defer_webhook(message.seq, due_ms)
        return False

    async def _post(self, message: PendingWebhook, secrets: WebhookSecrets) -> str | None:
        """One try; why it failed. The URL is not told: it may hold a secret of the receiver's."""
        headers = _signed(message, secrets, self._clock() // 1_000)
        policy = webhook_policy(self._config_now())
        try:
            status = await send(message.url, policy, message.body.encode(), headers)
        except (EgressRefusedError, EgressFailedError) as error:
            return error.message
        return None if 200 <= status < 300 else _status(status)


@asynccontextmanager
async def open_webhooks(
    ledger: Ledger, config: Callable[[], Config], clock: Clock
) -> AsyncIterator[Webhooks]:
    """Send webhooks for the block, by the configuration of the moment."""
    async with open_tasks() as nursery:
        webhooks = Webhooks(ledger, config, clock, nursery)
        nursery.start_soon(webhooks.run)
        nursery.start_soon(webhooks.prune)
        yield webhooks
        nursery.cancel_scope.cancel()


def webhook_policy(config: Config) -> EgressPolicy:
    """Where messages may go, and how long that may take."""
    timeout_s = config.webhooks.timeout_s
    policy = egress_policy(config.egress)
    return replace(policy, timeout_s=timeout_s, idle_timeout_s=timeout_s)


def check_webhook_url(url: str, config: Config) -> str:
    """A URL that a client names, as it is kept. What its host resolves to is checked at each try.

    Raises:
        InvalidRequestError: webhooks are switched off.
        EgressRefusedError: it is none, or may not be reached.
    """
    if not config.webhooks.enabled:
        raise InvalidRequestError("This gateway sends no webhooks; leave 'webhook_url' out.")
    target = parse_target(url)
    if not webhook_policy(config).allows(target.scheme, target.host, target.port):
        raise EgressRefusedError(
            "The scheme, the host or the port of 'webhook_url' is not allowed."
        )
    return target.url


def _signed(message: PendingWebhook, secrets: WebhookSecrets, now_s: int) -> Headers:
    """The headers of one try, by each secret that is good."""
    signatures = []
    named: dict[str, str] = {}
    for secret in (secrets.secret, secrets.former):
        if secret is not None:
            named = signed_headers(signing_key(secret), message.webhook_id, now_s, message.body)
            signatures.append(named["webhook-signature"])
    named |= {"webhook-signature": " ".join(signatures), "content-type": "application/json"}
    return [(name.encode(), value.encode()) for name, value in named.items()]


def _status(status: int) -> str:
    return f"status {status}"
