"""Does each configured provider do what the gateway needs of it? Two small real calls tell.

They go the way of an exchange (codec, passage, pool, attempt), but nobody is charged and no
database is opened: a check can run beside a gateway that serves.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

import orjson
import trio

from engine.advice import ACCOUNT_EXHAUSTED, ANSWERS_NOTHING, CREDENTIALS_REFUSED, advise
from engine.attempt import Attempt
from engine.catalogue import build_catalogue
from engine.clock import wall_ms
from engine.config import Config
from engine.errors import (
    ConfigError,
    GatewayError,
    InvalidRequestError,
    UpstreamError,
)
from engine.events import Begin, Call, Event, ToolCallBegin, Usage, UsageReport
from engine.metering.pricing import Rates, bound_nanodollars, charge_nanodollars
from engine.metering.tokens import counter_for
from engine.nurseries import open_tasks
from engine.parsing.jobs import prepare_here, target_of
from engine.passage import Passage
from engine.routing.values import Deployment
from engine.rules import build_provider
from engine.sink import PullSink
from engine.upstream.credentials import open_credentials
from engine.upstream.pool import Pool, open_pool
from engine.upstream.providers import Provider
from engine.watch import Watch

_PROMPT: Final = "Reply with the single word OK."
_TOOL_PROMPT: Final = "Call the function report_ready."
_TOOL: Final = {
    "type": "function",
    "function": {
        "name": "report_ready",
        "description": "Says that you are ready.",
        "parameters": {"type": "object", "properties": {"ready": {"type": "boolean"}}},
    },
}
_INPUT_MAX_TOKENS: Final = 1_000
"""Of both calls, with what a provider puts around a prompt and its tools: Anthropic about 400."""
_OUTPUT_TOKENS: Final = (16, 128)
"""Of the call for text and the one for a tool. Responses knows no limit below 16."""
_THINKING_TOKENS: Final = 1_024
"""What a model that may think needs on top, to come to its answer."""
_OUTPUT_MAX_TOKENS: Final = 4_096
"""Where a provider that does not heed the limit is cut off."""
_EVENTS_MAX: Final = 10_000
_BUFFER_BYTES: Final = 65_536

_KEY_WAS_READ: Final = frozenset({400, 413, 422, 429})
"""An error of these statuses comes from behind the check of the key."""

Report = Callable[[str, str], None]
"""Called with a provider's name and what is being done, or came of it."""


@dataclass(frozen=True, slots=True)
class Check:
    """What is to be asked of one provider: its cheapest model that chats; None: it has none. Of
    one that has several keys `key` says by which of them, from 1."""

    provider: Provider
    deployment: Deployment[Rates] | None
    key: int | None = None

    @property
    def name(self) -> str:
        """The provider's, and of which key this is."""
        return self.provider.name + ("" if self.key is None else f" (key {self.key})")

    @property
    def cost_max_nanodollars(self) -> int:
        """The most that both calls can cost the operator."""
        if self.deployment is None:
            return 0
        output = sum(_output_limit(self.deployment, tokens) for tokens in _OUTPUT_TOKENS)
        return bound_nanodollars(
            _INPUT_MAX_TOKENS, output, self.deployment.cost.ceiling(_INPUT_MAX_TOKENS)
        )


@dataclass(frozen=True, slots=True)
class Finding:
    """What came of it. None: not asked, or it cannot be told.

    Attributes:
        model: what the provider calls it.
        reachable: a connection was had, or it answered.
        key_accepted: false only where it said so.
        streams: an answer came as a whole stream.
        reports_usage: with the provider's own count of tokens; without, the text is counted.
        calls_tools: asked to call a tool, it did.
        http_version: `HTTP/2` or `HTTP/1.1`.
        first_output_s: from the request to the first generated token.
        cost_nanodollars: of what usage was reported.
        problem: what did not work, for the operator; advice: what to do about it.
    """

    provider: str
    protocol: str
    model: str | None = None
    reachable: bool | None = None
    key_accepted: bool | None = None
    streams: bool | None = None
    reports_usage: bool | None = None
    calls_tools: bool | None = None
    http_version: str | None = None
    first_output_s: float | None = None
    cost_nanodollars: int = 0
    problem: str | None = None
    advice: str | None = None

    @property
    def failed(self) -> bool:
        """It cannot serve. One without a model was not asked; one without tools or usage serves."""
        return self.model is not None and not self.streams


