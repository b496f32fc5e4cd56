"""Who serves, where the client does not say it in so many words: further names, keys taken in turn,
sessions that stay together."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson

from bench.simulate import SimulatorSettings
from engine import Outcome
from engine.ledger.receipts import Receipt
from tests.fleet import Fleet, model, open_fleet, open_front
from tests.gateways import chat_body, run


async def ask(fleet: Fleet, name: str, **changes: Any) -> Receipt:
    """One streamed call to its end, which is a good one."""
    _, receipt, error = await run(fleet.setup, fleet.call(name, "tokens=3", **changes))
    assert (receipt.outcome, error) == (Outcome.COMPLETED, None)
    return receipt


async def test_a_key_that_is_refused_is_left_out_and_others_take_its_place(tmp_path: Path) -> None:
    good = "sk-of-the-operator"
    for name, key in (("bad", "sk-revoked"), ("good", good)):
        (tmp_path / name).write_text(key)
    keys = [f"file:{tmp_path / name}" for name in ("bad", "good")]
    async with open_fleet(
        tmp_path,
        1,
        models=model("m", "sim0"),
        provider=f"api_keys = {orjson.dumps(keys).decode()}",
        settings=SimulatorSettings(any_model=True, api_keys=frozenset({good})),
    ) as fleet:
        first = await ask(fleet, "m")
        assert [(each.outcome, each.won) for each in first.attempts] == [
            ("upstream_credentials_refused", False),
            ("completed", True),
        ]
        for _ in range(3):
            assert len((await ask(fleet, "m")).attempts) == 1


async def test_an_alias_is_another_name_for_the_same(tmp_path: Path) -> None:
    models = model("m", "sim0", aliases=["m-latest"])
    async with open_fleet(tmp_path, 1, models=models) as fleet:
        receipt = await ask(fleet, "m-latest")
        assert (receipt.model, receipt.provider) == ("m", "sim0")


async def test_a_session_stays_where_it_is_and_sessions_are_spread(tmp_path: Path) -> None:
    """Named by a header, or by the body."""
    models = model("m", "sim0", "sim1", sticky="session")
    async with open_fleet(tmp_path, 2, models=models) as fleet, open_front(fleet) as front:
        providers = set()
        for number in range(12):
            calls = [
                replace(fleet.call("m", "tokens=1"), session_id=f"session {number}"),
                fleet.call("m", "tokens=1", prompt_cache_key=f"session {number}"),
            ]
            served = {(await run(fleet.setup, call))[1].provider for call in calls}
            assert len(served) == 1, number
            providers |= served
        assert providers == {"sim0", "sim1"}

        before = fleet.opened()
        async with front.http() as client:
            for _ in range(3):
                answer = await client.post(
                    "/chat/completions",
                    headers={"x-session-id": "session 5"},
                    content=chat_body("tokens=1", model="m", stream=False),
                )
                assert answer.status_code == 200
        more = [now - then for now, then in zip(fleet.opened(), before, strict=True)]
        assert sorted(more) == [0, 3]
