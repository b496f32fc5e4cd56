"""The API of operators over HTTP: what it does to accounts, keys, plans and prices."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from frontends.admin import ROUTES
from frontends.commands import COMMANDS
from tests.frontends.operators import SECRET, ask, chat, done, open_admin, refused


def test_every_command_of_a_route_is_one() -> None:
    for route in ROUTES:
        assert route.command in COMMANDS
    assert len({(route.method, route.rule) for route in ROUTES}) == len(ROUTES)


async def test_a_customer_from_the_first_dollar_to_the_last_key(tmp_path: Path) -> None:
    async with open_admin(tmp_path) as front:
        plan = {"models": ["sim-openai"], "requests_per_min": 50, "monthly_budget_usd": "5"}
        made = await done(front, "PUT", "/admin/plans/small", plan)
        assert (made["requests_per_min"], made["monthly_budget"]["usd"]) == (50, "5.000000000")

        account = await done(
            front, "POST", "/admin/accounts", {"name": "acme", "fund": "1.50", "plan": "small"}
        )
        of = f"/admin/accounts/{account['account_id']}"
        assert account["available"]["usd"] == "1.500000000"
        funding = {"amount": "0.50", "reference": "invoice-7"}
        for _ in range(2):  # the second time it changes nothing
            funded = await done(front, "POST", f"{of}/funding", funding)
        assert funded["balance"]["usd"] == "2.000000000"
        taken = {"amount": -1_000_000_000, "reason": "funded twice"}
        adjusted = await done(front, "POST", f"{of}/adjustments", taken)
        assert adjusted["available"]["usd"] == "1.000000000"

        key = await done(
            front,
            "POST",
            f"{of}/keys",
            {
                "name": "laptop",
                "expires_in": 3_600,
                "preset": "per-30",
                "limits": {"concurrent_streams": 2},
                "budget": {"usd": "0.25", "period": "day"},
            },
        )
        assert key["limits"] == {"requests_per_min": 30, "concurrent_streams": 2}
        assert (await chat(front, key["secret"])).status_code == 200
        assert (await chat(front, key["secret"], model="sim-gemini")).status_code == 404
        budgets = (await done(front, "GET", f"{of}/budgets"))["data"]
        assert [(each["key_id"], each["period"]) for each in budgets] == [
            (None, "month"),
            (key["key_id"], "day"),
        ]
        shown = await done(front, "GET", f"/admin/keys/{key['key_id']}")
        assert shown["budgets"] == budgets[1:]

        rotated = await done(front, "POST", f"/admin/keys/{key['key_id']}/rotate", {"overlap_s": 0})
        assert rotated["replaces"]["replaced_by"] == rotated["key_id"]
        assert (await chat(front, key["secret"])).json()["error"]["code"] == "expired_api_key"
        assert (await chat(front, rotated["secret"])).status_code == 200
        narrowed = await done(
            front, "PATCH", f"/admin/keys/{rotated['key_id']}", {"models": ["other*"]}
        )
        assert narrowed["models"] == ["other*"]
        assert (await chat(front, rotated["secret"])).status_code == 403
        revoked = await done(front, "DELETE", f"/admin/keys/{rotated['key_id']}")
        assert revoked["revoked_at"] is not None
        assert (await chat(front, rotated["secret"])).status_code == 401

        assert await refused(front, "DELETE", "/admin/plans/small") == (409, "conflict")
        assert (await done(front, "PATCH", of, {"plan": None}))["plan"] is None
        await done(front, "DELETE", "/admin/plans/small")


async def test_what_an_account_has_used(tmp_path: Path) -> None:
    async with open_admin(tmp_path) as front:
        await chat(front)
        of, by = "/admin/accounts/test/usage", "by=model,key&from=2026-01-01&to=2026-06-01"
        mine = {"authorization": f"Bearer {front.setup.key}"}
        for query in ("", "by=model", by):
            theirs = await done(front, "GET", f"{of}?{query}")
            assert theirs == (await front.client.get(f"/v1/usage?{query}", headers=mine)).json()
        assert (await done(front, "GET", of))["data"][0]["requests"] == 1
        assert await refused(front, "GET", f"{of}?by=week") == (400, "invalid_request")
        assert await refused(front, "GET", f"{of}?since=2026-05-01") == (400, "bad_command")
        assert await refused(front, "GET", "/admin/accounts/none/usage") == (404, "not_found")


MISTAKES: tuple[tuple[str, str, Any, str], ...] = (
    ("POST", "/admin/accounts", {}, "'name' is missing: it is text."),
    ("POST", "/admin/accounts", {"name": 5}, "'name' is text."),
    ("POST", "/admin/accounts/test/funding", {}, "'amount' is missing: it is US dollars"),
    ("PUT", "/admin/accounts/test/budgets/day", {"limit": "1", "hard": "no"}, "true or false"),
    ("POST", "/admin/accounts/test/keys", {"name": "x", "scopes": "read"}, "'scopes' is a list."),
    ("PATCH", "/admin/accounts/test", {}, "'plan' is missing: it may be null."),
    ("GET", "/admin/keys?limit=many", None, "'limit' is a whole number."),
    ("GET", "/admin/keys?limit=201", None, "'limit' is from 1 to 200."),
)


async def test_a_wrong_field_is_named_as_it_was_given(tmp_path: Path) -> None:
    async with open_admin(tmp_path) as front:
        for method, path, body, told in MISTAKES:
            answer = await ask(front, method, path, body)
            error = answer.json()["error"]
            assert (answer.status_code, error["code"]) == (400, "bad_command"), path
            assert told in error["message"], path
            assert error["param"] is not None, path


async def test_who_did_what_is_written_down_and_no_secret_with_it(tmp_path: Path) -> None:
    async with open_admin(tmp_path) as front:
        account = await done(front, "POST", "/admin/accounts", {"name": "acme", "fund": "1"})
        of = f"/admin/accounts/{account['account_id']}"
        key = await done(front, "POST", f"{of}/keys", {"name": "laptop"})
        await done(front, "POST", "/admin/accounts/acme/funding", {"amount": "1"})
        await refused(front, "POST", f"{of}/funding", {"amount": "-1"})
        await refused(front, "POST", "/admin/accounts/nobody/funding", {"amount": "1"})
        await done(front, "GET", of)

        log = await done(front, "GET", "/admin/log?actor=admin")
        rows = [(row["action"], row["subject"], row["peer"]) for row in log["data"]]
        assert rows == [
            ("accounts.fund", account["account_id"], "127.0.0.1"),
            ("keys.create", key["key_id"], "127.0.0.1"),
            ("accounts.create", account["account_id"], "127.0.0.1"),
        ]
        detail = log["data"][0]["detail"]
        assert detail == {"account": account["account_id"], "amount_nanodollars": 1_000_000_000}
        assert key["secret"] not in str(log)
        of_key = await done(front, "GET", f"/admin/log?subject={key['key_id']}")
        assert [row["action"] for row in of_key["data"]] == ["keys.create"]
        metrics = front.setup.gateway.telemetry.exposition().decode()
        assert 'parshall_orders_total{command="accounts.fund",outcome="bad_command"} 1.0' in metrics
        assert 'parshall_orders_total{command="accounts.fund",outcome="done"} 1.0' in metrics


async def test_lists_come_page_by_page(tmp_path: Path) -> None:
    async with open_admin(tmp_path) as front:
        for number in range(4):
            await done(front, "POST", "/admin/accounts", {"name": f"a{number}"})
        names: list[str] = []
        cursor: str | None = ""
        pages = 0
        while cursor is not None:
            page = await done(front, "GET", f"/admin/accounts?limit=2{cursor}")
            names += [row["name"] for row in page["data"]]
            assert page["has_more"] is (page["next_cursor"] is not None)
            cursor = page["next_cursor"] and f"&cursor={page['next_cursor']}"
            pages += 1
        assert (names, pages) == (["test", "a0", "a1", "a2", "a3"], 3)
        for wrong in ("limit=0", "limit=201", "limit=x", "limit=1&limit=2", "cursor=nothing"):
            assert (await ask(front, "GET", f"/admin/accounts?{wrong}")).status_code == 400


WRONG: list[tuple[str, str, Any, int]] = [
    ("POST", "/admin/accounts", {"name": "x", "fund": 2.5}, 400),
    ("POST", "/admin/accounts", {"name": "x", "fund": True}, 400),
    ("POST", "/admin/accounts", {"name": "x", "fund": "2.5 dollars"}, 400),
    ("POST", "/admin/accounts", {"name": "x", "fund_nanodollars": 5}, 400),
    ("POST", "/admin/accounts", {"name": "x\ny"}, 400),
    ("POST", "/admin/accounts", {"name": "x" * 101}, 400),
    ("POST", "/admin/accounts", {"name": "x", "plan": "none"}, 404),
    ("POST", "/admin/accounts", ["name"], 400),
    ("PATCH", "/admin/accounts/test", {}, 400),
    ("PATCH", "/admin/accounts/test", {"plan": 5}, 400),
    ("POST", "/admin/accounts/test/keys", {"name": ""}, 400),
    ("POST", "/admin/accounts/test/keys", {"name": "x", "scopes": ["all"]}, 400),
    ("POST", "/admin/accounts/test/keys", {"name": "x", "models": []}, 400),
    ("POST", "/admin/accounts/test/keys", {"name": "x", "models": ["a*b"]}, 400),
    ("POST", "/admin/accounts/test/keys", {"name": "x", "limits": {"requests": 5}}, 400),
    ("POST", "/admin/accounts/test/keys", {"name": "x", "preset": "per-31"}, 400),
    ("POST", "/admin/accounts/test/keys", {"name": "x", "expires_in": 0}, 400),
    ("POST", "/admin/accounts/test/keys", {"name": "x", "expires_at_ms": 5}, 400),
    ("POST", "/admin/accounts/test/keys", {"name": "x", "expires_at_ms": 253_402_300_800_000}, 400),
    ("POST", "/admin/accounts/test/keys", {"name": "x", "budget": {"usd": 5.0}}, 400),
    ("POST", "/admin/accounts/test/funding", {"amount": "1_000"}, 400),
    ("POST", "/admin/accounts/test/funding", {"amount": "1e3"}, 400),
    ("POST", "/admin/accounts/test/funding", {"amount": "\u0663"}, 400),
    ("POST", "/admin/accounts/test/keys", {"name": "x", "account": "other"}, 400),
    ("PATCH", "/admin/keys/key_none", {"name": "x"}, 404),
    ("PUT", "/admin/accounts/test/budgets/week", {"limit": "5"}, 400),
    ("PUT", "/admin/accounts/test/budgets/day", {"limit": 1.5}, 400),
    ("PUT", "/admin/plans/x", {"requests_per_min": 0}, 400),
    ("PUT", "/admin/plans/x", {"models": ["no-such-model"]}, 400),
    ("PUT", "/admin/plans/x", {"speed": 5}, 400),
    ("POST", "/admin/prices", {"scope": "all", "model": "none", "rates": {}}, 404),
    (
        "POST",
        "/admin/prices",
        {"scope": "all", "model": "sim-openai", "rates": {"input": 1.5}},
        400,
    ),
    ("POST", "/admin/prices", {"scope": "plan", "model": "sim-openai", "rates": {}}, 400),
    ("DELETE", "/admin/prices?scope=all&model=sim-openai", None, 404),
    ("PUT", "/admin/switches/provider/none", {}, 404),
    ("PUT", "/admin/switches/planet/sim", {}, 400),
    ("PUT", "/admin/switches/key/key_none", {}, 404),
    ("DELETE", "/admin/switches/provider/none", None, 404),
    ("DELETE", "/admin/switches/key/key_none", None, 404),
    ("DELETE", "/admin/exchanges/req_none", None, 404),
    ("GET", "/admin/receipts/req_none", None, 404),
    ("GET", "/admin/log?cursor=-1", None, 400),
]


async def test_what_is_wrong_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    async with open_admin(tmp_path) as front:
        before = (await done(front, "GET", "/admin/status"))["keys"]
        for method, path, body, status in WRONG:
            answer = await ask(front, method, path, body)
            assert answer.status_code == status, (method, path, body, answer.text)
            assert answer.json()["error"]["message"]
        assert (await done(front, "GET", "/admin/log"))["data"] == []
        assert (await done(front, "GET", "/admin/status"))["keys"] == before
        assert len((await done(front, "GET", "/admin/keys"))["data"]) == before


async def test_prices_of_accounts_go_before_others(tmp_path: Path) -> None:
    async with open_admin(tmp_path) as front:

        async def price() -> int:
            asked = await chat(front)
            receipt = await front.client.get(f"/v1/receipts/{asked.headers['x-request-id']}")
            return int(receipt.json()["price"]["nanodollars"])

        usual = await price()
        rates = {"input": "2", "output": "4"}
        for_all = {"scope": "all", "model": "sim-openai", "rates": rates}
        await done(front, "POST", "/admin/prices", for_all)
        assert await price() == 2 * usual
        own = {"scope": "account", "owner": "test", "model": "sim-openai"}
        triple = {"input": "3", "output": "6"}
        await done(front, "POST", "/admin/prices", {**own, "rates": triple})
        assert await price() == 3 * usual
        listed = (await done(front, "GET", "/admin/prices"))["data"]
        assert [(row["scope"], row["rates"]) for row in listed] == [
            ("all", rates),
            ("account", triple),
        ]
        query = "scope=account&owner=test&model=sim-openai"
        await done(front, "DELETE", f"/admin/prices?{query}")
        assert await price() == 2 * usual
        await done(front, "DELETE", "/admin/prices?scope=all&model=sim-openai")
        assert await price() == usual


PRO = """
[plans.pro.prices."sim-openai"]
input = 0.5
output = 2
"""


async def test_prices_of_plans_in_the_file_are_shown_and_changed_there(tmp_path: Path) -> None:
    async with open_admin(tmp_path, models=PRO) as front:
        own = {"scope": "plan", "owner": "pro", "model": "sim-openai"}
        of_file = {**own, "rates": {"input": "0.5", "output": "2"}, "source": "file"}
        assert (await done(front, "GET", "/admin/prices"))["data"] == [of_file]
        query = "/admin/prices?scope=plan&owner=pro&model=sim-openai"
        assert await refused(front, "DELETE", query) == (409, "conflict")
        rates = {"input": "3", "output": "6"}
        made = await done(front, "POST", "/admin/prices", {**own, "rates": rates})
        assert (await done(front, "GET", "/admin/prices"))["data"] == [made]
        assert (made["rates"], made["source"]) == (rates, "ledger")
        await done(front, "DELETE", query)
        assert (await done(front, "GET", "/admin/prices"))["data"] == [of_file]
        within = {"prices": {"sim-openai": rates}}
        answer = await ask(front, "PUT", "/admin/plans/team", within)
        assert "one by one" in answer.json()["error"]["message"]


async def test_a_refund_and_the_receipts_of_an_account(tmp_path: Path) -> None:
    async with open_admin(tmp_path) as front:
        before = await front.setup.balance()
        request_id = (await chat(front)).headers["x-request-id"]
        page = await done(front, "GET", "/admin/accounts/test/receipts?limit=5")
        assert [each["request_id"] for each in page["data"]] == [request_id]
        shown = await done(front, "GET", f"/admin/receipts/{request_id}")
        assert shown["cost"]["nanodollars"] > 0  # which customers are not shown
        refund = {"reason": "it was cut"}
        back = await done(front, "POST", f"/admin/receipts/{request_id}/refund", refund)
        assert back["amount"] == shown["price"]
        assert await front.setup.balance() == before


async def test_a_proxy_that_nobody_trusts_is_not_this_machine(tmp_path: Path) -> None:
    allow = '[admin]\nallow = ["127.0.0.1"]\n'
    async with open_admin(tmp_path, models=allow) as front:
        assert (await ask(front, "GET", "/admin/status")).status_code == 200
        for name, value in (("x-forwarded-for", "127.0.0.1"), ("via", "1.1 proxy")):
            headers = {"authorization": f"Bearer {SECRET}", name: value}
            answer = await front.client.get("/admin/status", headers=headers)
            assert answer.status_code == 403
            assert answer.json()["error"]["code"] == "address_not_allowed"
