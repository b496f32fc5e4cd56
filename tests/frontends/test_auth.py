"""Keys that customers make for themselves, over a real socket."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
import trio

from engine.admission.keys import SCOPES
from engine.ledger.receipts import format_time
from engine.ledger.records import TermsRow
from frontends import auth
from tests.frontends.apps import Front, open_front
from tests.gateways import DOLLAR, add_key, chat_body, settled

CHAT = "/v1/chat/completions"


@dataclass(frozen=True, slots=True)
class Maker:
    """A served gateway, and a client whose key may make keys."""

    front: Front
    key_id: str
    key: str

    async def ask(
        self, method: str, path: str, body: object = None, *, key: str | None = None
    ) -> httpx.Response:
        """With the maker's key, or with another."""
        return await self.front.client.request(
            method,
            path,
            headers={"authorization": f"Bearer {key or self.key}"},
            content=b"" if body is None else json.dumps(body).encode(),
        )

    async def make(self, **fields: Any) -> dict[str, Any]:
        """A key that may be made."""
        answer = await self.ask("POST", "/api/auth", {"name": "made", **fields})
        assert answer.status_code == 201, answer.text
        made: dict[str, Any] = answer.json()
        return made

    async def chat(self, key: str, **changes: Any) -> httpx.Response:
        """A small request with a key."""
        return await self.front.client.post(
            CHAT,
            content=chat_body("tokens=2", stream=False, **changes),
            headers={"authorization": f"Bearer {key}"},
        )


@asynccontextmanager
async def open_maker(folder: Path, **terms: Any) -> AsyncIterator[Maker]:
    terms = {"scopes": SCOPES} | terms
    async with open_front(folder) as front:
        setup = front.setup
        yield Maker(front, *await add_key(setup.gateway, setup.account_id, "maker", **terms))


async def test_a_key_is_made_shown_once_and_works(tmp_path: Path) -> None:
    async with open_maker(tmp_path) as maker:
        made = await maker.make(
            name="ci",
            expires_in=3_600,
            scopes=["inference"],
            models=["sim-openai"],
            limits={"requests_per_min": 2},
            budget={"usd": "5.00", "period": "month"},
        )
        listed = (await maker.ask("GET", "/api/auth")).json()
        answers = [await maker.chat(made["key"]) for _ in range(3)]
        budgets = await maker.front.setup.gateway.ledger.budgets(maker.front.setup.account_id)

        assert made["key"].startswith(made["prefix"])
        assert (made["name"], made["scopes"], made["models"]) == (
            "ci",
            ["inference"],
            ["sim-openai"],
        )
        assert made["limits"] == {"requests_per_min": 2}
        assert made["created_at"] < made["expires_at"]
        assert made["key"] not in orjson.dumps(listed).decode()
        assert [row["name"] for row in listed["data"]] == ["test", "maker", "ci"]
        assert [answer.status_code for answer in answers] == [200, 200, 429]
        assert [(view.budget.key_id, view.budget.limit_nanodollars) for view in budgets] == [
            (made["key_id"], 5 * DOLLAR)
        ]


async def test_a_preset_of_limits(tmp_path: Path) -> None:
    async with open_maker(tmp_path) as maker:
        made = await maker.make(preset="per-30", limits={"concurrent_streams": 1})

        assert made["limits"] == {"requests_per_min": 30, "concurrent_streams": 1}


async def test_pages_of_keys(tmp_path: Path) -> None:
    async with open_maker(tmp_path) as maker:
        for number in range(3):
            await maker.make(name=f"key {number}")
        first = (await maker.ask("GET", "/api/auth?limit=3")).json()
        rest = (await maker.ask("GET", f"/api/auth?limit=3&cursor={first['next_cursor']}")).json()

        assert [row["name"] for row in first["data"]] == ["test", "maker", "key 0"]
        assert [row["name"] for row in rest["data"]] == ["key 1", "key 2"]
        assert (first["has_more"], rest["has_more"], rest["next_cursor"]) == (True, False, None)


