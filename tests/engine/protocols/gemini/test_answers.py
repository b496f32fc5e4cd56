"""Answers as canonical events: parts, oddities, usage, ends, pieces of arguments."""

from __future__ import annotations

import json
from typing import Any, TypeVar

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.conversation import Signature
from engine.errors import UpstreamRejectedError
from engine.events import (
    Begin,
    Citation,
    Event,
    Finish,
    FinishReason,
    LogprobsDelta,
    MediaDelta,
    NativeEvent,
    ReasoningDelta,
    RedactedReasoning,
    TextDelta,
    ToolCallBegin,
    ToolCallDelta,
    Usage,
    UsageReport,
)
from engine.protocols.gemini import CODEC
from engine.protocols.gemini.partial_args import ArgumentWriter, read_path
from engine.protocols.gemini.signatures import is_invented, sign
from tests.engine.protocols.gemini.samples import Read, chunk, sse


def whole(document: dict[str, Any]) -> list[Event]:
    return list(CODEC.decode_response(orjson.dumps(document)))


def streamed(*documents: dict[str, Any]) -> list[Event]:
    read = Read([sse(*documents)])
    assert read.error is None
    return read.events


E = TypeVar("E", bound=Event)


def of(kind: type[E], events: list[Event]) -> list[E]:
    return [event for event in events if isinstance(event, kind)]


def finish(document: dict[str, Any]) -> Finish:
    (found,) = of(Finish, whole(document))
    return found


def test_parts() -> None:
    events = streamed(
        chunk({"text": "hm", "thought": True, "thoughtSignature": "QUJD"}),
        chunk({"text": "a"}, {"text": ""}),
        chunk({"text": "", "thoughtSignature": "-_8"}),
        chunk({"inlineData": {"mimeType": "image/png", "data": "QQ=="}}),
        chunk({"executableCode": {"language": "PYTHON", "code": "1+1"}}),
        chunk({"text": "", "thought": True, "thoughtSignature": sign(OTHER, redacted=True)}),
        chunk(finishReason="STOP"),
    )
    assert events[0] == Begin("r1", "gemini-2.5-flash", native=of(Begin, events)[0].native)
    assert of(ReasoningDelta, events) == [
        ReasoningDelta("hm", signature=Signature("gemini", "QUJD"))
    ]
    assert of(TextDelta, events) == [
        TextDelta("a"),
        TextDelta("", signature=Signature("gemini", "+/8=")),
    ]
    assert [(m.kind, m.mime_type, m.data) for m in of(MediaDelta, events)] == [
        ("image", "image/png", "QQ==")
    ]
    assert [(n.label, n.generated) for n in of(NativeEvent, events)] == [
        ("text", ""),
        ("executableCode", "1+1"),
    ]
    assert of(RedactedReasoning, events) == [RedactedReasoning(OTHER)]
    assert events[-1] == Finish(FinishReason.STOP, native=of(Finish, events)[0].native)


OTHER = Signature("anthropic", "secret")


def test_calls() -> None:
    call = {"functionCall": {"name": "f", "args": {"a": [1]}}}
    events = streamed(
        chunk(call | {"thoughtSignature": "QUJD"}, call),
        chunk({"functionCall": {"name": "g", "id": "x1"}}, {"functionCall": {}}),
        chunk(finishReason="STOP"),
    )
    first, second, third = of(ToolCallBegin, events)
    assert (first.index, first.name, first.signature) == (0, "f", Signature("gemini", "QUJD"))
    assert (second.index, second.signature) == (1, None)
    assert (third.index, third.name, third.id) == (2, "g", "x1")
    assert is_invented(first.id)
    assert first.id != second.id
    assert [(d.index, d.arguments) for d in of(ToolCallDelta, events)] == [
        (0, '{"a":[1]}'),
        (1, '{"a":[1]}'),
        (2, "{}"),
    ]
    assert of(Finish, events)[0].reason is FinishReason.TOOL_CALLS
    again = streamed(chunk(call | {"thoughtSignature": "QUJD"}, call), chunk(finishReason="STOP"))
    assert [begin.id for begin in of(ToolCallBegin, again)] == [first.id, second.id]


