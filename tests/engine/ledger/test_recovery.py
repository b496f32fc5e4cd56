"""What is found after a process died: by rule, and after real kills."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.ledger import AttemptRow, CostLine, ProgressEntry, open_ledger
from engine.ledger.entries import Entry
from engine.ledger.records import AttemptFigures
from engine.ledger.recovery import OrphanHold, recover, recovered
from engine.ledger.route import Route
from engine.ledger.sqlite import Store
from engine.ledger.transfers import changes
from tests.engine.ledger.samples import (
    USD,
    completed,
    funded_ledger,
    opening,
    raw_database,
    replay,
    settings_for,
)

ROW = AttemptRow(1, "sim", "sim-openai", 0)
amounts = st.integers(min_value=0, max_value=10**12)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


def test_an_orphan_without_progress_is_voided() -> None:
    ended = recovered(OrphanHold("acct_1", 1_000, opening(), (ROW,), None), at_ms=5)
    assert (ended.end, ended.amount_nanodollars, ended.transfers) == ("voided", 0, ())
    receipt = ended.receipt
    assert (receipt.outcome, receipt.provenance) == ("gateway_failed", "recovered")
    assert receipt.price_nanodollars == 0
    (attempt,) = receipt.attempts
    assert (attempt.number, attempt.provider, attempt.outcome) == (1, "sim", "gateway_failed")
    assert (attempt.won, attempt.price_nanodollars) == (False, 0)


@given(charge=amounts, held=amounts, cost=amounts)
def test_an_orphan_pays_its_last_progress_and_never_more_than_its_hold(
    charge: int, held: int, cost: int
) -> None:
    progress = ProgressEntry("req_1", {"output_tokens": 3}, charge, 3, 2, (CostLine("sim", cost),))
    ended = recovered(OrphanHold("acct_1", held, opening(), (ROW,), progress), at_ms=5)
    assert ended.end == "posted"
    assert ended.amount_nanodollars == min(charge, held)
    moved = changes(ended.transfers)
    assert moved.get("acct_1", 0) == -min(charge, held)
    assert moved.get("house:overrun", 0) == -max(0, charge - held)
    assert moved.get("provider:sim", 0) == cost
    assert ended.receipt.price_nanodollars == min(charge, held)
    assert ended.receipt.usage == {"output_tokens": 3}
    assert ended.receipt.received_output_tokens == 3
    assert ended.receipt.delivered_output_tokens == 2
    (attempt,) = ended.receipt.attempts
    assert (attempt.price_nanodollars, attempt.cost_nanodollars) == (charge, cost)
    assert (attempt.won, attempt.usage) == (True, {"output_tokens": 3})


PLANNED = Route("cheap", "weighted", ("sim/sim-openai", "other/model", "third/model"))
"""What the opening receipt of a request with several attempts has said."""


def several(*rows: AttemptRow, progress: ProgressEntry | None) -> OrphanHold:
    """A request of which a process has left these attempts behind."""
    begun = opening().replace(
        provider="sim",
        model_used="sim-openai",
        route=PLANNED,
        cost_rates_picodollars={"output_tokens": 7},
    )
    return OrphanHold("acct_1", 1_000, begun, rows, progress)


def test_of_two_at_once_the_one_that_progress_names_has_served() -> None:
    """The first was slow, another one was made beside it, and had begun to answer."""
    rows = (ROW, AttemptRow(2, "other", "model", 5, "hedge", "cheap"))
    lost = AttemptFigures(1, {"input_tokens": 9, "output_tokens": 0}, 0, 4)
    progress = ProgressEntry(
        "req_1",
        {"input_tokens": 9, "output_tokens": 30},
        600,
        30,
        28,
        (CostLine("sim", 4), CostLine("other", 50)),
        number=2,
        ended=(lost,),
    )
    ended = recovered(several(*rows, progress=progress), at_ms=5)
    receipt = ended.receipt
    assert (receipt.provider, receipt.model_used) == ("other", "model")
    assert (receipt.price_nanodollars, receipt.cost_nanodollars) == (600, 54)
    assert receipt.usage == {"input_tokens": 9, "output_tokens": 30}
    first, second = receipt.attempts
    assert (first.won, first.price_nanodollars, first.cost_nanodollars) == (False, 0, 4)
    assert (second.won, second.price_nanodollars, second.cost_nanodollars) == (True, 600, 50)
    assert (second.role, second.usage) == ("hedge", receipt.usage)
    assert receipt.route is not None
    assert (receipt.route.hedged, receipt.route.fallback_from) == (True, None)
    assert receipt.cost_rates_picodollars == {}, "they were of the first"
    assert receipt.rates_picodollars == opening().rates_picodollars, "the model is the same"


def test_each_attempt_of_one_answer_has_its_own_part_of_it() -> None:
    """The first wrote 20 tokens and broke off, the second went on."""
    rows = (ROW, AttemptRow(2, "other", "model", 5, "continuation", "dear"))
    first_part = AttemptFigures(1, {"input_tokens": 9, "output_tokens": 20}, 200, 10, won=True)
    progress = ProgressEntry(
        "req_1",
        {"input_tokens": 40, "output_tokens": 26},
        290,
        26,
        26,
        (CostLine("sim", 10), CostLine("other", 15)),
        number=2,
        ended=(first_part,),
    )
    receipt = recovered(several(*rows, progress=progress), at_ms=5).receipt
    first, second = receipt.attempts
    assert (first.won, first.price_nanodollars, first.cost_nanodollars) == (True, 200, 10)
    assert (second.won, second.price_nanodollars, second.cost_nanodollars) == (True, 90, 15)
    assert second.usage == {"input_tokens": 31, "output_tokens": 6}
    assert receipt.route is not None
    assert (receipt.route.served, receipt.route.fallback_from) == ("dear", "sim/sim-openai")
    assert receipt.rates_picodollars == {}, "they were of the other model"


def test_an_attempt_that_came_after_the_last_progress_has_nothing() -> None:
    rows = (ROW, AttemptRow(2, "other", "model", 5, "continuation", "cheap"))
    progress = ProgressEntry("req_1", {"output_tokens": 5}, 50, 5, 5, (CostLine("sim", 5),), 1)
    receipt = recovered(several(*rows, progress=progress), at_ms=5).receipt
    assert receipt.provider == "sim"
    assert [attempt.cost_nanodollars for attempt in receipt.attempts] == [5, 0]
    assert [attempt.won for attempt in receipt.attempts] == [True, False]


def test_without_progress_the_last_attempt_has_served() -> None:
    rows = (ROW, AttemptRow(2, "other", "model", 5, "fallback", "cheap"))
    ended = recovered(several(*rows, progress=None), at_ms=5)
    assert (ended.end, ended.receipt.provider, ended.receipt.model_used) == (
        "voided",
        "other",
        "model",
    )
    assert ended.receipt.route is not None
    assert ended.receipt.route.fallback_depth == 1


async def test_what_several_attempts_had_cost_survives_the_process(path: Path) -> None:
    """One was lost, another one was under way without output; then all is gone at once."""
    lost = AttemptFigures(1, {"input_tokens": 9, "output_tokens": 0}, 0, 4)
    async with funded_ledger(path) as (ledger, account_id):
        begun = opening("req_1", account_id).replace(route=PLANNED)
        hold = ledger.hold(account_id, "req_1", 1_000, begun)
        ledger.attempt(hold, ROW)
        ledger.attempt(hold, AttemptRow(2, "other", "model", 1, "fallback", "dear"))
        entry = ProgressEntry("req_1", {}, 0, 0, 0, (CostLine("sim", 4),), 2, (lost,))
        ledger.progress([entry])
    async with open_ledger(settings_for(path)) as ledger:
        receipt = await ledger.read_receipt(account_id, "req_1")
        assert receipt is not None
        assert (receipt["price"]["nanodollars"], receipt["cost"]["nanodollars"]) == (0, 4)
        assert [each["cost"]["nanodollars"] for each in receipt["attempts"]] == [4, 0]
        assert [each["role"] for each in receipt["attempts"]] == ["first", "fallback"]
        assert receipt["route"]["served"] == "dear"
        assert ledger.available_nanodollars(account_id) == USD
        assert ledger.house_balances()["house:cost"] == -4
        assert [finding for finding in await ledger.audit() if not finding.ok] == []


async def test_the_next_start_ends_what_is_open(path: Path) -> None:
    async with funded_ledger(path) as (ledger, account_id):
        for name in ("req_1", "req_2", "req_3"):
            ledger.hold(account_id, name, 1_000, opening(name, account_id))
        begun = opening("req_4", account_id)
        hold = ledger.hold(account_id, "req_4", 1_000, begun)
        ledger.attempt(hold, AttemptRow(1, "sim", "sim-openai", 0))
        ledger.attempt(hold, AttemptRow(2, "other", "model", 0))
        ledger.extend(hold, 500)
        ledger.progress([ProgressEntry("req_4", {"output_tokens": 9}, 900, 9, 8)])
        ledger.progress([ProgressEntry("req_4", {"output_tokens": 14}, 1_400, 14, 12)])
        ledger.progress([ProgressEntry("req_2", {"output_tokens": 1}, 1_001, 1, 1)])
    async with open_ledger(settings_for(path)) as ledger:
        assert ledger.recovered_holds == 4
        assert ledger.available_nanodollars(account_id) == USD - 1_400 - 1_000
        assert ledger.house_balances()["house:overrun"] == -1
        voided = await ledger.read_receipt(account_id, "req_1")
        assert voided is not None
        assert voided["outcome"] == "gateway_failed"
        posted = await ledger.read_receipt(account_id, "req_4")
        assert posted is not None
        assert posted["price"]["nanodollars"] == 1_400
        assert posted["provenance"] == "recovered"
        assert posted["usage"] == {"output_tokens": 14}
        assert [attempt["provider"] for attempt in posted["attempts"]] == ["sim", "other"]
        assert [finding for finding in await ledger.audit() if not finding.ok] == []
    async with open_ledger(settings_for(path)) as ledger:
        assert ledger.recovered_holds == 0


async def test_a_recovery_that_is_interrupted_goes_on_at_the_next_start(path: Path) -> None:
    settings = settings_for(path)
    async with funded_ledger(path) as (ledger, account_id):
        names = [f"req_{number}" for number in range(10)]
        for name in names:
            ledger.hold(account_id, name, 10, opening(name, account_id))
            ledger.progress([ProgressEntry(name, {"output_tokens": 1}, 7, 1, 1)])

    class KilledError(Exception):
        pass

    class DyingStore(Store):
        """Dies after three groups."""

        groups = 0

        def commit(self, entries: Sequence[tuple[int, Entry]]) -> None:
            self.groups += 1
            if self.groups > 3:
                raise KilledError
            super().commit(entries)

    for _ in range(3):
        store = DyingStore(settings)
        with pytest.raises(KilledError):
            recover(store, 1)
        store.close()
    async with open_ledger(settings) as ledger:
        assert ledger.recovered_holds == 1
        assert ledger.available_nanodollars(account_id) == USD - 10 * 7
        assert [finding for finding in await ledger.audit() if not finding.ok] == []


def run_and_kill(path: Path, account_id: str, seed: int, lines: int) -> list[str]:
    """The lines a child has said when it is killed, some time after it said so many."""
    command = [sys.executable, "-m", "tests.engine.ledger.crash_child"]
    with subprocess.Popen(
        [*command, str(path), account_id, str(seed)], stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        said = [child.stdout.readline() for _ in range(lines)]
        child.send_signal(signal.SIGKILL)
        said += child.stdout.readlines()
    assert child.returncode == -signal.SIGKILL
    return [line.strip() for line in said if line.endswith("\n")]


@pytest.mark.parametrize("kills", [5, pytest.param(60, marks=pytest.mark.long)])
async def test_what_was_acknowledged_survives_kill_9(path: Path, kills: int) -> None:
    seed = random.randrange(10**6)
    print(f"seed {seed}")  # noqa: T201
    chance = random.Random(seed)
    said: list[str] = []
    async with funded_ledger(path, 10**15) as (ledger, account_id):
        pass
    for kill in range(kills):
        said += run_and_kill(path, account_id, seed + kill, chance.randrange(1, 1_500))
        async with open_ledger(settings_for(path)) as ledger:
            findings = await ledger.audit()
            assert [finding for finding in findings if not finding.ok] == []
            assert ledger.epoch == 2 * kill + 3, "the child's start and this one"
            assert ledger.balances() == replay(path)
    check_acknowledged(path, said)


def check_acknowledged(path: Path, said: list[str]) -> None:
    with raw_database(path) as connection:
        ends = {
            request_id: (kind, amount)
            for request_id, kind, amount in connection.execute(
                "SELECT request_id, kind, amount FROM hold_records"
                " WHERE kind IN ('posted', 'voided')"
            )
        }
        (holds,) = connection.execute("SELECT count(*) FROM holds").fetchone()
        recovered_requests = {
            request_id
            for (request_id,) in connection.execute(
                "SELECT request_id FROM receipts"
                " WHERE json_extract(body, '$.provenance') = 'recovered'"
            )
        }
    assert holds == len(ends), "quiet: no hold is open"
    progressed: dict[str, set[int]] = {}
    for line in said:
        match line.split():
            case ["held", request_id]:
                assert request_id in ends
            case ["settled", request_id, posted]:
                assert ends[request_id] == ("posted", int(posted))
                assert request_id not in recovered_requests
            case ["voided", request_id]:
                assert ends[request_id] == ("voided", 0)
            case ["progress", request_id, charge]:
                progressed.setdefault(request_id, set()).add(int(charge))
    assert recovered_requests, "some exchange was under way at some kill"
    for request_id in recovered_requests:
        kind, amount = ends[request_id]
        if kind == "posted":
            assert amount in progressed[request_id]


async def test_a_settlement_in_the_database_is_not_recovered_again(path: Path) -> None:
    async with funded_ledger(path) as (ledger, account_id):
        open_hold = opening("req_0", account_id)
        ledger.hold(account_id, "req_0", 1, open_hold)
        begun = opening("req_1", account_id)
        hold = ledger.hold(account_id, "req_1", 100, begun)
        ledger.progress([ProgressEntry("req_1", {}, 99, 1, 1)])
        ledger.settle(
            hold, posted_nanodollars=50, overrun_nanodollars=0, costs=[], receipt=completed(begun)
        )
    async with open_ledger(settings_for(path)) as ledger:
        assert ledger.recovered_holds == 1
        assert ledger.available_nanodollars(account_id) == USD - 50
