"""Receipts and their JSON."""

from __future__ import annotations

from dataclasses import fields
from decimal import Decimal
from fractions import Fraction

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.events import Provenance
from engine.ledger import Attempt, Receipt, ReceiptError, Timings
from engine.ledger.receipts import (
    for_customer,
    format_credits,
    format_time,
    format_usd,
    money_json,
    parse_time,
)
from engine.ledger.route import AutoDecision, Route
from tests.engine.ledger.samples import completed, opening

nanodollars = st.integers(min_value=-(10**18), max_value=10**18)


@given(nanodollars)
def test_dollars_are_exact(amount: int) -> None:
    assert Fraction(format_usd(amount)) == Fraction(amount, 10**9)


def test_money_is_an_integer_and_a_string() -> None:
    assert money_json(123_456) == {"nanodollars": 123_456, "usd": "0.000123456"}
    assert money_json(-1_500_000_000) == {"nanodollars": -1_500_000_000, "usd": "-1.500000000"}


@given(nanodollars, st.decimals(min_value=0, max_value=10**6, places=6))
def test_credits_are_exact_and_plain(amount: int, credits_per_usd: Decimal) -> None:
    text = format_credits(amount, credits_per_usd)
    assert Fraction(text) == Fraction(amount, 10**9) * Fraction(credits_per_usd)
    assert "E" not in text
    assert not (("." in text) and text.endswith("0"))


@pytest.mark.parametrize(
    ("amount", "credits_per_usd", "text"),
    [
        (1_000_000_000, "1000", "1000"),
        (2_150_000, "1000", "2.15"),
        (0, "1000", "0"),
        (1, "0.1", "0.0000000001"),
    ],
)
def test_credits_read_well(amount: int, credits_per_usd: str, text: str) -> None:
    assert format_credits(amount, Decimal(credits_per_usd)) == text


@given(st.integers(min_value=0, max_value=4_102_444_800_000))
def test_times_keep_their_milliseconds(at_ms: int) -> None:
    assert parse_time(format_time(at_ms)) == at_ms


def test_a_time_is_utc() -> None:
    assert format_time(1_767_323_045_678) == "2026-01-02T03:04:05.678Z"


def _full() -> Receipt:
    attempt = Attempt(
        number=1,
        provider="sim",
        upstream_model="sim-openai",
        status=200,
        outcome="completed",
        provider_request_id="chatcmpl-1",
        started_ms=1.5,
        first_byte_ms=20.25,
        ended_ms=900.0,
        cost_nanodollars=77,
        role="fallback",
        won=True,
        usage={"input_tokens": 9, "output_tokens": 20},
        usage_provenance={"output_tokens": Provenance.COUNTED},
        price_nanodollars=200_003,
    )
    return completed(opening(), attempt).replace(
        route=Route(
            served="gpt-5",
            strategy="weighted",
            candidates=("other/m", "sim/sim-openai"),
            fallback_from="other/m",
            fallback_depth=1,
            hedged=True,
            auto=AutoDecision(41, "medium", ("words 812: +8",), "gpt-5"),
        ),
        savings_nanodollars=-5,
        client_request_id="mine-1",
        model_used="gpt-5-2026",
        provider="sim",
        price_nanodollars=200_000,
        cost_nanodollars=77,
        overrun_nanodollars=3,
        credits_per_usd=Decimal("0.5"),
        error=ReceiptError("upstream_error", "The provider failed."),
        timings=Timings(0.75, 21.0, 21.5, 900.0, 901.123),
        state="settled",
        durability="durable",
    )


@pytest.mark.parametrize("receipt", [opening(), _full()], ids=["opening", "full"])
def test_a_receipt_survives_its_json(receipt: Receipt) -> None:
    assert Receipt.from_json(orjson.loads(orjson.dumps(receipt.to_json()))) == receipt


def test_a_receipt_of_before_there_were_several_attempts_is_read() -> None:
    value = _full().to_json()
    for name in ("route", "savings"):
        del value[name]
    for name in ("role", "won", "usage", "usage_provenance", "price"):
        del value["attempts"][0][name]
    receipt = Receipt.from_json(value)
    assert (receipt.route, receipt.savings_nanodollars) == (None, None)
    (attempt,) = receipt.attempts
    assert (attempt.role, attempt.won, attempt.price_nanodollars) == ("first", False, 0)


def test_customers_are_not_told_what_providers_charge() -> None:
    shown = for_customer(_full().to_json())
    assert "cost" not in shown
    assert "cost" not in shown["attempts"][0]
    assert shown["attempts"][0]["price"]["nanodollars"] == 200_003
    assert shown["route"]["fallback_depth"] == 1


def test_the_json_of_a_receipt() -> None:
    value = _full().to_json()
    assert value["created_at"] == "2026-01-02T03:04:05.678Z"
    assert value["price"] == {"nanodollars": 200_000, "usd": "0.000200000"}
    assert value["credits"] == "0.0001"
    assert value["usage"] == {"input_tokens": 9, "output_tokens": 20}
    assert value["attempts"][0]["cost"] == {"nanodollars": 77, "usd": "0.000000077"}
    assert value["attempts"][0]["role"] == "fallback"
    assert value["route"]["fallback_from"] == "other/m"
    assert value["route"]["auto"]["reasons"] == ["words 812: +8"]
    assert value["savings"] == {"nanodollars": -5, "usd": "-0.000000005"}
    assert value["error"] == {"code": "upstream_error", "message": "The provider failed."}
    assert value["timings"]["settled_ms"] == 901.123


def test_replace_changes_only_what_it_is_told() -> None:
    before = opening()
    after = before.replace(outcome="deadline")
    assert (before.outcome, after.outcome) == ("running", "deadline")
    for each in fields(Receipt):
        if each.name != "outcome":
            assert getattr(before, each.name) == getattr(after, each.name)
    with pytest.raises(TypeError, match="no colour"):
        before.replace(colour="red")
