"""Several attempts of one request: who pays for which, and what is held and told meanwhile."""

from __future__ import annotations

from pathlib import Path

import trio

from engine import Outcome, Provenance
from engine.events import Usage
from engine.ledger import LedgerSettings, open_ledger
from engine.ledger.backup import back_up
from engine.ledger.receipts import Attempt, Receipt
from engine.metering.pricing import charge_nanodollars
from engine.routing.values import Role
from engine.sink import PullSink
from engine.tally import HEDGE_LOST
from tests.engine.legs import answer, break_off, deliver, open_desk
from tests.gateways import charge
from tests.scripted import DONE, usage_only, word


def costs(receipt: Receipt) -> list[int]:
    return [attempt.cost_nanodollars for attempt in receipt.attempts]


def told(attempt: Attempt) -> tuple[int, str, str, bool]:
    return attempt.number, attempt.role, attempt.outcome, attempt.won


# ---- one after another ---------------------------------------------------------------------------


async def test_a_failure_after_the_head_costs_the_house_its_input(tmp_path: Path) -> None:
    async with open_desk(tmp_path) as desk:
        billing = desk.billing
        first = await desk.dispatched(0)
        answer(first, word(""))
        break_off(first)
        billing.lost(first, "upstream_error")
        second = await desk.dispatched(1, "fallback")
        answer(second, word(" five") + usage_only(10, 5) + DONE)
        billing.settle(Outcome.COMPLETED)
        receipt = billing.receipt
        assert [told(each) for each in receipt.attempts] == [
            (1, "first", "upstream_error", False),
            (2, "fallback", "completed", True),
        ]
        lost, won = receipt.attempts
        assert lost.usage["input_tokens"] > 0
        assert lost.usage_provenance["input_tokens"] is Provenance.COUNTED
        assert (lost.price_nanodollars, lost.cost_nanodollars) == (
            0,
            lost.usage["input_tokens"] * 500,
        )
        assert (won.price_nanodollars, won.cost_nanodollars) == (charge(10, 5), 12_000)
        assert receipt.price_nanodollars == charge(10, 5)
        assert receipt.cost_nanodollars == sum(costs(receipt))
        assert receipt.usage == won.usage
        assert (receipt.provider, receipt.model_used) == ("other", "b")
        route = receipt.route
        assert route is not None
        assert route.candidates == ("sim/a", "other/b", "other/c")
        assert (route.served, route.fallback_from, route.fallback_depth) == ("pair", "sim/a", 1)


async def test_a_refusal_costs_nothing(tmp_path: Path) -> None:
    async with open_desk(tmp_path) as desk:
        billing = desk.billing
        for role in ("first", "retry"):
            leg = await desk.dispatched(0, role)
            answer(leg, b"{}", status=b"500")
            break_off(leg)
            billing.lost(leg, "upstream_error")
        billing.settle(Outcome.UPSTREAM_FAILED, break_off(leg))
        receipt = billing.receipt
        assert [(each.status, each.usage) for each in receipt.attempts] == [(500, {})] * 2
        assert costs(receipt) == [0, 0]
        assert receipt.route is not None
        assert receipt.route.fallback_depth == 0, "it was the same deployment"
        assert (receipt.outcome, receipt.price_nanodollars) == (Outcome.UPSTREAM_FAILED, 0)


async def test_the_last_failure_is_told_by_the_settlement(tmp_path: Path) -> None:
    async with open_desk(tmp_path) as desk:
        first = await desk.dispatched(0)
        break_off(first)
        desk.billing.lost(first, "upstream_unreachable")
        second = await desk.dispatched(2, "fallback")
        desk.billing.settle(Outcome.UPSTREAM_FAILED, break_off(second, "upstream_timeout"))
        receipt = desk.billing.receipt
        assert [each.outcome for each in receipt.attempts] == [
            "upstream_unreachable",
            "upstream_timeout",
        ]
        assert receipt.error is not None
        assert receipt.error.code == "upstream_timeout"
        assert receipt.route is not None
        assert receipt.route.served == "dear"


