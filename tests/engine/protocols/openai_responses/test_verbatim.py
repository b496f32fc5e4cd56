"""Streams that pass untouched, and their endings: cut by us at every event, failed."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from engine.errors import UpstreamError
from engine.events import Call, Usage
from engine.protocols.codec import VerbatimDecoder
from engine.protocols.openai_responses import CODEC
from tests import recordings
from tests.answers.paths import documents
from tests.answers.recorded import answers
from tests.answers.translating import split
from tests.engine.protocols.openai_responses.sdk import frames, raised

BODY = orjson.dumps({"model": "m", "input": "hello", "stream": True})
REQUEST = CODEC.parse_request(Call(body=BODY, key=None, protocol="openai_responses"))
USAGE = Usage(input_tokens=7, output_tokens=5)


def passed(decoder: VerbatimDecoder, pieces: list[bytes]) -> bytes:
    """What goes out, as the relay does it."""
    out = b""
    for piece in pieces:
        for frame in decoder.split(piece):
            if decoder.done or decoder.error is not None:
                return out
            decoder.decode(frame)
            out += decoder.client_frame(frame)
    if not decoder.done and decoder.error is None:
        decoder.end_of_input()
        out += decoder.end_frame()
    return out


@pytest.mark.parametrize("seed", [0, 2, 3])
@pytest.mark.parametrize("name", answers("openai_responses", stream=True))
def test_byte_for_byte_however_it_is_cut(name: str, seed: int) -> None:
    body = recordings.load(name).body
    decoder = CODEC.open_verbatim(REQUEST, end_marker=True)
    out = passed(decoder, split(body, seed))
    if decoder.error is not None:
        assert body.startswith(out)
        return
    assert decoder.done
    assert out == body.removesuffix(b"data: [DONE]\n\n")  # of OpenRouter, behind the end


@pytest.mark.parametrize("name", answers("openai_responses", stream=True))
def test_cut_after_every_event(name: str) -> None:
    """All that was open is closed, what was said is said again, and the numbers go on."""
    sent = frames(recordings.load(name).body)
    for count in range(1, len(sent), max(1, len(sent) // 40)):
        decoder = CODEC.open_verbatim(REQUEST, end_marker=True)
        begun = passed(decoder, sent[:count])
        if decoder.ending or decoder.error is not None:
            break
        cut = decoder.cut(USAGE)
        check_ending(documents(begun, stream=True), documents(cut, stream=True))


def check_ending(sent: list[dict[str, Any]], ending: list[dict[str, Any]]) -> None:
    numbered = [e["sequence_number"] for e in sent if "sequence_number" in e]
    first = numbered[-1] + 1 if numbered else len(sent)
    numbers = [event["sequence_number"] for event in ending]
    assert numbers == list(range(first, first + len(ending)))
    both = [*sent, *ending]
    added = {e["output_index"] for e in both if e["type"] == "response.output_item.added"}
    done = [e for e in both if e["type"] == "response.output_item.done"]
    assert sorted(event["output_index"] for event in done) == sorted(added)
    parts = [e["type"].rpartition(".")[2] for e in both if e["type"].endswith(PART_ENDS)]
    assert parts.count("added") == parts.count("done")
    last = ending[-1]
    assert last["type"] == "response.incomplete"
    response = last["response"]
    assert response["incomplete_details"] == {"reason": "max_output_tokens"}
    assert response["usage"]["output_tokens"] == 5
    assert response["output"] == [
        event["item"] for event in sorted(done, key=lambda event: event["output_index"])
    ]
    said = "".join(e["delta"] for e in both if e["type"] == "response.output_text.delta")
    whole = [
        part.get("text", "")
        for item in response["output"]
        for part in (item.get("content") or ())
        if item["type"] == "message"
    ]
    assert said == "".join(whole)


PART_ENDS = ("content_part.added", "content_part.done", "summary_part.added", "summary_part.done")


def test_a_failure_goes_on_from_what_was_said() -> None:
    created = {"type": "response.created", "sequence_number": 0, "response": {"id": "resp_1"}}
    frame = b"event: response.created\ndata: " + orjson.dumps(created) + b"\n\n"
    decoder = CODEC.open_verbatim(REQUEST, end_marker=True)
    out = passed(decoder, [frame])
    body = out + decoder.fail(UpstreamError("Broken."))  # type: ignore[attr-defined]
    assert raised(body).message == "Broken."
    error, failed = documents(body, stream=True)[1:]
    assert (error["sequence_number"], failed["sequence_number"]) == (1, 2)
    assert failed["response"]["id"] == "resp_1"


def test_a_stream_without_its_end_is_broken() -> None:
    decoder = CODEC.open_verbatim(REQUEST, end_marker=True)
    passed(decoder, [b'data: {"type":"response.created","response":{}}\n\n'])
    assert decoder.error is not None


def test_the_end_marker_of_other_protocols_is_no_end() -> None:
    decoder = CODEC.open_verbatim(REQUEST, end_marker=True)
    passed(decoder, [b"data: [DONE]\n\n"])
    assert decoder.error is not None
    assert not decoder.done


def test_an_end_without_its_blank_line_is_one() -> None:
    decoder = CODEC.open_verbatim(REQUEST, end_marker=True)
    last = b'data: {"type":"response.completed","response":{"status":"completed","output":[]}}'
    assert passed(decoder, [last]) == last + b"\n\n"
    assert decoder.done
