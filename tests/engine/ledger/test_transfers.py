"""The pure rules of money."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.ledger.records import CostLine
from engine.ledger.transfers import (
    AMOUNT_MAX_NANODOLLARS,
    Posting,
    Transfer,
    changes,
    funding,
    settlement,
    within_hold,
)

amounts = st.integers(min_value=0, max_value=AMOUNT_MAX_NANODOLLARS)
cost_lines = st.lists(st.builds(CostLine, st.sampled_from(["sim", "openai"]), amounts), max_size=4)


def test_a_settlement_moves_the_price_the_overrun_and_each_providers_cost() -> None:
    transfers = settlement(
        "acct_1",
        "req_1",
        posted_nanodollars=700,
        overrun_nanodollars=30,
        costs=[CostLine("sim", 100), CostLine("openai", 200), CostLine("sim", 50)],
    )
    assert [transfer.kind for transfer in transfers] == ["charge", "overrun", "cost", "cost"]
    assert changes(transfers) == {
        "acct_1": -700,
        "house:revenue": 730,
        "house:overrun": -30,
        "house:cost": -350,
        "provider:sim": 150,
        "provider:openai": 200,
    }


@given(posted=amounts, overrun=amounts, costs=cost_lines)
def test_a_settlement_never_makes_or_loses_money(
    posted: int, overrun: int, costs: list[CostLine]
) -> None:
    transfers = settlement(
        "acct_1", "req_1", posted_nanodollars=posted, overrun_nanodollars=overrun, costs=costs
    )
    for transfer in transfers:
        assert sum(posting.amount_nanodollars for posting in transfer.postings) == 0
        assert all(posting.amount_nanodollars for posting in transfer.postings)
    moved = changes(transfers)
    assert sum(moved.values()) == 0
    assert moved.get("acct_1", 0) == -posted
    assert moved.get("house:revenue", 0) == posted + overrun
    assert moved.get("house:cost", 0) == -sum(cost.amount_nanodollars for cost in costs)


def test_an_amount_of_zero_moves_nothing() -> None:
    transfers = settlement(
        "acct_1",
        "req_1",
        posted_nanodollars=0,
        overrun_nanodollars=0,
        costs=[CostLine("sim", 0)],
    )
    assert transfers == ()


@given(posted=amounts, overrun=amounts, held=amounts)
def test_what_is_above_the_hold_becomes_overrun(posted: int, overrun: int, held: int) -> None:
    paid, excess = within_hold(posted, overrun, held)
    assert 0 <= paid <= held
    assert paid + excess == posted + overrun
    if posted <= held:
        assert (paid, excess) == (posted, overrun)


@pytest.mark.parametrize("amount", [-1, AMOUNT_MAX_NANODOLLARS + 1])
def test_absurd_amounts_are_refused(amount: int) -> None:
    with pytest.raises(ValueError, match="an amount is"):
        settlement("acct_1", "req_1", posted_nanodollars=amount, overrun_nanodollars=0, costs=[])
    with pytest.raises(ValueError, match="an amount is"):
        funding("acct_1", amount, "invoice 1")


def test_a_funding_must_be_of_something() -> None:
    with pytest.raises(ValueError, match="more than nothing"):
        funding("acct_1", 0, "invoice 1")


def test_a_transfer_must_sum_to_zero_and_have_two_sides() -> None:
    with pytest.raises(ValueError, match="sum to zero"):
        Transfer("charge", (Posting("a", -1), Posting("b", 2)))
    with pytest.raises(ValueError, match="two accounts"):
        Transfer("charge", (Posting("a", -1), Posting("a", 1)))
