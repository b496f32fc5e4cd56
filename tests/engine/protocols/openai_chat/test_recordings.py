"""Every recorded answer of the servers that speak this protocol."""

from __future__ import annotations

import random
from typing import Any

import orjson
import pytest
from openai._models import construct_type
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from engine.events import (
    Begin,
    Event,
    Finish,
    NativeEvent,
    ReasoningDelta,
    RefusalDelta,
    TextDelta,
    ToolCallBegin,
    ToolCallDelta,
    UsageReport,
)
from engine.protocols.codec import ClientRequest, Identity, StreamDecoder
from engine.protocols.openai_chat import CODEC
from engine.wire.sse import EventSplitter, event_data
from tests import recordings

HOSTS = (
    "openai", "azure-openai", "groq", "mistral", "deepseek", "xai", "openrouter", "together",
    "cerebras", "perplexity", "ollama", "alibaba", "zai", "huggingface", "anthropic", "gemini",
)  # fmt: skip
IDENTITY = Identity("req_1", "m", 1)


def names(*, stream: bool, hosts: tuple[str, ...] = HOSTS) -> list[Any]:
    return [
        name
        for host in hosts
        for name in recordings.names(f"{host}-chat", stream=stream, status=200)
    ]


def chunks_of(body: bytes) -> list[dict[str, Any]]:
    """The chunks before an error."""
    chunks: list[dict[str, Any]] = []
    for frame in EventSplitter().feed(body.rstrip() + b"\n\n"):
        data = event_data(frame)
        if data and not data.startswith(b"[DONE]"):
            document = orjson.loads(data)
            if document.get("error"):
                break
            chunks.append(document)
    return chunks


def events_of(decoder: StreamDecoder, pieces: list[bytes]) -> list[Event]:
    events: list[Event] = []
    for piece in pieces:
        for frame in decoder.split(piece):
            events.extend(decoder.decode(frame))
    events.extend(decoder.end_of_input())
    return events


def pieces_of(body: bytes, seed: int) -> list[bytes]:
    """The body cut anywhere, within characters and line ends too."""
    chance = random.Random(seed)
    cuts = sorted(chance.choices(range(len(body) + 1), k=chance.randint(1, 40)))
    return [body[a:b] for a, b in zip([0, *cuts], [*cuts, len(body)], strict=True)]


def said(events: list[Event], choice: int) -> dict[str, str]:
    """The texts of one choice."""
    texts = {"content": "", "refusal": "", "reasoning": "", "calls": ""}
    for event in events:
        if getattr(event, "choice", choice) != choice:
            continue
        match event:
            case TextDelta(text=text):
                texts["content"] += text
            case RefusalDelta(text=text):
                texts["refusal"] += text
            case ReasoningDelta(text=text):
                texts["reasoning"] += text
            case ToolCallBegin(name=text) | ToolCallDelta(arguments=text):
                texts["calls"] += text
    return texts


def expected(deltas: list[Any]) -> dict[str, str]:
    """The same out of the SDK's own objects."""
    texts = {"content": "", "refusal": "", "reasoning": "", "calls": ""}
    for delta in deltas:
        content = getattr(delta, "content", None)
        for part in content if isinstance(content, list) else ():
            texts["content"] += part.get("text") or ""
            texts["reasoning"] += "".join(t["text"] for t in part.get("thinking") or ())
        texts["content"] += content if isinstance(content, str) else ""
        texts["refusal"] += getattr(delta, "refusal", None) or ""
        thought = getattr(delta, "reasoning_content", None) or getattr(delta, "reasoning", None)
        texts["reasoning"] += thought or ""
        calls = [
            getattr(call, "function", None) or getattr(call, "custom", None)
            for call in getattr(delta, "tool_calls", None) or ()
        ]
        for function in filter(None, [getattr(delta, "function_call", None), *calls]):
            for name in ("name", "arguments", "input"):
                texts["calls"] += getattr(function, name, None) or ""
    return texts


def check_usage(events: list[Event], reports: list[dict[str, Any]]) -> None:
    told = [event.usage for event in events if isinstance(event, UsageReport)]
    if not reports:
        assert told == []
        return
    last, usage = reports[-1], told[-1]
    reasoning = (last.get("completion_tokens_details") or {}).get("reasoning_tokens") or 0
    beside = last["total_tokens"] == sum(
        [last["prompt_tokens"], last["completion_tokens"], reasoning]
    )
    assert usage.input_tokens == last["prompt_tokens"]
    assert usage.output_tokens == last["completion_tokens"] + (reasoning if beside else 0)
    assert usage.reasoning_tokens == min(reasoning, usage.output_tokens)


