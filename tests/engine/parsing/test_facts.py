"""What a plan is told of a request, in whichever protocol and spelling it was asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
import pytest

from engine.events import Call, Protocol
from engine.parsing.facts import PREFIX_CHARS, Wanted
from engine.parsing.jobs import Parsed
from engine.routing.values import Asked

IMAGE = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
SCHEMA = {"type": "object"}
HI = "Hi."
BODIES: dict[Protocol, dict[str, Any]] = {
    "openai_chat": {"stream": True, "messages": [{"role": "user", "content": HI}]},
    "openai_responses": {"stream": True, "input": HI},
    "openai_completions": {"stream": True, "prompt": HI},
    "anthropic": {
        "stream": True,
        "max_tokens": 9,
        "messages": [{"role": "user", "content": HI}],
    },
    "gemini": {"contents": [{"role": "user", "parts": [{"text": HI}]}]},
}


def asked(
    protocol: Protocol,
    changes: dict[str, Any] | None = None,
    *,
    session_id: str | None = None,
    wanted: Wanted | None = None,
) -> Asked:
    """The facts of a small streamed request with these members in place of its own."""
    body = BODIES[protocol] | (changes or {})
    if protocol == "gemini":
        call = Call(orjson.dumps(body), None, protocol, model="m", stream=True)
    else:
        call = Call(orjson.dumps({"model": "m"} | body), None, protocol)
    return Parsed(call).asked(session_id, wanted or Wanted())


@pytest.mark.parametrize("protocol", BODIES)
def test_a_plain_request(protocol: Protocol) -> None:
    found = asked(protocol)
    assert (found.model, found.protocol, found.stream, found.choices) == ("m", protocol, True, 1)
    assert (found.media, found.tools, found.json_schema, found.reasoning) == (
        frozenset(),
        False,
        False,
        False,
    )
    assert (found.session, found.prefix, found.features) == (None, None, None)
    assert found.continuable
    assert 5 < found.expected_input_tokens < 40


FUNCTION = {"name": "f", "parameters": SCHEMA}
TOOLS: list[tuple[Protocol, dict[str, Any], bool]] = [
    ("openai_chat", {"tools": [{"type": "function", "function": FUNCTION}]}, True),
    ("openai_chat", {"functions": [FUNCTION]}, True),
    ("openai_chat", {"tools": []}, False),
    ("openai_responses", {"tools": [{"type": "function"} | FUNCTION]}, True),
    ("openai_responses", {"tools": [{"type": "web_search"}]}, False),
    ("anthropic", {"tools": [{"name": "f", "input_schema": SCHEMA}]}, True),
    ("anthropic", {"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, False),
    ("gemini", {"tools": [{"functionDeclarations": [FUNCTION]}]}, True),
    ("gemini", {"tools": [{"function_declarations": [FUNCTION]}]}, True),
    ("gemini", {"tools": [{"googleSearch": {}}]}, False),
]


@pytest.mark.parametrize(("protocol", "changes", "expected"), TOOLS)
def test_tools_are_what_the_client_runs(
    protocol: Protocol, changes: dict[str, Any], expected: bool
) -> None:
    found = asked(protocol, changes)
    assert found.tools is expected
    assert found.continuable, "whether one was called is known later"


FORM = {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA}}
FORMS: list[tuple[Protocol, dict[str, Any], bool]] = [
    ("openai_chat", {"response_format": FORM}, True),
    ("openai_chat", {"response_format": {"type": "json_object"}}, False),
    ("openai_responses", {"text": {"format": {"type": "json_schema", "schema": SCHEMA}}}, True),
    ("openai_responses", {"text": {"format": {"type": "json_object"}}}, False),
    ("anthropic", {"output_format": {"type": "json_schema", "schema": SCHEMA}}, True),
    ("anthropic", {"output_config": {"format": {"type": "json_schema"}}}, True),
    ("gemini", {"generationConfig": {"responseSchema": SCHEMA}}, True),
    ("gemini", {"generation_config": {"response_json_schema": SCHEMA}}, True),
    ("gemini", {"generationConfig": {"responseMimeType": "application/json"}}, False),
]


@pytest.mark.parametrize(("protocol", "changes", "schema"), FORMS)
def test_an_answer_with_a_form_is_not_written_on(
    protocol: Protocol, changes: dict[str, Any], schema: bool
) -> None:
    found = asked(protocol, changes)
    assert (found.json_schema, found.continuable) == (schema, False)


NOT_CONTINUABLE: list[tuple[Protocol, dict[str, Any]]] = [
    ("openai_chat", {"stream": False}),
    ("openai_chat", {"n": 2}),
    ("openai_chat", {"logprobs": True}),
    ("openai_chat", {"reasoning_effort": "low"}),
    ("openai_responses", {"reasoning": {"effort": "high"}}),
    ("openai_responses", {"include": ["message.output_text.logprobs"]}),
    ("openai_responses", {"top_logprobs": 2}),
    ("openai_completions", {"logprobs": 1}),
    ("openai_completions", {"echo": True}),
    ("openai_completions", {"prompt": ["one", "two"]}),
    ("anthropic", {"thinking": {"type": "enabled", "budget_tokens": 1_024}, "max_tokens": 2_000}),
    ("gemini", {"generationConfig": {"candidateCount": 2}}),
    ("gemini", {"generationConfig": {"responseLogprobs": True}}),
    ("gemini", {"generationConfig": {"thinkingConfig": {"thinkingBudget": 100}}}),
    ("gemini", {"generation_config": {"thinking_config": {"thinking_level": "high"}}}),
]


@pytest.mark.parametrize(("protocol", "changes"), NOT_CONTINUABLE)
def test_what_no_other_could_write_on(protocol: Protocol, changes: dict[str, Any]) -> None:
    assert not asked(protocol, changes).continuable


THINKING: list[tuple[Protocol, dict[str, Any], bool]] = [
    ("openai_chat", {"reasoning_effort": "none"}, False),
    ("openai_chat", {"reasoning_effort": "minimal"}, True),
    ("anthropic", {"thinking": {"type": "disabled"}}, False),
    ("gemini", {"generationConfig": {"thinkingConfig": {"thinkingBudget": 0}}}, False),
    ("gemini", {"generation_config": {"thinking_config": {"thinking_budget": 5}}}, True),
]


@pytest.mark.parametrize(("protocol", "changes", "expected"), THINKING)
def test_thinking_is_asked_for_in_words(
    protocol: Protocol, changes: dict[str, Any], expected: bool
) -> None:
    assert asked(protocol, changes).reasoning is expected


def test_media_count_as_more_than_their_bytes() -> None:
    plain = asked("openai_chat")
    found = asked("openai_chat", {"messages": [{"role": "user", "content": [IMAGE]}]})
    assert found.media == {"image"}
    assert found.expected_input_tokens > plain.expected_input_tokens + 500


SESSIONS: list[tuple[Protocol, dict[str, Any]]] = [
    ("openai_chat", {"prompt_cache_key": "s1"}),
    ("openai_responses", {"prompt_cache_key": "s1"}),
    ("openai_chat", {"metadata": {"session_id": "s1"}}),
]


@pytest.mark.parametrize(("protocol", "changes"), SESSIONS)
def test_a_session_is_the_same_wherever_it_is_said(
    protocol: Protocol, changes: dict[str, Any]
) -> None:
    known = asked("gemini", session_id="s1").session
    assert known is not None
    assert len(known) == 8
    assert asked(protocol, changes).session == known
    other = asked(protocol, changes, session_id="s2").session
    assert other not in (None, known), "the header goes first"


@pytest.mark.parametrize(
    ("user", "is_session"),
    [("user_1f_account__session_77aa", True), ('{"session_id": "77aa"}', True), ("user_1f", False)],
)
def test_claude_code_writes_its_session_into_the_users_name(user: str, is_session: bool) -> None:
    found = asked("anthropic", {"metadata": {"user_id": user}})
    assert (found.session is not None) is is_session


PREFIXED = Wanted(prefixes=frozenset({"m"}))
LONG = "All that is known of rivers. " * 200


def test_a_prefix_is_the_beginning_however_it_is_cut() -> None:
    known = prefix_of(LONG)
    assert known is not None
    assert len(known) == 8
    for cut in (1, 100, PREFIX_CHARS - 1, PREFIX_CHARS, len(LONG)):
        assert prefix_of(LONG[:cut], LONG[cut:]) == known, cut
    assert prefix_of(LONG[:PREFIX_CHARS] + "And another end.") == known
    assert prefix_of("B" + LONG) != known
    assert prefix_of("A short one.") not in (None, known)


def prefix_of(*texts: str) -> bytes | None:
    """Of a request whose system prompt is in these parts."""
    return asked("openai_chat", {"messages": _system(texts)}, wanted=PREFIXED).prefix


def _system(texts: Sequence[str]) -> list[dict[str, Any]]:
    parts = [{"type": "text", "text": text} for text in texts]
    return [{"role": "system", "content": parts}, {"role": "user", "content": HI}]


def test_what_takes_time_is_read_only_where_it_is_wanted() -> None:
    messages = {"messages": [{"role": "user", "content": "Prove it."}]}
    assert asked("openai_chat", messages).prefix is None
    elsewhere = Wanted(prefixes=frozenset({"other"}), auto="other")
    found = asked("openai_chat", messages, wanted=elsewhere)
    assert (found.prefix, found.features) == (None, None)


def test_features_are_of_the_turns_not_of_what_is_offered_beside_them() -> None:
    wanted = Wanted(auto="m")
    changes = {
        "messages": [
            {"role": "user", "content": "Prove the lemma, please."},
            {"role": "assistant", "content": "Which one?"},
            {"role": "user", "content": "The first."},
        ]
    }
    plain = asked("openai_chat", changes, wanted=wanted).features
    assert plain is not None
    assert (plain.words, plain.depth, plain.tools) == (8, 3, 0)
    assert plain.mathematics >= 2
    word = {"name": "prove_theorem", "description": "Implement an async database in Python"}
    beside = changes | {
        "tools": [{"type": "function", "function": word}] * 3,
        "response_format": FORM,
    }
    found = asked("openai_chat", beside, wanted=wanted).features
    assert found is not None
    assert (found.words, found.code, found.mathematics) == (8, plain.code, plain.mathematics)
    assert (found.tools, found.schema) == (3, True)


def test_the_words_of_the_configuration_go_in_place_of_the_usual_ones() -> None:
    wanted = Wanted(auto="m", words={"mathematics": ("rivers",)})
    found = asked("openai_chat", {"messages": _system(["Prove rivers."])}, wanted=wanted).features
    assert found is not None
    assert found.mathematics == 1
