"""Agents called by each protocol's official SDK: knowledge, tools of both sides, one receipt."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import anthropic
import openai
import orjson
import pytest
import trio
from google import genai

from tests.e2e.test_files import in_thread
from tests.gateways import MODELS, PROTOCOLS, add_key
from tests.served import Served, open_raw, open_served
from tests.webserver import Answer, WebServer, answer, moved, open_webserver

ORDER = answer(b'{"state": "shipped"}', "application/json")
PROMPT = "#sim tools=look_up steps={steps} tokens=20 preamble=4\nWhere is my order?"
ROUND_ABOUT = (
    ("openai_chat", "openai_chat"),
    ("openai_chat", "anthropic"),
    ("openai_responses", "gemini"),
    ("anthropic", "openai_responses"),
    ("anthropic", "anthropic"),
    ("gemini", "openai_chat"),
)
"""Clients' protocols, and providers'."""


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


def look_up(shop: WebServer) -> dict[str, Any]:
    """A tool of that server."""
    return {
        "type": "http",
        "name": "look_up",
        "description": "Where an order is.",
        "url": f"http://127.0.0.1:{shop.port}/orders/a",
        "headers": {"x-secret": "s3cret"},
    }


async def make_agent(served: Served, shop: WebServer, model: str, **changes: Any) -> str:
    """An agent with a tool of that server; its id."""
    document = {
        "name": "support",
        "model": model,
        "instructions": "You know of orders.",
        "tools": [look_up(shop)],
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
@pytest.mark.parametrize(("client", "provider"), ROUND_ABOUT)
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


async def until_idle(stream: trio.abc.Stream) -> None:
    """A server that says nothing, for as long as it is asked."""
    with suppress(trio.BrokenResourceError):
        while await stream.receive_some():
            pass


LARGE = answer(b"x" * 10_000_000, "text/plain")
WAYWARD: dict[str, tuple[Answer, str]] = {
    "fails": (answer(b"no such order", "text/plain", "500 Oops"), "status 500.\nno such order"),
    "answers 10 MB": (LARGE, "was cut off here"),
    "redirects inward": (moved("http://169.254.169.254/latest"), "which is not followed"),
    "hangs": (until_idle, "did not answer in time"),
    "answers no text": (answer(b"\x89PNG"), "is not text"),
}


@pytest.mark.parametrize("what", WAYWARD)
async def test_the_model_is_told_what_becomes_of_a_tool_that(tmp_path: Path, what: str) -> None:
    given, words = WAYWARD[what]
    async with open_shop(tmp_path, {"/orders/a": given}) as (served, shop):
        tool = look_up(shop) | {"timeout_s": 0.2, "max_bytes": 1_000}
        await make_agent(served, shop, "sim-openai", tools=[tool])
        _, request_id = await ask(
            served, "openai_chat", "agent:support", PROMPT.format(steps=1), stream=True
        )
        receipt = await served.receipt(request_id)
        last = served.setup.sim.truth.records()[-1]

    (result,) = [each for each in orjson.loads(last.body)["messages"] if each["role"] == "tool"]
    assert words in result["content"]
    assert len(result["content"]) < 1_100
    assert "169.254" not in result["content"]
    assert (receipt["outcome"], len(receipt["attempts"])) == ("completed", 2)
    assert len(shop.heads) == 1


INWARD = ["http://127.0.0.2:{port}/", "http://10.0.0.1/", "http://[::1]/", "http://localhost/"]


@pytest.mark.parametrize("url", INWARD)
async def test_a_tool_does_not_lead_inward(tmp_path: Path, url: str) -> None:
    """Neither when it is set up nor, where `[egress]` was another one then, when it is called."""
    async with open_shop(tmp_path) as (_, shop):
        egress = "[egress]\nhttp = true"
        closed_folder = tmp_path / "closed"
        closed_folder.mkdir()
        async with open_served(closed_folder, models=egress) as closed:
            tool = look_up(shop) | {"url": url.format(port=shop.port)}
            document = {"name": "support", "model": "sim-openai", "tools": [tool]}
            async with closed.http() as client:
                refused = await client.post("/agents", json=document)
            assert (refused.status_code, refused.json()["error"]["param"]) == (400, "tools[0].url")
            agents, account_id = closed.setup.gateway.agents, closed.setup.account_id
            await agents.create(account_id, document, lambda _: None)
            prompt = PROMPT.format(steps=1)
            await ask(closed, "openai_chat", "agent:support", prompt, stream=False)
            last = closed.setup.sim.truth.records()[-1]

    assert b"may not be reached from here" in last.body
    assert not shop.heads


@pytest.mark.parametrize("stream", [True, False])
async def test_a_model_that_loops_has_to_answer_in_the_last_round(
    tmp_path: Path, *, stream: bool
) -> None:
    async with open_shop(tmp_path) as (served, shop):
        await make_agent(served, shop, "sim-openai", limits={"rounds": 3})
        prompt = PROMPT.format(steps=100)
        text, request_id = await ask(served, "openai_chat", "agent:support", prompt, stream=stream)
        receipt = await served.receipt(request_id)
        last = served.setup.sim.truth.records()[-1]

    assert [each["role"] for each in receipt["attempts"]] == ["first", "round", "round"]
    assert len(shop.heads) == 2
    assert orjson.loads(last.body)["tool_choice"] == "none"
    assert '"finish_reason":"stop"' in text
    assert receipt["outcome"] == "completed"


@pytest.mark.parametrize(
    ("client", "stream"), [(each, number % 2 == 0) for number, each in enumerate(PROTOCOLS)]
)
async def test_no_round_begins_beyond_what_a_call_may_spend(
    tmp_path: Path, client: str, *, stream: bool
) -> None:
    async with open_shop(tmp_path) as (served, shop):
        await make_agent(served, shop, "sim-anthropic", limits={"spend_nanodollars": 1})
        prompt = PROMPT.format(steps=100)
        text, request_id = await ask(served, client, "agent:support", prompt, stream=stream)
        receipt = await served.receipt(request_id)

    assert (len(receipt["attempts"]), shop.heads) == (1, [])
    assert "agent_spend" in receipt["flags"]
    assert receipt["outcome"] == "completed"
    assert receipt["price"]["nanodollars"] == receipt["attempts"][0]["price"]["nanodollars"] > 0
    assert LENGTHS[client] in text


LENGTHS = {
    "openai_chat": '"finish_reason":"length"',
    "openai_responses": "max_output_tokens",
    "anthropic": '"stop_reason":"max_tokens"',
    "gemini": '"finishReason":"MAX_TOKENS"',
}


async def test_what_was_said_is_paid_where_funds_do_not_cover_another_round(tmp_path: Path) -> None:
    funds = 9_000_000  # a slice of output is 4 million, an answer in one piece all at once
    async with open_shop(tmp_path, funds_nanodollars=funds) as (served, shop):
        await make_agent(served, shop, "sim-openai")
        prompt = "#sim tools=look_up steps=9 tokens=20 preamble=1900\nWhere is my order?"
        text, request_id = await ask(served, "openai_chat", "agent:support", prompt, stream=True)
        receipt = await served.receipt(request_id)
        left = await served.setup.balance()

    assert '"finish_reason":"length"' in text
    assert (receipt["outcome"], receipt["flags"][-1]) == ("funds_exhausted", "agent_funds")
    prices = [each["price"]["nanodollars"] for each in receipt["attempts"]]
    assert receipt["price"]["nanodollars"] == sum(prices) == funds - left
    assert len(prices) == len(shop.heads)


async def test_the_clients_own_functions_go_back_to_it(tmp_path: Path) -> None:
    function = {
        "type": "function",
        "function": {"name": "ask_human", "parameters": {"type": "object"}},
    }
    async with open_shop(tmp_path) as (served, shop):
        await make_agent(served, shop, "sim-openai")
        prompt = "#sim tools=look_up,ask_human tokens=20\nWhere is my order?"
        text, request_id = await ask(
            served, "openai_chat", "agent:support", prompt, stream=False, tools=[function]
        )
        receipt = await served.receipt(request_id)
        clash = {"type": "function", "function": {"name": "look_up"}}
        async with served.http() as client:
            body = {
                "model": "agent:support",
                "messages": [{"role": "user", "content": "Hello"}],
                "tools": [clash],
            }
            refused = await client.post("/chat/completions", json=body)

    choice = orjson.loads(text)["choices"][0]
    assert choice["finish_reason"] == "tool_calls"
    assert [each["function"]["name"] for each in choice["message"]["tool_calls"]] == ["ask_human"]
    assert (len(receipt["attempts"]), shop.heads) == (1, [])
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "tools")


@pytest.mark.parametrize(
    ("provider", "round_"),
    [("openai_chat", 1), ("anthropic", 2), ("openai_responses", 2), ("gemini", 3)],
)
async def test_who_leaves_in_a_round_pays_what_has_come_by_then(
    tmp_path: Path, provider: str, round_: int
) -> None:
    """By a few words of that round; those before it are paid as their provider counts them."""
    async with open_shop(tmp_path) as (served, shop):
        await make_agent(served, shop, MODELS[provider])
        directives = "tools=look_up steps=3 tokens=20 preamble=40 tokens_per_second=400"
        async with open_raw(served, directives, model="agent:support") as stream:
            await stream.read_head()
            await stream.read_events(40 * (round_ - 1) + 5)
            request_id = stream.headers["x-request-id"]
        receipt = await served.receipt(request_id)
        left = await served.setup.balance()
        truths = served.setup.sim.truth.records()

    assert receipt["outcome"] == "client_left"
    attempts = receipt["attempts"]
    assert len(attempts) >= round_
    prices = [each["price"]["nanodollars"] for each in attempts]
    assert receipt["price"]["nanodollars"] == sum(prices) == 1_000_000_000 - left
    for attempt, truth in list(zip(attempts, truths, strict=True))[:-1]:
        assert attempt["usage"]["output_tokens"] == truth.tokens_generated
        assert attempt["usage_provenance"]["output_tokens"] == "reported"
    assert attempts[-1]["usage"]["output_tokens"] <= truths[-1].tokens_generated


async def test_who_leaves_while_a_tool_is_run_pays_the_rounds_before(tmp_path: Path) -> None:
    asked = trio.Event()

    async def say_nothing(stream: trio.abc.Stream) -> None:
        asked.set()
        await until_idle(stream)

    async with open_shop(tmp_path, {"/orders/a": say_nothing}) as (served, shop):
        await make_agent(served, shop, "sim-openai")
        body = {
            "model": "agent:support",
            "stream": True,
            "messages": [{"role": "user", "content": PROMPT.format(steps=1)}],
        }
        async with (
            served.http() as client,
            client.stream("POST", "/chat/completions", json=body) as got,
        ):
            request_id = got.headers["x-request-id"]
            with trio.fail_after(20):
                await asked.wait()
        receipt = await served.receipt(request_id)
        truths = served.setup.sim.truth.records()

    assert (receipt["outcome"], len(receipt["attempts"])) == ("client_left", 1)
    assert receipt["usage"]["output_tokens"] == truths[0].tokens_generated
    assert receipt["price"]["nanodollars"] > 0


async def test_another_accounts_agent_is_no_model(tmp_path: Path) -> None:
    async with open_shop(tmp_path) as (served, shop):
        agent_id = await make_agent(served, shop, "sim-openai")
        other = await served.setup.gateway.ledger.create_account("other")
        _, key = await add_key(served.setup.gateway, other.account_id)
        headers = {"authorization": f"Bearer {key}"}
        messages = [{"role": "user", "content": "Hello"}]
        async with served.http() as client:

            async def told(named: str) -> list[tuple[int, str]]:
                chat = {"model": f"agent:{named}", "messages": messages}
                answers = [
                    await client.post("/chat/completions", json=chat, headers=headers),
                    await client.post(
                        "/responses", json=chat | {"input": "Hello"}, headers=headers
                    ),
                    await client.post(
                        f"/agents/{named}/chat/completions", json=chat, headers=headers
                    ),
                    await client.post(
                        f"/agents/{named}/messages", json=chat | {"max_tokens": 9}, headers=headers
                    ),
                    await client.post(
                        f"/agents/{named}:generateContent",
                        json={"contents": [{"parts": [{"text": "Hello"}]}]},
                        headers=headers,
                    ),
                ]
                return [
                    (each.status_code, each.json()["error"]["message"].replace(named, "IT"))
                    for each in answers
                ]

            theirs, nobodys = await told(agent_id), await told("x" * len(agent_id))
            by_name = await told("support")

    assert theirs == nobodys
    assert {status for status, _ in (*theirs, *by_name)} == {404}
    assert not served.setup.sim.truth.records()


async def test_the_sdks_of_three_protocols(tmp_path: Path) -> None:
    prompt = PROMPT.format(steps=1)
    async with open_shop(tmp_path) as (served, shop):
        agent_id = await make_agent(served, shop, "sim-openai")
        key = served.setup.key
        chat = openai.OpenAI(api_key=key, base_url=f"{served.url}/agents/{agent_id}", max_retries=0)
        claude = anthropic.Anthropic(api_key=key, base_url=served.origin, max_retries=0)
        google = genai.Client(api_key=key, http_options={"base_url": served.origin})

        def talk() -> list[str]:
            words = [
                "".join(
                    chunk.choices[0].delta.content or ""
                    for chunk in chat.chat.completions.create(
                        model="any",
                        stream=True,
                        messages=[{"role": "user", "content": prompt}],
                    )
                    if chunk.choices
                ),
                chat.responses.create(model="any", input=prompt).output_text,
            ]
            with claude.messages.stream(
                model="agent:support",
                max_tokens=500,
                messages=[{"role": "user", "content": prompt}],
            ) as stream:
                words.append(stream.get_final_text())
            streamed = google.models.generate_content_stream(model="agent:support", contents=prompt)
            words.append("".join(each.text or "" for each in streamed))
            return words

        words = await in_thread(talk, chat, claude)

    assert all(len(text.split()) >= 20 for text in words)
    assert len(shop.heads) == 4