@pytest.mark.parametrize("name", names(stream=True))
def test_a_stream_says_what_the_sdk_reads(name: str) -> None:
    body = recordings.load(name).body
    events = events_of(CODEC.open_decoder(end_marker=False), [body])
    chunks = [construct_type(type_=ChatCompletionChunk, value=c) for c in chunks_of(body)]

    choices: dict[int, list[Any]] = {}
    for chunk in chunks:
        for choice in getattr(chunk, "choices", None) or ():
            choices.setdefault(choice.index, []).append(choice)
    for index, parts in choices.items():
        assert said(events, index) == expected([part.delta for part in parts])
        ended = any(part.finish_reason for part in parts)
        finishes = [e for e in events if isinstance(e, Finish) and e.choice == index]
        assert len(finishes) == (1 if ended else 0)
    documents = chunks_of(body)
    reports = [d["usage"] for d in documents if d.get("usage")]
    reports = reports or [d["x_groq"]["usage"] for d in documents if "usage" in d.get("x_groq", {})]
    check_usage(events, reports)
    assert [type(event) for event in events].count(Begin) == (1 if documents else 0)


@pytest.mark.parametrize("name", names(stream=False))
def test_an_answer_says_what_the_sdk_reads(name: str) -> None:
    body = recordings.load(name).body
    events = list(CODEC.decode_response(body))
    completion: Any = construct_type(type_=ChatCompletion, value=orjson.loads(body))

    for choice in completion.choices:
        assert said(events, choice.index or 0) == expected([choice.message])
    check_usage(events, [u for u in [orjson.loads(body).get("usage")] if u])
    ends = [isinstance(event, (Finish, UsageReport)) for event in events]
    assert ends == sorted(ends)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", names(stream=True))
def test_any_split_gives_the_same(name: str, seed: int) -> None:
    body = recordings.load(name).body
    whole = events_of(CODEC.open_decoder(end_marker=False), [body])
    assert events_of(CODEC.open_decoder(end_marker=False), pieces_of(body, seed)) == whole


@pytest.mark.parametrize("name", names(stream=True))
def test_what_passes_verbatim_says_the_same(name: str) -> None:
    body = recordings.load(name).body
    request = ClientRequest("openai_chat", "m", True, True, None, 1)
    decoder = CODEC.open_verbatim(request, end_marker=False)
    out = b""
    events: list[Event] = []
    for frame in decoder.split(body):
        events.extend(decoder.decode(frame))
        out += decoder.client_frame(frame)
    events.extend(decoder.end_of_input())
    out += decoder.end_frame()

    translated = events_of(CODEC.open_decoder(end_marker=False), [body])
    assert [said(events, index) for index in range(3)] == [
        said(translated, index) for index in range(3)
    ]
    assert not any(isinstance(event, NativeEvent) for event in events)
    if decoder.error is None:
        assert out.rstrip() == body.rstrip()
    else:
        assert body.startswith(out)


def accumulated(body: bytes) -> Any:
    """What the SDK's own accumulator makes of a stream."""
    state: Any = ChatCompletionStreamState()
    for chunk in chunks_of(body):
        state.handle_chunk(construct_type(type_=ChatCompletionChunk, value=chunk))
    return state.current_completion_snapshot


def encoded_again(body: bytes) -> bytes:
    decoder = CODEC.open_decoder(end_marker=False)
    asked = b'"usage":' in body.replace(b" ", b"")
    request = ClientRequest("openai_chat", "m", True, asked, None, 1)
    encoder = CODEC.open_encoder(request, IDENTITY)
    out = b"".join(map(encoder.encode, events_of(decoder, [body])))
    if decoder.error is not None:
        return out + CODEC.encode_stream_error(decoder.error)
    return out + encoder.finish()


# The first one's first chunk has no names, the second one's figures are lost by its accumulator
# since they do not come last.
DIFFERENT = ("azure-model-router", "moderation-stream")


@pytest.mark.parametrize("name", names(stream=True, hosts=("openai",)))
def test_a_stream_of_openai_is_accumulated_to_the_same(name: str) -> None:
    body = recordings.load(name).body
    again = accumulated(encoded_again(body))
    once = accumulated(body)
    if any(part in name for part in DIFFERENT):
        once.id, once.model, once.created = again.id, again.model, again.created
        once.usage = again.usage
    assert again == once


@pytest.mark.parametrize("name", names(stream=False, hosts=("openai", "azure-openai")))
def test_an_answer_of_openai_is_parsed_to_the_same(name: str) -> None:
    body = recordings.load(name).body
    request = ClientRequest("openai_chat", "m", False, False, None, 1)
    again = CODEC.encode_response(CODEC.decode_response(body), request, IDENTITY)
    once: Any = construct_type(type_=ChatCompletion, value=orjson.loads(body))
    assert construct_type(type_=ChatCompletion, value=orjson.loads(again)) == once


@pytest.mark.parametrize("name", names(stream=True))
def test_what_is_encoded_is_well_formed(name: str) -> None:
    out = encoded_again(recordings.load(name).body)
    chunks = chunks_of(out)
    named = {(c["id"], c["object"], c["created"], c["model"]) for c in chunks}
    assert len(named) <= 1
    began: set[int] = set()
    for chunk in chunks:
        for choice in chunk["choices"]:
            if choice["index"] not in began:
                assert "role" in choice["delta"]
            began.add(choice["index"])
    assert out.endswith(b"data: [DONE]\n\n") != (b'data: {"error":' in out)
