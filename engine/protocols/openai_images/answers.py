"""Answers: pictures of megabytes in base64, read without parsing them.

The beginning of each is enough to know what it is. What it says beside its pictures is parsed as
any other JSON is.
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from engine.errors import UpstreamError
from engine.events import Begin, Event, Finish, FinishReason, MediaDelta, UsageReport
from engine.media.sniff import kind_of
from engine.metering.tiers import tier_word
from engine.protocols.codec import ClientRequest
from engine.protocols.fields import dict_of, load_object, text_of, write_json
from engine.protocols.openai_images.requests import wants_url
from engine.protocols.openai_shared import read_error
from engine.usage import MoreUnit, Usage, is_count, is_wrong, read_count, unsaid

_HEAD_CHARS: Final = 64
_PICTURES_MAX: Final = 64
# A key is followed by a colon, and inside a string its quotes would be escaped.
_KEY: Final = re.compile(rb'"b64_json"\s*:\s*"')


class Skimmed(NamedTuple):
    """A document with the beginning of each picture in its place, and where they stand in it."""

    document: dict[str, Any]
    spans: list[tuple[int, int]]


def skim(body: bytes) -> Skimmed:
    """What a document says beside its pictures.

    Raises:
        ValueError: it is not a JSON object, or has too many.
    """
    kept: list[bytes] = []
    spans: list[tuple[int, int]] = []
    at = 0
    while (key := _KEY.search(body, at)) is not None:
        start = key.end()
        end = body.find(b'"', start)
        if end < 0 or len(spans) == _PICTURES_MAX:
            raise ValueError("a picture has no end, or there are too many")
        spans.append((start, end))
        kept += (body[at:start], body[start : min(end, start + _HEAD_CHARS)])
        at = end
    kept.append(body[at:])
    return Skimmed(load_object(b"".join(kept) if spans else body), spans)


def picture_type(head: object) -> str:
    """The media type of a picture by the beginning of its base64. Raises UpstreamError: it is
    none."""
    try:
        text = text_of(head)[:_HEAD_CHARS].encode("ascii")
        kind = kind_of(b64decode(text[: len(text) // 4 * 4], validate=True))
    except ValueError:
        kind = None
    if kind is None or not kind.startswith("image/"):
        raise not_a_picture()
    return kind


def read_answer(body: bytes) -> Sequence[Event]:
    """A whole answer as its events, Finish and UsageReport last.

    Raises:
        ValueError: it is not a JSON object of this protocol.
        UpstreamError: it is an error all the same, or holds no picture.
    """
    document, spans = skim(body)
    if document.get("error"):
        raise read_error(200, body)
    entries = document.get("data")
    if not isinstance(entries, list) or not entries:
        raise ValueError("no data")
    created = document.get("created")
    events: list[Event] = [Begin(None, None, created if is_count(created) else None)]
    events += _pictures(body, entries, iter(spans))
    events += [Finish(FinishReason.STOP, choice) for choice in range(len(entries))]
    events.append(
        UsageReport(read_usage(document, len(entries)), service_tier=answered_tier(document))
    )
    return events


def _pictures(
    body: bytes, entries: list[Any], spans: Iterator[tuple[int, int]]
) -> Iterator[MediaDelta]:
    """Those that are in the answer itself; what stands elsewhere is not looked at."""
    for choice, entry in enumerate(entries):
        head = dict_of(entry).get("b64_json")
        if head is not None:
            kind = picture_type(head)
            start, end = next(spans, (0, 0))
            if start == end:
                raise ValueError("a picture is somewhere else")
            yield MediaDelta("image", kind, body[start:end].decode("ascii"), choice=choice)
        elif not text_of(dict_of(entry).get("url")).lower().startswith(("https:", "http:")):
            raise not_a_picture()


def with_urls(body: bytes, events: Sequence[Event], request: ClientRequest) -> bytes:
    """An answer with URLs in place of its pictures, where the client asks for them."""
    pictures = [event for event in events if isinstance(event, MediaDelta) and event.data]
    if not (pictures and wants_url(request.document)):
        return body
    document = skim(body).document
    for picture in pictures:
        entry = document["data"][picture.choice]
        entry |= shown(picture, request)
        if "url" in entry:
            entry.pop("b64_json", None)
    return write_json(document)


def shown(picture: MediaDelta, request: ClientRequest) -> dict[str, Any]:
    """How a client gets a picture: itself, or as a URL."""
    if request.keep is not None and wants_url(request.document):
        try:
            data = b64decode(picture.data)
        except ValueError:
            raise not_a_picture() from None
        if (url := request.keep(data, picture.mime_type or "image/png")) is not None:
            return {"url": url}
    return {"b64_json": picture.data}


def not_a_picture() -> UpstreamError:
    """The error of an answer that holds something else."""
    return UpstreamError("The provider answered with something that is no picture.")


def read_usage(document: Mapping[str, Any], pictures: int) -> Usage:
    """What an answer, or its last event, says of tokens, with as many pictures as came. Without a
    word of tokens it has none: models that are paid by the picture say nothing."""
    more: dict[MoreUnit, int] = {"images": pictures}
    usage = document.get("usage")
    if not isinstance(usage, dict):
        return Usage(more=more)
    said_input, said_output = usage.get("input_tokens"), usage.get("output_tokens")
    seen = dict_of(usage.get("input_tokens_details"))
    drawn = usage.get("output_tokens_details")
    more["input_image_tokens"] = read_count(seen.get("image_tokens"))
    more["output_image_tokens"] = (
        read_count(drawn.get("image_tokens"))
        if isinstance(drawn, dict)
        else read_count(said_output)
    )
    return Usage(
        input_tokens=read_count(said_input),
        cached_input_tokens=read_count(seen.get("cached_tokens")),
        output_tokens=read_count(said_output),
        more={unit: count for unit, count in more.items() if count},
        unsaid=unsaid(said_input, said_output),
        invalid=is_wrong(said_input, said_output),
    ).clamped()


def answered_tier(document: Mapping[str, Any]) -> str | None:
    """Quality and size as they were chosen, where the answer says both."""
    quality, size = text_of(document.get("quality")), text_of(document.get("size"))
    return tier_word(quality, size) if quality and size else None
