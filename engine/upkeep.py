"""What runs beside the exchanges: progress, leases, archiving, forgetting; and their gauges."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import trio

from engine.nurseries import open_tasks
from engine.parts import Parts
from engine.routing.breaker import State
from engine.store_meter import StoreMeter

logger = logging.getLogger(__name__)

_PROGRESS_MIN_INTERVAL_S = 0.02
_PRUNE_EVERY_S = 600.0
_DAY_S = 86_400


def expose(parts: Parts) -> None:
    """Show what can be asked of the parts at any time as metrics."""
    gauge = parts.telemetry.gauge
    gauge("parshall_open_exchanges", "Exchanges under way.", lambda: len(parts.open_exchanges))
    gauge(
        "parshall_open_jobs", "Jobs that providers are asked about.", lambda: len(parts.jobs.open)
    )
    gauge("parshall_open_drains", "Streams read on without a client.", lambda: parts.drains.open)
    parsing = parts.parsing.statistics
    gauge("parshall_helper_jobs", "Bodies parsed in the helper process.", lambda: parsing.apart)
    gauge("parshall_helper_starts", "Starts of the helper process.", lambda: parsing.starts)
    gauge("parshall_spool_bytes", "Bodies in files.", lambda: parts.spool.used_bytes)
    gauge("parshall_media_bytes", "Generated media kept.", lambda: parts.media.used_bytes)
    files = parts.files
    gauge("parshall_files", "Files stored.", lambda: files.quota.stored_files)
    gauge("parshall_file_bytes", "Bytes of stored files.", lambda: files.quota.stored_bytes)
    gauge("parshall_open_uploads", "Files under way.", lambda: files.quota.open_uploads)
    gauge(
        "parshall_upload_bytes",
        "Room that is taken for files under way.",
        lambda: files.quota.reserved_bytes,
    )
    gauge("parshall_file_store_up", "1: files can be stored.", lambda: files.problem is None)
    gauge("parshall_loop_lag_seconds", "How long the loop lags.", lambda: parts.load.lag.seconds)
    gauge("parshall_memory_bytes", "Resident memory; 0: unknown.", parts.load.memory_bytes)
    gauge(
        "parshall_held_nanodollars",
        "Funds held for exchanges under way.",
        lambda: parts.ledger.statistics().held_nanodollars,
    )
    gauge(
        "parshall_journal_queued_records",
        "Records that are not durable yet.",
        lambda: parts.ledger.statistics().queued_records,
    )
    parts.telemetry.routing.breakers(lambda: _breakers(parts))


def _breakers(parts: Parts) -> Iterator[tuple[str, State, int]]:
    """Of each deployment that is configured: its path, the state of its breaker, how often that has
    opened."""
    deployments = [each for model in parts.catalogue.values() for each in model.deployments]
    for row in parts.health.rows(deployments, trio.current_time()):
        yield row.path, row.state, row.opened


async def _prune_jobs(parts: Parts) -> None:
    keep_days = parts.config.jobs.keep_days
    if not keep_days:
        return
    try:
        gone = await parts.ledger.prune_jobs(parts.clock() - keep_days * _DAY_S * 1_000)
    except Exception as error:  # noqa: BLE001 - tried again
        logger.error("old jobs are kept for now: %s", error)
    else:
        if gone:
            logger.info("%d jobs were removed that had ended %d days ago", gone, keep_days)


async def _prune_owned(parts: Parts) -> None:
    keep_days = parts.config.state.keep_days
    if not keep_days:
        return
    try:
        await parts.ledger.prune_owned(parts.clock() - keep_days * _DAY_S * 1_000)
    except Exception as error:  # noqa: BLE001 - tried again
        logger.error("old ids of things at providers are kept for now: %s", error)


@asynccontextmanager
async def open_upkeep(parts: Parts) -> AsyncIterator[None]:
    """Record the progress of all open streams, every tick or sooner if one has come far; end holds
    that no exchange owns any more; archive old receipts; forget old idempotency keys, old media."""

    async def record() -> None:
        while True:
            with trio.move_on_after(parts.config.storage.progress_interval_s):
                await parts.progress_due.wait()
            under_way = (*parts.open_exchanges.values(), *parts.draining.values())
            entries = [exchange.progress() for exchange in under_way]
            parts.ledger.progress([entry for entry in entries if entry is not None])
            await trio.sleep(_PROGRESS_MIN_INTERVAL_S)

    async def expire() -> None:
        lease_s = parts.config.storage.hold_lease_s
        while True:
            await trio.sleep(lease_s / 2)
            alive = parts.open_exchanges.keys() | parts.draining.keys()
            for request_id in parts.ledger.expire(alive, older_than_ms=int(lease_s * 1_000)):
                logger.error("%s: its hold was left open, and has expired", request_id)

    async def archive() -> None:
        storage = parts.config.storage
        while True:
            before_ms = parts.clock() - storage.receipts_keep_days * _DAY_S * 1_000
            try:
                files = await parts.ledger.archive(storage.archive_folder, before_ms)
            except Exception as error:  # noqa: BLE001 - a corrupt page must not end the gateway
                logger.error("old receipts stay in the database: %s", error)
            else:
                for file in files:
                    logger.info("%d receipts were moved to %s", file.receipts, file.path)
            await trio.sleep(_DAY_S)

    async def prune() -> None:
        while True:
            await trio.sleep(_PRUNE_EVERY_S)
            try:
                await parts.idempotency.prune()
            except Exception as error:  # noqa: BLE001 - as above
                logger.error("old idempotency keys are kept for now: %s", error)
            await _prune_jobs(parts)
            await _prune_owned(parts)

    async with open_tasks() as nursery:
        nursery.start_soon(record)
        nursery.start_soon(expire)
        nursery.start_soon(prune)
        nursery.start_soon(parts.plan_budgets.run)
        nursery.start_soon(parts.media.run)
        nursery.start_soon(StoreMeter(parts).run)
        if parts.config.storage.receipts_keep_days:
            nursery.start_soon(archive)
        with parts.load.measured():
            yield
        nursery.cancel_scope.cancel()
