"""The closed schemas bite, and real traffic passes them but for what is listed here."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.golden_requests import case_names, load_case
from tests.recordings import RECORDINGS, load
from tests.schemas import PROBLEMS, anthropic, gemini, openai_chat

# Examples of what clients send beyond the protocol, for the codecs to deal with.
BEYOND = {
    "openai_chat/reasoning-history": "messages[1].reasoning_content",  # of compatible hosts
    "openai_chat/unknown-field": "repetition_penalty",
    "openai_responses/unknown-field": "repetition_penalty",
    "gemini/snake-case": "contents[0].parts[1].inline_data",
}
# Below these everything is the user's own: schemas, arguments, maps of strings.
OPEN = re.compile(
    r"(^|\.)(parameters|parametersJsonSchema|responseJsonSchema|schema|input_schema|input|args|"
    r"response|metadata|logit_bias|labels|properties|allowed_tools\.tools|tool_choice\.tools)(\.|\[|$)"
)


@pytest.mark.parametrize("name", case_names())
def test_examples_are_accepted(name: str) -> None:
    found = PROBLEMS[name.partition("/")[0]](load_case(name))
    if name in BEYOND:
        assert found[0].startswith(f"{BEYOND[name]}: unknown key")
    else:
        assert found == []


@pytest.mark.parametrize("name", [name for name in case_names() if name not in BEYOND])
def test_an_unknown_key_is_found_at_every_level(name: str) -> None:
    problems = PROBLEMS[name.partition("/")[0]]
    document = load_case(name)
    for path in list(objects(document, "")):
        planted = copy.deepcopy(document)
        target = next(item for where, item in objects_of(planted, "") if where == path)
        target["planted"] = 1
        expected = f"{path}.planted".lstrip(".")
        assert any(f.startswith(f"{expected}: unknown key") for f in problems(planted)), expected


def objects(value: object, path: str) -> Iterator[str]:
    for where, _ in objects_of(value, path):
        if not OPEN.search(where):
            yield where


def objects_of(value: object, path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(value, dict):
        yield path, value
        for key, item in value.items():
            yield from objects_of(item, f"{path}.{key}".lstrip("."))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from objects_of(item, f"{path}[{index}]")


@pytest.mark.parametrize(
    ("name", "path", "value", "expected"),
    [
        ("openai_chat/system", "messages[0].role", "chief", "messages[0]"),
        ("openai_chat/system", "messages", None, "messages: null is no array"),
        ("openai_chat/system", "stream", 1, "stream: 1 is none of (True,)"),
        ("openai_chat/sampling", "temperature", "0.7", "temperature: '0.7' is no"),
        ("openai_chat/sampling", "max_tokens", 6.5, "max_tokens: 6.5 is no"),
        ("openai_chat/sampling", "max_tokens", True, "max_tokens: True is no"),
        ("openai_chat/audio", "messages[0].content[1].input_audio.format", "flac", "messages[0]."),
        ("openai_chat/tools-parallel", "messages[2].tool_calls[0].id", None, "messages[2]."),
        ("openai_chat/tool-choice-required", "tool_choice", "any", "tool_choice: 'any'"),
        ("openai_chat/reasoning-high", "reasoning_effort", "much", "reasoning_effort: 'much'"),
        ("openai_responses/sampling", "max_output_tokens", 6.5, "max_output_tokens: 6.5 is no"),
        ("openai_responses/images", "input[0].content[1].type", "image_url", "input[0]"),
        ("openai_responses/tools-parallel", "input[2].call_id", None, "input[2]."),
        ("anthropic/images", "messages[0].content[1].source.media_type", "image/bmp", "messages"),
        ("anthropic/system", "messages[0].role", "tool", "messages[0]"),
        ("anthropic/tools-parallel", "tools[1].input_schema.type", "array", "tools[1]"),
        ("anthropic/reasoning-budget", "thinking.budget_tokens", None, "thinking.budget_tokens"),
        ("anthropic/metadata", "service_tier", "flex", "service_tier: 'flex'"),
        ("gemini/images", "contents[0].parts[1].inlineData.data", "%%", "contents[0].parts[1].in"),
        ("gemini/reasoning-level", "generationConfig.thinkingConfig.thinkingLevel", "MAX", "gene"),
        ("gemini/tools-parallel", "contents[1].parts[1].functionCall.args", "{}", "contents[1].p"),
        ("gemini/tools-parallel", "tools[0].functionDeclarations[0].parameters.oneOf", [], "tool"),
        ("gemini/tools-parallel", "contents[1].parts[1].functionCall.willContinue", True, "cont"),
        ("gemini/system", "generationConfig.maxOutputTokens", "200", "generationConfig.maxOutpu"),
    ],
)
def test_wrong_values_are_found(name: str, path: str, value: object, expected: str) -> None:
    document = load_case(name)
    steps = re.findall(r"[^.\[\]]+", path)
    target: Any = document
    for step in steps[:-1]:
        target = target[int(step)] if isinstance(target, list) else target[step]
    target[steps[-1]] = value
    (problem, *_) = PROBLEMS[name.partition("/")[0]](document)
    assert problem.startswith(expected)


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("openai_chat/system", "messages"),
        ("openai_chat/system", "model"),
        ("anthropic/system", "max_tokens"),
        ("gemini/system", "contents"),
    ],
)
def test_a_missing_key_is_found(name: str, key: str) -> None:
    document = load_case(name)
    del document[key]
    (problem,) = PROBLEMS[name.partition("/")[0]](document)
    assert problem.startswith(f"{key}: missing in ")


# What real requests hold beyond the types: a pattern of the problem, and why it is so.
KNOWN: dict[str, dict[str, str]] = {
    "openai-chat": {
        r"messages\[2\]\.annotations: unknown": "an answer's message sent back whole",
        r"messages\[3\]\.name: unknown key of ChatCompletionToolMessageParam": "an old client",
    },
    "azure-openai-chat": {r"model: null": "Azure has the deployment's name in the URL"},
    "anthropic-messages": {
        r"messages\[0\]: 'Invalid content'": "a provoked error",
        r"output_format: unknown": "what the beta called `output_config.format`",
        r"tools\[0\]\.max_tokens: unknown": "beta: the advisor tool",
        r"context_management: unknown": "beta: compaction",
        r"mcp_servers: unknown": "beta: MCP servers",
        r"content\[0\]\.tool: unknown key of TextBlockParam": "beta: tools added on the way",
    },
    "gemini-generateContent": {
        r"tools: an object is no array": "protobuf's JSON takes one as many"
    },
    "vertex-generateContent": {
        r"modelArmorConfig: unknown": "of Vertex AI only",
        r"\.type: 6 is no Type": "enums as integers, from a gRPC client",
    },
    "cerebras-chat": {
        r"clear_thinking: unknown": "the host's own",
        r"\.reasoning: unknown": "reasoning sent back",
    },
    "deepseek-chat": {
        r"^thinking: unknown": "the host's own",
        r"\.reasoning_content: unknown": "reasoning sent back",
    },
    "zai-chat": {
        r"^thinking: unknown": "the host's own",
        r"\.reasoning_content: unknown": "reasoning sent back",
    },
    "ollama-chat": {r"\.reasoning: unknown": "reasoning sent back"},
    "groq-chat": {r"reasoning_format: unknown": "the host's own"},
    "huggingface-chat": {r"\.name: null": "nulls for what is not said"},
    "mistral-chat": {
        r"random_seed: unknown": "its `seed`",
        r"safe_prompt: unknown": "the host's own",
        r"\.prefix: unknown": "the host's own",
        r"\.thinking: unknown": "reasoning sent back as a part",
        r"tool_choice: 'any'": "its `required`",
    },
    "openrouter-chat": {
        r"^reasoning: unknown": "the host's own",
        r"\.cache_control: unknown": "Anthropic's hints passed through",
        r"^(models|provider): unknown": "the host's own",
        r"tools\[0\]\.parameters: unknown": "the host's own tools",
        r"video_url": "the host's own",
    },
}
FOLDERS = {
    "openai-chat": openai_chat.problems,
    "azure-openai-chat": openai_chat.problems,
    "anthropic-chat": openai_chat.problems,
    "gemini-chat": openai_chat.problems,
    "cerebras-chat": openai_chat.problems,
    "deepseek-chat": openai_chat.problems,
    "groq-chat": openai_chat.problems,
    "huggingface-chat": openai_chat.problems,
    "mistral-chat": openai_chat.problems,
    "ollama-chat": openai_chat.problems,
    "openrouter-chat": openai_chat.problems,
    "together-chat": openai_chat.problems,
    "zai-chat": openai_chat.problems,
    "anthropic-messages": anthropic.problems,
    "gemini-generateContent": gemini.client_problems,
    "gemini-streamGenerateContent": gemini.client_problems,
    "vertex-generateContent": gemini.client_problems,
    "vertex-streamGenerateContent": gemini.client_problems,
}


@pytest.mark.skipif(not RECORDINGS.is_dir(), reason=f"no recordings at {RECORDINGS}")
@pytest.mark.parametrize("folder", FOLDERS)
def test_recorded_requests_pass_but_for_what_is_known(folder: str) -> None:
    known = KNOWN.get(folder, {})
    met = set()
    accepted = 0
    for path in sorted((RECORDINGS / folder).glob("*.json")):
        request = load(f"{folder}/{path.name}").request
        if request is None:
            continue
        problems = FOLDERS[folder](json.loads(json.dumps(request)))
        reasons = {p for p in known if any(re.search(p, problem) for problem in problems)}
        assert reasons or not problems, (path.name, problems)
        met |= reasons
        accepted += not problems
    assert met == set(known), "an exception that no recording needs"
    assert accepted or folder == "zai-chat"