async def test_another_model_is_paid_at_its_own_price(tmp_path: Path) -> None:
    async with open_desk(tmp_path) as desk:
        first = await desk.dispatched(0)
        break_off(first)
        desk.billing.lost(first, "upstream_error")
        second = await desk.dispatched(2, "fallback")
        answer(second, word(" five") + usage_only(10, 5) + DONE)
        desk.billing.settle(Outcome.COMPLETED)
        receipt = desk.billing.receipt
        assert receipt.price_nanodollars == 10 * charge(10, 5)
        assert receipt.rates_picodollars["output_tokens"] == 20_000_000
        assert receipt.model == "pair"


async def test_an_answer_in_one_piece_that_breaks_is_the_houses(tmp_path: Path) -> None:
    async with open_desk(tmp_path, stream=False) as desk:
        first = await desk.dispatched(0)
        answer(first, b'{"choices"')
        break_off(first)
        desk.billing.lost(first, "upstream_error")
        second = await desk.dispatched(1, "fallback")
        entry = desk.billing.progress()
        assert entry is not None
        assert (entry.charge_nanodollars, len(entry.costs)) == (0, 1)
        desk.billing.settle(Outcome.UPSTREAM_FAILED, break_off(second))
        receipt = desk.billing.receipt
        assert receipt.price_nanodollars == 0
        assert receipt.cost_nanodollars == entry.costs[0].amount_nanodollars > 0


# ---- two at once ---------------------------------------------------------------------------------


async def test_two_at_once_have_numbers_and_rows_of_their_own(tmp_path: Path) -> None:
    async with open_desk(tmp_path) as desk:
        first, second = await desk.dispatched(0), await desk.dispatched(1, "hedge")
        assert (first.number, second.number) == (1, 2)
        running = desk.billing.receipt
        assert [each.outcome for each in running.attempts] == ["running", "running"]
        assert running.provider == "sim", "nobody has won yet"
        answer(second, word(" one"))
        desk.billing.won(second)
        assert desk.billing.receipt.provider == "other"
        answer(first, word(" too") + word(" late"))
        first.attempt.close()
        desk.billing.lost(first, HEDGE_LOST)
        answer(second, usage_only(10, 1) + DONE)
        desk.billing.settle(Outcome.COMPLETED)
        receipt = desk.billing.receipt
        assert [told(each) for each in receipt.attempts] == [
            (1, "first", HEDGE_LOST, False),
            (2, "hedge", "completed", True),
        ]
        loser, winner = receipt.attempts
        assert loser.usage["output_tokens"] == 2, "all that had come by the reset"
        assert loser.cost_nanodollars == loser.usage["input_tokens"] * 500 + 2 * 1_000
        assert receipt.price_nanodollars == winner.price_nanodollars == charge(10, 1)
        assert receipt.cost_nanodollars == sum(costs(receipt))
        assert receipt.received_output_tokens == 1
        assert receipt.route is not None
        assert (receipt.route.hedged, receipt.route.fallback_depth) == (True, 0)


async def test_the_one_that_was_slow_may_win_all_the_same(tmp_path: Path) -> None:
    async with open_desk(tmp_path) as desk:
        first, second = await desk.dispatched(0), await desk.dispatched(1, "hedge")
        answer(second)
        answer(first, word(" one"))
        desk.billing.won(first)
        desk.billing.lost(second, HEDGE_LOST)
        answer(first, usage_only(10, 1) + DONE)
        desk.billing.settle(Outcome.COMPLETED)
        receipt = desk.billing.receipt
        assert [each.won for each in receipt.attempts] == [True, False]
        assert receipt.attempts[1].cost_nanodollars == 600 * loser_input(receipt)
        assert receipt.provider == "sim"


def loser_input(receipt: Receipt) -> int:
    return receipt.attempts[1].usage["input_tokens"]


async def test_a_client_that_leaves_before_there_is_a_winner_pays_the_first(tmp_path: Path) -> None:
    async with open_desk(tmp_path) as desk:
        first, second = await desk.dispatched(0), await desk.dispatched(1, "hedge")
        answer(first)
        answer(second)
        desk.billing.settle(Outcome.CLIENT_LEFT)
        receipt = desk.billing.receipt
        assert [told(each) for each in receipt.attempts] == [
            (1, "first", "client_left", True),
            (2, "hedge", HEDGE_LOST, False),
        ]
        assert receipt.price_nanodollars == charge(receipt.usage["input_tokens"], 0)
        assert receipt.provider == "sim"
        assert min(costs(receipt)) > 0


