"""The part of the ledger that shows receipts: of what runs, from memory; of the rest, as stored."""

from __future__ import annotations

from collections import deque
from typing import Any

import trio

from engine.ledger.books import Books
from engine.ledger.journal import Journal
from engine.ledger.planning import Planning
from engine.ledger.queries import stored_receipt
from engine.ledger.receipt_lists import ReceiptPage, ReceiptQuery, list_receipts
from engine.ledger.receipts import Receipt
from engine.ledger.records import LedgerSettings, Ticket
from engine.ledger.sqlite import Store


class Showing(Planning):
    """Receipts by account: nobody is shown another's."""

    def __init__(
        self, books: Books, journal: Journal, settings: LedgerSettings, store: Store
    ) -> None:
        super().__init__(books, journal, settings, store)
        self._settling: dict[str, tuple[Ticket, Receipt]] = {}
        self._settling_order: deque[tuple[int, str]] = deque()

    def running_receipt(self, account_id: str, request_id: str) -> Receipt | None:
        """The receipt of an exchange under way, as far as it is known; None if it is not this
        account's, or its settlement is durable (then `read_receipt` has it)."""
        opened = self._open.get(request_id)
        if opened is not None:
            return opened.receipt() if opened.hold.account_id == account_id else None
        ticket, receipt = self._settling.get(request_id, (None, None))
        if ticket is None or receipt is None or receipt.account_id != account_id:
            return None
        if self._journal.is_durable(ticket):  # said a moment later by `_on_durable`
            return None
        return receipt.replace(state="settling", durability="pending")

    async def read_receipt(self, account_id: str, request_id: str) -> dict[str, Any] | None:
        """The receipt's JSON, running or settled, if there is one and it is this account's.

        Raises:
            ReceiptArchivedError: it has been moved to a file.
        """
        running = self.running_receipt(account_id, request_id)
        if running is not None:
            await trio.lowlevel.checkpoint()
            return running.to_json()
        return await trio.to_thread.run_sync(
            stored_receipt, self._settings.path, account_id, request_id
        )

    async def list_receipts(self, account_id: str, query: ReceiptQuery) -> ReceiptPage:
        """A page of this account's receipts, those under way first.

        Raises:
            InvalidRequestError: the cursor is none.
            UnavailableError: the database cannot be read now.
        """
        running: list[Receipt] = []
        if query.cursor is None:
            shown = (self.running_receipt(account_id, each) for each in self._under_way())
            running = [receipt for receipt in shown if receipt is not None]
        return await trio.to_thread.run_sync(
            list_receipts, self._settings.path, account_id, query, running
        )

    def _under_way(self) -> list[str]:
        return [*self._open, *self._settling]

    def _show_settling(self, ticket: Ticket, receipt: Receipt) -> None:
        """Until its settlement is durable."""
        self._settling[receipt.request_id] = ticket, receipt
        self._settling_order.append((ticket, receipt.request_id))

    def _on_durable(self, durable_ticket: int) -> None:
        order = self._settling_order
        while order and order[0][0] <= durable_ticket:
            del self._settling[order.popleft()[1]]