WIDER: dict[str, dict[str, Any]] = {
    "scopes": {"scopes": ["inference", "read", "keys"]},
    "all models": {"models": None},
    "another model": {"models": ["sim-anthropic"]},
    "a beginning": {"models": ["sim*"]},
    "a later end": {"expires_in": 7_200},
}


async def test_no_key_is_wider_than_the_one_that_asks(tmp_path: Path) -> None:
    terms: dict[str, Any] = {
        "scopes": ("inference", "keys"),
        "models": ("sim-openai",),
    }
    async with open_maker(tmp_path, **terms) as maker:
        ledger = maker.front.setup.gateway.ledger
        ends_ms = ledger.clock() + 3_600_000

        def shorter(row: TermsRow) -> TermsRow:
            return TermsRow(row.name, row.scopes, row.models, row.limits, ends_ms)

        await ledger.set_key_terms(maker.key_id, shorter)
        for name, fields in WIDER.items():
            answer = await maker.ask("POST", "/api/auth", {"name": "wider", **fields})
            assert answer.status_code == 403, name
            assert answer.json()["error"]["code"] == "insufficient_scope", name
        plain = await maker.make()
        assert (plain["scopes"], plain["models"]) == (["inference"], ["sim-openai"])
        assert plain["expires_at"] == format_time(ends_ms)
        assert len(await ledger.keys()) == 3


async def test_a_key_with_a_budget_makes_none(tmp_path: Path) -> None:
    """Nor is it rotated by itself: its budget would begin anew."""
    async with open_maker(tmp_path) as maker:
        ledger, account_id = maker.front.setup.gateway.ledger, maker.front.setup.account_id
        await ledger.set_budget(account_id, maker.key_id, "month", DOLLAR)
        for path in ("/api/auth", f"/api/auth/{maker.key_id}/rotate"):
            body = {"name": "x"} if path == "/api/auth" else {}
            answer = await maker.ask("POST", path, body)
            assert answer.status_code == 403
            assert "budget" in answer.json()["error"]["message"]
        assert len(await ledger.keys()) == 2


async def test_a_key_with_limits_makes_none(tmp_path: Path) -> None:
    """Many keys with its limits each would have many times what it was to have. Nor is it rotated
    by itself: each time its limits would begin anew."""
    async with open_maker(tmp_path, limits={"requests_per_min": 60}) as maker:
        body = {"name": "x", "limits": {"requests_per_min": 1}}
        for path in ("/api/auth", f"/api/auth/{maker.key_id}/rotate"):
            answer = await maker.ask("POST", path, body if path == "/api/auth" else {})
            assert answer.status_code == 403
            assert answer.json()["error"]["code"] == "insufficient_scope"
            assert answer.json()["error"]["param"] == "limits"
        assert len(await maker.front.setup.gateway.ledger.keys()) == 2


async def test_to_make_and_to_rotate_keys_are_requests(tmp_path: Path) -> None:
    """Of the account's limits; to revoke one is none, whatever others have done meanwhile."""
    async with open_maker(tmp_path) as maker:
        made = await maker.make()
        setup = maker.front.setup
        operators = setup.gateway.ledger
        await operators.set_plan("slow", {"requests_per_min": 2})
        await operators.set_account_plan(setup.account_id, "slow")
        rotated = await maker.ask("POST", f"/api/auth/{made['key_id']}/rotate")
        again = f"/api/auth/{rotated.json()['key_id']}"
        statuses = [
            (await maker.ask(method, path, body)).status_code
            for method, path, body in (
                ("POST", "/api/auth", {"name": "second"}),
                ("POST", "/api/auth", {"name": "third"}),
                ("POST", f"{again}/rotate", None),
                ("DELETE", again, None),
            )
        ]

        assert (rotated.status_code, statuses) == (201, [201, 429, 429, 200])


