"""Properties: arbitrary bytes end in typed errors, and what Anthropic can say comes back as it was.

A failure prints its example; `--hypothesis-seed` repeats a run.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.capabilities import UNKNOWN
from engine.conversation import (
    CacheHint,
    Conversation,
    JsonSchema,
    Media,
    Part,
    Reasoning,
    ReasoningRequest,
    Signature,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    Turn,
)
from engine.errors import InvalidRequestError, NotFoundError, UpstreamRejectedError
from engine.events import (
    Begin,
    BlockEnd,
    Call,
    Event,
    Finish,
    FinishReason,
    ReasoningDelta,
    RedactedReasoning,
    TextDelta,
    ToolCallBegin,
    ToolCallDelta,
    Usage,
    UsageReport,
)
from engine.protocols.anthropic import CODEC
from engine.protocols.codec import InexpressibleError, UpstreamTarget
from engine.wire.sse import EventTooLargeError
from tests.engine.protocols.anthropic import sdk

TARGET = UpstreamTarget("claude", UNKNOWN, stream=False)

# Arbitrary bytes, and JSON of the protocol's own words with anything in their places.

WORDS = st.sampled_from(
    [
        "type", "message_start", "message_delta", "message_stop", "content_block_start", "delta",
        "content_block_delta", "content_block_stop", "message", "content_block", "content", "text",
        "usage", "text_delta", "input_json_delta", "thinking_delta", "signature_delta", "error",
        "citations_delta", "citation", "citations", "tool_use", "thinking", "redacted_thinking",
        "server_tool_use", "input", "name", "id", "partial_json", "signature", "data", "index",
        "stop_reason", "stop_sequence", "stop_details", "end_turn", "input_tokens", "iterations",
        "output_tokens", "cache_read_input_tokens", "output_tokens_details", "role", "user",
        "messages", "max_tokens", "model", "system", "tools", "tool_choice", "source", "base64",
        "image", "document", "tool_result", "tool_use_id", "cache_control", "ephemeral", "budget",
        "url", "output_config", "effort", "format", "json_schema", "schema", "assistant", "auto",
        "container", "file_id", "thinking", "enabled", "search_result", "compaction", "metadata",
    ]
)  # fmt: skip
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=8)
    | WORDS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=5),
    max_leaves=12,
)
# Blocks as they are meant to be, but for one member.
KINDS_OF_BLOCK = st.sampled_from(
    ["text", "image", "document", "search_result", "thinking", "redacted_thinking", "tool_use",
     "tool_result", "server_tool_use", "fallback", "compaction"]
)  # fmt: skip
KINDS = st.sampled_from(
    [
        "message_start", "message_delta", "message_stop", "content_block_start",
        "content_block_delta", "content_block_stop", "ping", "error",
    ]
)  # fmt: skip


@st.composite
def frames(draw: st.DrawFn) -> bytes:
    if draw(st.booleans()):
        return draw(st.binary(max_size=60)) + draw(st.sampled_from([b"\n\n", b"\r\n\r\n", b""]))
    document = draw(st.dictionaries(WORDS, JSON, max_size=4)) | {"type": draw(KINDS)}
    return b"data: " + orjson.dumps(document, option=orjson.OPT_NON_STR_KEYS) + b"\n\n"


@settings(deadline=None, max_examples=100)
@given(st.lists(frames(), max_size=6), st.booleans())
def test_any_stream_ends_in_events_or_a_typed_error(pieces: list[bytes], end_marker: bool) -> None:
    decoder = CODEC.open_verbatim(sdk.REQUEST, end_marker=end_marker)
    encoder = CODEC.open_encoder(sdk.REQUEST, sdk.IDENTITY)
    out: list[bytes] = []
    try:
        for piece in pieces:
            for frame in decoder.split(piece):
                out.extend(encoder.encode(event) for event in decoder.decode(frame))
                decoder.client_frame(frame)
        out.extend(encoder.encode(event) for event in decoder.end_of_input())
    except (ValueError, UpstreamRejectedError, EventTooLargeError):
        pass
    else:
        assert decoder.done != (decoder.error is not None)
    sdk.check_grammar(b"".join(out) + encoder.finish())
    decoder.cut(Usage())


@given(st.integers(200, 599), st.binary(max_size=80) | JSON.map(orjson.dumps))
def test_any_error_is_read(status: int, body: bytes) -> None:
    assert 400 <= CODEC.read_error(status, body).status <= 599


@st.composite
def request_bodies(draw: st.DrawFn) -> bytes:
    """A request that is meant to be one, with anything in the members of its blocks."""
    blocks = draw(st.lists(st.dictionaries(WORDS, JSON, max_size=5), min_size=1, max_size=3))
    roles = st.sampled_from(["user", "assistant", "system"])
    content = [block | {"type": draw(KINDS_OF_BLOCK)} for block in blocks]
    return orjson.dumps(
        draw(st.dictionaries(WORDS, JSON, max_size=4))
        | {
            "model": "m",
            "max_tokens": 9,
            "messages": [{"role": draw(roles), "content": content}],
        }
    )


@settings(deadline=None, max_examples=200)
@given(
    st.binary(max_size=80)
    | st.dictionaries(WORDS, JSON, max_size=8).map(orjson.dumps)
    | request_bodies()
)
def test_any_request_is_translated_or_refused(body: bytes) -> None:
    try:
        request = CODEC.parse_request(Call(body, None, "anthropic"))
        list(CODEC.prompt_texts(request))
        CODEC.prompt_overhead_tokens(request)
        CODEC.encode_verbatim(request, "upstream", 5)
        CODEC.encode_request(CODEC.decode_request(request), TARGET)
    except (InvalidRequestError, NotFoundError):
        pass


@st.composite
def answer_bodies(draw: st.DrawFn) -> bytes:
    """A message that is meant to be one, with anything in its members."""
    blocks = draw(st.lists(st.dictionaries(WORDS, JSON, max_size=5), max_size=3))
    content = [block | {"type": draw(KINDS_OF_BLOCK)} for block in blocks]
    usage = {"input_tokens": 1, "output_tokens": 1} | draw(st.dictionaries(WORDS, JSON, max_size=3))
    members = draw(st.dictionaries(WORDS, JSON, max_size=4))
    return orjson.dumps({"usage": usage} | members | {"type": "message", "content": content})


@settings(deadline=None, max_examples=100)
@given(answer_bodies() | st.dictionaries(WORDS, JSON, max_size=6).map(orjson.dumps))
def test_any_answer_is_read_or_refused(body: bytes) -> None:
    try:
        events = CODEC.decode_response(body)
    except (ValueError, UpstreamRejectedError):
        return
    CODEC.encode_response(events, sdk.REQUEST, sdk.IDENTITY)


# Conversations that Anthropic can express.

WORD = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8).filter(str.strip)
IDS = st.from_regex(r"[a-zA-Z0-9-]{1,12}", fullmatch=True)
NAMES = st.from_regex(r"[a-z_]{1,8}", fullmatch=True)
HINTS = st.none() | st.sampled_from([CacheHint(), CacheHint("5m"), CacheHint("1h")])
TEXTS = st.builds(Text, WORD, cache=HINTS)
SCHEMAS = st.fixed_dictionaries(
    {"type": st.just("object"), "properties": st.dictionaries(NAMES, st.just({"type": "string"}))}
).filter(lambda schema: bool(schema["properties"]))
MEDIA = st.one_of(
    st.builds(
        Media, st.just("image"), st.sampled_from(["image/png", "image/webp"]), data=st.just("AAAA"),
        cache=HINTS,
    ),
    st.builds(Media, st.just("image"), url=st.just("https://example.com/x"), cache=HINTS),
    st.builds(
        Media, st.just("document"), st.just("application/pdf"), data=st.just("AAAA"),
        name=st.none() | WORD,
    ),
    st.builds(Media, st.just("document"), st.just("text/plain"), text=WORD, name=st.none() | WORD),
)  # fmt: skip
SIGNATURES = st.builds(Signature, st.just("anthropic"), IDS)
OBJECTS = st.dictionaries(NAMES, st.integers(0, 9) | WORD, max_size=3)


def dump(value: Any) -> str:
    return orjson.dumps(value).decode()


ASKED = st.lists(TEXTS | MEDIA, min_size=1, max_size=3).map(tuple)
ANSWERED = st.lists(
    TEXTS
    | st.builds(Reasoning, WORD, SIGNATURES)
    | st.builds(Reasoning, st.just(""), SIGNATURES, st.just(True))
    | st.builds(ToolCall, IDS, NAMES, OBJECTS.map(dump), cache=HINTS),
    min_size=1,
    max_size=3,
).map(tuple)
RESULTS = st.lists(
    st.builds(
        ToolResult,
        IDS,
        st.lists(TEXTS | MEDIA, max_size=2).map(tuple),
        is_error=st.booleans(),
        cache=HINTS,
    ),
    max_size=2,
).map(tuple)


@st.composite
def turns(draw: st.DrawFn) -> tuple[Turn, ...]:
    """System first, then question and answer in turn, ending with a question."""
    made: list[Turn] = []
    if system := draw(st.lists(TEXTS, max_size=2).map(tuple)):
        made.append(Turn("system", system))
    for _ in range(draw(st.integers(0, 2))):
        made.append(Turn("user", draw(RESULTS) + draw(ASKED)))
        made.append(Turn("assistant", draw(ANSWERED)))
    results: tuple[Part, ...] = draw(RESULTS)
    made.append(Turn("user", results + draw(ASKED)))
    return tuple(made)


@st.composite
def conversations(draw: st.DrawFn) -> Conversation:
    tools = tuple(
        draw(
            st.lists(
                st.builds(
                    Tool, NAMES, st.none() | WORD, st.none() | SCHEMAS,
                    strict=st.none() | st.booleans(), cache=HINTS,
                ),
                max_size=3,
            )
        )
    )  # fmt: skip
    choices = [None, ToolChoice("auto"), ToolChoice("none")]
    if tools:
        choices += [ToolChoice("required"), ToolChoice("required", (tools[0].name,))]
    choice = draw(st.sampled_from(choices)) if tools else None
    single = choice is not None and choice.mode != "none" and draw(st.booleans())
    return Conversation(
        draw(turns()),
        max_output_tokens=draw(st.integers(1, 10_000)),
        temperature=draw(st.none() | st.floats(0, 1)),
        top_p=draw(st.none() | st.floats(0, 0.99)),
        top_k=draw(st.none() | st.integers(0, 50)),
        stop=tuple(draw(st.lists(WORD, max_size=3))),
        output_format=draw(st.none() | st.builds(JsonSchema, SCHEMAS)),
        tools=tools,
        tool_choice=choice,
        parallel_tool_calls=False if single else None,
        end_user=draw(st.none() | WORD),
        service_tier=draw(st.sampled_from([None, "auto", "standard_only"])),
    )


THOUGHTS = st.sampled_from(
    [
        ReasoningRequest(budget_tokens=0),
        ReasoningRequest(budget_tokens=2_000),
        ReasoningRequest(budget_tokens=2_000, visible=True),
        ReasoningRequest(adaptive=True, visible=False),
        ReasoningRequest(adaptive=True, effort="high"),
    ]
)


def there_and_back(conversation: Conversation) -> Conversation:
    body = CODEC.encode_request(conversation, TARGET).body
    assert sdk.request_problems(orjson.loads(body)) == []
    return CODEC.decode_request(CODEC.parse_request(Call(body, None, "anthropic")))


@settings(deadline=None, max_examples=60)
@given(conversations())
def test_a_conversation_comes_back_as_it_was(conversation: Conversation) -> None:
    assert there_and_back(conversation) == conversation


@given(THOUGHTS)
def test_thinking_comes_back_as_it_was(thoughts: ReasoningRequest) -> None:
    asked = Conversation((Turn("user", (Text("x"),)),), max_output_tokens=9_000, reasoning=thoughts)
    assert there_and_back(asked) == asked


def test_what_is_not_expressible_never_comes_back_changed() -> None:
    asked = Conversation((Turn("user", (Text("x"),)),), max_output_tokens=9, choices=2)
    with pytest.raises(InexpressibleError):
        there_and_back(asked)


# Answers that Anthropic can express.


@st.composite
def answers(draw: st.DrawFn) -> list[Event]:
    events: list[Event] = [
        Begin(draw(IDS), draw(IDS), usage=Usage(draw(st.integers(0, 99)))),
    ]
    calls = 0
    for kind in draw(st.lists(st.sampled_from(["text", "thinking", "redacted", "call"]))):
        match kind:
            case "text":
                events += [TextDelta(text) for text in draw(st.lists(WORD, min_size=1, max_size=3))]
            case "thinking":
                events += [ReasoningDelta(text) for text in draw(st.lists(WORD, max_size=2))]
                events.append(ReasoningDelta("", signature=draw(SIGNATURES)))
            case "redacted":
                events.append(RedactedReasoning(draw(SIGNATURES)))
            case _:
                arguments = dump(draw(OBJECTS))
                at = draw(st.integers(0, len(arguments)))
                events.append(ToolCallBegin(calls, draw(IDS), draw(NAMES)))
                pieces = (arguments[:at], arguments[at:])
                events += [ToolCallDelta(calls, piece) for piece in pieces if piece]
                calls += 1
        events.append(BlockEnd())
    reasons = [FinishReason.LENGTH, FinishReason.PAUSED, FinishReason.CONTEXT_LENGTH]
    reasons.append(FinishReason.TOOL_CALLS if calls else FinishReason.STOP)
    events.append(Finish(draw(st.sampled_from(reasons))))
    cached = draw(st.integers(0, 50))
    events.append(UsageReport(Usage(draw(st.integers(50, 99)), cached, 0, draw(st.integers(0, 9)))))
    return events


def canonical(events: list[Event]) -> list[Event]:
    """Without natives and empty openings, the pieces of one block put together."""
    merged: list[Event] = []
    for event in events:
        match event:
            case Begin() | TextDelta() | ReasoningDelta() | ToolCallBegin():
                event = replace(event, native=None)
            case Finish() | UsageReport():
                event = replace(event, native=None)
        match (merged[-1] if merged else None), event:
            case TextDelta(text=a), TextDelta(text=b):
                merged[-1] = TextDelta(a + b)
            case ReasoningDelta(text=a), ReasoningDelta(text=b, signature=signature):
                merged[-1] = ReasoningDelta(a + b, signature=signature)
            case ToolCallDelta(index=i, arguments=a), ToolCallDelta(arguments=b):
                merged[-1] = ToolCallDelta(i, a + b)
            case _:
                merged.append(event)
    return merged


@settings(deadline=None, max_examples=60)
@given(answers())
def test_an_answer_comes_back_as_it_was(events: list[Event]) -> None:
    stream = sdk.encode_stream(events)
    sdk.check_grammar(stream)
    assert canonical(sdk.decode_stream(stream)) == canonical(events)
    whole = CODEC.encode_response(events, sdk.REQUEST, sdk.IDENTITY)
    begin = events[0]
    assert canonical(list(CODEC.decode_response(whole)))[1:] == canonical(events)[1:]
    assert isinstance(begin, Begin)
    assert sdk.message(whole)["id"] == begin.id
