"""Agents called by each protocol's official SDK: knowledge, tools of both sides, one receipt."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.gateways import MODELS, PROTOCOLS
from tests.served import Served, open_served
from tests.webserver import Answer, WebServer, answer, open_webserver

ORDER = answer(b'{"state": "shipped"}', "application/json")
PROMPT = "#sim tools=look_up steps={steps} tokens=20 preamble=4\nWhere is my order?"


@asynccontextmanager
async def open_shop(
    folder: Path, answers: Mapping[str, Answer] | None = None, **sections: Any
) -> AsyncIterator[tuple[Served, WebServer]]:
    """A served gateway whose agents reach a server of orders."""
    async with open_webserver({"/orders/a": ORDER} if answers is None else answers) as shop:
        egress = f'[egress]\nhttp = true\nports = [{shop.port}]\nprivate = ["127.0.0.0/8"]\n'
        models = egress + sections.pop("models", "")
        async with open_served(folder, models=models, **sections) as served:
            yield served, shop


async def make_agent(served: Served, shop: WebServer, model: str, **changes: Any) -> str:
    """An agent with a tool of that server; its id."""
    tool = {
        "type": "http",
        "name": "look_up",
        "description": "Where an order is.",
        "url": f"http://127.0.0.1:{shop.port}/orders/a",
        "headers": {"x-secret": "s3cret"},
    }
    document = {
        "name": "support",
        "model": model,
        "instructions": "You know of orders.",
        "tools": [tool],
    }
    async with served.http() as client:
        made = await client.post("/agents", json=document | changes)
        assert made.status_code == 201, made.text
        return str(made.json()["id"])


async def ask(
    served: Served, client: str, agent: str, prompt: str, *, stream: bool, **more: Any
) -> tuple[str, str]:
    """The text of an answer, and the id of its request."""
    body: dict[str, Any]
    match client:
        case "openai_chat":
            body = {"model": agent, "messages": [{"role": "user", "content": prompt}]}
            path = "/chat/completions"
        case "openai_responses":
            body, path = {"model": agent, "input": prompt}, "/responses"
        case "anthropic":
            body = {
                "model": agent,
                "max_tokens": 500,
                "messages": [{"role": "user", "content": prompt}],
            }
            path = "/messages"
        case _:
            body = {"contents": [{"role": "user", "parts": [{"text": prompt}]}]}
            path = f"/models/{agent}:generateContent"
            if stream:
                path = f"/models/{agent}:streamGenerateContent?alt=sse"
    if client != "gemini":
        body |= {"stream": stream}
    async with served.http() as http:
        got = await http.post(path, json=body | more)
    assert got.status_code == 200, got.text
    return got.text, got.headers["x-request-id"]


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("provider", PROTOCOLS)
@pytest.mark.parametrize("client", PROTOCOLS)
async def test_a_tool_is_run_between_rounds_on_one_receipt(
    tmp_path: Path, client: str, provider: str, stream: bool
) -> None:
    async with open_shop(tmp_path) as (served, shop):
        agent_id = await make_agent(served, shop, MODELS[provider])
        prompt = PROMPT.format(steps=2)
        text, request_id = await ask(served, client, "agent:support", prompt, stream=stream)
        receipt = await served.receipt(request_id)
        truths = served.setup.sim.truth.records()

    assert shop.paths == ["/orders/a"] * 2
    assert all(b"x-secret: s3cret" in head for head in shop.heads)
    assert "look_up" not in text
    assert receipt["outcome"] == "completed"
    assert receipt["flags"] == [f"agent:{agent_id}"]
    attempts = receipt["attempts"]
    assert [each["role"] for each in attempts] == ["first", "round", "round"]
    assert all(each["won"] for each in attempts)
    assert len(truths) == 3
    for unit in ("input_tokens", "output_tokens"):
        assert receipt["usage"][unit] == sum(each["usage"][unit] for each in attempts)
    assert receipt["usage"]["output_tokens"] == sum(each.tokens_generated for each in truths)
    prices = [each["price"]["nanodollars"] for each in attempts]
    assert receipt["price"]["nanodollars"] == sum(prices) > 0