BAD: list[object] = [
    [],
    "x",
    {},
    {"name": ""},
    {"name": "   "},
    {"name": "a\nb"},
    {"name": "n" * 101},
    {"name": 5},
    {"name": None},
    {"name": "x", "account": "acct_other"},
    {"name": "x", "expires_in": 0},
    {"name": "x", "expires_in": -1},
    {"name": "x", "expires_in": 1.5},
    {"name": "x", "expires_in": True},
    {"name": "x", "expires_in": "1"},
    {"name": "x", "expires_in": 10**30},
    {"name": "x", "scopes": []},
    {"name": "x", "scopes": "read"},
    {"name": "x", "scopes": ["admin"]},
    {"name": "x", "scopes": [["read"]]},
    {"name": "x", "models": []},
    {"name": "x", "models": [""]},
    {"name": "x", "models": ["a*b"]},
    {"name": "x", "models": ["m" * 300]},
    {"name": "x", "models": ["m"] * 1_001},
    {"name": "x", "models": {"sim-openai": 1}},
    {"name": "x", "limits": {"requests_per_min": 0}},
    {"name": "x", "limits": {"requests_per_min": -5}},
    {"name": "x", "limits": {"requests_per_min": 1.0}},
    {"name": "x", "limits": {"requests_per_min": 10**40}},
    {"name": "x", "limits": {"requests_per_hour": 5}},
    {"name": "x", "limits": []},
    {"name": "x", "preset": "per-31"},
    {"name": "x", "preset": ["per-30"]},
    {"name": "x", "budget": "5.00"},
    {"name": "x", "budget": {"usd": 5.0, "period": "month"}},
    {"name": "x", "budget": {"usd": True, "period": "month"}},
    {"name": "x", "budget": {"usd": -5, "period": "month"}},
    {"name": "x", "budget": {"usd": "-5", "period": "month"}},
    {"name": "x", "budget": {"usd": "NaN", "period": "month"}},
    {"name": "x", "budget": {"usd": "5", "period": "year"}},
    {"name": "x", "budget": {"usd": "5"}},
]


async def test_what_cannot_be_made(tmp_path: Path) -> None:
    """Refused in words, and nothing is kept of it."""
    async with open_maker(tmp_path) as maker:
        for body in BAD:
            answer = await maker.ask("POST", "/api/auth", body)
            assert answer.status_code == 400, (body, answer.text)
            assert answer.json()["error"]["code"] == "invalid_request", body
        large = await maker.ask("POST", "/api/auth", {"name": "x" * 100_000})
        assert large.status_code == 413
        assert len(await maker.front.setup.gateway.ledger.keys()) == 2


async def test_an_account_has_so_many_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auth, "KEYS_MAX", 3)
    async with open_maker(tmp_path) as maker:
        made = await maker.make()
        refused = await maker.ask("POST", "/api/auth", {"name": "one more"})
        await maker.ask("DELETE", f"/api/auth/{made['key_id']}")

        assert (refused.status_code, refused.json()["error"]["code"]) == (409, "conflict")
        await maker.make()


async def test_keys_that_are_made_at_once_are_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(auth, "KEYS_MAX", 4)
    async with open_maker(tmp_path) as maker:
        statuses = []

        async def make() -> None:
            statuses.append((await maker.ask("POST", "/api/auth", {"name": "x"})).status_code)

        async with trio.open_nursery() as nursery:
            for _ in range(8):
                nursery.start_soon(make)

        assert sorted(statuses) == [201] * 2 + [409] * 6


async def test_a_revoked_key_is_refused_at_once_and_for_good(tmp_path: Path) -> None:
    async with open_maker(tmp_path) as maker:
        made = await maker.make()
        first = await maker.ask("DELETE", f"/api/auth/{made['key_id']}")
        again = await maker.ask("DELETE", f"/api/auth/{made['key_id']}")
        log = await maker.front.setup.gateway.ledger.read_log(subject=made["key_id"])

        assert [row.action for row in log.rows] == ["keys.revoke", "keys.create"]
        assert first.status_code == again.status_code == 200
        assert first.json()["revoked_at"] == again.json()["revoked_at"] is not None
        assert "key" not in first.json()
        assert (await maker.chat(made["key"])).status_code == 401