def pieces(*calls: dict[str, Any]) -> str:
    ending = chunk(finishReason="STOP")
    events = streamed(*(chunk({"functionCall": call}) for call in calls), ending)
    return "".join(delta.arguments for delta in of(ToolCallDelta, events))


def test_arguments_in_pieces() -> None:
    def at(path: str, continues: bool = False, **value: Any) -> dict[str, Any]:
        piece = {"jsonPath": path} | value | ({"willContinue": True} if continues else {})
        return {"partialArgs": [piece], "willContinue": True}

    text = pieces(
        {"name": "f", "willContinue": True},
        at("$.city", True, stringValue='Bos"'),
        at("$.city", True, stringValue="t\n"),
        at("$.city", stringValue="on"),
        at("$.days[0].n", numberValue=1.0),
        at("$.days[0].ok", boolValue=False),
        at("$.days[1].n", numberValue=0.5),
        at("$['odd.name']", nullValue="NULL_VALUE"),
        {},
    )
    assert json.loads(text) == {
        "city": 'Bos"t\non',
        "days": [{"n": 1, "ok": False}, {"n": 0.5}],
        "odd.name": None,
    }
    assert pieces({"name": "f", "willContinue": True}, {}) == "{}"
    assert (
        pieces({"name": "f", "willContinue": True}, at("$.a", True, stringValue="x")) == '{"a":"x"}'
    )
    assert (
        pieces({"name": "f", "partialArgs": [{"jsonPath": "$.a", "numberValue": 1}]}) == '{"a":1}'
    )


@pytest.mark.parametrize(
    "paths",
    [
        ("$.a", "$.a"),
        ("$.a.b", "$.a"),
        ("$.a", "$.a.b"),
        ("$.a[0]", "$.a[2]"),
        ("$.a[1]",),
        ("$.a[0]", "$.a.b"),
        ("$",),
        ("a",),
        ("$.",),
        ("$.a..b",),
        ("$" + ".a" * 100,),
    ],
)
def test_pieces_that_do_not_fit(paths: tuple[str, ...]) -> None:
    *before, last = paths
    writer = ArgumentWriter()
    for path in before:
        writer.write({"jsonPath": path, "numberValue": 1})
    with pytest.raises(ValueError, match="a piece of arguments"):
        writer.write({"jsonPath": last, "numberValue": 1})


_LEAVES = st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(max_size=5)
_NAMES = st.from_regex(r"\A[a-zA-Z_]\w{0,5}\Z")
_TREES = st.dictionaries(
    _NAMES,
    st.recursive(
        _LEAVES,
        lambda inner: (
            st.lists(inner, min_size=1, max_size=3)
            | st.dictionaries(_NAMES, inner, min_size=1, max_size=3)
        ),
        max_leaves=6,
    ),
    max_size=4,
)


def leaves(value: Any, path: str) -> list[tuple[str, Any]]:
    if isinstance(value, dict):
        return [leaf for k, v in value.items() for leaf in leaves(v, f"{path}.{k}")]
    if isinstance(value, list):
        return [leaf for k, v in enumerate(value) for leaf in leaves(v, f"{path}[{k}]")]
    return [(path, value)]


@given(tree=_TREES)
def test_any_arguments_in_the_order_of_the_document(tree: dict[str, Any]) -> None:
    writer = ArgumentWriter()
    text = ""
    for path, value in leaves(tree, "$"):
        match value:
            case None:
                text += writer.write({"jsonPath": path, "nullValue": "NULL_VALUE"})
            case bool():
                text += writer.write({"jsonPath": path, "boolValue": value})
            case int():
                text += writer.write({"jsonPath": path, "numberValue": value})
            case _:
                half = len(value) // 2
                first = {"jsonPath": path, "stringValue": value[:half], "willContinue": True}
                text += writer.write(first)
                text += writer.write({"jsonPath": path, "stringValue": value[half:]})
    assert json.loads(text + writer.close()) == tree


