"""Bedrock as the provider: clients of every protocol, billed, signed for, and failing well."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import anthropic
import orjson
import pytest
import trio
from anthropic import AsyncAnthropic

from bench.simulate import open_simulator
from engine.checking import plan_checks, run_checks
from engine.config import parse_config
from engine.errors import GatewayError
from engine.events import Protocol
from frontends.app import create_app
from frontends.server import open_server
from tests.aws import (
    API_KEY,
    KEY_ID,
    MODEL,
    SECRET,
    SETTINGS,
    config_text,
    forget_machine,
    open_bedrock,
    provide_key,
)
from tests.gateways import PROTOCOLS, Setup, charge, drain, run, settled

TOKENS = 40


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The operator's credentials are in the environment, and nowhere else."""
    forget_machine(monkeypatch, tmp_path)
    provide_key(monkeypatch)


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "unary"])
@pytest.mark.parametrize("client", PROTOCOLS)
async def test_an_answer_for_every_protocol_is_billed(
    tmp_path: Path, client: Protocol, stream: bool
) -> None:
    async with open_bedrock(tmp_path) as setup:
        balance = await setup.balance()
        call = setup.call_of(client, "anthropic", f"tokens={TOKENS} cached=7", stream=stream)
        async with setup.gateway.open_exchange(call) as exchange:
            head = dict((await exchange.head()).headers)
            body = await drain(exchange)
        receipt, truth = exchange.receipt, setup.truth(exchange)
        assert truth.api == "bedrock"
        assert truth.text.encode() in body or stream
        assert head[b"content-type"].partition(b";")[0] == (
            b"text/event-stream" if stream else b"application/json"
        )
        assert head[b"x-model-used"] == MODEL.encode()
        assert head[b"x-provider-request-id"].decode() == truth.provider_request_id
        assert b"amazon-bedrock" not in body
        assert (receipt.outcome, receipt.provenance) == ("completed", "reported")
        assert receipt.usage["input_tokens"] == truth.input_tokens
        assert receipt.usage["output_tokens"] == truth.tokens_generated == TOKENS
        assert receipt.usage["cached_input_tokens"] == 7
        assert receipt.price_nanodollars == charge(truth.input_tokens, TOKENS)
        assert await setup.balance() == balance - receipt.price_nanodollars


async def test_anthropics_sdk_reads_the_stream(tmp_path: Path) -> None:
    async with (
        open_bedrock(tmp_path) as setup,
        open_server(create_app(setup.gateway), ["127.0.0.1:0"]) as server,
        AsyncAnthropic(
            base_url=f"http://{server.addresses[0]}", api_key=setup.key, max_retries=0
        ) as client,
    ):
        asked: dict[str, Any] = {
            "model": "sim-anthropic",
            "messages": [
                {"role": "user", "content": "#sim tools=get_weather preamble=5 reasoning=9\nGo."}
            ],
            "max_tokens": 4_000,
            "thinking": {"type": "enabled", "budget_tokens": 2_000},
            "tools": [{"name": "get_weather", "input_schema": {"type": "object"}}],
        }
        async with client.messages.stream(
            **asked, extra_headers={"anthropic-beta": "one-2025,two-2025"}
        ) as stream:
            message = await stream.get_final_message()
        [truth] = setup.sim.truth.records()
        assert [block.type for block in message.content] == ["thinking", "text", "tool_use"]
        assert [block.text for block in message.content if block.type == "text"] == [truth.text]
        assert truth.request["anthropic_beta"] == ["one-2025", "two-2025"]

        counted = await client.messages.count_tokens(
            model="sim-anthropic", messages=[{"role": "user", "content": "How many?"}]
        )
        assert 0 < counted.input_tokens < 20
        with pytest.raises(anthropic.RateLimitError) as limited:
            await client.messages.create(
                model="sim-anthropic",
                messages=[{"role": "user", "content": "#sim status=429\nGo."}],
                max_tokens=9,
            )
        assert "Too many requests" in str(limited.value)


async def test_the_gateway_counts_what_bedrock_does_not(tmp_path: Path) -> None:
    async with open_bedrock(tmp_path) as setup:
        call = setup.call_of("anthropic", "anthropic")
        document = orjson.loads(call.body)
        del document["stream"], document["max_tokens"]
        call = replace(call, body=orjson.dumps(document), operation="count_tokens")
        head, _ = await setup.gateway.count_tokens(call)
        assert (b"x-parshall-counted", b"estimate") in head.headers
        assert setup.sim.truth.records() == []


async def test_an_api_key_of_bedrocks_is_a_bearer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong, and not used")
    async with open_bedrock(tmp_path, 'api_key = "env:BEDROCK_KEY"') as setup:
        _, receipt, error = await run(setup, setup.call_of("anthropic", "anthropic"))
        assert (receipt.outcome, error) == ("completed", None)


