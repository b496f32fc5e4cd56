"""Answers with pictures: read without parsing the pictures, and refused where they hold none."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import orjson
import pytest

from engine.errors import UpstreamError, UpstreamRejectedError
from engine.events import Event, Finish, MediaDelta, UsageReport
from engine.protocols.openai_images import CODEC
from engine.protocols.openai_images.answers import skim
from engine.protocols.openai_images.streams import ImagesDecoder
from engine.usage import Usage
from engine.wire.sse import EventTooLargeError
from tests.engine.protocols.openai_images.samples import JPEG, JPEG_64, PNG, PNG_64, parse

USAGE = {
    "input_tokens": 50,
    "input_tokens_details": {"image_tokens": 40, "text_tokens": 10},
    "output_tokens": 272,
    "total_tokens": 322,
}


def answer(*pictures: str, **more: Any) -> bytes:
    return orjson.dumps({"created": 1, "data": [{"b64_json": each} for each in pictures], **more})


def reported(body: bytes) -> UsageReport:
    report = CODEC.decode_response(body)[-1]
    assert isinstance(report, UsageReport)
    return report


def test_tokens_and_pictures_are_reported() -> None:
    report = reported(answer(PNG_64, usage=USAGE, quality="low", size="1024x1024"))
    more = {"images": 1, "input_image_tokens": 40, "output_image_tokens": 272}
    assert report.usage == Usage(50, output_tokens=272, more=more)  # type: ignore[arg-type]
    assert report.service_tier == "low 1024x1024"


def test_models_that_are_paid_by_the_picture_say_nothing_of_tokens() -> None:
    report = reported(orjson.dumps({"data": [{"url": "https://a.example/1.png"}] * 3}))
    assert report.usage == Usage(more={"images": 3})
    assert not report.usage.unsaid
    assert report.service_tier is None


def test_pictures_come_as_they_are() -> None:
    events = CODEC.decode_response(answer(PNG_64, JPEG_64))
    pictures = [event for event in events if isinstance(event, MediaDelta)]
    assert [(each.mime_type, each.data) for each in pictures] == [
        ("image/png", PNG_64),
        ("image/jpeg", JPEG_64),
    ]
    assert [event.choice for event in events if isinstance(event, Finish)] == [0, 1]


def test_only_the_beginning_of_a_picture_is_parsed() -> None:
    told = 'the words "b64_json": "x" stand in it'
    body = orjson.dumps(
        {"data": [{"b64_json": PNG_64 + "A" * 10_000_000, "revised_prompt": told}], "usage": USAGE}
    )
    document, [(start, end)] = skim(body)
    assert len(document["data"][0]["b64_json"]) == 64
    assert document["data"][0]["revised_prompt"] == told
    assert end - start == len(PNG_64) + 10_000_000
    assert document["usage"] == USAGE


@pytest.mark.parametrize(
    "body",
    [
        answer("PGh0bWw+PC9odG1sPg=="),
        answer(""),
        answer("no base64 at all!"),
        answer(PNG_64, "AAAA"),
        b'{"data": [{"url": "file:///etc/passwd"}]}',
        b'{"data": [{}]}',
        b'{"data": ["a"]}',
    ],
)
def test_what_is_no_picture(body: bytes) -> None:
    with pytest.raises(UpstreamError, match="no picture"):
        CODEC.decode_response(body)


@pytest.mark.parametrize(
    "body",
    [
        b"<html></html>",
        b'{"data": []}',
        b'{"created": 1}',
        b'{"data": [{"b64_json": "' + PNG_64.encode(),
        b'{"b64_json": "' + PNG_64.encode() + b'", "data": [{"b64_json": "iVBORw0KGgo',
        answer(*[PNG_64] * 65),
    ],
)
def test_what_is_no_answer(body: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        CODEC.decode_response(body)


def test_an_error_with_a_good_status() -> None:
    with pytest.raises(UpstreamRejectedError, match="busy"):
        CODEC.decode_response(b'{"error": {"message": "busy"}}')


def test_more_than_was_asked_for_is_no_answer() -> None:
    body, request = answer(PNG_64, PNG_64), parse(n=2)
    events = CODEC.decode_response(body)
    assert CODEC.edit(body, events, request) == body
    with pytest.raises(UpstreamError, match="more than was asked for"):
        CODEC.edit(body, events, parse())


def event(kind: str, picture: str = PNG_64, **more: Any) -> bytes:
    data = orjson.dumps({"type": f"image_generation.{kind}", "b64_json": picture, **more})
    return b"event: image_generation.%b\ndata: %b\n\n" % (kind.encode(), data)


def decoder(**document: Any) -> ImagesDecoder:
    request = parse(stream=True, **document)
    return ImagesDecoder(request)


PARTIAL = event("partial_image", JPEG_64, partial_image_index=0)
WHOLE = event("completed", usage=USAGE, quality="low", size="1024x1024")


def test_a_stream_is_read_however_it_is_split() -> None:
    stream = b": hello\n\n" + PARTIAL * 2 + WHOLE
    chance = random.Random(1)
    for _ in range(20):
        one, passed = decoder(), b""
        found: list[Event] = []
        cuts = sorted(chance.sample(range(len(stream)), 5))
        for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
            for frame in one.split(stream[start:end]):
                found += one.decode(frame)
                passed += one.client_frame(frame)
        assert passed == stream
        assert one.done or not one.end_of_input()
        assert (one.error, one.done, one.ending) == (None, True, True)
        assert [type(each).__name__ for each in found] == [
            "Begin", "MediaDelta", "MediaDelta", "MediaDelta", "Finish", "UsageReport",
        ]  # fmt: skip
        report = found[-1]
        assert isinstance(report, UsageReport)
        assert (report.usage.output_tokens, report.service_tier) == (272, "low 1024x1024")


def test_each_of_several_pictures_counts_once_it_is_whole() -> None:
    one = decoder(n=2)
    first = one.decode(event("completed"))
    held = [one.ending]
    last = one.decode(WHOLE)
    assert [*held, one.ending] == [False, True]
    counts = [e.usage.more["images"] for e in (*first, *last) if isinstance(e, UsageReport)]
    assert counts == [1, 2]
    assert not one.decode(WHOLE)
    assert isinstance(one.error, UpstreamError)


@pytest.mark.parametrize(
    "stream",
    [
        b"",
        PARTIAL,
        PARTIAL + WHOLE[:-30],
        event("completed", "PGh0bWw+"),
        event("partial_image", ""),
        b'data: {"error": {"message": "busy"}}\n\n',
        b'event: error\ndata: {"type": "error", "error": {"message": "busy"}}\n\n',
    ],
)
def test_streams_that_break(stream: bytes) -> None:
    one = decoder()
    for frame in one.split(stream):
        one.decode(frame)
    one.end_of_input()
    assert one.error is not None
    assert not one.done


def test_a_picture_may_be_as_large_in_a_stream_as_in_a_whole_answer() -> None:
    large = PNG_64 + "A" * (20 * 1024 * 1024)
    stream, one = event("completed", large), decoder()
    frames = [f for at in range(0, len(stream), 2**20) for f in one.split(stream[at : at + 2**20])]
    assert frames == [stream]
    assert one.decode(stream)
    assert one.ending
    with pytest.raises(EventTooLargeError):
        decoder().split(event("completed", "A" * (65 * 1024 * 1024))[:-2])


def test_a_last_event_without_its_blank_line() -> None:
    one = decoder()
    [frame] = one.split(PARTIAL + WHOLE[:-2])
    one.decode(frame)
    assert [type(each).__name__ for each in one.end_of_input()][-1] == "UsageReport"
    assert one.done
    assert one.end_frame() == WHOLE


def test_a_stream_that_is_cut_says_so() -> None:
    assert b'"code":"cut_short"' in decoder().cut(Usage())


def test_pictures_are_kept_for_who_wants_urls() -> None:
    kept: list[tuple[bytes, str]] = []

    def keep(data: bytes, content_type: str) -> str | None:
        kept.append((data, content_type))
        return "https://here/1" if len(kept) == 1 else None

    body = answer(PNG_64, JPEG_64, usage=USAGE)
    events = CODEC.decode_response(body)
    request = replace(CODEC.answered(parse(n=2, response_format="url")), keep=keep)
    first, second = orjson.loads(CODEC.edit(body, events, request))["data"]
    assert first == {"url": "https://here/1"}
    assert second == {"b64_json": JPEG_64}, "there was no room for it"
    assert kept == [(PNG, "image/png"), (JPEG, "image/jpeg")]
    assert CODEC.edit(body, events, replace(request, document={})) == body


def test_what_only_begins_as_a_picture_cannot_be_kept() -> None:
    body = answer(PNG_64[:64] + "A")
    request = replace(parse(response_format="url"), keep=lambda _data, _type: "https://here/1")
    with pytest.raises(UpstreamError, match="no picture"):
        CODEC.edit(body, CODEC.decode_response(body), request)
