"""A provider's report compared and posted on the command line."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio
from click.testing import CliRunner, Result

from engine.ledger import Attempt, AttemptRow, CostLine, Ledger, open_ledger
from engine.ledger.records import ReconciliationLine
from engine.reconcile.readers import read_report
from engine.reconcile.reconcile import lines_to_post
from engine.reconcile.reconcile import reconcile as compared
from frontends.cli import main
from frontends.commands.command import LedgerDesk
from frontends.control import open_control
from tests.engine.ledger.samples import USD, completed, opening, replay, settings_for, won

MAY_1_MS = 1_777_593_600_000  # 2026-05-01T00:00:00Z
DAY_MS = 86_400_000
HEADER = "date,model,amount_usd\n"


@pytest.fixture
def db(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


async def settle(ledger: Ledger, account_id: str, number: int, model: str, cost: int) -> None:
    """A request of the first of May that failed at one provider and was answered by another."""
    request_id = f"req_{number}"
    begun = opening(request_id, account_id).replace(created_at_ms=MAY_1_MS + number)
    hold = ledger.hold(account_id, request_id, 10_000, begun)
    for attempt, provider in ((1, "other"), (2, "openai")):
        ledger.attempt(hold, AttemptRow(attempt, provider, model, MAY_1_MS + number))
    attempts = (
        Attempt(1, "other", model, 500, "upstream_failed"),
        replace(
            won(cost, cost),
            number=2,
            provider="openai",
            upstream_model=model,
            provider_request_id=f"p_{number}",
            role="fallback",
        ),
    )
    ticket = ledger.settle(
        hold,
        posted_nanodollars=cost,
        overrun_nanodollars=0,
        costs=[CostLine("openai", cost)],
        receipt=completed(begun, *attempts),
    )
    await ledger.wait_durable(ticket)


@asynccontextmanager
async def costs(db: Path) -> AsyncIterator[Ledger]:
    """Three requests: 3,000 of gpt-5 and 500 of gpt-5-mini, with a server beside them."""
    async with open_ledger(settings_for(db)) as ledger:
        account_id = (await ledger.create_account("demo")).account_id
        await ledger.fund(account_id, USD, "first")
        for number, (model, cost) in enumerate(
            [("gpt-5", 1_000), ("gpt-5", 2_000), ("gpt-5-mini", 500)]
        ):
            await settle(ledger, account_id, number, model, cost)
        async with open_control(LedgerDesk(ledger), db):
            yield ledger


async def reconcile(db: Path, text: str, *options: str, provider: str = "openai") -> Result:
    file = db.with_name("report")
    await trio.Path(file).write_text(text)
    arguments = ["reconcile", str(file), "--provider", provider, "--db", str(db), *options]
    return await trio.to_thread.run_sync(lambda: CliRunner().invoke(main, arguments))


def parsed(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


async def test_a_report_that_agrees(db: Path) -> None:
    report = HEADER + "2026-05-01,gpt-5-2025-08-07,0.000003\n2026-05-01,gpt-5-mini,0.0000005\n"
    async with costs(db):
        shown = parsed(await reconcile(db, report, "--json"))
        everything = parsed(await reconcile(db, report, "--json", "--all"))
        table = await reconcile(db, report)
    assert (shown["items"], shown["compared"], shown["differing"]) == ([], 2, 0)
    assert [item["attempts"] for item in everything["items"]] == [2, 1]
    assert table.exit_code == 0
    assert "(none)" in table.stdout


async def test_differences_are_shown_then_posted_once(db: Path) -> None:
    report = HEADER + "2026-05-01,gpt-5,0.000003100\n2026-05-01,gpt-5-mini,0.000000450\n"
    async with costs(db) as ledger:
        shown = await reconcile(db, report)
        assert shown.exit_code == 1
        assert "2 of 2 items differ; --post posts the differences" in shown.stderr
        assert "$0.0000001" in shown.stdout
        assert ledger.balances()["provider:openai"] == 3_500

        assert parsed(await reconcile(db, report, "--post", "--json"))["posted"] == 2
        assert ledger.balances()["provider:openai"] == 3_550
        assert ledger.house_balances()["house:cost"] == -3_550
        again = parsed(await reconcile(db, report, "--post", "--json"))
        assert (again["posted"], again["differing"]) == (0, 0)

        corrected = report.replace("0.000003100", "0.000003000")
        assert parsed(await reconcile(db, corrected, "--post", "--json"))["posted"] == 1
        assert ledger.balances()["provider:openai"] == 3_450
        assert [finding for finding in await ledger.audit() if not finding.ok] == []
        assert ledger.balances() == replay(db)


async def test_a_day_is_posted_by_one_grouping_only(db: Path) -> None:
    async with costs(db) as ledger:
        whole = "date,amount\n2026-05-01,0.000004\n"
        assert parsed(await reconcile(db, whole, "--post", "--json"))["posted"] == 1
        by_model = HEADER + "2026-05-01,gpt-5,0.000004\n"
        refused = await reconcile(db, by_model, "--post")
        assert refused.exit_code == 1
        assert "2026-05-01: posted before" in refused.stderr
        assert ledger.balances()["provider:openai"] == 4_000


async def test_a_day_and_its_requests_are_not_both_posted(db: Path) -> None:
    whole = "date,amount\n2026-05-01,0.000004\n"
    by_request = "request_id,amount\np_0,0.0000015\n"
    async with costs(db) as ledger:
        assert parsed(await reconcile(db, whole, "--post", "--json"))["posted"] == 1
        refused = await reconcile(db, by_request, "--post")
        assert "2026-05-01: posted before" in refused.stderr
        assert ledger.balances()["provider:openai"] == 4_000


async def test_a_file_posted_again_posts_what_has_changed_since(db: Path) -> None:
    report = "date,amount\n2026-05-01,0.000004\n"
    other = "date,amount\n2026-05-01,0.000005\n"
    async with costs(db) as ledger:
        for text, posted, total in ((report, 1, 4_000), (other, 1, 5_000), (report, 1, 4_000)):
            done = parsed(await reconcile(db, text, "--post", "--json"))
            assert (done["posted"], ledger.balances()["provider:openai"]) == (posted, total)
        [account] = await ledger.accounts()
        await settle(ledger, account.account_id, 7, "gpt-5", 300)
        assert parsed(await reconcile(db, report, "--post", "--json"))["posted"] == 1
        assert ledger.balances()["provider:openai"] == 4_000
        assert parsed(await reconcile(db, report, "--post", "--json"))["posted"] == 0


async def test_of_two_files_posted_at_once_one_is(db: Path) -> None:
    async with costs(db) as ledger:
        added = []
        for number in range(2):
            report = read_report(f"date,amount\n2026-05-01,0.00000{number + 4}\n")
            result = await trio.to_thread.run_sync(compared, db, "openai", report)
            added.append(lines_to_post(result, "costs.csv", str(number)))
        assert [await ledger.reconcile("openai", lines) for lines in added] == [1, 0]
        assert ledger.balances()["provider:openai"] == 4_000


async def test_what_was_posted_by_hand_is_no_item(db: Path) -> None:
    report = "date,amount\n2026-05-01,0.000004\n"
    async with costs(db) as ledger:
        await ledger.reconcile("openai", [ReconciliationLine(7, "a fee", "ticket-1")])
        assert parsed(await reconcile(db, report, "--post", "--json"))["posted"] == 1
        assert ledger.balances()["provider:openai"] == 4_007


async def test_requests_by_their_ids(db: Path) -> None:
    report = "request_id,amount\np_0,0.000001\np_1,0.000002\np_2,0.0000006\n"
    async with costs(db) as ledger:
        shown = await reconcile(db, report, "--json")
        [item] = json.loads(shown.stdout)["items"]
        assert (item["provider_request_id"], item["difference"]["nanodollars"]) == ("p_2", 100)
        assert parsed(await reconcile(db, report, "--post", "--json"))["posted"] == 1
        assert ledger.balances()["provider:openai"] == 3_600


async def test_more_items_than_one_command_takes(db: Path) -> None:
    lines = [f"p_{number},0.000001\n" for number in range(1_000, 1_250)]
    async with costs(db) as ledger:
        report = "request_id,amount\n" + "".join(lines)
        assert parsed(await reconcile(db, report, "--post", "--json"))["posted"] == 250
        assert ledger.balances()["provider:openai"] == 3_500 + 250 * 1_000


async def test_items_and_a_file_with_long_names(db: Path) -> None:
    name = "費用" * 40
    lines = [f"{name}-{number},0.000001\n" for number in range(150)]
    async with costs(db) as ledger:
        report = "request_id,amount\n" + "".join(lines)
        assert parsed(await reconcile(db, report, "--post", "--json"))["posted"] == 150
        assert ledger.balances()["provider:openai"] == 3_500 + 150 * 1_000


async def test_requests_that_are_dated_are_sought_near_their_days(db: Path) -> None:
    """Dated in another time zone, or not at all, they are found too."""
    async with costs(db) as ledger:
        await ledger.archive(db.parent / "old", 2**50)
        for day in ("2026-04-30", "2026-05-02", ""):
            report = f"request_id,date,amount\np_0,{day},0.000001\n"
            shown = json.loads((await reconcile(db, report, "--json", "--all")).stdout)
            items = {item["provider_request_id"]: item for item in shown["items"]}
            assert items["p_0"]["difference"]["nanodollars"] == 0


async def test_archived_receipts_are_compared_too(db: Path) -> None:
    report = HEADER + "2026-05-01,gpt-5,0.000003\n2026-05-01,gpt-5-mini,0.0000005\n"
    async with costs(db) as ledger:
        await ledger.archive(db.parent / "old", 2**50)
        assert parsed(await reconcile(db, report, "--json"))["differing"] == 0


async def test_usage_is_compared_by_tokens(db: Path) -> None:
    report = "date,model,input_tokens,output_tokens\n2026-05-01,gpt-5,18,41\n"
    async with costs(db):
        shown = await reconcile(db, report, "--json", "--all")
        items = {item["model"]: item for item in json.loads(shown.stdout)["items"]}
        posted = await reconcile(db, report, "--post")
    assert shown.exit_code == 1
    assert items["gpt-5"]["our_input_tokens"] == items["gpt-5"]["their_input_tokens"] == 18
    assert (items["gpt-5"]["our_output_tokens"], items["gpt-5"]["their_output_tokens"]) == (40, 41)
    assert items["gpt-5-mini"]["their_output_tokens"] == 0
    assert posted.exit_code == 1
    assert "has no amounts" in posted.stderr


async def test_what_is_refused(db: Path) -> None:
    async with costs(db):
        stranger = await reconcile(db, HEADER + "2026-05-01,x,1\n", provider="opnai")
        no_report = await reconcile(db, "dear customer,\n")
        agrees = await reconcile(db, HEADER, "--post")
    assert stranger.exit_code == no_report.exit_code == 1
    assert "nothing was ever paid to a provider 'opnai'; there are: openai" in stranger.stderr
    assert "no column says the day or the request" in no_report.stderr
    assert "has no amounts" in agrees.stderr
    help_text = CliRunner().invoke(main, ["reconcile", "--help"]).output
    assert "Examples:" in help_text
