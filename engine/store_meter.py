"""What vector stores come to, a day at a time: a charge for each, of the day that is over.

Once a day has ended (UTC) every store that was there when it began is asked for its size, and
charged for that day; what all of an account's have up to `storage_free_bytes` together is free. A
receipt's id follows from the store and the day, so that no day is charged twice, whatever is
started again meanwhile. A day on which nothing could be asked for is not charged later.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from typing import Final
from urllib.parse import quote

import orjson
import trio

from engine.charging import Bill, Charging
from engine.errors import (
    BudgetExceededError,
    GatewayError,
    InsufficientFundsError,
    UpstreamError,
)
from engine.jobs.asking import ask
from engine.ledger.owned_rows import OwnedRow
from engine.nurseries import open_tasks
from engine.owning import Owners
from engine.parts import Parts

logger = logging.getLogger(__name__)

OPERATION: Final = "vector_store_storage"
MODEL: Final = "vector_stores"
"""As receipts and reports call what no model does."""
DAY_MS: Final = 86_400_000
LOOK_S: Final = 600.0
"""So often it is looked whether a day is over, and what failed is asked for again."""
_MEGABYTE: Final = 2**20
_PAGE: Final = 500
_AT_ONCE: Final = 8
_TIMEOUT_S: Final = 30.0
_BETA: Final = ((b"openai-beta", b"assistants=v2"),)
_GONE: Final = (404, 410)


class StoreMeter:
    """Of one gateway."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._charging = Charging(parts)
        self._metered: int | None = None
        """The last day that was metered whole, counted from 1970."""

    async def run(self) -> None:
        """Meter each day that ends. Never returns."""
        while True:
            await trio.sleep(LOOK_S)
            day = self._parts.clock() // DAY_MS - 1
            if day == self._metered:
                continue
            try:
                if await self.meter(day):
                    self._metered = day
            except Exception as error:  # noqa: BLE001 - a corrupt page must not end the gateway
                logger.error("what vector stores come to is not charged for now: %s", error)

    async def meter(self, day: int) -> bool:
        """Charge what was there all of a day, counted from 1970; whether all could be asked for.

        Raises:
            UnavailableError: the database cannot be read now.
        """
        whole, account = True, _Account("", 0)
        after: tuple[str, int] = ("", 0)
        while True:
            page = await self._parts.ledger.stores_from_before(day * DAY_MS, after, _PAGE)
            sizes = await self._sizes([row for _, row in page])
            for (place, row), size_bytes in zip(page, sizes, strict=True):
                after = (row.account_id, place)
                if row.account_id != account.account_id:
                    free_bytes = self._parts.config.state.storage_free_bytes
                    account = _Account(row.account_id, free_bytes)
                if size_bytes is None:
                    whole = False
                elif not account.refused:
                    whole = await self._charge(row, day, size_bytes, account) and whole
            if len(page) < _PAGE:
                return whole

    async def _sizes(self, rows: Sequence[OwnedRow]) -> list[int | None]:
        """In bytes; None: nobody could be asked now."""
        found: list[int | None] = [None] * len(rows)
        limiter = trio.CapacityLimiter(_AT_ONCE)

        async def look(place: int, row: OwnedRow) -> None:
            async with limiter:
                found[place] = await self._size(row)

        async with open_tasks() as nursery:
            for place, row in enumerate(rows):
                nursery.start_soon(look, place, row)
        return found

    async def _size(self, row: OwnedRow) -> int | None:
        parts = self._parts
        place = Owners.key_of(row.pin, parts.providers)
        if place is None:  # whose it was is not configured any more
            return 0
        provider, key = place
        path = provider.path(f"/vector_stores/{quote(row.object_id, safe='')}")
        try:
            answer = await ask(parts.pool, provider, key, "GET", path, _TIMEOUT_S, more=_BETA)
            said = orjson.loads(answer.body) if answer.ok else {}
        except (UpstreamError, orjson.JSONDecodeError) as error:
            logger.warning("%s: its size is not known: %s", row.object_id, error)
            return None
        if answer.status in _GONE:
            return 0
        size_bytes = said.get("usage_bytes") if isinstance(said, dict) else None
        return size_bytes if type(size_bytes) is int and size_bytes >= 0 else None

    async def _charge(self, row: OwnedRow, day: int, size_bytes: int, account: _Account) -> bool:
        """Whether it is charged, or need not be."""
        paid_bytes = max(0, size_bytes - account.free_bytes)
        account.free_bytes = max(0, account.free_bytes - size_bytes)
        megabytes = paid_bytes // _MEGABYTE
        if not megabytes:
            return True
        bill = Bill(
            request_id=request_id(row, day),
            account_id=row.account_id,
            key_id=row.key_id,
            operation=OPERATION,
            model=MODEL,
            provider=row.provider,
            units={"megabyte_days": megabytes},
            about=row.object_id,
        )
        if await self._parts.ledger.read_receipt(bill.account_id, bill.request_id) is not None:
            return True
        try:
            with self._charging.open(bill) as charge:
                charge.settle()
            await charge.wait_durable()
        except (InsufficientFundsError, BudgetExceededError) as error:
            account.refused = isinstance(error, InsufficientFundsError)
            logger.warning(
                "account %s: its vector store %s is not covered, and not charged: %s",
                row.account_id,
                row.object_id,
                error,
            )
        except GatewayError as error:
            logger.warning("%s: it is not charged for now: %s", row.object_id, error)
            return False
        return True


class _Account:
    """One account's stores, while they are metered: what is left free, and whether its funds
    have been refused."""

    def __init__(self, account_id: str, free_bytes: int) -> None:
        self.account_id = account_id
        self.free_bytes = free_bytes
        self.refused = False


def request_id(row: OwnedRow, day: int) -> str:
    """Of the charge of a store for a day: the same each time."""
    name = f"{row.provider}/{row.object_id}/{day}"
    digits = hashlib.sha256(name.encode()).hexdigest()[:20]
    return f"req_{(day + 1) * DAY_MS:012x}{digits}"
