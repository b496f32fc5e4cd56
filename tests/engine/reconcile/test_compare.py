"""Items: what is compared with what."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from engine.ledger import Attempt
from engine.ledger.history import SettledExchange
from engine.reconcile.compare import Item, Key, OurAttempt, attempts_at, compare, conflicts
from engine.reconcile.lines import Report, ReportLine
from tests.engine.ledger.samples import completed, opening, won

DAY = date(2026, 5, 1)
NEXT = DAY + timedelta(days=1)


def attempt(
    amount: int, *, day: date = DAY, model: str = "gpt-5", name: str | None = None
) -> OurAttempt:
    return OurAttempt(day, model, name, amount, amount, amount)


def cost(
    amount: int, model: str | None = None, *, day: date | None = DAY, name: str | None = None
) -> ReportLine:
    return ReportLine(day, model, name, amount_nanodollars=amount)


def report(*lines: ReportLine, days: tuple[date, ...] = (DAY,)) -> Report:
    return Report(lines, frozenset(days))


def amounts(items: list[Item]) -> dict[Key, tuple[int, int]]:
    return {
        item.key: (item.ours.amount_nanodollars, item.theirs.amount_nanodollars) for item in items
    }


def test_days_as_wholes_when_the_report_knows_no_models() -> None:
    items = compare(
        report(cost(30), cost(12, day=NEXT), days=(DAY, NEXT)),
        [attempt(10), attempt(15, model="gpt-5-mini"), attempt(12, day=NEXT)],
        {},
    )
    assert amounts(items) == {
        ("day", "2026-05-01", ""): (25, 30),
        ("day", "2026-05-02", ""): (12, 12),
    }
    assert [item.differs for item in items] == [True, False]
    assert items[0].difference_nanodollars == 5


def test_models_apart_with_their_snapshots_and_the_rest_by_itself() -> None:
    items = compare(
        report(cost(4, "gpt-5-2025-08-07"), cost(5, "gpt-5"), cost(7, "claude-x"), cost(2)),
        [attempt(10), attempt(7, model="claude-x-20250514"), attempt(3, model="unknown-to-them")],
        {},
    )
    assert amounts(items) == {
        ("model", "2026-05-01", ""): (0, 2),
        ("model", "2026-05-01", "claude-x-20250514"): (7, 7),
        ("model", "2026-05-01", "gpt-5"): (10, 9),
        ("model", "2026-05-01", "unknown-to-them"): (3, 0),
    }


def test_a_day_without_lines_in_the_report_is_compared_and_one_outside_is_not() -> None:
    later = DAY + timedelta(days=2)
    items = compare(
        report(cost(10), days=(DAY, NEXT)),
        [attempt(10), attempt(4, day=NEXT), attempt(99, day=later)],
        {},
    )
    assert amounts(items) == {
        ("day", "2026-05-01", ""): (10, 10),
        ("day", "2026-05-02", ""): (4, 0),
    }


def test_requests_by_the_providers_ids() -> None:
    items = compare(
        report(cost(4, name="r1"), cost(1, name="r1"), cost(9, name="r3")),
        [attempt(5, name="r1"), attempt(6, name="r2"), attempt(8, name=None)],
        {},
    )
    assert amounts(items) == {
        ("request", "2026-05-01", ""): (8, 0),
        ("request", "2026-05-01", "r1"): (5, 5),
        ("request", "2026-05-01", "r2"): (6, 0),
        ("request", "2026-05-01", "r3"): (0, 9),
    }


def test_requests_have_their_day_where_anybody_knows_it() -> None:
    lines = (cost(4, day=None, name="r1"), cost(1, day=None, name="r3"), cost(2))
    items = compare(
        report(*lines), [attempt(5, day=NEXT, name="r1")], {("request", "2026-05-01", "r1"): 7}
    )
    assert amounts(items) == {
        ("request", "", "r3"): (0, 1),
        ("request", "2026-05-01", ""): (0, 2),
        ("request", "2026-05-02", "r1"): (12, 4),
    }


def test_tokens_when_there_are_no_amounts() -> None:
    line = ReportLine(DAY, "gpt-5", input_tokens=10, output_tokens=11)
    [item] = compare(report(line), [attempt(10)], {("model", "2026-05-01", "gpt-5"): 77})
    assert item.ours.amount_nanodollars == item.difference_nanodollars == 0
    assert (item.ours.output_tokens, item.theirs.output_tokens) == (10, 11)
    assert item.differs


def test_what_was_posted_before_is_ours() -> None:
    key: Key = ("day", "2026-05-01", "")
    [item] = compare(report(cost(30)), [attempt(25)], {key: 5})
    assert not item.differs


def test_what_was_posted_of_an_item_that_a_later_report_has_not_is_taken_back() -> None:
    posted: dict[Key, int] = {
        ("model", "2026-05-01", "claude-x"): 7,
        ("model", "2026-05-09", "claude-x"): 7,
    }
    items = compare(report(cost(10, "gpt-5")), [attempt(10)], posted)
    assert [item.difference_nanodollars for item in items if item.differs] == [-7]


def test_a_day_posted_by_another_grouping_is_a_conflict() -> None:
    items = compare(report(cost(30, "gpt-5")), [attempt(25)], {})
    assert conflicts(items, {("day", "2026-05-01", "")}) == ["2026-05-01"]
    assert conflicts(items, {("request", "2026-05-01", "r1")}) == ["2026-05-01"]
    assert conflicts(items, {("model", "2026-05-01", "gpt-5"), ("day", "2026-05-02", "")}) == []
    by_request = compare(report(cost(9, day=None, name="r1")), [attempt(5, name="r1")], {})
    assert conflicts(by_request, {("model", "2026-05-01", "gpt-5")}) == ["2026-05-01"]


figures = st.integers(-(10**12), 10**12)
days = st.sampled_from([DAY, NEXT])
models = st.sampled_from(["gpt-5", "gpt-5-2025-08-07", "claude-x"])
lines = st.builds(cost, figures, st.none() | models, day=days)
attempts = st.builds(attempt, st.integers(0, 10**12), day=days, model=models)


@given(st.lists(lines, min_size=1), st.lists(attempts))
def test_nothing_is_lost_and_posting_settles_everything(
    theirs: list[ReportLine], ours: list[OurAttempt]
) -> None:
    both = report(*theirs, days=(DAY, NEXT))
    items = compare(both, ours, {})
    assert sum(item.theirs.amount_nanodollars for item in items) == sum(
        line.amount_nanodollars or 0 for line in theirs
    )
    assert sum(item.ours.amount_nanodollars for item in items) == sum(
        each.amount_nanodollars for each in ours
    )
    posted = {item.key: item.difference_nanodollars for item in items}
    assert not any(item.differs for item in compare(both, ours, posted))
    assert conflicts(items, posted) == []


def exchange(*attempts: Attempt, usage: dict[str, int]) -> SettledExchange:
    """A settled exchange with these attempts, all of the first of May."""
    receipt = completed(opening(), *attempts).replace(usage=usage).to_json()
    at_ms = int(datetime(DAY.year, DAY.month, DAY.day, tzinfo=UTC).timestamp() * 1_000)
    return SettledExchange(receipt, {each.number: at_ms for each in attempts}, 0)


def tokens_at(provider: str, *exchanges: SettledExchange) -> list[tuple[int, int]]:
    found = attempts_at(provider, exchanges)
    return [(attempt.input_tokens, attempt.output_tokens) for attempt in found]


def test_each_attempt_is_compared_by_what_it_has_consumed_itself() -> None:
    """Of two at once the one that lost has cost something, too; of two that wrote one answer each
    has its part."""
    lost = Attempt(1, "slow", "m", 200, "hedge_lost", usage={"input_tokens": 9, "output_tokens": 2})
    winner = replace(won(), number=2, provider="quick", role="hedge")
    raced = exchange(lost, winner, usage={"input_tokens": 9, "output_tokens": 20})
    assert tokens_at("slow", raced) == [(9, 2)]
    assert tokens_at("quick", raced) == [(9, 20)]


def test_of_an_old_receipt_all_usage_is_the_last_attempts() -> None:
    old = exchange(
        Attempt(1, "sim", "m", 500, "upstream_error"),
        Attempt(2, "sim", "m", 200, "completed"),
        usage={"input_tokens": 9, "output_tokens": 20},
    )
    for attempt in old.receipt["attempts"]:
        del attempt["usage"]
    assert tokens_at("sim", old) == [(0, 0), (9, 20)]