def plan_checks(config: Config, names: Collection[str] = ()) -> tuple[Check, ...]:
    """What to ask of these providers, or of all.

    Raises:
        ConfigError: no such provider, or a model without a price.
    """
    for name in names:
        if name not in config.providers:
            known = ", ".join(config.providers) or "none"
            raise ConfigError(f"there is no provider '{name}'; the configuration has: {known}")
    catalogue = build_catalogue(config, datetime.now(UTC))
    deployments = [each for model in catalogue.values() for each in model.deployments]
    checks = []
    for name, row in config.providers.items():
        if names and name not in names:
            continue
        provider = build_provider(name, row)
        served = [
            Check(provider, each) for each in deployments if each.provider == name and _chats(each)
        ]
        checks += _by_key(min(served, key=_cost, default=Check(provider, None)))
    return tuple(checks)


def _chats(deployment: Deployment[Rates]) -> bool:
    serves = deployment.capabilities.serves
    return serves is None or "chat" in serves


def _by_key(check: Check) -> list[Check]:
    """One for each of a provider's keys: others would serve in place of one that is refused, and
    nobody would see it."""
    keys = check.provider.api_keys
    if not keys or check.deployment is None:
        return [check]
    return [
        replace(check, provider=replace(check.provider, api_key=key, api_keys=()), key=number)
        for number, key in enumerate(keys, 1)
    ]


def _cost(check: Check) -> int:
    return check.cost_max_nanodollars


async def run_checks(
    checks: Collection[Check], *, timeout_s: float, report: Report = lambda _name, _step: None
) -> list[Finding]:
    """Ask all providers side by side; no call takes longer than `timeout_s`."""
    findings: dict[str, Finding] = {}

    async def run(pool: Pool, check: Check) -> None:
        name = check.name
        findings[name] = await _check(pool, check, timeout_s, report)
        report(name, "failed" if findings[name].failed else "done")

    credentials = [check.provider.credentials for check in checks]
    async with open_pool() as pool, open_credentials(credentials), open_tasks() as nursery:
        for check in checks:
            nursery.start_soon(run, pool, check)
    return [findings[check.name] for check in checks]


async def _check(pool: Pool, check: Check, timeout_s: float, report: Report) -> Finding:
    provider, deployment = check.provider, check.deployment
    finding = Finding(check.name, provider.protocol)
    if deployment is None:
        return replace(
            finding,
            problem="no model of the configuration that chats is served by it: it was not asked",
            advice="add a [models] table with a deployment of it",
        )
    # A vocabulary takes half a second to load: not in the loop that reads the others' answers.
    await trio.to_thread.run_sync(counter_for, deployment.encoding)
    report(check.name, f"asking {deployment.upstream_model} for a stream")
    answer = await _ask(pool, check, _text_body(deployment), timeout_s)
    finding = _judge_stream(finding, check, answer)
    if not finding.streams or deployment.capabilities.tools is False:
        return finding
    report(check.name, f"asking {deployment.upstream_model} to call a tool")
    answer = await _ask(pool, check, _tool_body(deployment), timeout_s)
    return _judge_tools(finding, check, answer)


def _output_limit(deployment: Deployment[Rates], tokens: int) -> int:
    thinks = deployment.capabilities.reasoning != "none"
    return tokens + _THINKING_TOKENS if thinks else tokens


def _text_body(deployment: Deployment[Rates]) -> dict[str, Any]:
    limit = _output_limit(deployment, _OUTPUT_TOKENS[0])
    return _body(deployment, _PROMPT, limit)


def _tool_body(deployment: Deployment[Rates]) -> dict[str, Any]:
    limit = _output_limit(deployment, _OUTPUT_TOKENS[1])
    return _body(deployment, _TOOL_PROMPT, limit) | {"tools": [_TOOL], "tool_choice": "required"}


def _body(deployment: Deployment[Rates], prompt: str, limit: int) -> dict[str, Any]:
    """In OpenAI's chat protocol; for providers of others it is translated, as any client's is."""
    thinks = deployment.capabilities.reasoning == "effort"
    return {
        "model": deployment.upstream_model,
        "stream": True,
        "max_completion_tokens" if thinks else "max_tokens": limit,
        "messages": [{"role": "user", "content": prompt}],
    }


@dataclass(frozen=True, slots=True)
class _Answer:
    events: tuple[Event, ...] = ()
    error: GatewayError | None = None
    connected: bool = False
    status: int | None = None
    http_version: str | None = None
    first_output_s: float | None = None

    @property
    def usage(self) -> Usage | None:
        """As reported last."""
        reports = [event.usage for event in self.events if isinstance(event, UsageReport)]
        return reports[-1] if reports else None


