"""Requests with something wrong anywhere in them are refused or answered, never a crash."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from typing import Any

import orjson
import pytest

from bench.simulate.anthropic_dialect import AnthropicDialect
from bench.simulate.chat import ChatRequest
from bench.simulate.completions_dialect import CompletionsDialect
from bench.simulate.compose import compose
from bench.simulate.dialect import Dialect
from bench.simulate.directives import Directives
from bench.simulate.errors import ApiError
from bench.simulate.gemini_dialect import GeminiDialect
from bench.simulate.kept.responses import ResponseStore
from bench.simulate.kept.shelf import Shelf
from bench.simulate.openai_dialect import OpenAIDialect
from bench.simulate.replies import Request
from bench.simulate.responses_dialect import ResponsesDialect
from bench.simulate.signatures import CALL, REASONING, THINKING, Signer, call_content
from tests.bench.talks import APIS, ask

SIGNER = Signer(b"seed")
THOUGHT = SIGNER.sign(b"n", THINKING, b"x")
REASONED = SIGNER.sign(b"n", REASONING, b"x")
CALLED = SIGNER.sign(b"n", CALL, call_content("now", {}))
DIALECTS: dict[str, Callable[[], Dialect]] = {
    "openai": OpenAIDialect,
    "openai-completions": CompletionsDialect,
    "openai-responses": lambda: ResponsesDialect(ResponseStore(SIGNER, Shelf("none"))),
    "anthropic": lambda: AnthropicDialect(SIGNER),
    "gemini": lambda: GeminiDialect(SIGNER),
}
ODD: list[Any] = [
    None,
    True,
    0,
    -1,
    1e300,
    "",
    "x",
    "object",
    [],
    [None],
    {},
    {"type": "text"},
    {"type": None},
    {"type": []},
    [[{}]],
    10**18,
]


def history(api: str) -> dict[str, Any]:
    """A request with calls, their results, and options."""
    body = copy.deepcopy(ask(api, "tools=auto", think=True, tools=True).body)
    match api:
        case "openai":
            function = {"name": "now", "arguments": "{}"}
            body["messages"] += [
                {
                    "role": "assistant",
                    "tool_calls": [{"id": "a", "type": "function", "function": function}],
                },
                {"role": "tool", "tool_call_id": "a", "content": [{"type": "text", "text": "x"}]},
            ]
            body["response_format"] = {"type": "json_object"}
            body["tool_choice"] = {"type": "function", "function": {"name": "now"}}
        case "openai-completions":
            body["prompt"] = [body["prompt"], [1, 2, 3]]
            body |= {"stop": ["x"], "logprobs": 2, "echo": True, "best_of": 2}
        case "openai-responses":
            body["input"] = [
                {"role": "user", "content": [{"type": "input_text", "text": body["input"]}]},
                {
                    "type": "reasoning",
                    "id": SIGNER.issue_id("rs", b"n"),
                    "summary": [{"type": "summary_text", "text": "x"}],
                    "encrypted_content": REASONED,
                },
                {"type": "function_call", "call_id": "a", "name": "now", "arguments": "{}"},
                {"type": "function_call_output", "call_id": "a", "output": "x"},
            ]
            body["tool_choice"] = {"type": "function", "name": "now"}
            body["text"] = {"format": {"type": "json_object"}}
        case "anthropic":
            use: dict[str, Any] = {"type": "tool_use", "id": "a", "name": "now", "input": {}}
            thought = {"type": "thinking", "thinking": "x", "signature": THOUGHT}
            result: dict[str, Any] = {
                "type": "tool_result",
                "tool_use_id": "a",
                "content": [{"type": "text", "text": "x"}],
            }
            body["messages"] += [
                {"role": "assistant", "content": [thought, use]},
                {"role": "user", "content": [result]},
            ]
            body["system"] = [{"type": "text", "text": "x"}]
            body["tool_choice"] = {"type": "auto"}
        case _:
            call: dict[str, Any] = {"functionCall": {"name": "now"}, "thoughtSignature": CALLED}
            result = {"functionResponse": {"name": "now", "response": {}}}
            body["contents"] += [
                {"role": "model", "parts": [call]},
                {"role": "user", "parts": [result]},
            ]
            body["systemInstruction"] = {"parts": [{"text": "x"}]}
            body["toolConfig"] = {"functionCallingConfig": {"mode": "AUTO"}}
    return body


def mutate(chance: random.Random, document: Any) -> None:
    """Replace, remove or add one value, anywhere."""
    node = document
    while True:
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        if not keys:
            break
        key = chance.choice(keys)
        if isinstance(node[key], (dict, list)) and chance.random() < 0.8:
            node = node[key]
            continue
        if chance.random() < 0.3:
            del node[key]
        else:
            node[key] = copy.deepcopy(chance.choice(ODD))
        return
    if isinstance(node, dict):
        node[chance.choice(["type", "x", "text", "content"])] = copy.deepcopy(chance.choice(ODD))
    else:
        node.append(copy.deepcopy(chance.choice(ODD)))


def parse(api: str, body: bytes) -> ChatRequest:
    path = ask(api).path.partition("?")[0]
    headers = {b"anthropic-version": b"2023-06-01"}
    return DIALECTS[api]().parse(Request("POST", path, "alt=sse", headers, body, "h2"))


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("seed", range(20))
def test_anything_wrong_is_an_error_of_the_api(api: str, seed: int) -> None:
    chance = random.Random(f"{api} {seed}")
    refused = answered = 0
    for _ in range(100):
        document = history(api)
        for _ in range(chance.choice([1, 1, 1, 2, 5])):
            mutate(chance, document)
        body = orjson.dumps(document)
        try:
            request = parse(api, body)
        except ApiError as error:
            assert 400 <= error.status < 500, body  # noqa: PT017
            refused += 1
            continue
        tools = None if api == "openai-completions" else ("auto",)
        directives = Directives(tools=tools, steps=5, reasoning=3)
        answer = compose(request, directives, b"seed", DIALECTS[api]())
        assert answer.tokens > 0, body
        answered += 1
    assert refused
    assert answered