async def test_one_of_two_fails_and_the_other_is_the_clients(tmp_path: Path) -> None:
    async with open_desk(tmp_path) as desk:
        first, second = await desk.dispatched(0), await desk.dispatched(1, "hedge")
        answer(second)
        break_off(first)
        desk.billing.lost(first, "upstream_error")
        assert desk.billing.receipt.provider == "other"
        desk.billing.settle(Outcome.CLIENT_LEFT)
        first_told, second_told = desk.billing.receipt.attempts
        assert (first_told.won, second_told.won) == (False, True)


async def test_after_a_fault_of_ours_nobody_pays_for_either(tmp_path: Path) -> None:
    async with open_desk(tmp_path) as desk:
        for leg in (await desk.dispatched(0), await desk.dispatched(1, "hedge")):
            answer(leg, word(" one"))
        desk.billing.settle(Outcome.GATEWAY_FAILED)
        receipt = desk.billing.receipt
        assert receipt.price_nanodollars == 0
        assert receipt.cost_nanodollars == sum(costs(receipt)) > 0


# ---- what is held --------------------------------------------------------------------------------


async def test_a_hold_covers_the_dearest_planned_model_once(tmp_path: Path) -> None:
    """Not the sum: the customer pays one of two at once."""
    async with open_desk(tmp_path) as desk:
        available = desk.available
        roles: list[tuple[int, Role]] = [(1, "hedge"), (2, "fallback")]
        for candidate, role in roles:
            leg = await desk.leg(candidate, role)
            assert desk.billing.covers(leg)
            assert leg.attempt.relay.output_limit == desk.covered_tokens
        assert desk.available == available
        desk.billing.settle(Outcome.UPSTREAM_FAILED)


async def test_what_one_of_two_holds_more_is_the_others_too(tmp_path: Path) -> None:
    async with open_desk(tmp_path) as desk:
        first, second = await desk.dispatched(0), await desk.dispatched(1, "hedge")
        before = desk.available
        answer(first, word(" word") * 1_700)
        after = desk.available
        assert after < before, "three quarters of the slice are spent"
        answer(second, word(" word") * 1_700)
        assert desk.available == after
        limits = [leg.attempt.relay.output_limit for leg in (first, second)]
        assert limits == [4_096, 4_096]
        desk.billing.won(second)
        desk.billing.settle(Outcome.CLIENT_LEFT)
        assert desk.billing.receipt.usage["output_tokens"] == 1_700


async def test_a_dear_model_that_may_stand_in_does_not_refuse_who_can_pay_the_first(
    tmp_path: Path,
) -> None:
    """It is held for when it is its turn, and passed over where that is too much."""
    async with open_desk(tmp_path, funds_nanodollars=5_000_000) as desk:
        assert desk.covered_tokens == 2_048, "nothing is lowered"
        dear = await desk.leg(2, "fallback")
        assert not desk.billing.covers(dear)
        other = await desk.leg(1, "fallback")
        assert desk.billing.covers(other)
        desk.billing.settle(Outcome.UPSTREAM_FAILED)


async def test_what_funds_do_not_cover_is_not_asked(tmp_path: Path) -> None:
    """The account covers a part of a slice; the bound on the input of the other model is dearer."""
    async with open_desk(tmp_path, model="sim-openai", funds_nanodollars=700_000) as desk:
        leg = await desk.dispatched(0)
        answer(leg, word(" one"))
        assert desk.available < 10_000
        further = await desk.leg(0, "continuation")
        assert not desk.billing.continued(further)
        assert further.attempt.relay.output_limit == desk.covered_tokens, "as it was made"
        desk.billing.settle(Outcome.UPSTREAM_FAILED, break_off(leg))
        (only,) = desk.billing.receipt.attempts
        assert only.won
        assert desk.billing.receipt.price_nanodollars == only.price_nanodollars > 0


async def test_what_was_lowered_for_want_of_funds_can_be_asked_again(tmp_path: Path) -> None:
    async with open_desk(tmp_path, model="sim-openai", funds_nanodollars=700_000) as desk:
        assert desk.covered_tokens is not None
        assert desk.covered_tokens < 2_048
        first = await desk.dispatched(0)
        break_off(first)
        desk.billing.lost(first, "upstream_error")
        second = await desk.dispatched(0, "retry")
        assert second.attempt.relay.output_limit == desk.covered_tokens
        desk.billing.settle(Outcome.UPSTREAM_FAILED, break_off(second))


