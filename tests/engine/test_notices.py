"""Notices reach the operator's receiver: signed, tried again, once, and given up in the end."""

from __future__ import annotations

import base64
import logging
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook

from engine import open_gateway, parse_config
from engine.clock import wall_ms
from engine.errors import BudgetExceededError
from engine.ledger.queries import reading
from tests.clocks import HOUR_MS
from tests.gateways import Setup, charge, chat_body, config_text, open_setup, run, settled
from tests.receivers import Message, open_receiver
from tests.scripted import DONE, answering, open_scripted, usage_only, word

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()


QUICK = "retry_min_s = 0.01\nretry_max_s = 0.05"
SLOW = "retry_min_s = 3600"


def notices(folder: Path, url: str, extra: str = "", pace: str = QUICK) -> str:
    """The configuration's section; the secret is in a file."""
    (folder / "secret").write_text(SECRET + "\n")
    return f"""
[notices]
url = "{url}"
secret = "file:{folder / "secret"}"
{pace}
{extra}
"""


def verified(message: Message) -> dict[str, Any]:
    """A message's body, once the reference library has verified its signature."""
    body: dict[str, Any] = Webhook(SECRET).verify(message.body, message.headers)
    return body


async def ends(folder: Path, count: int) -> list[str]:
    """How notices have ended, once so many have."""

    def read() -> list[str]:
        with reading(folder / "ledger.db") as db:
            return [row["outcome"] for row in db.query("SELECT outcome FROM notice_ends")]

    await settled(lambda: len(read()) == count)
    return read()


@asynccontextmanager
async def spent_half(setup: Setup) -> AsyncIterator[int]:
    """A budget of which the first request spends half."""
    price = charge(len(chat_body("tokens=20")), 20)
    await setup.gateway.ledger.set_budget(
        setup.account_id, None, "month", price, hard=False, soft_percents=(1,)
    )
    _, receipt, _ = await run(setup, setup.call("tokens=20"))
    yield receipt.price_nanodollars


async def test_a_message_is_sent_until_it_is_taken(tmp_path: Path) -> None:
    failing = (500, 429, 302, 404)
    async with open_receiver(*failing) as receiver:
        section = notices(tmp_path, receiver.url)
        async with open_setup(tmp_path, models=section) as setup, spent_half(setup) as spent:
            await receiver.wait(lambda messages: len(messages) == len(failing) + 1)
            assert await ends(tmp_path, 1) == ["delivered"]
            bodies = [verified(message) for message in receiver.messages]
            assert bodies == [bodies[0]] * 5
            assert len({message.headers["webhook-id"] for message in receiver.messages}) == 1
            assert receiver.messages[0].target == "/hooks?from=parshall"
            assert receiver.messages[0].headers["content-type"] == "application/json"
            assert bodies[0]["type"] == "budget.threshold"
            data = bodies[0]["data"]
            assert (data["account_id"], data["key_id"]) == (setup.account_id, None)
            assert (data["percent"], data["hard"], data["period"]) == (1, False, "month")
            assert data["spent"]["nanodollars"] == spent
            await run(setup, setup.call("tokens=20"))  # it is told once
            assert await ends(tmp_path, 1) == ["delivered"]
            assert len(receiver.messages) == 5


