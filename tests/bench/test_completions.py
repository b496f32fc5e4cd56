"""The legacy completions API of the simulated provider: raw, and by OpenAI's SDK."""

from __future__ import annotations

from typing import Any

import openai
import orjson
import pytest

from bench.simulate import SimulatorSettings, TruthRecord, open_simulator
from tests.bench.raw import Received
from tests.bench.talks import ask, openai_events
from tests.bench.test_sdk import with_sdk


async def said(directives: str, **more: Any) -> tuple[Received, TruthRecord]:
    async with open_simulator(SimulatorSettings()) as simulator:
        received = await ask("openai-completions", directives, **more).send(simulator)
        [record] = simulator.truth.records()
        assert simulator.statistics().crashes == 0
        return received, record


def merged(received: Received) -> tuple[dict[int, dict[str, Any]], dict[str, Any] | None]:
    """The choices of a stream as a whole answer has them, and the usage."""
    choices: dict[int, dict[str, Any]] = {}
    usage = None
    assert received.body.endswith(b"data: [DONE]\n\n")
    for event in openai_events(received.body):
        assert event["object"] == "text_completion"
        usage = event.get("usage") or usage
        for piece in event["choices"]:
            choice = choices.setdefault(piece["index"], {"text": "", "logprobs": None})
            assert choice.get("finish_reason") is None
            choice["text"] += piece["text"]
            choice |= {"index": piece["index"], "finish_reason": piece["finish_reason"]}
            if piece["logprobs"] is not None:
                odds = choice["logprobs"] = choice["logprobs"] or {}
                for name, values in piece["logprobs"].items():
                    odds[name] = None if values is None else odds.get(name, []) + values
    return choices, usage


@pytest.mark.parametrize(
    ("directives", "more", "finish"),
    [
        ("tokens=9 tokens_per_event=4", {}, "stop"),
        ("tokens=0", {}, "stop"),
        ("tokens=9", {"max_tokens": 5}, "length"),
        ("tokens=90", {"max_tokens": None}, "length"),
        ("tokens=5 refuse=filter", {}, "content_filter"),
        ("tokens=5 refuse=1", {}, "stop"),
        ("tokens=5 reasoning=3", {}, "stop"),
        ("tokens=5", {"n": 3, "best_of": 3}, "stop"),
        ("tokens=5 tokens_per_event=2", {"logprobs": 3, "echo": True}, "stop"),
        ("tokens=5", {"logprobs": 0}, "stop"),
    ],
)
async def test_a_stream_says_what_the_whole_answer_says(
    directives: str, more: dict[str, Any], finish: str
) -> None:
    received, record = await said(directives, **more)
    whole, _ = await said(directives, stream=False, stream_options=None, **more)
    answer = orjson.loads(whole.body)
    choices, usage = merged(received)
    assert [choices[index] for index in sorted(choices)] == answer["choices"]
    assert usage == answer["usage"] == record.usage_reported
    assert answer["usage"]["completion_tokens"] == record.tokens_generated
    prompt = f"#sim {directives}\nTell me about rivers."
    echoed = prompt if more.get("echo") else ""
    assert [c["text"] for c in answer["choices"]] == [echoed + text for text in record.choices]
    assert {choice["finish_reason"] for choice in answer["choices"]} == {finish}


async def test_an_answer_is_short_unless_told() -> None:
    async with open_simulator() as simulator:
        talk = ask("openai-completions", "tokens=90", stream=False)
        del talk.body["max_tokens"]
        answer = orjson.loads((await talk.send(simulator)).body)
    assert answer["usage"]["completion_tokens"] == 16
    assert answer["choices"][0]["finish_reason"] == "length"


@pytest.mark.parametrize(
    ("prompt", "choices"),
    [
        (["#sim tokens=2", "b", "c"], 3),
        ([1, 2, 3], 1),
        ([[1, 2, 3], [4]], 2),
        (["#sim tokens=2", [4, 5]], 2),
        (None, 1),
    ],
)
async def test_prompts_of_all_kinds(prompt: object, choices: int) -> None:
    received, record = await said("", prompt=prompt, n=2, stream=False, stream_options=None)
    answer = orjson.loads(received.body)
    assert [choice["index"] for choice in answer["choices"]] == list(range(2 * choices))
    assert answer["usage"]["prompt_tokens"] == record.input_tokens > 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"prompt": []},
        {"prompt": [123456]},
        {"prompt": [1, "a"]},
        {"prompt": [[]]},
        {"prompt": 5},
        {"n": 3, "best_of": 2},
        {"logprobs": 6},
        {"messages": []},
        {"stream_options": {"include_usage": 5}},
    ],
)
async def test_refused_as_the_api_refuses(wrong: dict[str, Any]) -> None:
    received, record = await said("tokens=1", **wrong)
    assert received.status == 400
    assert orjson.loads(received.body)["error"]["type"] == "invalid_request_error"
    assert record.ended == "error"


async def test_an_error_in_a_stream() -> None:
    received, record = await said("tokens=10 fault=error_event")
    assert openai_events(received.body)[-1]["error"]["type"] == "server_error"
    assert b"[DONE]" not in received.body
    assert record.ended == "error"


async def test_by_the_sdk() -> None:
    def work(client: openai.OpenAI) -> tuple[Any, str, Any]:
        options: Any = {"model": "sim-openai", "prompt": "#sim tokens=12\nOnce upon"}
        pieces: list[str] = []
        usage = None
        for chunk in client.completions.create(
            **options, stream=True, stream_options={"include_usage": True}
        ):
            usage = chunk.usage or usage
            pieces += [choice.text for choice in chunk.choices]
        return client.completions.create(**options), "".join(pieces), usage

    (whole, streamed, usage), simulator = await with_sdk(work)
    record = simulator.truth.records()[0]
    assert whole.choices[0].text == streamed == record.text
    assert whole.usage == usage
    assert (usage.completion_tokens, record.api) == (12, "openai-completions")