def test_paths() -> None:
    assert read_path("$.a[\"b\"]['c'][3]") == ("a", "b", "c", 3)


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("STOP", FinishReason.STOP),
        ("MAX_TOKENS", FinishReason.LENGTH),
        ("SAFETY", FinishReason.FILTERED),
        ("MODEL_ARMOR", FinishReason.FILTERED),
        ("UNEXPECTED_TOOL_CALL", FinishReason.MALFORMED_CALL),
        ("SOMETHING_NEW", FinishReason.OTHER),
        (1, FinishReason.STOP),
        (2, FinishReason.LENGTH),
        (99, FinishReason.OTHER),
        (None, FinishReason.OTHER),
    ],
)
def test_reasons(reason: object, expected: FinishReason) -> None:
    assert finish({"candidates": [{"finishReason": reason}]}).reason is expected


def test_words_of_a_filter() -> None:
    candidate = {"finishReason": "SAFETY", "finishMessage": "No."}
    assert finish({"candidates": [candidate]}).explanation == "No."


@pytest.mark.parametrize("candidates", [{}, {"candidates": []}])
def test_a_blocked_prompt(candidates: dict[str, Any]) -> None:
    feedback = {"promptFeedback": {"blockReason": "SAFETY", "blockReasonMessage": "Never."}}
    found = finish(candidates | feedback)
    assert (found.reason, found.explanation) == (FinishReason.PROMPT_BLOCKED, "Never.")
    read = Read([sse(candidates | feedback | {"usageMetadata": {"promptTokenCount": 3}})])
    assert read.done
    assert read.ending_at == 0
    assert of(Finish, read.events)[0].reason is FinishReason.PROMPT_BLOCKED
    assert of(UsageReport, read.events)[0].usage == Usage(input_tokens=3)


@pytest.mark.parametrize(
    "candidate",
    [
        {},
        {"content": {}},
        {"content": None},
        {"content": {"role": "model"}},
        {"content": {"parts": None}},
        {"content": {"parts": [{"text": ""}]}},
        {"content": {"parts": [{}]}},
        {"content": {"parts": ["text"]}},
    ],
)
def test_candidates_with_nothing_in_them(candidate: dict[str, Any]) -> None:
    events = whole({"candidates": [candidate | {"finishReason": "MAX_TOKENS"}]})
    assert of(Finish, events)[0].reason is FinishReason.LENGTH
    assert not of(TextDelta, events)


def test_several_candidates() -> None:
    events = streamed(
        chunk({"text": "a"}, index=1),
        chunk({"text": "b"}),
        chunk(index=1, finishReason="MAX_TOKENS"),
        chunk(finishReason="STOP"),
    )
    assert [(d.choice, d.text) for d in of(TextDelta, events)] == [(1, "a"), (0, "b")]
    assert [(f.choice, f.reason) for f in of(Finish, events)] == [
        (1, FinishReason.LENGTH),
        (0, FinishReason.STOP),
    ]
    both = {"candidates": [{"finishReason": "STOP"}, {"finishReason": "STOP"}]}
    assert [f.choice for f in of(Finish, whole(both))] == [0, 1]


@pytest.mark.parametrize(
    ("metadata", "usage"),
    [
        (
            {
                "promptTokenCount": 10,
                "cachedContentTokenCount": 4,
                "toolUsePromptTokenCount": 5,
                "candidatesTokenCount": 3,
                "thoughtsTokenCount": 7,
            },
            Usage(15, 4, 0, 10, 7),
        ),
        ({"promptTokenCount": 10, "thoughtsTokenCount": 7}, Usage(10, 0, 0, 7, 7)),
        ({"candidatesTokenCount": 2}, Usage(0, 0, 0, 2, 0)),
        ({"promptTokenCount": 1, "cachedContentTokenCount": 9}, Usage(1, 1, 0, 0, 0)),
        ({"trafficType": "ON_DEMAND"}, None),
        (None, None),
        ([], None),
    ],
)
def test_usage(metadata: object, usage: Usage | None) -> None:
    events = whole({"candidates": [{"finishReason": "STOP"}], "usageMetadata": metadata})
    reports = [report.usage for report in of(UsageReport, events)]
    assert reports == ([] if usage is None else [usage])