async def test_a_database_that_refuses_their_ends_ends_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever is wrong with it, requests are served on."""
    async with open_receiver() as receiver:
        section = notices(tmp_path, receiver.url)
        async with open_setup(tmp_path, models=section) as setup:
            with closing(sqlite3.connect(tmp_path / "ledger.db")) as connection:
                connection.execute(
                    "CREATE TRIGGER refused BEFORE INSERT ON notice_ends"
                    " BEGIN SELECT RAISE(ABORT, 'no'); END"
                )
            async with spent_half(setup):
                await settled(lambda: "notices wait: no" in caplog.text)
                await run(setup, setup.call("tokens=20"))


async def test_a_receiver_that_does_not_answer_is_left(tmp_path: Path) -> None:
    async with open_receiver(0) as receiver:
        section = notices(tmp_path, receiver.url, "timeout_s = 0.2")
        async with open_setup(tmp_path, models=section) as setup, spent_half(setup):
            assert await ends(tmp_path, 1) == ["delivered"]
            assert len(receiver.messages) >= 2, "more only if this machine was late itself"
            for message in receiver.messages:
                assert verified(message)["type"] == "budget.threshold"


async def test_what_was_not_sent_is_sent_after_a_restart(tmp_path: Path) -> None:
    """Also what was told while there was nowhere to send it; the pause goes on, too."""
    async with open_setup(tmp_path) as setup, spent_half(setup):
        pass

    @asynccontextmanager
    async def gateway(section: str, ahead_ms: int = 0) -> AsyncIterator[None]:
        text = config_text(tmp_path / "ledger.db", setup.sim.base_url, models=section)
        config = parse_config(text, "test.toml", {})
        async with open_gateway(config, clock=lambda: wall_ms() + ahead_ms):
            yield

    async with open_receiver(500) as receiver:
        async with gateway(notices(tmp_path, receiver.url, pace=SLOW)):
            await receiver.wait(lambda messages: len(messages) == 1)
            await settled(lambda: tries(tmp_path) == [1])
        async with gateway(notices(tmp_path, receiver.url, pace=SLOW), ahead_ms=HOUR_MS):
            assert await ends(tmp_path, 1) == ["delivered"]
        first, second = receiver.messages
        assert first.body == second.body
        assert first.headers["webhook-id"] == second.headers["webhook-id"]
        ahead_s = int(second.headers["webhook-timestamp"]) - int(first.headers["webhook-timestamp"])
        assert ahead_s >= 3_600


def tries(folder: Path) -> list[int]:
    """How often each pending notice has failed."""
    with reading(folder / "ledger.db") as db:
        return [row["tries"] for row in db.query("SELECT tries FROM pending_notices")]


async def test_it_is_given_up_in_the_end(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with open_receiver(*[503] * 1_000) as receiver:
        section = notices(tmp_path, receiver.url, "give_up_after_s = 0.5")
        async with open_setup(tmp_path, models=section) as setup, spent_half(setup):
            assert await ends(tmp_path, 1) == ["given_up"]
    assert len(receiver.messages) > 1
    (line,) = [each for each in caplog.records if each.levelno == logging.ERROR]
    assert "is given up after" in line.getMessage()
    assert "status 503" in line.getMessage()
    assert SECRET not in caplog.text
    assert receiver.url not in caplog.text


async def test_a_receiver_that_is_not_there_does_no_harm(tmp_path: Path) -> None:
    async with open_receiver() as receiver:
        pass  # its port is free again
    section = notices(tmp_path, receiver.url, "give_up_after_s = 0.2")
    async with open_setup(tmp_path, models=section) as setup, spent_half(setup):
        _, _, error = await run(setup, setup.call("tokens=20"))
        assert error is None
        assert await ends(tmp_path, 1) == ["given_up"]


async def test_a_hard_stop_is_told_once(tmp_path: Path) -> None:
    async with open_receiver() as receiver:
        section = notices(tmp_path, receiver.url)
        async with open_setup(tmp_path, models=section) as setup:
            key_id = setup.gateway.authenticate(setup.key).key_id
            await setup.gateway.ledger.set_budget(setup.account_id, key_id, "total", 10)
            for _ in range(3):
                with pytest.raises(BudgetExceededError):
                    await run(setup, setup.call("tokens=20"))
            assert await ends(tmp_path, 1) == ["delivered"]
            (message,) = receiver.messages
            body = verified(message)
            assert (body["type"], body["data"]["key_id"]) == ("budget.refused", key_id)
            assert body["data"]["window"] == "total"


async def test_an_overrun_is_told(tmp_path: Path) -> None:
    body = word(" word") * 20 + usage_only(10, 5_000) + DONE
    funds = charge(len(chat_body()), 2_048) + 7
    async with (
        open_receiver() as receiver,
        open_scripted(
            tmp_path,
            answering(body),
            funds_nanodollars=funds,
            models=notices(tmp_path, receiver.url),
        ) as setup,
    ):
        _, receipt, _ = await run(setup, setup.call())
        assert receipt.overrun_nanodollars > 0
        assert await ends(tmp_path, 1) == ["delivered"]
        told = verified(receiver.messages[0])
        assert told["type"] == "account.overrun"
        assert told["data"]["request_id"] == receipt.request_id
        assert told["data"]["overrun"]["nanodollars"] == receipt.overrun_nanodollars
