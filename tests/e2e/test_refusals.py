"""What is refused, in OpenAI's shape; nothing is charged, and strangers leave no durable row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.gateways import DOLLAR, chat_body
from tests.served import open_served

BODY = chat_body("tokens=5")


@pytest.mark.parametrize(
    ("request_options", "status", "code"),
    [
        ({"headers": {"authorization": "Bearer sk-parshall-nobody"}}, 401, "invalid_api_key"),
        ({"headers": {"authorization": "Basic x"}}, 401, "invalid_api_key"),
        ({"headers": {"authorization": ""}}, 401, "invalid_api_key"),
        ({"content": chat_body(model="gpt-unknown")}, 404, "model_not_found"),
        ({"content": b'{"model": "sim-op'}, 400, "invalid_request"),
        ({"content": b"\xff\xfe"}, 400, "invalid_request"),
        ({"content": b""}, 400, "invalid_request"),
        ({"content": chat_body(messages=[])}, 400, "invalid_request"),
        ({"content": b"x" * 20_001}, 413, "body_too_large"),
        ({"url": "/v1/nothing-here"}, 404, "not_found"),
        ({"method": "DELETE"}, 405, "method_not_allowed"),
    ],
)
async def test_a_refusal(
    tmp_path: Path, request_options: dict[str, Any], status: int, code: str
) -> None:
    async with open_served(tmp_path, server="body_max_bytes = 20_000") as served:
        ledger = served.setup.gateway.ledger
        before = ledger.statistics().committed_records
        options: dict[str, Any] = {"method": "POST", "url": "/chat/completions", "content": BODY}
        options |= request_options
        if options["url"].startswith("/v1"):
            options["url"] = served.url + options["url"].removeprefix("/v1")
        async with served.http() as client:
            answer = await client.request(**options)
        error = answer.json()["error"]
        assert (answer.status_code, error["code"]) == (status, code)
        assert set(error) == {"message", "type", "param", "code"}
        assert answer.headers["x-request-id"].startswith("req_")
        assert ledger.statistics().committed_records == before
        assert await served.setup.balance() == DOLLAR
        assert served.setup.sim.truth.records() == []


async def test_no_funds(tmp_path: Path) -> None:
    async with open_served(tmp_path, funds_nanodollars=0) as served, served.http() as client:
        answer = await client.post("/chat/completions", content=BODY)
        assert answer.status_code == 402
        assert answer.json()["error"]["code"] == "insufficient_funds"


async def test_another_accounts_receipt_is_not_found(tmp_path: Path) -> None:
    async with open_served(tmp_path) as served, served.http() as client:
        answer = await client.post("/chat/completions", content=BODY)
        request_id = answer.headers["x-request-id"]
        gateway = served.setup.gateway
        other = await gateway.ledger.create_account("other")
        _, secret = await gateway.create_key(other.account_id, "other")
        stranger = {"authorization": f"Bearer {secret}"}
        path = f"/receipts/{request_id}"
        assert (await client.get(path)).status_code == 200
        assert (await client.get(path, headers=stranger)).status_code == 404
        assert (await client.get(path, headers={"authorization": ""})).status_code == 401


async def test_a_client_cannot_choose_the_request_id(tmp_path: Path) -> None:
    async with open_served(tmp_path) as served, served.http() as client:
        own = {"x-request-id": "mine"}
        first = await client.post("/chat/completions", content=BODY, headers=own)
        second = await client.post("/chat/completions", content=BODY, headers=own)
        ids = {first.headers["x-request-id"], second.headers["x-request-id"]}
        assert len(ids) == 2
        assert "mine" not in ids
        receipt = await served.receipt(first.headers["x-request-id"])
        assert receipt["client_request_id"] == "mine"
