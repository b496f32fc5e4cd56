"""What a success comes to: by what is reported, within what was held for; else as asked."""

from __future__ import annotations

import pytest

from engine.events import Outcome, Provenance
from engine.job import JobError, JobReport, JobState, JobSum
from engine.jobs.settling import NOTHING, costs_of, ended_receipt, figures_of, owed_of
from engine.ledger.job_rows import JobTerms
from engine.ledger.receipts import Attempt
from engine.ledger.records import CostLine
from engine.metering.pricing import Rates, charge_nanodollars
from engine.metering.rates_json import rates_json
from engine.usage import Usage
from tests.engine.ledger.samples import opening

TERMS = JobTerms(
    {"milliseconds": 4_000, "clips": 1},
    {"milliseconds": 100_001, "clips": 7},
    {"milliseconds": 40_000},
    most={"milliseconds": 12_000},
)
PRICE = Rates(
    2_000_001, 500_003, 0, 8_000_009, services={"flex": Rates(1_000_001, 1, 0, 4_000_003)}
)
COST = Rates(1_000_001, 1, 0, 4_000_001)
BY_RATES = JobTerms({}, {}, {}, "flex", price=rates_json(PRICE), cost=rates_json(COST))
USAGE = Usage(1_001, 101, 0, 203, 51)
FLAT, REPORTED = Provenance.FLAT, Provenance.REPORTED


@pytest.mark.parametrize(
    ("reported", "milliseconds", "how"),
    [
        ({}, 4_000, FLAT),
        ({"milliseconds": 3_000}, 3_000, REPORTED),
        ({"milliseconds": 8_000}, 8_000, REPORTED),
        ({"milliseconds": 10**9}, 12_000, REPORTED),
        ({"images": 5}, 4_000, FLAT),
    ],
)
def test_units(reported: dict[str, int], milliseconds: int, how: Provenance) -> None:
    found = figures_of(TERMS, reported)  # type: ignore[arg-type]
    assert found.units == {"milliseconds": milliseconds, "clips": 1}
    assert found.provenance == {"milliseconds": how, "clips": FLAT}
    assert found.price_nanodollars == (milliseconds * 100_001 + 7) // 1_000
    assert found.cost_nanodollars == milliseconds * 40


def test_more_than_was_asked_for_is_believed_only_where_it_was_held_for() -> None:
    found = figures_of(TERMS, {"milliseconds": 0, "clips": 9})
    assert found.units == {"clips": 1}
    assert found.provenance == {"clips": REPORTED}


def test_the_receipt_has_what_won_and_what_the_others_cost() -> None:
    lost = Attempt(1, "down", "m", 200, "upstream_error", cost_nanodollars=3)
    begun = opening().replace(attempts=(lost, Attempt(2, "sim", "film", 200)))
    at_ms = begun.created_at_ms + 5_000
    receipt = ended_receipt(begun, 2, Outcome.COMPLETED, at_ms, figures_of(TERMS, {}))
    assert [each.won for each in receipt.attempts] == [False, True]
    assert receipt.attempts[0] == lost
    assert receipt.cost_nanodollars == 3 + 160_000
    assert costs_of(receipt) == [CostLine("down", 3), CostLine("sim", 160_000)]
    assert receipt.provenance is FLAT
    assert receipt.timings.settled_ms == 5_000


def test_a_failure_has_consumed_nothing() -> None:
    begun = opening().replace(attempts=(Attempt(1, "sim", "film", 200),))
    error = JobError("blocked", "It is not allowed.")
    receipt = ended_receipt(begun, 1, Outcome.UPSTREAM_FAILED, begun.created_at_ms, error=error)
    (attempt,) = receipt.attempts
    assert (attempt.outcome, attempt.won, attempt.price_nanodollars) == ("blocked", False, 0)
    assert receipt.error is not None
    assert (receipt.error.code, receipt.usage, receipt.provenance) == ("blocked", {}, None)


@pytest.mark.parametrize("state", ["succeeded", "failed", "expired", "cancelled"])
def test_what_is_reported_is_charged_as_an_answer_is_however_it_has_ended(state: JobState) -> None:
    found = owed_of(BY_RATES, JobReport(state, usage=USAGE))
    assert found.price_nanodollars == charge_nanodollars(USAGE, PRICE, "flex")
    assert found.cost_nanodollars == charge_nanodollars(USAGE, COST, "flex")
    assert found.provenance["output_tokens"] is REPORTED
    assert (found.service_tier, found.rates["output_tokens"]) == ("flex", 4_000_003)
    served = owed_of(BY_RATES, JobReport(state, usage=USAGE, service_tier="standard"))
    assert served.price_nanodollars == charge_nanodollars(USAGE, PRICE, "standard")


def test_what_reports_no_usage_is_charged_nothing() -> None:
    assert owed_of(BY_RATES, JobReport("succeeded")) == NOTHING
    assert owed_of(TERMS, JobReport("failed")) == NOTHING


def test_a_sum_of_requests_is_charged_as_it_was_summed_and_says_what_is_odd() -> None:
    report = JobReport("succeeded", usage=USAGE, sum=JobSum(17, 5), flags=("usage_missing",))
    found = owed_of(BY_RATES, report)
    assert (found.price_nanodollars, found.cost_nanodollars) == (17, 5)
    begun = opening().replace(attempts=(Attempt(1, "sim", "m", 200),), flags=("budget",))
    receipt = ended_receipt(begun, 1, Outcome.COMPLETED, begun.created_at_ms, found)
    assert receipt.flags == ("budget", "usage_missing")
    assert receipt.usage["input_tokens"] == 1_001
    assert receipt.rates_picodollars == PRICE.at(0, "flex").units()