@pytest.mark.parametrize(
    ("metadata", "usage", "unsaid"),
    [
        ({"promptTokenCount": -1}, Usage(), {"input_tokens"}),
        (
            {"promptTokenCount": 2**40, "candidatesTokenCount": 1},
            Usage(output_tokens=1),
            {"input_tokens"},
        ),
        ({"promptTokenCount": "5"}, Usage(), {"input_tokens"}),
        ({"promptTokenCount": 5, "candidatesTokenCount": 1.5}, Usage(5), {"output_tokens"}),
        ({"promptTokenCount": 5, "thoughtsTokenCount": -1}, Usage(5), {"output_tokens"}),
        ({"promptTokenCount": True}, Usage(), {"input_tokens"}),
    ],
)
def test_absurd_figures_are_as_unsaid(metadata: object, usage: Usage, unsaid: set[str]) -> None:
    events = whole({"candidates": [{"finishReason": "STOP"}], "usageMetadata": metadata})
    [report] = [report.usage for report in of(UsageReport, events)]
    assert (report, set(report.unsaid), report.invalid) == (usage, unsaid, True)


def test_usage_by_kind_of_media() -> None:
    def kinds(**counts: int) -> list[dict[str, object]]:
        return [{"modality": kind, "tokenCount": count} for kind, count in counts.items()]

    metadata = {
        "promptTokenCount": 1_000,
        "cachedContentTokenCount": 300,
        "candidatesTokenCount": 1_300,
        "promptTokensDetails": kinds(TEXT=100, AUDIO=400, IMAGE=200, DOCUMENT=100, VIDEO=200),
        "cacheTokensDetails": kinds(AUDIO=300),
        "candidatesTokensDetails": kinds(TEXT=10, IMAGE=1_290),
    }
    grounding = {"webSearchQueries": ["a", "b"]}
    candidate = {"finishReason": "STOP", "groundingMetadata": grounding}
    for model, searches in (("gemini-2.5-flash", 1), ("gemini-3-pro", 2)):
        document = {"candidates": [candidate], "usageMetadata": metadata, "modelVersion": model}
        [report] = of(UsageReport, whole(document))
        assert report.usage.more == {
            "input_audio_tokens": 100,  # not cached
            "cached_audio_tokens": 300,
            "input_image_tokens": 300,
            "input_video_tokens": 200,
            "output_image_tokens": 1_290,
            "web_searches": searches,
        }


def test_grounding_is_cited_by_characters() -> None:
    said = "Größe: 5 m. Ja."
    start = len("Größe: ".encode())
    segment = {"startIndex": start, "endIndex": start + 4, "text": "5 m."}
    metadata = {
        "groundingChunks": [{"web": {"uri": "https://a", "title": "A"}}],
        "groundingSupports": [{"segment": segment, "groundingChunkIndices": [0, 7]}] * 2,
    }
    events = streamed(
        chunk({"text": said[:3]}),
        chunk({"text": said[3:]}, finishReason="STOP", groundingMetadata=metadata),
    )
    (citation,) = of(Citation, events)
    assert (citation.url, citation.title) == ("https://a", "A")
    assert citation.start is not None
    assert said[citation.start : citation.end] == "5 m."
    sources = {"citationSources": [{"endIndex": 2, "uri": "https://b"}]}
    (recited,) = of(
        Citation,
        whole(chunk({"text": "ab"}, finishReason="STOP", citationMetadata=sources)),
    )
    assert (recited.url, recited.start, recited.end) == ("https://b", 0, 2)


def test_logprobs() -> None:
    result = {
        "chosenCandidates": [{"token": "a", "logProbability": -0.5, "tokenId": 3}],
        "topCandidates": [{"candidates": [{"token": "b", "logProbability": -1}]}],
    }
    events = whole(chunk({"text": "a"}, finishReason="STOP", logprobsResult=result))
    (delta,) = of(LogprobsDelta, events)
    (token,) = delta.tokens
    assert (token.token, token.logprob) == ("a", -0.5)
    assert [(top.token, top.logprob) for top in token.top] == [("b", -1.0)]


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"1", b"[1]", b"{", b"\xff", b'{"candidates":[{"index":-1}]}']
)
def test_no_answer(body: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - any message
        CODEC.decode_response(body)


@pytest.mark.parametrize("body", [b'{"error":{"code":429}}', b'[{"error":{"code":429}}]'])
def test_an_error_for_an_answer(body: bytes) -> None:
    with pytest.raises(UpstreamRejectedError) as caught:
        CODEC.decode_response(body)
    assert caught.value.status == 429
