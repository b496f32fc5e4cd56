"""Exchanges under way."""

from __future__ import annotations

from collections.abc import Mapping
from types import NoneType

from frontends.commands.command import (
    Command,
    Desk,
    Json,
    Parameters,
    account_id_given,
    note_order,
    page_json,
    page_size,
    running_of,
)


async def _list_exchanges(desk: Desk, given: Parameters) -> Json:
    page = running_of(desk).exchanges(
        account_id=given["account"], limit=page_size(given), cursor=given["cursor"]
    )
    return page_json(list(page.receipts), page.cursor)


async def _end_exchange(desk: Desk, given: Parameters) -> Json:
    running = running_of(desk)
    exchange = running.exchange(given["request_id"])
    running.end(exchange)
    await note_order(desk)
    return await running.ended(exchange)


COMMANDS: Mapping[str, Command] = {
    "exchanges.list": Command(
        _list_exchanges,
        {"account": (str, NoneType), "limit": (int, NoneType), "cursor": (str, NoneType)},
        resolve=account_id_given,
    ),
    "exchanges.end": Command(
        _end_exchange,
        {"request_id": (str,)},
        adds=True,
        restricts=True,
        subject="request_id",
    ),
}
