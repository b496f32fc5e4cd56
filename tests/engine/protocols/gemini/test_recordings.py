"""Recorded traffic of Gemini's and Vertex's: what passes verbatim, and the requests."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest

from engine.capabilities import Capabilities
from engine.conversation import Conversation, Reasoning
from engine.events import Operation, Usage
from engine.protocols.codec import HeldIdError, InexpressibleError, UpstreamTarget
from engine.protocols.gemini import CODEC
from tests import recordings
from tests.answers.translating import split
from tests.conversations import normal
from tests.engine.protocols.gemini import sdk
from tests.engine.protocols.gemini.samples import Read, call, request, verbatim

SEEDS = (1, 2, 3)
STREAMS = ("gemini-streamGenerateContent", "vertex-streamGenerateContent")
COUNTS = ("gemini-countTokens", "vertex-countTokens")
REQUESTS = ("gemini-generateContent", "vertex-generateContent", *STREAMS, *COUNTS)
USAGE = Usage(input_tokens=3, output_tokens=5)


def in_folders(folders: tuple[str, ...], **select: Any) -> list[Any]:
    found = [name for folder in folders for name in recordings.names(folder, **select)]
    return [pytest.param(one, id=one) if isinstance(one, str) else one for one in found]


def is_array(body: bytes) -> bool:
    return body.lstrip().startswith(b"[")


@pytest.mark.parametrize("name", in_folders(STREAMS, status=200))
def test_a_stream_passes_byte_for_byte(name: str) -> None:
    body = recordings.load(name).body
    array = is_array(body)
    for seed in SEEDS if len(body) < 9_000 else SEEDS[1:]:
        read = Read(split(body, seed), verbatim(array=array))
        if "error-mid-stream" in name:
            assert read.error is not None, f"seed {seed}"
            assert body.startswith(read.client_bytes)
            assert read.client_bytes
            continue
        assert read.error is None, f"seed {seed}"
        assert read.done, f"seed {seed}"
        # What follows the last event's blank line is no event, and made one blank line.
        assert read.client_bytes.rstrip() == body.rstrip(), f"seed {seed}"
        assert read.ending_at is not None, f"seed {seed}"


@pytest.mark.parametrize("name", in_folders(STREAMS, status=200))
def test_a_stream_is_cut_anywhere(name: str) -> None:
    body = recordings.load(name).body
    array = is_array(body)
    frames = verbatim(array=array).split(body)
    for count in range(len(frames)):
        decoder = verbatim(array=array)
        sent = b""
        for frame in decoder.split(body)[:count]:
            decoder.decode(frame)
            sent += decoder.client_frame(frame) if decoder.error is None else b""
        if decoder.ending or decoder.error is not None:
            break  # what has ended is not cut
        cut = sent + decoder.cut(USAGE)
        if array:
            chunks = [sdk.whole(orjson.dumps(one)) for one in orjson.loads(cut)]
        else:
            chunks, error = sdk.chunks(cut)
            assert error is None, count
        assert sdk.ends(chunks[-1]) == [(0, "MAX_TOKENS")], count
        assert sdk.figures(chunks[-1])["total_token_count"] == 8, count


def recorded_request(name: str) -> dict[str, Any]:
    document = recordings.load(name).request
    if document is None:
        pytest.skip("the request was not recorded")
    return document


# What lives at the provider in what was recorded.
HELD = ("cachedContent", "file_search_store_names", "gs://")


@pytest.mark.parametrize("name", in_folders(REQUESTS))
def test_requests(name: str) -> None:
    document = recorded_request(name)
    operation: Operation = "count_tokens" if "countTokens" in name else "chat"
    given = call(document, operation=operation)
    text = orjson.dumps(document).decode()
    if any(held in text for held in HELD):
        with pytest.raises(HeldIdError) as caught:
            CODEC.parse_request(given)
        assert caught.value.code == "not_found"
        return
    parsed = CODEC.parse_request(given)
    assert bool(parsed.files) == ("/v1beta/files/" in text)
    assert orjson.loads(CODEC.encode_verbatim(parsed, "up", None)) == document
    assert any(CODEC.prompt_texts(parsed)) or parsed.media
    conversation = CODEC.decode_request(parsed)
    assert conversation.turns
    if "modelArmorConfig" in text or "speechConfig" in text or "videoMetadata" in text:
        assert any(not one.harmless for one in conversation.unexpressed)
        with pytest.raises(InexpressibleError):
            encoded(conversation)
        return
    again = CODEC.decode_request(request(encoded(conversation)))
    assert comparable(again) == comparable(conversation)


def encoded(conversation: Conversation) -> bytes:
    target = UpstreamTarget("m", style(conversation), stream=False)
    return CODEC.encode_request(conversation, target).body


def style(conversation: Conversation) -> Capabilities:
    """Of the model that the recorded request was for: it says a level, or a budget."""
    reasoning = conversation.reasoning
    by_level = reasoning is not None and reasoning.effort is not None
    return Capabilities(reasoning="level" if by_level else "budget")


def comparable(conversation: Conversation) -> dict[str, Any]:
    """What is kept of a conversation when it is written again: not thoughts without signatures."""
    turns = tuple(
        replace(turn, parts=tuple(p for p in turn.parts if not isinstance(p, Reasoning)))
        for turn in conversation.turns
    )
    found = normal("gemini", replace(conversation, turns=turns))
    left_out = ("unexpressed", "metadata")
    return {
        name: getattr(found, name) for name in found.__dataclass_fields__ if name not in left_out
    }


@pytest.mark.parametrize("name", in_folders(COUNTS, status=200))
def test_counts(name: str) -> None:
    counted = orjson.loads(recordings.load(name).body)
    ours = orjson.loads(CODEC.encode_token_count(counted["totalTokens"]))
    assert ours == {"totalTokens": counted["totalTokens"]}
