"""What customers see of their account and of what they have used, over a real socket."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import orjson
import trio

from engine.ledger.receipts import format_time
from frontends import accounts
from tests.frontends.apps import Front, open_front
from tests.gateways import DOLLAR, add_key, chat_body

PLAN = """
[plans.free]
models = ["sim-openai", "sim-a*"]
requests_per_min = 100
tokens_per_min = 50_000
concurrent_streams = 5
monthly_budget_usd = 5.0
"""


async def get(front: Front, path: str, key: str | None = None) -> httpx.Response:
    headers = {} if key is None else {"authorization": f"Bearer {key}"}
    return await front.client.get(path, headers=headers)


async def chat(front: Front, key: str | None = None, **changes: Any) -> dict[str, Any]:
    """An answer of 20 tokens; its receipt."""
    headers = {} if key is None else {"authorization": f"Bearer {key}"}
    body = chat_body("tokens=20", stream=False, **changes)
    answer = await front.client.post("/v1/chat/completions", content=body, headers=headers)
    assert answer.status_code == 200
    found = await get(front, f"/v1/receipts/{answer.headers['x-request-id']}")
    receipt: dict[str, Any] = found.json()
    return receipt


async def test_an_account_without_plan_or_limits(tmp_path: Path) -> None:
    async with open_front(tmp_path) as front:
        shown = (await get(front, "/v1/account")).json()

        assert shown["account_id"] == front.setup.account_id
        assert (shown["name"], shown["plan"], shown["budgets"]) == ("test", None, [])
        assert shown["balance"] == {"nanodollars": DOLLAR, "usd": "1.000000000"}
        assert (shown["held"]["nanodollars"], shown["available"]) == (0, shown["balance"])
        assert shown["limits"] == {"requests": None, "tokens": None, "streams": None}
        assert shown["key"]["scopes"] == ["inference", "read"]
        assert (shown["key"]["models"], shown["key"]["expires_at"]) == (None, None)


async def test_an_account_with_all_of_it(tmp_path: Path) -> None:
    async with open_front(tmp_path, models=PLAN) as front:
        setup, ledger = front.setup, front.setup.gateway.ledger
        await ledger.set_account_plan(
            setup.account_id, "free", monthly_budget_nanodollars=5 * DOLLAR
        )
        ends_ms = ledger.clock() + 3_600_000
        key_id, key = await add_key(
            setup.gateway,
            setup.account_id,
            "ci",
            models=("sim-openai",),
            limits={"requests_per_min": 30},
            expires_at_ms=ends_ms,
        )
        await ledger.set_budget(setup.account_id, key_id, "day", DOLLAR)
        other_id, _ = await add_key(setup.gateway, setup.account_id)
        await ledger.set_budget(setup.account_id, other_id, "day", DOLLAR)
        receipt = await chat(front, key)
        shown = (await get(front, "/v1/account", key)).json()

        assert shown["plan"]["name"] == "free"
        assert shown["plan"]["models"] == ["sim-openai", "sim-a*"]
        assert shown["plan"]["monthly_budget"]["usd"] == "5.000000000"
        requests, tokens = shown["limits"]["requests"], shown["limits"]["tokens"]
        assert (requests["limit"], requests["remaining"]) == (30, 29)
        assert 0 < requests["reset_s"] <= 2
        used = receipt["usage"]["input_tokens"] + receipt["usage"]["output_tokens"]
        assert tokens["limit"] == 50_000
        assert 50_000 - used <= tokens["remaining"] <= 50_000
        assert shown["limits"]["streams"] == {"limit": 5, "open": 0}
        assert [(row["key_id"], row["period"]) for row in shown["budgets"]] == [
            (None, "month"),
            (key_id, "day"),
        ]
        assert shown["key"] == {
            "key_id": key_id,
            "name": "ci",
            "scopes": ["inference", "read"],
            "models": ["sim-openai"],
            "limits": {
                "requests_per_min": 30,
                "tokens_per_min": None,
                "concurrent_streams": None,
            },
            "expires_at": format_time(ends_ms),
        }
        assert [row["id"] for row in (await get(front, "/v1/models", key)).json()["data"]] == [
            "sim-openai"
        ]
        listed = (await get(front, "/v1/models")).json()["data"]
        assert [row["id"] for row in listed] == ["sim-openai", "sim-anthropic"]


async def test_usage_is_what_receipts_say(tmp_path: Path) -> None:
    async with open_front(tmp_path) as front:
        setup = front.setup
        other_id, other = await add_key(setup.gateway, setup.account_id)
        receipts = [
            await chat(front),
            await chat(front),
            await chat(front, model="sim-gemini"),
            await chat(front, other),
        ]
        await setup.gateway.ledger.refund(receipts[0]["request_id"], 1_000, "kindness", "r1")
        by_day = (await get(front, "/v1/usage")).json()
        by_all = (await get(front, "/v1/usage?by=model,key,day")).json()
        by_none = (await get(front, "/v1/usage?by=model")).json()
        today = datetime.now(UTC).date().isoformat()

        [row] = by_day["data"]
        assert row["day"] == today or today == by_day["to"]  # midnight may pass meanwhile
        assert row["requests"] == 4
        for name in ("input_tokens", "output_tokens"):
            assert row[name] == sum(receipt["usage"][name] for receipt in receipts)
        assert row["units"] == {}
        paid = sum(receipt["price"]["nanodollars"] for receipt in receipts)
        assert row["charged"]["nanodollars"] == paid
        assert row["refunded"]["nanodollars"] == 1_000
        assert {(r["key_id"] == other_id, r["model"], r["requests"]) for r in by_all["data"]} == {
            (False, "sim-openai", 2),
            (False, "sim-gemini", 1),
            (True, "sim-openai", 1),
        }
        assert [set(r) & {"day", "key_id", "model"} for r in by_none["data"]] == [{"model"}] * 2
        assert by_day["complete_from"] is None


async def test_the_days_that_are_asked_for(tmp_path: Path) -> None:
    async with open_front(tmp_path) as front:
        await chat(front)
        today = datetime.now(UTC).date()
        tomorrow, later = today + timedelta(1), today + timedelta(2)
        before = (await get(front, f"/v1/usage?from=2026-01-01&to={today}")).json()
        after = (await get(front, f"/v1/usage?from={later}&to={later + timedelta(1)}")).json()
        around = (await get(front, f"/v1/usage?from={today}&to={tomorrow + timedelta(1)}")).json()

        assert (before["data"], after["data"]) == ([], [])
        assert len(around["data"]) == 1
        assert (around["from"], around["to"]) == (str(today), str(later))


BAD = (
    "from=yesterday",
    "from=2026-02-30",
    "to=1",
    "from=",
    "from=2026-05-02&to=2026-05-02",
    "from=2026-05-02&to=2026-05-01",
    "from=2025-01-01&to=2026-05-01",
    "from=0001-01-01",
    "to=0001-01-01",
    "to=1969-12-31",
    "to=9999-12-31&from=0001-01-01",
    "by=",
    "by=account",
    "by=day,,key",
    "by=day%27%20OR%201=1--",
    "by=*",
    "&".join(["a=b"] * 1_001),
)


async def test_what_cannot_be_asked_for(tmp_path: Path) -> None:
    async with open_front(tmp_path) as front:
        for query in BAD:
            answer = await get(front, f"/v1/usage?{query}")
            assert answer.status_code == 400, query
            assert answer.json()["error"]["code"] == "invalid_request", query
        edges = await get(front, "/v1/usage?to=9999-12-31&from=9999-12-30")
        assert (edges.status_code, edges.json()["data"]) == (200, [])


async def test_few_queries_of_one_account_at_once(tmp_path: Path) -> None:
    """Each is a thread that reads the database: those of one account wait for none of another."""
    async with open_front(tmp_path) as front:
        statuses: list[int] = []

        async def ask() -> None:
            answer = await get(front, "/v1/usage")
            statuses.append(answer.status_code)
            if answer.status_code != 200:
                assert answer.json()["error"]["code"] == "concurrency_limit_exceeded"
                assert answer.headers["retry-after"] == "1"

        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(ask)
        assert statuses.count(200) >= accounts.USAGE_AT_ONCE_MAX
        assert set(statuses) <= {200, 429}
        assert (await get(front, "/v1/usage")).status_code == 200


async def test_balances_are_never_floats(tmp_path: Path) -> None:
    async with open_front(tmp_path) as front:
        await chat(front)
        for path in ("/v1/account", "/v1/usage"):
            shown = orjson.loads((await get(front, path)).content)
            assert not [value for value in _values(shown) if isinstance(value, float)]


def _values(value: object) -> list[object]:
    match value:
        case dict():
            return [each for inner in value.values() for each in _values(inner)]
        case list():
            return [each for inner in value for each in _values(inner)]
        case _:
            return [value]