# ---- one after another, in one answer ------------------------------------------------------------


async def test_both_parts_of_an_answer_are_billed(tmp_path: Path) -> None:
    """Each by its own rates: the second is of a model ten times as dear."""
    client = PullSink(1_000_000, lambda: None)
    async with open_desk(tmp_path) as desk:
        billing = desk.billing
        first = await desk.dispatched(0)
        answer(first, word(" word") * 30)
        deliver(first, client)
        error = break_off(first)
        so_far = billing.usage_of(first)
        assert so_far.output_tokens == 30
        sent_bytes = client.delivered_bytes
        second = await desk.leg(2, "continuation", sent_bytes=sent_bytes)
        available = desk.available
        assert billing.continued(second)
        assert desk.available < available, "what was written, and a slice of its own"
        assert second.attempt.relay.output_limit == 2_048
        billing.dispatched(second)
        assert billing.receipt.attempts[0].outcome == error.code
        answer(second, word(" more") * 4)
        entry = billing.progress()
        assert entry is not None
        assert (entry.received_output_tokens, entry.delivered_output_tokens) == (34, 30)
        assert (entry.number, [each.won for each in entry.ended]) == (2, [True])
        assert entry.usage["output_tokens"] == 34
        deliver(second, client)
        answer(second, usage_only(50, 4) + DONE)
        total = billing.settle(Outcome.COMPLETED)
        receipt = billing.receipt
        one, two = receipt.attempts
        assert (one.won, two.won, two.role) == (True, True, "continuation")
        assert (one.usage["output_tokens"], two.usage["output_tokens"]) == (30, 4)
        assert total == so_far.plus(Usage(50, output_tokens=4))
        assert receipt.usage == total.units()
        assert one.price_nanodollars == charge(so_far.input_tokens, 30)
        assert two.price_nanodollars == 10 * charge(50, 4)
        assert receipt.price_nanodollars == one.price_nanodollars + two.price_nanodollars
        assert receipt.cost_nanodollars == sum(costs(receipt))
        assert receipt.provenance is Provenance.COUNTED, "the first part was"
        assert receipt.counted_by is not None
        assert (receipt.received_output_tokens, receipt.delivered_output_tokens) == (34, 34)
        assert receipt.route is not None
        assert (receipt.route.served, receipt.route.fallback_from) == ("dear", "sim/a")


async def test_the_first_part_is_paid_where_nobody_writes_on(tmp_path: Path) -> None:
    async with open_desk(tmp_path) as desk:
        billing = desk.billing
        first = await desk.dispatched(0)
        answer(first, word(" word") * 30)
        break_off(first)
        second = await desk.leg(1, "continuation")
        assert billing.continued(second)
        billing.dispatched(second)
        answer(second)
        break_off(second, "upstream_timeout")
        billing.lost(second, "upstream_timeout")
        third = await desk.leg(2, "continuation")
        assert billing.covers(third)
        billing.dispatched(third)
        billing.settle(Outcome.UPSTREAM_FAILED, break_off(third))
        receipt = billing.receipt
        assert [each.won for each in receipt.attempts] == [True, False, False]
        one, two, _ = receipt.attempts
        assert receipt.price_nanodollars == one.price_nanodollars == charge(input_of(one), 30)
        assert receipt.usage == one.usage, "what nobody pays for is on its attempt alone"
        assert two.cost_nanodollars == input_of(two) * 600


def input_of(attempt: Attempt) -> int:
    return attempt.usage["input_tokens"]


async def test_a_fault_of_ours_in_the_second_part_is_the_houses(tmp_path: Path) -> None:
    async with open_desk(tmp_path) as desk:
        first = await desk.dispatched(0)
        answer(first, word(" word") * 30)
        break_off(first)
        second = await desk.leg(1, "continuation")
        assert desk.billing.continued(second)
        desk.billing.dispatched(second)
        answer(second, word(" more"))
        desk.billing.settle(Outcome.GATEWAY_FAILED)
        receipt = desk.billing.receipt
        assert receipt.price_nanodollars == 0
        assert [each.price_nanodollars for each in receipt.attempts] == [0, 0]
        assert receipt.cost_nanodollars == sum(costs(receipt)) > 0


