"""Notices: what the operator is told of besides the log. Made here, sent by `engine.notices`.

A notice is written in the same journal entry as what it is about. Its subject is unique: what is
told once stays told, also after a restart.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import orjson

from engine.ledger.budgets import Crossing
from engine.ledger.receipts import Receipt, format_time, money_json
from engine.ledger.windows import day_of, window_name

NoticeKind = Literal["budget.threshold", "budget.refused", "account.overrun"]


@dataclass(frozen=True, slots=True)
class Notice:
    """One notice. `body` is JSON: `type`, `timestamp` and `data`, as it is sent."""

    notice_id: str
    kind: NoticeKind
    subject: str
    body: str
    at_ms: int


def of_budget(crossing: Crossing, at_ms: int) -> Notice:
    """A budget has reached a percentage, or has refused a request."""
    budget = crossing.budget
    data = {
        "account_id": budget.account_id,
        "key_id": budget.key_id,
        "period": budget.period,
        "window": crossing.window,
        "limit": money_json(budget.limit_nanodollars),
        "spent": money_json(crossing.spent_nanodollars),
        "hard": budget.hard,
    }
    subject = budget_subject(budget.change_id, crossing.window, crossing.percent)
    if crossing.percent is None:
        return _notice("budget.refused", subject, data, at_ms)
    return _notice("budget.threshold", subject, data | {"percent": crossing.percent}, at_ms)


def budget_subject(change_id: int, window: str, percent: int | None) -> str:
    """What a budget's notice is about; `None` is its first refusal in the window."""
    return f"budget {change_id} {window} {'refused' if percent is None else percent}"


def of_overrun(receipt: Receipt, at_ms: int) -> Notice:
    """A request has consumed more than its hold: the first of its account in a day."""
    data = {
        "account_id": receipt.account_id,
        "key_id": receipt.key_id,
        "request_id": receipt.request_id,
        "model": receipt.model,
        "provider": receipt.provider,
        "price": money_json(receipt.price_nanodollars),
        "overrun": money_json(receipt.overrun_nanodollars),
    }
    subject = f"overrun {receipt.account_id} {window_name('day', day_of(at_ms))}"
    return _notice("account.overrun", subject, data, at_ms)


def _notice(kind: NoticeKind, subject: str, data: Mapping[str, Any], at_ms: int) -> Notice:
    body = {"type": kind, "timestamp": format_time(at_ms), "data": data}
    text = orjson.dumps(body).decode()
    return Notice(f"msg_{secrets.token_hex(12)}", kind, subject, text, at_ms)