async def test_a_rotated_key_goes_on_for_the_overlap(tmp_path: Path) -> None:
    async with open_maker(tmp_path) as maker:
        made = await maker.make(limits={"requests_per_min": 5}, models=["sim-openai"])
        path = f"/api/auth/{made['key_id']}/rotate"
        answer = await maker.ask("POST", path, {"overlap_s": 3_600})
        again = await maker.ask("POST", path)
        new, old = answer.json(), made["key"]

        assert answer.status_code == 201
        assert new["key"] != old
        assert (new["limits"], new["models"]) == (made["limits"], made["models"])
        assert new["replaces"]["key_id"] == made["key_id"]
        assert new["replaces"]["replaced_by"] == new["key_id"]
        assert new["replaces"]["expires_at"] is not None
        assert [(await maker.chat(key)).status_code for key in (old, new["key"])] == [200, 200]
        assert (again.status_code, again.json()["error"]["code"]) == (409, "conflict")


async def test_a_key_rotates_itself_without_an_overlap(tmp_path: Path) -> None:
    async with open_maker(tmp_path) as maker:
        answer = await maker.ask("POST", f"/api/auth/{maker.key_id}/rotate", {"overlap_s": 0})
        refused = await maker.ask("GET", "/api/auth")

        assert refused.status_code == 401
        assert refused.json()["error"]["code"] == "expired_api_key"
        listed = await maker.ask("GET", "/api/auth", key=answer.json()["key"])
        assert listed.status_code == 200


async def test_an_overlap_that_is_none(tmp_path: Path) -> None:
    async with open_maker(tmp_path) as maker:
        path = f"/api/auth/{maker.key_id}/rotate"
        for overlap_s in (-1, 1.5, "1", None, True, 10**12):
            answer = await maker.ask("POST", path, {"overlap_s": overlap_s})
            assert answer.status_code == 400, overlap_s
            assert answer.json()["error"]["param"] == "overlap_s"


async def test_a_wider_key_is_not_had_by_rotating_it(tmp_path: Path) -> None:
    async with open_maker(tmp_path, scopes=("keys",)) as maker:
        setup = maker.front.setup
        wide_id, wide = await add_key(setup.gateway, setup.account_id, scopes=SCOPES)
        answer = await maker.ask("POST", f"/api/auth/{wide_id}/rotate")

        assert answer.status_code == 403
        assert (await maker.chat(wide)).status_code == 200
        assert len(await setup.gateway.ledger.keys()) == 3


async def test_who_did_it_is_in_the_log(tmp_path: Path) -> None:
    async with open_maker(tmp_path) as maker:
        made = await maker.make(name="logged")
        await maker.ask("DELETE", f"/api/auth/{made['key_id']}")
        log = await maker.front.setup.gateway.ledger.read_log()
        rows = [row for row in log.rows if row.actor == f"key:{maker.key_id}"]

        assert [(row.action, row.subject) for row in rows] == [
            ("keys.revoke", made["key_id"]),
            ("keys.create", made["key_id"]),
        ]
        assert made["key"] not in str(log)


async def test_a_key_that_is_revoked_while_the_body_comes_makes_none(tmp_path: Path) -> None:
    async with open_maker(tmp_path, limits={"requests_per_min": 5}) as maker:
        gateway = maker.front.setup.gateway
        admitted = gateway.identify(maker.key, None)
        body = b'{"name": "late"}'
        head = (
            f"POST /api/auth HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {maker.key}\r\n"
            f"content-length: {len(body)}\r\n\r\n"
        ).encode()

        def was_admitted() -> bool:
            window = gateway.limit_status(admitted).requests
            return window is not None and window.remaining < 5

        async with await trio.open_tcp_stream(*maker.front.address) as stream:
            await stream.send_all(head + body[:4])
            await settled(was_admitted)
            await gateway.ledger.revoke_key(maker.key_id)
            await stream.send_all(body[4:])
            answer = bytes(await stream.receive_some(65_536))

        assert answer.startswith(b"HTTP/1.1 401 ")
        assert len(await gateway.ledger.keys()) == 2
