"""Streams of pictures: unfinished ones first, where they are asked for, then the whole ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from engine.conversation import Native
from engine.errors import UpstreamError
from engine.events import Begin, Event, Finish, FinishReason, MediaDelta, Usage, UsageReport
from engine.protocols.codec import ClientRequest, Identity, StreamEncoder
from engine.protocols.fields import text_of
from engine.protocols.openai_images.answers import (
    answered_tier,
    picture_type,
    read_usage,
    skim,
)
from engine.protocols.openai_images.requests import NAME
from engine.protocols.openai_stream import EventDecoder, broken_off, encode_event

_PARTIAL: Final = "partial_image"
_COMPLETED: Final = "completed"
_PICTURE_MAX_BYTES: Final = 64 * 1024 * 1024
"""Of an event, as of a whole answer: 3,840 by 2,160 pixels may take half of it as PNG."""
CUT_SHORT: Final = {
    "message": "The stream was ended before its picture was finished.",
    "type": "server_error",
    "param": None,
    "code": "cut_short",
}


class ImagesDecoder(EventDecoder):
    """See `codec.VerbatimDecoder`. The answer is whole once all pictures have come that were asked
    for, or where the stream ends after one of them."""

    def __init__(self, request: ClientRequest | None = None) -> None:
        super().__init__(end_marker=False, event_max_bytes=_PICTURE_MAX_BYTES)
        demand = None if request is None else request.demand
        self._wanted = None if demand is None else demand.pieces["images"]
        self._begun = False
        self._completed = 0
        self._data = b""
        self._spans: list[tuple[int, int]] = []

    def _load(self, data: bytes) -> dict[str, Any]:
        document, self._spans = skim(data)
        self._data = data
        return document

    def _read(self, document: dict[str, Any], frame: bytes) -> Sequence[Event]:
        data, self._data = self._data, b""
        if self._is_error(document, frame):
            return ()
        step = text_of(document.get("type")).rpartition(".")[2]
        if step not in (_PARTIAL, _COMPLETED):
            return ()
        try:
            kind = picture_type(document.get("b64_json"))
        except UpstreamError as error:
            self.error = error
            return ()
        events: list[Event] = [] if self._begun else [Begin(None, None)]
        self._begun = True
        start, end = self._spans[0]
        picture = data[start:end].decode("ascii")
        if step == _COMPLETED:
            events += self._complete(document, kind, picture)
        elif self._wanted is not None:
            unfinished = Native(NAME, {"partial": document.get("partial_image_index")})
            events.append(
                MediaDelta("image", kind, picture, choice=self._completed, native=unfinished)
            )
        return events

    def _complete(self, document: dict[str, Any], kind: str, picture: str) -> Sequence[Event]:
        choice = self._completed
        if self._wanted is not None and choice == self._wanted:
            self.error = UpstreamError("The provider answered with more than was asked for.")
            return ()
        self._completed += 1
        self.ending = self._wanted is None or self._completed == self._wanted
        usage = read_usage(document, self._completed)
        return (
            MediaDelta("image", kind, picture, choice=choice),
            Finish(FinishReason.STOP, choice),
            UsageReport(usage, service_tier=answered_tier(document)),
        )

    def _is_error(self, document: dict[str, Any], frame: bytes) -> bool:
        return super()._is_error({"choices": (), **document}, frame)

    def end_of_input(self) -> Sequence[Event]:
        """What a last event without its blank line says."""
        events = super().end_of_input()
        if self.done and not self._completed:
            self.error, self.done = broken_off(), False
        return events

    # of `codec.VerbatimDecoder`

    def client_frame(self, frame: bytes) -> bytes:
        """As it came."""
        return frame

    def end_frame(self) -> bytes:
        """The last frame with its blank line."""
        return self._end_frame

    def cut(self, usage: Usage) -> bytes:
        """There is no such thing as an early end of a picture: it says that it is none."""
        return encode_event({"error": CUT_SHORT})

    def resume(self, request: ClientRequest, identity: Identity, text: str) -> StreamEncoder | None:
        """Nobody goes on with another's picture."""
        return None
