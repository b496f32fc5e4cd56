"""Checking providers: what is found of a sound one, and of each kind that is not."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import h11
import pytest
import trio

from bench.simulate import (
    Directives,
    Simulator,
    SimulatorSettings,
    open_simulator,
    parse_directives,
)
from engine import Config, ConfigError, parse_config
from engine.checking import Finding, plan_checks, run_checks
from tests.engine.upstream.proxy import open_server
from tests.ports import free_port

PROVIDERS = ("openai", "openai-responses", "anthropic", "gemini")
VERSIONS = dict.fromkeys(PROVIDERS, "v1") | {"gemini": "v1beta"}
MODELS = {name: f"sim-{name}" for name in PROVIDERS} | {"openai-responses": "sim-openai"}
KEY = "sk-the-operators-own-0123456789"


def config_of(
    base_url: str,
    *,
    provider: str = "",
    capabilities: str = "",
    key: str = KEY,
    model: str | None = None,
) -> Config:
    """A provider of each protocol at one origin, each with a dear model and a cheap one."""
    text = ""
    for name in PROVIDERS:
        text += f"""
[providers.{name}]
protocol = "{name}"
base_url = "{base_url}/{VERSIONS[name]}"
api_key = "env:KEY"
http2 = "prior-knowledge"
{provider}
[models.dear-{name}]
deployments = [{{ provider = "{name}", model = "dear" }}]
price = {{ input = 50, output = 200 }}
[models.cheap-{name}]
deployments = [{{ provider = "{name}", model = "{model or MODELS[name]}" {capabilities} }}]
price = {{ input = 1, output = 2 }}
"""
    return parse_config(text, "test.toml", {"KEY": key})


@asynccontextmanager
async def simulated(directives: str = "", **settings: Any) -> AsyncIterator[Simulator]:
    defaults = parse_directives(directives, Directives())
    async with open_simulator(SimulatorSettings(defaults=defaults, **settings)) as simulator:
        yield simulator


async def check(config: Config, *names: str, timeout_s: float = 20) -> dict[str, Finding]:
    findings = await run_checks(plan_checks(config, names), timeout_s=timeout_s)
    for finding in findings:
        assert KEY not in repr(finding)
    return {finding.provider: finding for finding in findings}


async def test_a_sound_provider_of_each_protocol() -> None:
    async with simulated(api_keys=frozenset({KEY})) as simulator:
        config = config_of(simulator.base_url)
        findings = await check(config)
        requests = simulator.truth.records()

    assert tuple(findings) == PROVIDERS, "in the order of the configuration"
    for name, finding in findings.items():
        assert finding.model == MODELS[name], "the cheaper one"
        assert (finding.reachable, finding.key_accepted, finding.streams) == (True, True, True)
        assert (finding.reports_usage, finding.calls_tools) == (True, True)
        assert (finding.http_version, finding.failed) == ("HTTP/2", False)
        assert finding.first_output_s is not None
        assert (finding.problem, finding.advice) == (None, None)
    planned = {check.provider.name: check for check in plan_checks(config)}
    for name, finding in findings.items():
        assert 0 < finding.cost_nanodollars <= planned[name].cost_max_nanodollars
    assert sorted(request.api for request in requests) == sorted(2 * PROVIDERS)
    assert sum(finding.cost_nanodollars for finding in findings.values()) > 0


async def test_a_key_that_is_refused() -> None:
    async with simulated(api_keys=frozenset({"another"})) as simulator:
        findings = await check(config_of(simulator.base_url))
    for finding in findings.values():
        assert (finding.reachable, finding.key_accepted, finding.streams) == (True, False, None)
        assert finding.failed
        assert finding.problem == "it refuses its key"
        assert finding.advice == "check the secret that its 'api_key' names"


async def test_a_key_that_is_not_there() -> None:
    async with simulated(api_keys=frozenset({"another"})) as simulator:
        text = f"""
