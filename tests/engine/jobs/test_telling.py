"""From a request that names a receiver to what that is told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from engine.errors import GatewayError
from engine.ledger.queries import reading
from tests.engine.jobs.makers import open_studio
from tests.receivers import open_receiver


async def test_a_client_is_told_that_its_film_is_there(tmp_path: Path) -> None:
    async with open_receiver() as receiver:
        port = receiver.url.split(":")[2].partition("/")[0]
        egress = f'[egress]\nhttp = true\nports = [{port}]\nprivate = ["127.0.0.0/8"]'
        async with open_studio(tmp_path, egress) as studio:
            url = receiver.url.replace("http://", "HTTP://")
            answer = await studio.ask(studio.film(document={"webhook_url": url}))
            view = await studio.made(answer["job_id"])
            await receiver.wait(lambda messages: len(messages) == 1)

    data = json.loads(receiver.messages[0].body)["data"]
    assert (data["job_id"], data["status"]) == (answer["job_id"], "succeeded")
    assert data["cost"]["nanodollars"] == view.price_nanodollars > 0
    assert b"calico" not in receiver.messages[0].body
    with reading(tmp_path / "ledger.db") as db:
        (row,) = db.query("SELECT receiver, url FROM webhooks")
    assert row["url"] == receiver.url
    assert row["receiver"] == f"http://127.0.0.1:{port}"


@pytest.mark.parametrize(
    "url", ["http://example.com/", "https://example.com:99/", "https://me:pw@example.com/"]
)
async def test_a_receiver_that_may_not_be_reached_is_refused_before_anything_is_asked(
    tmp_path: Path, url: str
) -> None:
    async with open_studio(tmp_path) as studio:
        with pytest.raises(GatewayError) as caught:
            await studio.ask(studio.film(document={"webhook_url": url}))

        assert caught.value.status == 400
        assert studio.gateway.ledger.open_jobs_of(studio.account_id) == 0
        assert studio.gateway.ledger.statistics().open_holds == 0
