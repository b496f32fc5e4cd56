"""The gateway around its exchanges: receipts, keys, models, metrics, progress and recovery."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from engine import Gateway, Outcome, open_gateway, parse_config
from engine.clock import wall_ms
from engine.errors import AuthenticationError, NotFoundError
from engine.ledger.receipt_lists import ReceiptQuery
from engine.ledger.receipts import for_customer
from engine.ledger.records import LedgerLockedError
from tests.gateways import assert_invariants, config_text, drain, open_setup, run, settled


async def test_a_receipt_is_there_while_the_exchange_runs_and_after(tmp_path: Path) -> None:
    async with open_setup(tmp_path, storage="progress_interval_s = 0.02") as setup:
        principal = setup.gateway.authenticate(setup.key)
        call = setup.call("tokens=500 tokens_per_second=1000")
        async with setup.gateway.open_exchange(call) as exchange:
            running = await setup.gateway.receipt(principal, call.request_id)
            assert (running["outcome"], running["state"]) == ("running", "running")
            await exchange.head()
            await drain(exchange)
        stored = await setup.gateway.receipt(principal, call.request_id)
        assert stored == for_customer(exchange.receipt.to_json())
        assert stored["outcome"] == "completed"


async def test_no_customer_is_shown_what_the_provider_charges(tmp_path: Path) -> None:
    """The operator's margin: in the operator's own view, in no answer to a customer."""
    async with open_setup(tmp_path, billing="markup = 3") as setup:
        _, receipt, _ = await run(setup, setup.call("tokens=3"))
        assert receipt.cost_nanodollars > 0
        principal = setup.gateway.authenticate(setup.key)
        page = await setup.gateway.receipts(principal, ReceiptQuery())
        for shown in (
            await setup.gateway.receipt(principal, receipt.request_id),
            await setup.gateway.cancel(principal, receipt.request_id),
            *page.receipts,
        ):
            assert shown["price"]["nanodollars"] == receipt.price_nanodollars
            assert b"cost" not in orjson.dumps(shown)
        kept = await setup.gateway.ledger.read_receipt(setup.account_id, receipt.request_id)
        assert kept is not None
        assert kept["cost"]["nanodollars"] == receipt.cost_nanodollars


async def test_a_receipt_is_its_accounts_own(tmp_path: Path) -> None:
    async with open_setup(tmp_path) as setup:
        gateway = setup.gateway
        _, receipt, _ = await run(setup, setup.call("tokens=3"))
        other = await gateway.ledger.create_account("other")
        _, secret = await gateway.create_key(other.account_id, "other")
        for principal, request_id in [
            (gateway.authenticate(secret), receipt.request_id),
            (gateway.authenticate(setup.key), "req_unknown"),
        ]:
            with pytest.raises(NotFoundError):
                await gateway.receipt(principal, request_id)


async def test_a_revoked_key_is_refused_and_what_it_started_goes_on(tmp_path: Path) -> None:
    async with open_setup(tmp_path) as setup:
        principal = setup.gateway.authenticate(setup.key)
        call = setup.call("tokens=100 tokens_per_second=1000")
        async with setup.gateway.open_exchange(call) as exchange:
            await exchange.head()
            await setup.gateway.revoke_key(principal.key_id)
            with pytest.raises(AuthenticationError):
                setup.gateway.authenticate(setup.key)
            await drain(exchange)
        assert exchange.receipt.outcome is Outcome.COMPLETED


async def test_keys_and_money_are_there_after_a_restart(tmp_path: Path) -> None:
    async with open_setup(tmp_path) as setup:
        _, receipt, _ = await run(setup, setup.call("tokens=3"))
        left = await setup.balance()
        text = config_text(tmp_path / "ledger.db", setup.sim.base_url)
    async with open_gateway(parse_config(text, "again", {})) as gateway:
        principal = gateway.authenticate(setup.key)
        assert (await gateway.ledger.account(principal.account_id)).balance_nanodollars == left
        stored = await gateway.receipt(principal, receipt.request_id)
        assert stored["price"]["nanodollars"] == receipt.price_nanodollars


async def test_one_gateway_owns_its_database(tmp_path: Path) -> None:
    async with open_setup(tmp_path) as setup:
        with pytest.raises(LedgerLockedError):
            async with open_gateway(setup.gateway.config):
                pass


async def test_models_are_listed(tmp_path: Path) -> None:
    async with open_setup(tmp_path) as setup:
        models = setup.gateway.models(setup.gateway.identify(setup.key, "read"))
        assert [(model.id, model.owned_by) for model in models] == [
            ("sim-openai", "sim"),
            ("sim-responses", "sim-responses"),
            ("sim-anthropic", "sim-anthropic"),
            ("sim-gemini", "sim-gemini"),
        ]


async def test_what_happens_is_counted(tmp_path: Path) -> None:
    async with open_setup(tmp_path) as setup:
        await run(setup, setup.call("tokens=3"))
        await run(setup, setup.call("tokens=9 cut_after=0 fault=rst"))
        setup.gateway.telemetry.refused("model_not_found")
        text = setup.gateway.telemetry.exposition().decode()
        sample = 'parshall_exchanges_total{model="sim-openai",outcome="%s",provider="sim"} 1.0'
        assert sample % "completed" in text
        assert sample % "upstream_failed" in text
        assert 'parshall_tokens_total{model="sim-openai",unit="output_tokens"} 3.0' in text
        assert 'parshall_refused_total{code="model_not_found"} 1.0' in text
        assert "parshall_open_exchanges 0.0" in text
        assert setup.account_id not in text


async def test_a_crash_would_bill_the_last_progress(tmp_path: Path) -> None:
    async with open_setup(tmp_path, storage="progress_interval_s = 0.02") as setup:
        principal = setup.gateway.authenticate(setup.key)
        call = setup.call("tokens=2000 tokens_per_second=2000")
        async with setup.gateway.open_exchange(call) as exchange:
            seen = 0
            async for _ in exchange:
                running = await setup.gateway.receipt(principal, call.request_id)
                progress = running["usage"].get("output_tokens", 0)
                assert seen <= progress <= setup.truth(exchange).tokens_generated
                seen = progress
            assert seen > 100


async def test_progress_does_not_wait_for_its_tick_when_tokens_come_fast(tmp_path: Path) -> None:
    async with open_setup(tmp_path, storage="progress_interval_s = 3600") as setup:
        ledger = setup.gateway.ledger
        call = setup.call("tokens=100000 tokens_per_second=2000")
        async with setup.gateway.open_exchange(call) as exchange:
            await exchange.head()
            truth = setup.truth(exchange)
            async for _ in exchange:
                if truth.tokens_generated > 3_000:
                    break
            running = ledger.running_receipt(setup.account_id, call.request_id)
        assert running is not None
        recorded = running.usage["output_tokens"]
        # 256, and what one more read from the provider can bring: 64 KiB.
        assert exchange.receipt.received_output_tokens - recorded <= 256 + 400
        assert recorded > 1_000
        await settled(lambda: truth.ended == "reset")


async def test_a_hold_that_nobody_owns_expires_and_a_live_one_does_not(tmp_path: Path) -> None:
    async with open_setup(tmp_path, storage="hold_lease_s = 0.1") as setup:
        ledger = setup.gateway.ledger
        call = setup.call("tokens=2 head_ms=700")
        async with setup.gateway.open_exchange(call) as exchange:
            lost = replace(exchange.receipt, request_id="req_lost")
            ledger.hold(setup.account_id, lost.request_id, 1_000, lost)
            await settled(lambda: ledger.statistics().open_holds == 1)
            receipt = await setup.gateway.receipt(
                setup.gateway.authenticate(setup.key), lost.request_id
            )
            assert receipt["price"]["nanodollars"] == 0
            await drain(exchange)
        assert exchange.receipt.outcome == "completed"


async def test_old_receipts_are_archived_once_a_day(tmp_path: Path) -> None:
    async with open_setup(tmp_path) as setup:
        _, receipt, _ = await run(setup, setup.call("tokens=3"))
    storage = 'receipts_keep_days = 30\narchive_dir = "old"'
    text = config_text(tmp_path / "ledger.db", "http://127.0.0.1:1", storage=storage)
    later_ms = wall_ms() + 31 * 86_400_000
    async with open_gateway(parse_config(text, "t", {}), clock=lambda: later_ms) as gateway:
        folder = tmp_path / "old"
        await settled(lambda: [file.suffix for file in folder.glob("*")] == [".gz"])
        principal = gateway.authenticate(setup.key)
        assert await gateway.ledger.archive(folder, 0) == [], "the first run has ended"
        with pytest.raises(NotFoundError, match="has been archived"):
            await gateway.receipt(principal, receipt.request_id)
        await assert_invariants(gateway)


async def test_receipts_that_cannot_be_archived_end_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever is wrong with them, requests are served on."""
    async with open_setup(tmp_path) as setup:
        await run(setup, setup.call("tokens=3"))
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as connection:
        connection.execute(
            "CREATE TRIGGER refused BEFORE INSERT ON archives BEGIN SELECT RAISE(ABORT, 'no'); END"
        )
    storage = 'receipts_keep_days = 30\narchive_dir = "old"'
    text = config_text(tmp_path / "ledger.db", "http://127.0.0.1:1", storage=storage)
    later_ms = wall_ms() + 31 * 86_400_000
    async with open_gateway(parse_config(text, "t", {}), clock=lambda: later_ms) as gateway:
        await settled(lambda: "old receipts stay in the database" in caplog.text)
        assert await gateway.ledger.accounts()
        assert gateway.not_ready is None


async def test_warm_connections_and_their_figures(tmp_path: Path) -> None:
    """They are opened before the first request, which needs no dial then."""
    async with open_setup(tmp_path, provider="warm_connections = 2") as setup:
        gateway = setup.gateway
        await settled(lambda: _origin(gateway)["connections"] == 2)
        await run(setup, setup.call("tokens=3"))
        figures = gateway.statistics()["upstream"]
        assert (figures["dials"], figures["dials_failed"], figures["streams"]) == (2, 0, 1)
        [one, two] = _origin(gateway)["connection_statistics"]
        assert one["streams"] + two["streams"] == 1
        assert one["receive_window_bytes"] > 0
        assert orjson.loads(orjson.dumps(figures))


def _origin(gateway: Gateway) -> dict[str, Any]:
    [origin] = gateway.statistics()["upstream"]["origins"]
    assert isinstance(origin, dict)
    return origin