[providers.keyless]
protocol = "openai"
base_url = "{simulator.base_url}/v1"
http2 = "prior-knowledge"
[models.m]
deployments = [{{ provider = "keyless", model = "sim-openai" }}]
free = true
"""
        [finding] = (await check(parse_config(text, "test.toml", {}))).values()
    assert finding.problem == "it wants a key, and has none"
    assert finding.cost_nanodollars == 0


async def test_nobody_there() -> None:
    findings = await check(config_of(f"http://127.0.0.1:{free_port()}"))
    for finding in findings.values():
        assert (finding.reachable, finding.key_accepted, finding.streams) == (False, None, None)
        assert finding.failed
        assert finding.advice is not None
        assert "'base_url'" in finding.advice


@pytest.mark.parametrize("name", PROVIDERS)
async def test_no_usage_is_no_failure(name: str) -> None:
    async with simulated("usage=none") as simulator:
        finding = (await check(config_of(simulator.base_url), name))[name]
    assert (finding.streams, finding.reports_usage, finding.failed) == (True, False, False)
    assert finding.problem is not None
    assert "no usage" in finding.problem


@pytest.mark.parametrize("directives", ["head_ms=60000", "first_token_ms=60000", "fault=stall"])
async def test_a_provider_that_falls_silent(directives: str) -> None:
    async with simulated(directives) as simulator:
        findings = await check(config_of(simulator.base_url), timeout_s=2.0)
    for finding in findings.values():
        assert (finding.reachable, bool(finding.streams), finding.failed) == (True, False, True)
        assert finding.problem == "no whole answer within the time allowed"
        assert finding.advice is not None
        assert "--timeout" in finding.advice


async def test_one_that_never_answers_holds_up_no_other() -> None:
    async def say_nothing(stream: trio.SocketStream) -> None:
        await trio.sleep_forever()

    async with open_server(say_nothing) as port, simulated() as simulator:
        text = f"""
[providers.silent]
protocol = "openai"
base_url = "http://127.0.0.1:{port}/v1"
[providers.sound]
protocol = "openai"
base_url = "{simulator.base_url}/v1"
http2 = "prior-knowledge"
[models.a]
deployments = [{{ provider = "silent", model = "a" }}]
free = true
[models.b]
deployments = [{{ provider = "sound", model = "sim-openai" }}]
free = true
"""
        steps: list[tuple[str, str]] = []
        checks = plan_checks(parse_config(text, "test.toml", {}))
        findings = await run_checks(
            checks, timeout_s=2, report=lambda name, step: steps.append((name, step))
        )
    assert [finding.failed for finding in findings] == [True, False]
    assert findings[0].reachable is True, "a connection was had"
    assert steps[-1] == ("silent", "failed")
    assert ("sound", "done") in steps


async def test_a_model_that_is_not_there_and_a_rate_limit() -> None:
    for status, advice in ((404, "'model'"), (429, "rate limit")):
        async with simulated(f"status={status}") as simulator:
            findings = await check(config_of(simulator.base_url))
        for finding in findings.values():
            assert finding.failed
            assert advice in (finding.advice or "")
            assert finding.key_accepted is (None if status == 404 else True)


async def test_a_model_that_it_does_not_have() -> None:
    """A 404, of responses a 400: the advice is the same."""
    async with simulated() as simulator:
        findings = await check(config_of(simulator.base_url, model="another"))
    for finding in findings.values():
        assert finding.failed
        assert "check the deployment's 'model'" in (finding.advice or "")


async def test_no_tools_is_no_failure() -> None:
    """A model that is known to have none is not asked."""
    async with simulated() as simulator:
        config = config_of(simulator.base_url, capabilities=", capabilities = { tools = false }")
        findings = await check(config)
        assert len(simulator.truth.records()) == len(PROVIDERS)
    for finding in findings.values():
        assert (finding.streams, finding.calls_tools, finding.failed) == (True, None, False)


STREAM = (
    b'data: {"id":"a","object":"chat.completion.chunk","created":1,"model":"m","choices":'
    b'[{"index":0,"delta":{"role":"assistant","content":"OK"},"finish_reason":"stop"}]}\n\n'
    b'data: {"id":"a","object":"chat.completion.chunk","created":1,"model":"m","choices":[],'
    b'"usage":{"prompt_tokens":9,"completion_tokens":1,"total_tokens":10}}\n\n'
    b"data: [DONE]\n\n"
)
REFUSAL = b'{"error":{"message":"no tools here","type":"invalid_request_error","code":null}}'


@pytest.mark.parametrize(
    ("status", "body", "problem"),
    [
        (400, REFUSAL, "asked to call a tool: no tools here"),
        (200, STREAM, "asked to call a tool, it answered without one"),
    ],
)
async def test_a_tool_that_is_not_called(status: int, body: bytes, problem: str) -> None:
    """It can serve all the same."""

    async def serve(stream: trio.SocketStream) -> None:
        http = h11.Connection(h11.SERVER)
        while True:
            event = http.next_event()
            if event is h11.NEED_DATA:
                http.receive_data(await stream.receive_some())
            elif isinstance(event, h11.ConnectionClosed):
                return
            elif isinstance(event, h11.Data):
                request = bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                tool = b"report_ready" in request
                await stream.send_all(
                    answer(http, status if tool else 200, body if tool else STREAM)
                )
                http.start_next_cycle()

    def answer(http: h11.Connection, status: int, body: bytes) -> bytes:
        kind = "text/event-stream" if status == 200 else "application/json"
        headers = [("content-type", kind), ("content-length", str(len(body)))]
        parts = (
            http.send(h11.Response(status_code=status, headers=headers)),
            http.send(h11.Data(data=body)),
            http.send(h11.EndOfMessage()),
        )
        return b"".join(part or b"" for part in parts)

    async with open_server(serve) as port:
        text = f"""
