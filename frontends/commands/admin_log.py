"""The log of administration: who changed what."""

from __future__ import annotations

from collections.abc import Mapping
from types import NoneType

from engine.ledger.receipts import format_time
from engine.ledger.records import LogRow
from frontends.commands.command import Command, Desk, Json, Parameters, page_json, page_size


async def _read_log(desk: Desk, given: Parameters) -> Json:
    page = await desk.ledger.read_log(
        subject=given["subject"],
        actor=given["actor"],
        limit=page_size(given),
        cursor=given["cursor"],
    )
    return page_json([_row_json(row) for row in page.rows], page.cursor)


def _row_json(row: LogRow) -> Json:
    return {
        "log_id": row.log_id,
        "at": format_time(row.at_ms),
        "actor": row.actor,
        "peer": row.peer,
        "action": row.action,
        "subject": row.subject,
        "detail": dict(row.detail),
    }


COMMANDS: Mapping[str, Command] = {
    "log.list": Command(
        _read_log,
        {
            "subject": (str, NoneType),
            "actor": (str, NoneType),
            "limit": (int, NoneType),
            "cursor": (str, NoneType),
        },
    ),
}
