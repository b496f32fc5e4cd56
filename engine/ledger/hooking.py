"""The part of the ledger that follows from the end of jobs: who is told, what is copied."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial

import trio

from engine.job import JobError
from engine.ledger import copy_jobs, webhook_jobs
from engine.ledger.copy_jobs import PendingCopy
from engine.ledger.noticing import Noticing
from engine.ledger.webhook_jobs import Lane, PendingWebhook, WebhookEnd, WebhookSecrets


class Hooking(Noticing):
    """Rows only: `engine.webhooks` sends, `engine.jobs.copying` copies. All of it raises
    UnavailableError where the database cannot be read, or written, now."""

    # ---- webhooks -----------------------------------------------------------------------------

    async def webhook_lanes(
        self, busy: Collection[Lane], full: Collection[str], limit: int
    ) -> list[tuple[Lane, int]]:
        """See `webhook_jobs.lanes`."""
        read = partial(webhook_jobs.lanes, self._settings.path, busy, full, limit)
        return await trio.to_thread.run_sync(read)

    async def due_webhooks(self, lane: Lane, now_ms: int, limit: int) -> list[PendingWebhook]:
        """See `webhook_jobs.due_webhooks`."""
        read = partial(webhook_jobs.due_webhooks, self._settings.path, lane, now_ms, limit)
        return await trio.to_thread.run_sync(read)

    async def end_webhook(self, seq: int, outcome: WebhookEnd) -> None:
        """A message was delivered, or is given up."""
        await self._journal.run(lambda store: webhook_jobs.end_webhook(store, seq, outcome))

    async def defer_webhook(self, seq: int, due_at_ms: int) -> None:
        """Sending a message has failed; try it again then."""
        await self._journal.run(lambda store: webhook_jobs.defer_webhook(store, seq, due_at_ms))

    async def prune_webhooks(self, before_ms: int) -> int:
        """Forget a slice of the messages that are older; how many."""
        return await self._journal.run(lambda store: webhook_jobs.prune_webhooks(store, before_ms))

    async def webhook_secrets(self, account_id: str, overlap_ms: int) -> WebhookSecrets:
        """What an account's messages are signed by; a secret that was replaced, for so long more.

        Raises:
            NotFoundError: no such account.
        """
        return await self._journal.run(
            lambda store: webhook_jobs.webhook_secrets(store, account_id, overlap_ms)
        )

    async def rotate_webhook_secret(self, account_id: str, overlap_ms: int) -> WebhookSecrets:
        """Put a new secret in the place of an account's. Raises NotFoundError."""
        return await self._journal.run(
            lambda store: webhook_jobs.rotate_webhook_secret(store, account_id, overlap_ms)
        )

    # ---- results that become files ------------------------------------------------------------

    async def pending_copies(self, limit: int) -> list[PendingCopy]:
        """What is to be copied, the soonest due first."""
        read = partial(copy_jobs.pending_copies, self._settings.path, limit)
        return await trio.to_thread.run_sync(read)

    async def files_made(self, account_id: str, request_id: str) -> dict[str, str]:
        """See `copy_jobs.files_made`."""
        read = partial(copy_jobs.files_made, self._settings.path, account_id, request_id)
        return await trio.to_thread.run_sync(read)

    async def is_copy_wanted(self, job_id: str) -> bool:
        """Whether a job's results are still to become files."""
        read = partial(copy_jobs.is_copy_wanted, self._settings.path, job_id)
        return await trio.to_thread.run_sync(read)

    async def defer_copy(self, job_id: str, due_at_ms: int) -> None:
        """Copying has failed; try it again then."""
        await self._journal.run(lambda store: copy_jobs.defer_copy(store, job_id, due_at_ms))

    async def fail_copy(self, job_id: str, error: JobError) -> None:
        """Copying is given up."""
        await self._journal.run(lambda store: copy_jobs.fail_copy(store, job_id, error))