[providers.plain]
protocol = "openai"
base_url = "http://127.0.0.1:{port}/v1"
[models.m]
deployments = [{{ provider = "plain", model = "m" }}]
price = {{ input = 1, output = 2 }}
"""
        [finding] = (await check(parse_config(text, "test.toml", {}))).values()
    assert (finding.streams, finding.reports_usage, finding.http_version) == (
        True,
        True,
        "HTTP/1.1",
    )
    assert (finding.calls_tools, finding.failed, finding.problem) == (False, False, problem)
    assert "tools = false" in (finding.advice or "")


async def test_what_no_model_names_is_not_asked() -> None:
    text = '[providers.idle]\nprotocol = "openai"\nbase_url = "http://127.0.0.1:1/v1"\n'
    [finding] = (await check(parse_config(text, "test.toml", {}))).values()
    assert (finding.model, finding.reachable, finding.failed) == (None, None, False)
    assert finding.problem is not None


def test_a_provider_that_is_not_configured() -> None:
    with pytest.raises(ConfigError, match="no provider 'x'; the configuration has: openai"):
        plan_checks(config_of("http://127.0.0.1:1"), ["x"])


async def test_each_key_of_a_pool_is_checked() -> None:
    async with simulated(api_keys=frozenset({KEY})) as simulator:
        text = f"""
[providers.pool]
protocol = "openai"
base_url = "{simulator.base_url}/v1"
api_keys = ["env:GOOD", "env:BAD"]
http2 = "prior-knowledge"
[models.m]
deployments = [{{ provider = "pool", model = "sim-openai" }}]
free = true
"""
        config = parse_config(text, "test.toml", {"GOOD": KEY, "BAD": "sk-old"})
        findings = await check(config)
    assert list(findings) == ["pool (key 1)", "pool (key 2)"]
    good, bad = findings.values()
    assert (good.failed, good.key_accepted) == (False, True)
    assert (bad.failed, bad.key_accepted) == (True, False)
    assert bad.advice == "check secret number 2 of its 'api_keys'"
