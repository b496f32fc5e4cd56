"""Sends notices to the operator's webhook: signed, tried again, given up in the end.

The queue is a table, so nothing is lost by a restart; it is worked off in the order of what is due,
one message at a time. A receiver may get a message twice and knows it by its id.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import trio

from engine.clock import Clock
from engine.config import NoticesConfig
from engine.ledger.ledger import Ledger
from engine.ledger.notice_jobs import PendingNotice
from engine.nurseries import open_tasks
from engine.queue_work import keep_trying, pause_s
from engine.upstream.pool import Pool
from engine.upstream.transport import MultiplexTransport
from engine.wire.webhooks import signed_headers, signing_key

logger = logging.getLogger(__name__)

_BATCH = 100
_LOOK_AGAIN_S = 60.0
"""A wall clock that was set is noticed within this time."""


class Notices:
    """Sends the ledger's notices, if there is somewhere to send them; made by `open_notices`."""

    def __init__(self, ledger: Ledger, pool: Pool, config: NoticesConfig, clock: Clock) -> None:
        self._ledger = ledger
        self._pool = pool
        self._config = config
        self._clock = clock
        self._changed = trio.Event()

    def use(self, config: NoticesConfig) -> None:
        """Send them as this says from now on."""
        if config != self._config:
            self._config = config
            self._changed.set()
            self._changed = trio.Event()

    async def run(self) -> None:
        """Send them for as long as it runs. What is on its way when the configuration changes is
        sent again."""
        while True:
            config, changed = self._config, self._changed
            async with open_tasks() as nursery:
                if config.url is not None and config.secret is not None:
                    nursery.start_soon(self._send, config, config.url, signing_key(config.secret))
                await changed.wait()
                nursery.cancel_scope.cancel()

    async def _send(self, config: NoticesConfig, url: str, key: bytes) -> None:
        async with httpx.AsyncClient(
            transport=MultiplexTransport(self._pool),
            timeout=None,  # noqa: S113 - of its own, below
        ) as client:
            await _Sender(self._ledger, client, config, url, key, self._clock).run()


@asynccontextmanager
async def open_notices(
    ledger: Ledger, pool: Pool, config: NoticesConfig, clock: Clock
) -> AsyncIterator[Notices]:
    """Send the ledger's notices for the block."""
    notices = Notices(ledger, pool, config, clock)
    async with open_tasks() as nursery:
        nursery.start_soon(notices.run)
        yield notices
        nursery.cancel_scope.cancel()


class _Sender:
    def __init__(
        self,
        ledger: Ledger,
        client: httpx.AsyncClient,
        config: NoticesConfig,
        url: str,
        key: bytes,
        clock: Clock,
    ) -> None:
        self._ledger = ledger
        self._client = client
        self._config = config
        self._url = url
        self._key = key
        self._clock = clock

    async def run(self) -> None:
        await keep_trying(self._work, "notices", logger)

    async def _work(self) -> None:
        await self._wait(await self._send_due())

    async def _send_due(self) -> float | None:
        """Send what is due; in how many seconds the next one is, None if there is none."""
        while True:
            pending = await self._ledger.pending_notices(_BATCH)
            due = [notice for notice in pending if notice.due_at_ms <= self._clock()]
            if not due:
                return (pending[0].due_at_ms - self._clock()) / 1_000 if pending else None
            for notice in due:
                await self._try(notice)

    async def _wait(self, next_s: float | None) -> None:
        with trio.move_on_after(_LOOK_AGAIN_S if next_s is None else min(next_s, _LOOK_AGAIN_S)):
            await self._ledger.wait_notices()

    async def _try(self, notice: PendingNotice) -> None:
        failure = await self._post(notice)
        if failure is None:
            await self._ledger.end_notice(notice.notice_id, "delivered")
            return
        now_ms = self._clock()
        last_ms = notice.at_ms + int(self._config.give_up_after_s * 1_000)
        if now_ms >= last_ms:
            logger.error(
                "notice %s (%s) is given up after %d tries: %s",
                notice.notice_id,
                notice.kind,
                notice.tries + 1,
                failure,
            )
            await self._ledger.end_notice(notice.notice_id, "given_up")
            return
        logger.warning("notice %s was not delivered: %s", notice.notice_id, failure)
        wait_s = pause_s(notice.tries, self._config.retry_min_s, self._config.retry_max_s)
        due_ms = min(now_ms + int(wait_s * 1_000), last_ms)
        await self._ledger.defer_notice(notice.notice_id, due_ms)

    async def _post(self, notice: PendingNotice) -> str | None:
        """One try; why it failed. The URL is not told: it may hold a secret of the receiver's."""
        headers = {
            "content-type": "application/json",
            "user-agent": "parshall",
            **signed_headers(self._key, notice.notice_id, self._clock() // 1_000, notice.body),
        }
        with trio.move_on_after(self._config.timeout_s):
            try:
                async with self._client.stream(
                    "POST", self._url, headers=headers, content=notice.body.encode()
                ) as response:
                    return None if response.is_success else f"status {response.status_code}"
            except httpx.HTTPError as error:
                return type(error).__name__
        return f"no answer within {self._config.timeout_s:g} s"