async def test_who_leaves_between_the_parts_pays_the_first(tmp_path: Path) -> None:
    async with open_desk(tmp_path) as desk:
        first = await desk.dispatched(0)
        answer(first, word(" word") * 30)
        break_off(first)
        assert desk.billing.continued(await desk.leg(1, "continuation"))
        desk.billing.settle(Outcome.CLIENT_LEFT)
        receipt = desk.billing.receipt
        assert receipt.price_nanodollars == receipt.attempts[0].price_nanodollars > 0


async def test_who_leaves_a_provider_that_is_waived_pays_what_another_one_wrote(
    tmp_path: Path,
) -> None:
    async with open_desk(tmp_path, provider='on_cancel = "waive"') as desk:
        first = await desk.dispatched(1)
        answer(first, word(" word") * 30)
        break_off(first)
        second = await desk.leg(0, "continuation")
        assert desk.billing.continued(second)
        desk.billing.dispatched(second)
        answer(second, word(" more"))
        desk.billing.settle(Outcome.CLIENT_LEFT)
        receipt = desk.billing.receipt
        one, two = receipt.attempts
        assert (two.won, two.price_nanodollars) == (True, 0)
        assert receipt.price_nanodollars == one.price_nanodollars > 0
        assert receipt.usage == one.usage
        assert receipt.provenance is Provenance.FLAT


# ---- savings -------------------------------------------------------------------------------------


async def test_savings_are_told_against_the_reference(tmp_path: Path) -> None:
    async with open_desk(tmp_path, reference="dear") as desk:
        leg = await desk.dispatched(0)
        answer(leg, word(" five") + usage_only(10, 5) + DONE)
        desk.billing.settle(Outcome.COMPLETED)
        dear = desk.parts.catalogue["dear"].price
        worth = charge_nanodollars(Usage(10, output_tokens=5), dear)
        assert desk.billing.receipt.savings_nanodollars == worth - charge(10, 5) > 0


async def test_nothing_is_saved_where_nothing_is_billed(tmp_path: Path) -> None:
    async with open_desk(tmp_path, reference="dear") as desk:
        leg = await desk.dispatched(0)
        answer(leg)
        desk.billing.settle(Outcome.UPSTREAM_FAILED, break_off(leg))
        assert desk.billing.receipt.savings_nanodollars is None


# ---- a kill --------------------------------------------------------------------------------------


async def test_a_kill_between_the_parts_of_an_answer_bills_what_was_recorded(
    tmp_path: Path,
) -> None:
    """One attempt was lost at a cost, one wrote and broke off, one was writing on."""
    copy = tmp_path / "killed.db"
    async with open_desk(tmp_path) as desk:
        billing, ledger = desk.billing, desk.parts.ledger
        first = await desk.dispatched(0)
        answer(first)
        break_off(first)
        billing.lost(first, "upstream_error")
        second = await desk.dispatched(1, "fallback")
        answer(second, word(" word") * 30)
        break_off(second)
        third = await desk.leg(2, "continuation")
        assert billing.continued(third)
        billing.dispatched(third)
        answer(third, word(" more") * 4)
        entry = billing.progress()
        assert entry is not None
        ledger.progress([entry])
        await desk.setup.gateway.create_key(desk.setup.account_id, "behind it in the journal")
        await trio.to_thread.run_sync(back_up, desk.parts.config.storage.path, copy)
        billing.settle(Outcome.CLIENT_LEFT)
        settled = billing.receipt
    async with open_ledger(LedgerSettings(copy)) as killed:
        assert killed.recovered_holds == 1
        stored = await killed.read_receipt(settled.account_id, settled.request_id)
        assert stored is not None
        found = Receipt.from_json(stored)
        assert (found.outcome, found.provenance) == ("gateway_failed", Provenance.RECOVERED)
        for name in ("usage", "provider", "model_used", "route"):
            assert getattr(found, name) == getattr(settled, name), name
        assert found.price_nanodollars == settled.price_nanodollars
        for before, after in zip(settled.attempts, found.attempts, strict=True):
            assert (before.role, before.won) == (after.role, after.won)
            assert before.cost_nanodollars == after.cost_nanodollars
            assert before.price_nanodollars == after.price_nanodollars
            assert before.usage == after.usage
        assert [finding for finding in await killed.audit() if not finding.ok] == []
