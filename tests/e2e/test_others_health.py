"""What becomes of one request, and is nobody else's business: its own faults, a provider that is
busy, an operator who acts meanwhile."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import trio

from engine import Exchange, Outcome
from engine.errors import GatewayError
from engine.events import Protocol
from engine.routing.breaker import State
from tests.fleet import Fleet, model, open_fleet
from tests.gateways import AGAIN, DOLLAR, run, settled

PAIR = ("sim0", {"provider": "sim1", "priority": 1})


def states(fleet: Fleet, name: str) -> list[State]:
    """Of the breakers of a model's deployments."""
    health, now = fleet.setup.gateway._parts.health, trio.current_time()
    deployments = fleet.setup.gateway.running.rules.catalogue[name].deployments
    return [health.of(deployment).breaker.state(now) for deployment in deployments]


@pytest.mark.parametrize(
    ("client", "suffix", "fault"),
    [
        ("openai_chat", "", "status=424"),  # a server of tools that the client names has failed
        ("gemini", "-gemini", "status=404"),  # a cache that the client names is not there
        ("anthropic", "-anthropic", "status=403"),  # a file that the client names is another's
    ],
)
async def test_what_a_client_names_takes_nothing_from_others(
    tmp_path: Path, client: Protocol, suffix: str, fault: str
) -> None:
    """However often it is asked for."""
    pair = model("pair", f"sim0{suffix}", {"provider": f"sim1{suffix}", "priority": 1})
    async with open_fleet(tmp_path, 2, models=pair) as fleet:
        for _ in range(6):
            call = fleet.call("pair", f"{fault} tokens=2", client=client)
            _, receipt, error = await run(fleet.setup, call)
            assert error is not None
            assert {attempt.provider[:4] for attempt in receipt.attempts} <= {"sim0", "sim1"}
        assert states(fleet, "pair") == ["closed", "closed"]
        call = fleet.call("pair", "tokens=2", client=client)
        _, receipt, error = await run(fleet.setup, call)
        assert (error, receipt.outcome) == (None, Outcome.COMPLETED)


async def test_what_never_works_for_one_goes_on_working_for_others(tmp_path: Path) -> None:
    """Another account asks again and again what the only provider fails at."""
    async with open_fleet(tmp_path, 1, models=model("one", "sim0")) as fleet:
        gateway, mine = fleet.setup.gateway, fleet.setup.key
        account = await gateway.ledger.create_account("another")
        await gateway.ledger.fund(account.account_id, DOLLAR, "another")
        _, another = await gateway.create_key(account.account_id, "another")
        for _ in range(3):
            call = replace(fleet.call("one", "tokens=2"), key=mine)
            _, receipt, error = await run(fleet.setup, call)
            assert (error, receipt.outcome) == (None, Outcome.COMPLETED)
            for _ in range(6):
                call = replace(fleet.call("one", "status=500 tokens=2"), key=another)
                _, _, error = await run(fleet.setup, call)
                assert error is not None
        assert states(fleet, "one") == ["closed"]


async def test_who_is_busy_is_not_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All streams that a provider allows are taken: others are asked, and it stays in service."""
    monkeypatch.setattr("tests.gateways.HTTP2", "off")
    one_at_once = "connections_max = 1\nconnect_timeout_s = 0.05"
    models = model("pair", *PAIR)
    async with (
        open_fleet(tmp_path, 2, models=models, provider=one_at_once) as fleet,
        trio.open_nursery() as nursery,
    ):
        fleet.sims[0].behave(None, "first_token_ms=60000")
        nursery.start_soon(run, fleet.setup, fleet.call("pair"))
        await settled(lambda: fleet.opened()[0] == 1, 30.0)
        for _ in range(6):
            _, receipt, error = await run(fleet.setup, fleet.call("pair", "tokens=2"))
            assert error is None
            assert [(a.provider, a.outcome) for a in receipt.attempts] == [
                ("sim0", "upstream_busy"),
                ("sim1", "completed"),
            ]
        assert states(fleet, "pair") == ["closed", "closed"]
        nursery.cancel_scope.cancel()


async def test_what_was_switched_off_meanwhile_is_not_asked(tmp_path: Path) -> None:
    async with open_fleet(tmp_path, 2, models=model("pair", *PAIR), routing=AGAIN) as fleet:
        fleet.sims[0].behave(None, "status=501 head_ms=300")
        call = fleet.call("pair")
        async with fleet.setup.gateway.open_exchange(call) as exchange:
            switches = fleet.setup.gateway._parts.switches
            switches.turn("provider", "sim1", off=True, reason="it costs too much")
            with pytest.raises(GatewayError):
                await exchange.head()
        assert [attempt.provider for attempt in exchange.receipt.attempts] == ["sim0"]
        assert fleet.opened() == [1, 0]


async def test_an_operator_ends_it_as_another_attempt_begins(tmp_path: Path) -> None:
    """Whichever comes first: the client gets the ending, and nothing fails of it."""
    beats = "commit_after_s = 0.01\nheartbeat_s = 10"
    async with open_fleet(
        tmp_path, 2, models=model("pair", *PAIR), routing=AGAIN, server=beats
    ) as fleet:
        fleet.sims[0].behave(None, "status=501 head_ms=50")
        fleet.sims[1].behave(None, "first_token_ms=60000")
        for _ in range(12):
            async with (
                fleet.setup.gateway.open_exchange(fleet.call("pair")) as exchange,
                trio.open_nursery() as nursery,
            ):
                await exchange.head()
                nursery.start_soon(end_at_once, exchange)
                body = b"".join([chunk async for chunk in exchange])
                nursery.cancel_scope.cancel()
            assert b"ended_by_operator" in body
            assert exchange.receipt.outcome is Outcome.SHUTDOWN


async def end_at_once(exchange: Exchange) -> None:
    """When it is known that another attempt follows: before that begins, or just after."""
    begun = False
    while not begun:
        await trio.lowlevel.checkpoint()
        begun = exchange._attempts._again is not None or len(exchange.receipt.attempts) > 1
    exchange.end_by_operator()
