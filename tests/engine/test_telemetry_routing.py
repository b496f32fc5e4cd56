"""What is counted of where requests went."""

from __future__ import annotations

from engine.ledger.receipts import Attempt, Receipt
from engine.ledger.route import AutoDecision, Route
from engine.telemetry import Telemetry
from engine.telemetry_routing import BreakerState
from tests.engine.ledger.samples import completed, opening


def attempt(number: int, provider: str, role: str, outcome: str, *, won: bool = False) -> Attempt:
    return Attempt(
        number, provider, "m", 200, outcome, role=role, won=won, cost_nanodollars=10 * number
    )


def exposed(*receipts: Receipt) -> str:
    telemetry = Telemetry()
    for receipt in receipts:
        telemetry.exchange_ended(receipt)
    return telemetry.exposition().decode()


def test_each_attempt_is_counted_and_what_it_follows() -> None:
    text = exposed(
        completed(
            opening(),
            attempt(1, "a", "first", "upstream_timeout"),
            attempt(2, "a", "retry", "upstream_error"),
            attempt(3, "b", "fallback", "completed", won=True),
        ),
        completed(
            opening("req_2"),
            attempt(1, "a", "first", "hedge_lost"),
            attempt(2, "b", "hedge", "upstream_error", won=True),
            attempt(3, "c", "continuation", "completed", won=True),
        ),
        completed(
            opening("req_3"),
            attempt(1, "a", "first", "completed", won=True),
            attempt(2, "b", "hedge", "hedge_lost"),
        ),
    )
    for sample in (
        'parshall_attempts_total{outcome="upstream_timeout",provider="a"} 1.0',
        'parshall_attempts_total{outcome="hedge_lost",provider="b"} 1.0',
        'parshall_cost_nanodollars_total{provider="a"} 50.0',
        'parshall_cost_nanodollars_total{provider="b"} 70.0',
        'parshall_retries_total{provider="a"} 1.0',
        'parshall_fallbacks_total{from="a",to="b"} 1.0',
        'parshall_hedges_total{model="gpt-5",result="won"} 1.0',
        'parshall_hedges_total{model="gpt-5",result="lost"} 1.0',
        'parshall_continuations_total{model="gpt-5",result="completed"} 1.0',
    ):
        assert sample in text, sample


def test_what_a_provider_names_is_no_label() -> None:
    text = exposed(completed(opening(), attempt(1, "a", "first", "a_word_of_its_own")))
    assert "a_word_of_its_own" not in text
    assert 'parshall_attempts_total{outcome="upstream_rejected",provider="a"} 1.0' in text


def test_what_was_chosen_and_saved() -> None:
    auto = AutoDecision(70, "hard", (), "gpt-5")
    route = Route("gpt-5", "cheapest", ("a/m",), auto=auto)
    receipts = [
        completed(opening(f"req_{saved}")).replace(route=route, savings_nanodollars=saved)
        for saved in (500, -200)
    ]
    text = exposed(*receipts)
    assert 'parshall_auto_total{level="hard"} 2.0' in text
    assert "parshall_savings_nanodollars 300.0" in text


def test_breakers_are_read_when_they_are_asked_for() -> None:
    telemetry = Telemetry()
    rows: list[tuple[str, BreakerState, int]] = [("a/m", "closed", 0), ("b/m", "open", 3)]
    telemetry.routing.breakers(lambda: rows)
    rows[0] = ("a/m", "half-open", 1)
    text = telemetry.exposition().decode()
    assert 'parshall_breaker{deployment="a/m"} 1.0' in text
    assert 'parshall_breaker{deployment="b/m"} 2.0' in text
    assert 'parshall_breaker_opened_total{deployment="b/m"} 3.0' in text
