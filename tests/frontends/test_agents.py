"""Agents over HTTP: set up, shown without their secrets, changed, removed; by their account."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from engine import open_gateway, parse_config
from frontends.agents import shown_agent
from tests.frontends.apps import Front, open_front
from tests.gateways import add_key, config_text

PATH = "/v1/agents"
LOOK_UP: dict[str, Any] = {
    "type": "http",
    "name": "look_up",
    "description": "An order's state.",
    "method": "GET",
    "url": "https://orders.example/v1/{id}",
    "parameters": {"type": "object", "properties": {"id": {"type": "string"}}},
    "headers": {"Authorization": "Bearer s3cret"},
}
SUPPORT: dict[str, Any] = {
    "name": "support",
    "model": "sim-openai",
    "instructions": "Be brief.",
    "tools": [LOOK_UP, {"type": "function", "name": "ask_human"}],
    "parameters": {"temperature": 0.2},
    "limits": {"rounds": 3, "spend_nanodollars": 50_000_000},
    "metadata": {"team": "shop"},
}


EMBEDS = """
[models.embeds]
deployments = [{ provider = "sim", model = "text-embedding-3-small" }]
price = { input = 0.02, output = 0 }
"""


async def made(front: Front, **changes: Any) -> dict[str, Any]:
    answer = await front.client.post(PATH, json=SUPPORT | changes)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def other_account(front: Front) -> dict[str, str]:
    """The headers of another account."""
    gateway = front.setup.gateway
    other = await gateway.ledger.create_account("other")
    _, key = await add_key(gateway, other.account_id)
    return {"authorization": f"Bearer {key}"}


async def test_an_agent_is_set_up_and_shown_by_id_and_by_name(tmp_path: Path) -> None:
    async with open_front(tmp_path) as front:
        agent = await made(front)
        by_id = await front.client.get(f"{PATH}/{agent['id']}")
        by_name = await front.client.get(f"{PATH}/support")

        assert (agent["object"], agent["version"]) == ("agent", 1)
        assert agent["called_as"] == "agent:support"
        assert agent["instructions"] == "Be brief."
        assert agent["parameters"] == {"temperature": 0.2}
        assert agent["limits"] == {"rounds": 3, "seconds": 120, "spend_nanodollars": 50_000_000}
        assert agent["tools"][0]["headers"] == {"authorization": None}
        assert [tool["name"] for tool in agent["tools"]] == ["look_up", "ask_human"]
        assert by_id.json() == by_name.json() == agent


async def test_a_secret_stays_where_a_change_does_not_say_it_again(tmp_path: Path) -> None:
    async with open_front(tmp_path) as front:
        agents, account_id = front.setup.gateway.agents, front.setup.account_id
        shown = await made(front)
        answer = await front.client.patch(f"{PATH}/{shown['id']}", json=shown)
        agent = await agents.find(account_id, "support")

        assert answer.status_code == 200
        assert answer.json()["version"] == 2
        assert "s3cret" not in answer.text
        tool = agent.definition.http_tools["look_up"]
        assert tool.headers == {"authorization": "Bearer s3cret"}
        assert "s3cret" not in repr(agent)


async def test_a_secret_does_not_follow_its_tool_to_another_host(tmp_path: Path) -> None:
    async with open_front(tmp_path) as front:
        shown = await made(front)
        moved = {**shown["tools"][0], "url": "https://elsewhere.example/{id}"}
        answer = await front.client.patch(f"{PATH}/support", json={"tools": [moved]})

        assert answer.status_code == 400
        assert answer.json()["error"]["param"] == "tools[0].headers"


async def test_a_change_replaces_what_it_says_and_nothing_else(tmp_path: Path) -> None:
    async with open_front(tmp_path) as front:
        before = await made(front)
        said = {"name": "helper", "instructions": "Be long.", "limits": None}
        after = (await front.client.patch(f"{PATH}/support", json=said)).json()

        told = ("updated_at", "version", "name", "called_as", "instructions", "limits")
        assert {name: after[name] for name in after if name not in told} == {
            name: before[name] for name in before if name not in told
        }
        assert after["limits"] == {"rounds": 8, "seconds": 120}
        assert (after["name"], after["instructions"]) == ("helper", "Be long.")
        assert (await front.client.get(f"{PATH}/support")).status_code == 404


async def test_an_agent_that_was_removed_is_gone(tmp_path: Path) -> None:
    async with open_front(tmp_path) as front:
        agent = await made(front)
        answer = await front.client.delete(f"{PATH}/support")

        assert answer.json() == {"id": agent["id"], "object": "agent", "deleted": True}
        assert (await front.client.delete(f"{PATH}/{agent['id']}")).status_code == 404
        assert (await front.client.get(PATH)).json()["data"] == []


async def test_pages_of_agents(tmp_path: Path) -> None:
    async with open_front(tmp_path) as front:
        made_ids = [(await made(front, name=f"a{n}"))["id"] for n in range(5)]

        async def page(query: str) -> httpx.Response:
            return await front.client.get(f"{PATH}?{query}")

        first = (await page("limit=2")).json()
        second = (await page(f"limit=2&after={first['last_id']}")).json()
        before = (await page(f"limit=2&before={second['last_id']}")).json()
        rising = (await page("order=asc")).json()

        assert [each["id"] for each in first["data"]] == [made_ids[4], made_ids[3]]
        assert [each["id"] for each in second["data"]] == [made_ids[2], made_ids[1]]
        assert [each["id"] for each in before["data"]] == [made_ids[3], made_ids[2]]
        assert [each["id"] for each in rising["data"]] == made_ids
        assert (first["has_more"], rising["has_more"]) == (True, False)
        assert first["first_id"] == made_ids[4]
        for query in ("limit=0", "limit=x", "order=up", "after=agent_0", "after=a&before=b"):
            assert (await page(query)).status_code == 400


async def test_another_accounts_agent_is_not_there(tmp_path: Path) -> None:
    async with open_front(tmp_path) as front:
        agent = await made(front)
        theirs = await other_account(front)
        for method, body in (("GET", None), ("PATCH", {"name": "mine"}), ("DELETE", None)):
            for named in (agent["id"], "support"):
                found = await front.client.request(
                    method, f"{PATH}/{named}", json=body, headers=theirs
                )
                nobodys = await front.client.request(
                    method, f"{PATH}/{'x' * len(named)}", json=body, headers=theirs
                )
                assert found.status_code == nobodys.status_code == 404
                assert found.text.replace(named, "ID") == nobodys.text.replace(
                    "x" * len(named), "ID"
                )
        after = await front.client.get(f"{PATH}?after={agent['id']}", headers=theirs)
        same_name = await front.client.post(PATH, json=SUPPORT, headers=theirs)

        assert after.status_code == 400
        assert (await front.client.get(PATH, headers=theirs)).json()["data"] == [same_name.json()]
        assert (await front.client.get(f"{PATH}/{agent['id']}")).json() == agent


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"name": None}, "name"),
        ({"name": "agent_1"}, "name"),
        ({"name": "a b"}, "name"),
        ({"model": "agent:support"}, "model"),
        ({"model": "no-such"}, "model"),
        ({"model": "embeds"}, "model"),
        ({"tool": []}, "tool"),
        ({"tools": [{"type": "ftp"}]}, "tools[0].type"),
        ({"tools": [LOOK_UP, LOOK_UP]}, "tools[1].name"),
        ({"tools": [LOOK_UP | {"url": "https://{id}.example/"}]}, "tools[0].url"),
        ({"tools": [LOOK_UP | {"url": "https://a@b.example/"}]}, "tools[0].url"),
        ({"tools": [LOOK_UP | {"url": "file:///etc/passwd"}]}, "tools[0].url"),
        ({"tools": [LOOK_UP | {"url": "https://b.example/{who}"}]}, "tools[0].url"),
        ({"tools": [LOOK_UP | {"headers": {"Host": "b"}}]}, "tools[0].headers"),
        ({"tools": [LOOK_UP | {"headers": {"x": "a\r\nb: c"}}]}, "tools[0].headers"),
        ({"tools": [LOOK_UP | {"headers": {"x": None}}]}, "tools[0].headers"),
        ({"tools": [LOOK_UP | {"timeout_s": 1e9}]}, "tools[0].timeout_s"),
        ({"tools": [LOOK_UP | {"max_bytes": 0}]}, "tools[0].max_bytes"),
        ({"tools": [LOOK_UP | {"parameters": {"type": "array"}}]}, "tools[0].parameters"),
        ({"tools": [LOOK_UP | {"url": "http://b.example/{id}"}]}, "tools[0].url"),
        ({"tools": [LOOK_UP | {"url": "https://b.example:22/{id}"}]}, "tools[0].url"),
        ({"tools": [LOOK_UP | {"url": "https://localhost/{id}"}]}, "tools[0].url"),
        ({"tools": [LOOK_UP | {"url": "https://169.254.169.254/{id}"}]}, "tools[0].url"),
        ({"tools": [LOOK_UP | {"url": "https://[::1]/{id}"}]}, "tools[0].url"),
        ({"limits": {"rounds": 99}}, "limits.rounds"),
        ({"limits": {"seconds": True}}, "limits.seconds"),
        ({"parameters": {"temperature": "hot"}}, "parameters.temperature"),
        ({"knowledge": {"file_ids": ["../x"]}}, "knowledge.file_ids"),
        ({"knowledge": []}, "knowledge"),
        ({"metadata": {"a": 1}}, "metadata"),
    ],
)
async def test_what_no_agent_can_be(tmp_path: Path, changes: dict[str, Any], param: str) -> None:
    async with open_front(tmp_path, models=EMBEDS) as front:
        answer = await front.client.post(PATH, json=SUPPORT | changes)

        assert answer.status_code in (400, 404)
        assert answer.json()["error"]["param"] == param


async def test_an_account_has_so_many_agents(tmp_path: Path) -> None:
    async with open_front(tmp_path, models="[agents]\nper_account_max = 1") as front:
        await made(front)
        answer = await front.client.post(PATH, json=SUPPORT | {"name": "another"})

        assert answer.json()["error"]["code"] == "agents_limit_exceeded"


async def test_an_account_has_no_two_agents_of_one_name(tmp_path: Path) -> None:
    async with open_front(tmp_path) as front:
        await made(front)
        await made(front, name="another")
        for method, path in (("POST", PATH), ("PATCH", f"{PATH}/another")):
            answer = await front.client.request(method, path, json=SUPPORT)
            assert (answer.status_code, answer.json()["error"]["param"]) == (400, "name")


async def test_agents_outlive_the_process(tmp_path: Path) -> None:
    async with open_front(tmp_path) as front:
        agent, account_id = await made(front), front.setup.account_id
    config = parse_config(config_text(tmp_path / "ledger.db", "http://127.0.0.1:9"), "test", {})
    async with open_gateway(config) as gateway:
        assert shown_agent(await gateway.agents.find(account_id, "support")) == agent


async def test_an_operator_can_switch_them_off(tmp_path: Path) -> None:
    async with open_front(tmp_path, models="[agents]\nenabled = false") as front:
        assert (await front.client.get(PATH)).status_code == 404
