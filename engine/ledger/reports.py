"""Settled exchanges as rows of a table: one by one, or summed up. Money is exact decimals.

margin = price - refunded - cost: what the customer paid, without what was given back, less what the
providers charge for all attempts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

import orjson

from engine.ledger.history import SettledExchange
from engine.ledger.receipts import format_usd

Dimension = Literal["day", "account", "key", "model"]
DIMENSIONS: tuple[Dimension, ...] = ("day", "account", "key", "model")

_AMOUNTS = ("price", "refunded", "cost", "overrun")
_TOKENS = ("input_tokens", "output_tokens")


def receipt_rows(
    exchanges: Iterable[SettledExchange], names: Mapping[str, str]
) -> Iterator[dict[str, str | int | None]]:
    """A row for each exchange; `names` are the accounts', by id."""
    for exchange in exchanges:
        receipt = exchange.receipt
        usage = receipt["usage"]
        yield {
            "created_at": receipt["created_at"],
            "request_id": receipt["request_id"],
            "account": names.get(receipt["account_id"]),
            "account_id": receipt["account_id"],
            "key_id": receipt["key_id"],
            "model": receipt["model"],
            "provider": receipt["provider"],
            "model_used": receipt["model_used"],
            "outcome": receipt["outcome"],
            "provenance": receipt["provenance"],
            **{unit: usage.get(unit, 0) for unit in _TOKENS},
            "usage": orjson.dumps(usage).decode(),
            **_money(_figures(exchange)),
        }


def summed_rows(
    exchanges: Iterable[SettledExchange], names: Mapping[str, str], by: Sequence[Dimension]
) -> list[dict[str, str | int | None]]:
    """A row for each day, account, key or model there is, or combination of them, sorted."""
    sums: dict[tuple[str, ...], dict[str, int]] = {}
    usages: dict[tuple[str, ...], dict[str, int]] = {}
    for exchange in exchanges:
        group = tuple(_dimension(exchange.receipt, names, each) for each in by)
        figures = {"requests": 1, **_figures(exchange)}
        total = sums.setdefault(group, dict.fromkeys(figures, 0))
        for name, figure in figures.items():
            total[name] += figure
        usage = usages.setdefault(group, {})
        for unit, count in exchange.receipt["usage"].items():
            usage[unit] = usage.get(unit, 0) + count
    return [
        {
            **dict(zip(by, group, strict=True)),
            **{name: sums[group][name] for name in ("requests", *_TOKENS)},
            "usage": orjson.dumps(usages[group], option=orjson.OPT_SORT_KEYS).decode(),
            **_money(sums[group]),
        }
        for group in sorted(sums)
    ]


def _dimension(receipt: Mapping[str, Any], names: Mapping[str, str], by: Dimension) -> str:
    match by:
        case "day":
            return str(receipt["created_at"][:10])
        case "account":
            return names.get(receipt["account_id"], receipt["account_id"])
        case "key":
            return receipt["key_id"] or ""
        case "model":
            return str(receipt["model"])


def _figures(exchange: SettledExchange) -> dict[str, int]:
    receipt = exchange.receipt
    return {
        **{unit: receipt["usage"].get(unit, 0) for unit in _TOKENS},
        "price": receipt["price"]["nanodollars"],
        "refunded": exchange.refunded_nanodollars,
        "cost": receipt["cost"]["nanodollars"],
        "overrun": receipt["overrun"]["nanodollars"],
    }


def _money(figures: Mapping[str, int]) -> dict[str, str | int | None]:
    margin = figures["price"] - figures["refunded"] - figures["cost"]
    return {
        **{f"{name}_usd": format_usd(figures[name]) for name in _AMOUNTS},
        "margin_usd": format_usd(margin),
    }