async def test_the_operators_credentials_are_not_the_clients_business(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    said = ""
    for secret in ("wrong", ""):
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)
        if not secret:
            monkeypatch.delenv("AWS_ACCESS_KEY_ID")
            monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
        folder = tmp_path / (secret or "none")
        folder.mkdir()
        async with open_bedrock(folder) as setup:
            _, receipt, error = await run(setup, setup.call_of("anthropic", "anthropic"))
            assert error is not None
            assert (error.status, error.code) == (502, "upstream_credentials_refused")
            assert (receipt.outcome, receipt.price_nanodollars) == ("upstream_failed", 0)
            said += error.message
    for word in ("AWS", KEY_ID, SECRET, "signature"):
        assert word not in said
    assert SECRET not in caplog.text


async def leave_after(setup: Setup, count: int) -> None:
    chunks = 0
    call = setup.call_of("anthropic", "anthropic", f"tokens={TOKENS} tokens_per_second=2000")
    async with setup.gateway.open_exchange(call) as exchange:
        async for _ in exchange:
            chunks += 1
            if chunks > count:
                break
    receipt, truth = exchange.receipt, setup.truth(exchange)
    await settled(lambda: truth.ended is not None)
    billed = receipt.usage["output_tokens"]
    assert receipt.outcome in ("client_left", "completed")
    assert receipt.delivered_output_tokens <= billed == receipt.received_output_tokens
    assert billed <= truth.tokens_generated
    assert receipt.usage["input_tokens"] in (0, truth.input_tokens)
    assert receipt.price_nanodollars == charge(receipt.usage["input_tokens"], billed)


async def test_leaving_in_the_middle_is_billed_as_received(tmp_path: Path) -> None:
    async with open_bedrock(tmp_path) as setup, trio.open_nursery() as nursery:
        for count in range(0, TOKENS + 4, 3):
            nursery.start_soon(leave_after, setup, count)


async def test_the_ending_waits_for_the_settlement(tmp_path: Path) -> None:
    async with open_bedrock(tmp_path) as setup:
        call = setup.call_of("anthropic", "anthropic", f"tokens={TOKENS}")
        body, ended_when = b"", None
        async with setup.gateway.open_exchange(call) as exchange:
            async for chunk in exchange:
                body += chunk
                if b"message_stop" in body and ended_when is None:
                    ended_when = exchange.receipt.outcome
        assert ended_when == "completed", "whoever has the ending has paid"


@pytest.mark.parametrize("client", PROTOCOLS)
@pytest.mark.parametrize(
    "fault",
    [
        "error_event",
        "error_event exception=modelStreamErrorException",
        "error_bare",
        "corrupt",
        "oversized",
        "truncated",
        "eof",
        "cut",
        "rst",
    ],
)
async def test_a_stream_that_fails_is_billed_as_received(
    tmp_path: Path, client: Protocol, fault: str
) -> None:
    directives = f"tokens={TOKENS} cut_after=9 fault={fault}"
    async with open_bedrock(tmp_path) as setup:
        call = setup.call_of(client, "anthropic", directives)
        body, receipt, error = await run(setup, call)
        assert error is None, "it had begun"
        assert b"error" in body
        assert (receipt.outcome, receipt.provenance) == ("upstream_failed", "counted")
        assert receipt.usage["output_tokens"] == 9
        assert receipt.usage["input_tokens"] == setup.sim.truth.records()[0].input_tokens


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        ("fault=error_event", 429),
        ("fault=error_event exception=validationException", 400),
        ("fault=error_event exception=serviceUnavailableException", 503),
        ("fault=error_event exception=modelTimeoutException", 504),
        ("fault=corrupt", 502),
        ("fault=truncated", 502),
        ("fault=oversized", 502),
        ("status=400", 400),
        ("status=408", 504),
        ("status=424", 502),
        ("status=429", 429),
        ("status=500", 500),
        ("status=503", 503),
    ],
)
async def test_before_the_first_token_a_failure_is_a_status(
    tmp_path: Path, fault: str, status: int
) -> None:
    async with open_bedrock(tmp_path) as setup:
        call = setup.call_of("openai_chat", "anthropic", f"cut_after=0 {fault}")
        _, receipt, error = await run(setup, call)
        assert isinstance(error, GatewayError)
        assert error.status == status
        assert (receipt.outcome, receipt.price_nanodollars) == ("upstream_failed", 0)


@pytest.mark.parametrize("secret", [SECRET, "wrong"])
async def test_checking_the_provider(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, secret: str
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)
    async with open_simulator(SETTINGS) as sim:
        config = parse_config(config_text(sim.base_url, tmp_path / "x.db"), "test.toml", {})
        [finding] = await run_checks(plan_checks(config), timeout_s=20)
    assert finding.reachable
    if secret == SECRET:
        assert (finding.key_accepted, finding.streams) == (True, True)
        assert (finding.reports_usage, finding.calls_tools) == (True, True)
        assert finding.problem is None
    else:
        assert (finding.key_accepted, finding.failed) == (False, True)
        assert finding.problem == "it refuses AWS's credentials, or there are none"
        assert "aws sts get-caller-identity" in (finding.advice or "")
    assert API_KEY not in repr(finding)
    assert SECRET not in repr(finding)
