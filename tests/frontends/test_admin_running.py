"""The API of operators over HTTP: what it does to what runs, and over a restart."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
import trio

from engine import open_gateway, parse_config
from engine.errors import KeyDisabledError
from engine.events import Protocol
from tests.engine.ledger.samples import database_locked
from tests.frontends.apps import Front
from tests.frontends.operators import CHAT, SECRET, ask, chat, done, open_admin, refused
from tests.gateways import CONFIG_FILE, MODELS, PROTOCOLS, chat_body, settled

PATHS: dict[Protocol, str] = {
    "openai_chat": CHAT,
    "openai_responses": "/v1/responses",
    "anthropic": "/v1/messages",
    "gemini": "/v1beta/models/sim-gemini:streamGenerateContent?alt=sse",
}


SWITCHES = [
    ("provider", "sim", 503, "model_unavailable"),
    ("model", "sim-openai", 503, "model_unavailable"),
    ("deployment", "sim/sim-openai", 503, "model_unavailable"),
    ("account", "test", 403, "account_disabled"),
    ("key", "KEY", 403, "key_disabled"),
]


async def test_what_is_switched_off_serves_nobody_until_it_is_on(tmp_path: Path) -> None:
    async with open_admin(tmp_path) as front:
        key_id = front.setup.gateway.authenticate(front.setup.key).key_id
        for kind, subject, status, code in SWITCHES:
            path = f"/admin/switches/{kind}/{subject.replace('KEY', key_id)}"
            off = await done(front, "PUT", path, {"reason": "an incident"})
            assert (off["off"], off["reason"]) == (True, "an incident")
            answer = await chat(front)
            assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
            assert answer.headers.get("retry-after") == ("30" if status == 503 else None)
            [listed] = (await done(front, "GET", "/admin/switches"))["data"]
            assert listed["kind"] == kind
            others = await chat(front, model="sim-gemini")
            assert others.status_code == (200 if status == 503 else 403)
            await done(front, "DELETE", path)
            assert (await chat(front)).status_code == 200


async def test_what_the_configuration_has_no_more_is_switched_on_again(tmp_path: Path) -> None:
    async with open_admin(tmp_path) as front:
        await front.setup.gateway.ledger.switch("provider", "gone", off=True)
        assert not (await done(front, "DELETE", "/admin/switches/provider/gone"))["off"]
        assert (await ask(front, "DELETE", "/admin/switches/provider/gone")).status_code == 404
        for _ in range(2):  # what is known is on, however often that is said
            await done(front, "DELETE", "/admin/switches/provider/sim")


async def test_what_is_off_stays_off_over_a_restart(tmp_path: Path) -> None:
    async with open_admin(tmp_path) as front:
        key_id = front.setup.gateway.authenticate(front.setup.key).key_id
        await done(front, "PUT", f"/admin/switches/key/{key_id}", {})
        await done(front, "PUT", "/admin/switches/model/sim-gemini", {"reason": "too dear"})
    config = parse_config((tmp_path / CONFIG_FILE).read_text(), CONFIG_FILE, {})
    async with open_gateway(config) as again:
        with pytest.raises(KeyDisabledError):
            again.authenticate(front.setup.key)
        assert {(each.kind, each.subject) for each in again.ledger.switched_off()} == {
            ("key", key_id),
            ("model", "sim-gemini"),
        }


async def test_a_live_stream_is_ended_and_billed(tmp_path: Path) -> None:
    async with open_admin(tmp_path) as front:
        for protocol in PROTOCOLS:
            await end_one(front, protocol)


async def end_one(front: Front, protocol: Protocol) -> None:
    """A stream of this protocol, while it goes on."""
    before = await front.setup.balance()
    call = front.setup.call_of(protocol, protocol, "tokens=50000 tokens_per_second=500")
    async with front.client.stream("POST", PATHS[protocol], content=call.body) as answer:
        assert answer.status_code == 200
        pieces = answer.aiter_bytes()
        await anext(pieces)
        [running] = (await done(front, "GET", "/admin/exchanges"))["data"]
        assert running["request_id"] == answer.headers["x-request-id"]
        assert (running["model"], running["state"]) == (MODELS[protocol], "running")
        path = f"/admin/exchanges/{running['request_id']}"
        receipt = await done(front, "DELETE", path)
        rest = b"".join([piece async for piece in pieces])
    assert (receipt["outcome"], receipt["state"]) == ("shutdown", "settled")
    assert "ended_by_operator" in receipt["flags"]
    assert receipt["error"]["code"] == "ended_by_operator"
    assert b"The operator of the gateway has ended this request." in rest
    assert receipt["usage"]["output_tokens"] > 0
    assert await front.setup.balance() == before - receipt["price"]["nanodollars"]
    assert await refused(front, "DELETE", path) == (404, "not_found")
    [row] = (await done(front, "GET", f"/admin/log?subject={running['request_id']}"))["data"]
    assert (row["action"], row["actor"]) == ("exchanges.end", "admin")


async def test_an_answer_in_one_piece_that_is_ended_costs_nothing(tmp_path: Path) -> None:
    async with open_admin(tmp_path) as front, trio.open_nursery() as nursery:
        answers: list[httpx.Response] = []

        async def wait_for_answer() -> None:
            body = chat_body("tokens=5000 tokens_per_second=50", stream=False)
            answers.append(await front.client.post(CHAT, content=body))

        nursery.start_soon(wait_for_answer)
        await settled(lambda: front.setup.gateway.open_exchanges == 1)
        [running] = (await done(front, "GET", "/admin/exchanges"))["data"]
        receipt = await done(front, "DELETE", f"/admin/exchanges/{running['request_id']}")
        await settled(lambda: len(answers) == 1)
        assert answers[0].status_code == 503
        assert answers[0].json()["error"]["code"] == "ended_by_operator"
        assert receipt["price"]["nanodollars"] == 0


async def test_an_account_is_switched_off_with_what_it_runs(tmp_path: Path) -> None:
    async with open_admin(tmp_path) as front:
        body = chat_body("tokens=50000 tokens_per_second=500")
        async with front.client.stream("POST", CHAT, content=body) as answer:
            pieces = answer.aiter_bytes()
            await anext(pieces)
            off = await done(
                front, "PUT", "/admin/switches/account/test", {"end_open": True, "reason": "abuse"}
            )
            rest = b"".join([piece async for piece in pieces])
        assert off["ended"] == 1
        assert b"ended_by_operator" in rest


async def test_the_configuration_is_read_again(tmp_path: Path) -> None:
    async with open_admin(tmp_path) as front:
        file = tmp_path / CONFIG_FILE
        text = file.read_text()
        number = (await done(front, "GET", "/admin/status"))["configuration"]["number"]
        file.write_text(text.replace('deployments = [{ provider = "sim",', "deployments = [{"))
        answer = await ask(front, "POST", "/admin/reload")
        assert answer.status_code == 400
        error = answer.json()["error"]
        assert error["code"] == "bad_configuration"
        assert f"{CONFIG_FILE}:" in error["message"]
        status = await done(front, "GET", "/admin/status")
        assert status["configuration"]["number"] == number
        assert (await chat(front)).status_code == 200

        plan = '[plans.free]\nrequests_per_min = 1\nmodels = ["sim-openai"]\n'
        file.write_text(text + plan)
        report = await done(front, "POST", "/admin/reload")
        assert (report["changed"], report["needs_restart"]) == (["plans.free"], [])
        [listed] = (await done(front, "GET", "/admin/plans"))["data"]
        assert (listed["name"], listed["source"], listed["requests_per_min"]) == ("free", "file", 1)
        assert await refused(front, "PUT", "/admin/plans/free", {}) == (409, "conflict")
        await done(front, "PATCH", "/admin/accounts/test", {"plan": "free"})
        assert (await chat(front)).status_code == 200
        assert (await chat(front)).json()["error"]["code"] == "rate_limit_exceeded"
        rows = (await done(front, "GET", "/admin/log"))["data"]
        assert [row["action"] for row in rows] == ["accounts.set", "serving.reload"]


async def test_who_is_no_operator_any_more_when_the_body_has_come_orders_nothing(
    tmp_path: Path,
) -> None:
    async with open_admin(tmp_path) as front:
        file, body = tmp_path / CONFIG_FILE, b'{"name": "late"}'
        head = (
            f"POST /admin/accounts HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {SECRET}\r\n"
            f"expect: 100-continue\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        async with await trio.open_tcp_stream(*front.address) as stream:
            await stream.send_all(head.encode())
            assert b" 100 " in bytes(await stream.receive_some(65_536))
            file.write_text(file.read_text() + '[admin]\nallow = ["192.0.2.1"]\n')
            await done(front, "POST", "/admin/reload")
            await stream.send_all(body)
            answer = bytes(await stream.receive_some(65_536))
        assert answer.startswith(b"HTTP/1.1 403 ")
        assert (await front.setup.gateway.ledger.read_log()).rows[0].action == "serving.reload"


async def test_what_restricts_counts_while_the_ledger_is_stuck(tmp_path: Path) -> None:
    async with open_admin(tmp_path, storage="barrier_timeout_s = 1") as front:
        key = await done(front, "POST", "/admin/accounts/test/keys", {"name": "lost"})
        path = f"/admin/keys/{key['key_id']}"
        with database_locked(tmp_path / "ledger.db"):
            answer = await ask(front, "DELETE", path)
            assert answer.status_code == 503
            assert "could not be written down" in answer.json()["error"]["message"]
            assert (await chat(front, key["secret"])).status_code == 401
            model = "/admin/switches/model/sim-openai"
            assert (await ask(front, "PUT", model, {})).status_code == 503
            assert (await chat(front)).json()["error"]["code"] == "model_unavailable"
        await settled(lambda: front.setup.gateway.ledger.healthy)
        await front.setup.gateway.ledger.catch_up()
        assert (await done(front, "DELETE", path))["revoked_at"] is not None
        await done(front, "DELETE", "/admin/switches/model/sim-openai")
        rows = (await done(front, "GET", f"/admin/log?subject={key['key_id']}"))["data"]
        assert {row["action"] for row in rows} == {"keys.create", "keys.revoke"}
