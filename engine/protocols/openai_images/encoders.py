"""Canonical events to a client of this protocol: pictures, whole or as events of a stream."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Sequence
from typing import Any, Final

from engine.errors import UpstreamError, UpstreamRejectedError
from engine.events import Begin, Event, Finish, FinishReason, MediaDelta, Usage, UsageReport
from engine.media.sniff import image_size
from engine.protocols.codec import ClientRequest, Identity
from engine.protocols.fields import write_json
from engine.protocols.openai_images.answers import picture_type, shown
from engine.protocols.openai_images.streams import CUT_SHORT
from engine.protocols.openai_stream import encode_event
from engine.wire.sse import EventTooLargeError

_MAX_CHARS: Final = 64 * 1024 * 1024
_REFUSED: Final = frozenset({FinishReason.FILTERED, FinishReason.PROMPT_BLOCKED})
_SIZE_CHARS: Final = 65_536
"""Of base64: a JPEG's size may stand far behind its beginning."""


class Gathered:
    """The pictures of an answer, and what it says beside them."""

    def __init__(self) -> None:
        self.pictures: list[MediaDelta] = []
        self.created: int | None = None
        self.usage = Usage()
        self._chars = 0

    def take(self, event: Event) -> None:
        """Keep what a client of this protocol gets.

        Raises:
            EventTooLargeError: it is more than is kept.
            UpstreamError: the answer ends without a picture, or has something else in its place.
        """
        match event:
            case Begin(created=created):
                self.created = created
            case MediaDelta(kind="image", data=data) if data:
                picture_type(data)
                self._chars += len(data)
                if self._chars > _MAX_CHARS:
                    raise EventTooLargeError("the pictures are larger than the bound")
                self.pictures.append(event)
            case UsageReport(usage=usage):
                self.usage = usage
            case Finish() if not self.pictures:
                raise _refusal(event)
            case _:
                pass


def _refusal(end: Finish) -> UpstreamError:
    if end.reason in _REFUSED:
        return UpstreamRejectedError(
            end.explanation or "The model's provider has refused to draw this.",
            status=400,
            kind="image_generation_user_error",
            code="moderation_blocked",
        )
    return UpstreamError("The model answered without a picture.")


class ImagesEncoder:
    """Implements `codec.StreamEncoder`: nothing is shown before it is finished."""

    def __init__(self, request: ClientRequest, identity: Identity) -> None:
        self._kind = "image_edit" if request.operation == "image_edit" else "image_generation"
        self._identity = identity
        self._gathered = Gathered()

    @property
    def holding(self) -> bool:
        """Pictures wait for the end."""
        return bool(self._gathered.pictures)

    def encode(self, event: Event) -> bytes:
        """Nothing. Raises EventTooLargeError, UpstreamError."""
        self._gathered.take(event)
        return b""

    def finish(self) -> bytes:
        """An event for each picture, the last one with what all came to."""
        gathered = self._gathered
        last = len(gathered.pictures) - 1
        return b"".join(
            self._completed(picture, encode_usage(gathered.usage) if index == last else None)
            for index, picture in enumerate(gathered.pictures)
        )

    def _completed(self, picture: MediaDelta, usage: dict[str, Any] | None) -> bytes:
        name = f"{self._kind}.completed"
        document: dict[str, Any] = {
            "type": name,
            "b64_json": picture.data,
            "created_at": self._gathered.created or self._identity.created,
            "background": "auto",
            "output_format": _format(picture),
            "quality": "auto",
            "size": _size(picture),
        }
        if usage is not None:
            document["usage"] = usage
        return b"event: " + name.encode() + b"\n" + encode_event(document)

    def cut(self, usage: Usage) -> bytes:
        """A picture has no early end: it says that it is none."""
        return encode_event({"error": CUT_SHORT})


def encode_response(events: Sequence[Event], request: ClientRequest, identity: Identity) -> bytes:
    """A whole answer. Raises UpstreamError: it has no picture."""
    gathered = Gathered()
    for event in events:
        gathered.take(event)
    first = gathered.pictures[0] if gathered.pictures else None
    if first is None:
        raise UpstreamError("The model answered without a picture.")
    return write_json(
        {
            "created": gathered.created or identity.created,
            "data": [shown(picture, request) for picture in gathered.pictures],
            "output_format": _format(first),
            "size": _size(first),
            "usage": encode_usage(gathered.usage),
        }
    )


def encode_usage(usage: Usage) -> dict[str, Any]:
    """Usage in the shape of this protocol."""
    usage = usage.clamped()
    seen = usage.more.get("input_image_tokens", 0)
    drawn = usage.more.get("output_image_tokens", 0)
    return {
        "input_tokens": usage.input_tokens,
        "input_tokens_details": {"image_tokens": seen, "text_tokens": usage.input_tokens - seen},
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {
            "image_tokens": drawn,
            "text_tokens": usage.output_tokens - drawn,
        },
        "total_tokens": usage.input_tokens + usage.output_tokens,
    }


def _format(picture: MediaDelta) -> str:
    return picture_type(picture.data).rpartition("/")[2]


def _size(picture: MediaDelta) -> str:
    """In pixels; `auto` where its beginning does not say."""
    try:
        found = image_size(b64decode(picture.data[:_SIZE_CHARS]))
    except ValueError:
        found = None
    return "auto" if found is None else f"{found[0]}x{found[1]}"