async def _ask(pool: Pool, check: Check, body: dict[str, Any], timeout_s: float) -> _Answer:
    """One streamed call, as an exchange makes it."""
    provider, deployment = check.provider, check.deployment
    assert deployment is not None
    call = Call(body=orjson.dumps(body), key=None)
    events: deque[Event] = deque(maxlen=_EVENTS_MAX)
    try:
        target = target_of(call.protocol, deployment, provider)
        prepared = prepare_here(call, target)
    except InvalidRequestError as error:
        return _Answer(error=error)

    def drained() -> None:
        attempt.drained()

    sink = PullSink(_BUFFER_BYTES, drained)
    passage = Passage(call, prepared, deployment, provider, wall_ms)
    relay = passage.open_relay(events)
    relay.output_limit = _OUTPUT_MAX_TOKENS
    attempt = Attempt(
        relay,
        sink,
        passage.provider_codec,
        unary=False,
        metered=lambda _relay: False,
    )
    attempt.attach(sink, pulled=True)
    watch = Watch(attempt, provider, trio.current_time() + timeout_s)
    http_version, sent_at = None, trio.current_time()
    try:
        with trio.move_on_at(watch.start()):
            try:
                stream = await pool.open_stream(
                    provider, passage.request_headers(prepared.body), prepared.body, attempt
                )
            except UpstreamError as error:
                attempt.fail(error)
            else:
                http_version, sent_at = stream.http_version, trio.current_time()
                attempt.opened(stream)
        watch.check_deadlines()
        while not attempt.over:
            await watch.wait_changed()
            sink.take()
    finally:
        attempt.close()
    first = attempt.first_output_at
    return _Answer(
        events=tuple(events),
        error=GatewayError("The gateway failed.") if attempt.crash else attempt.error,
        connected=http_version is not None,
        status=attempt.status,
        http_version=http_version,
        first_output_s=None if first is None else first - sent_at,
    )


def _judge_stream(finding: Finding, check: Check, answer: _Answer) -> Finding:
    assert check.deployment is not None
    error = answer.error
    streams = None
    if answer.status == 200:
        streams = error is None and any(not isinstance(e, Begin) for e in answer.events)
    finding = replace(
        finding,
        model=check.deployment.upstream_model,
        reachable=answer.connected or answer.status is not None,
        key_accepted=_key_accepted(answer),
        streams=streams,
        reports_usage=answer.usage is not None if streams else None,
        http_version=answer.http_version,
        first_output_s=answer.first_output_s,
        cost_nanodollars=_charge(check.deployment, answer),
    )
    if error is not None:
        problem, advice = advise(check.provider, check.key, error)
    elif not streams:
        problem, advice = "its answer holds nothing", ANSWERS_NOTHING
    elif not finding.reports_usage:
        problem = "it reports no usage: what it generates is counted from the text instead"
        advice = "set 'include_usage' if it takes stream_options, or compare with its invoice"
    else:
        return finding
    return replace(finding, problem=problem, advice=advice)


def _judge_tools(finding: Finding, check: Check, answer: _Answer) -> Finding:
    assert check.deployment is not None
    called = any(isinstance(event, ToolCallBegin) for event in answer.events)
    cost = finding.cost_nanodollars + _charge(check.deployment, answer)
    finding = replace(finding, calls_tools=called, cost_nanodollars=cost)
    if called or finding.problem is not None:
        return finding
    if answer.error is None:
        problem = "asked to call a tool, it answered without one"
    else:
        problem, _ = advise(check.provider, check.key, answer.error)
        problem = f"asked to call a tool: {problem}"
    advice = "if the model has no tools, say so: capabilities = { tools = false }"
    return replace(finding, problem=problem, advice=advice)


def _key_accepted(answer: _Answer) -> bool | None:
    error = answer.error
    if error is not None and error.code == CREDENTIALS_REFUSED:
        return False
    exhausted = error is not None and error.code == ACCOUNT_EXHAUSTED
    known = answer.status == 200 or answer.status in _KEY_WAS_READ or exhausted
    return True if known else None


def _charge(deployment: Deployment[Rates], answer: _Answer) -> int:
    usage = answer.usage
    return 0 if usage is None else charge_nanodollars(usage.clamped(), deployment.cost)
