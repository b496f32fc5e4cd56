"""Several providers behind one gateway: each fails by itself, and is counted by itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.errors import UpstreamError
from engine.events import Protocol
from tests.fleet import SUFFIXES, model, open_fleet, open_front
from tests.gateways import content, run

MODELS = model("first", "sim0") + model("second", "sim1")


async def test_what_is_set_for_one_provider_is_not_set_for_another(tmp_path: Path) -> None:
    async with open_fleet(tmp_path, 2, models=MODELS) as fleet:
        fleet.sims[0].behave(None, "status=400")
        _, _, error = await run(fleet.setup, fleet.call("first", "tokens=3"))
        body, receipt, none = await run(fleet.setup, fleet.call("second", "tokens=3"))
        assert isinstance(error, UpstreamError)
        assert (none, receipt.usage["output_tokens"]) == (None, 3)
        [[refused], [record]] = fleet.records()
    assert refused.status == 400
    assert content(body) == record.text
    assert fleet.opened() == [1, 1]


@pytest.mark.parametrize("client", SUFFIXES)
async def test_each_is_there_in_every_protocol(tmp_path: Path, client: Protocol) -> None:
    models = model("one", f"sim1{SUFFIXES[client]}")
    async with open_fleet(tmp_path, 2, models=models) as fleet:
        body, receipt, error = await run(fleet.setup, fleet.call("one", "tokens=3", client=client))
    assert (error, receipt.outcome, fleet.opened()) == (None, "completed", [0, 1])
    assert body


@pytest.mark.parametrize(
    ("provider", "says"), [("dead", "cannot be reached"), ("foreign", "not trusted")]
)
async def test_two_are_never_reached(tmp_path: Path, provider: str, says: str) -> None:
    async with open_fleet(tmp_path, 1, models=model("gone", provider)) as fleet:
        _, _, error = await run(fleet.setup, fleet.call("gone"))
    assert isinstance(error, UpstreamError)
    assert says in str(error)


async def test_it_is_served_over_http(tmp_path: Path) -> None:
    async with (
        open_fleet(tmp_path, 1, models=MODELS.replace("sim1", "sim0")) as fleet,
        open_front(fleet) as served,
        served.http() as client,
    ):
        listed = (await client.get("/models")).json()
    assert {entry["id"] for entry in listed["data"]} == {"first", "second"}
