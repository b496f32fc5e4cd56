"""A provider's stream, event by event: to be translated, or read along while it passes."""

from __future__ import annotations

from collections.abc import Sequence, Set
from typing import Any

from engine.errors import GatewayError
from engine.events import Event, Usage
from engine.owned import Kept
from engine.protocols.codec import ClientRequest, Identity
from engine.protocols.fields import dict_of, text_of
from engine.protocols.openai_responses.encoders import ResponsesEncoder
from engine.protocols.openai_responses.errors import read_failure
from engine.protocols.openai_responses.kept import kept_of
from engine.protocols.openai_responses.reading import AnswerReader
from engine.protocols.openai_responses.tracking import Tracker
from engine.protocols.openai_stream import EventDecoder, broken_off

_FAILURES = frozenset({"error", "response.failed", "response.cancelled"})


class ResponsesDecoder(EventDecoder):
    """For a stream to be translated; see `codec.StreamDecoder`."""

    _natives = True

    def __init__(self, *, end_marker: bool, repeated: Set[str] = frozenset()) -> None:
        super().__init__(end_marker=end_marker)
        self._response: dict[str, Any] = {}
        """As it was told last: when it began, and when it ended."""
        self._reader = AnswerReader(natives=self._natives, repeated=repeated)

    def decode(self, frame: bytes) -> Sequence[Event]:
        """What one event says; raises ValueError where its data is not a JSON object."""
        events = super().decode(frame)
        if self.done and self._end_marker and not self._reader.ended:  # `[DONE]` is no ending here
            self.ending = self.done = False
            self.error = broken_off()
        return events

    def _read(self, document: dict[str, Any], frame: bytes) -> Sequence[Event]:
        if text_of(document.get("type")) in _FAILURES or document.get("error"):
            self._document = {}
            self.error = read_failure(document)
            return ()
        if "response" in document:
            self._response = dict_of(document["response"])
        events = self._reader.read(document)
        if self._reader.ended:
            self.ending = self.done = True
        return events


class ResponsesVerbatimDecoder(ResponsesDecoder):
    """For a stream that goes to a client of this protocol; see `codec.VerbatimDecoder`.

    No byte is touched. What has gone out is kept, so that it can be ended at any time.
    """

    _natives = False

    def __init__(self, *, end_marker: bool, repeated: Set[str] = frozenset()) -> None:
        super().__init__(end_marker=end_marker, repeated=repeated)
        self._sent = Tracker()

    def client_frame(self, frame: bytes) -> bytes:
        """The event decoded last as the client gets it."""
        if self.error is not None:
            return b""
        self._sent.track(self._document)
        return frame

    def kept(self) -> tuple[Kept, ...]:
        """See `codec.TellsKept`."""
        return kept_of(self._response)

    def end_frame(self) -> bytes:
        """What `end_of_input` found, with its blank line."""
        return self.client_frame(self._end_frame)

    def cut(self, usage: Usage) -> bytes:
        """`response.incomplete` with the length reason and usage, after the ends of what is
        open."""
        return self._sent.cut(usage)

    def fail(self, error: GatewayError) -> bytes:
        """See `codec.FailsInPlace`."""
        return self._sent.fail(error)

    def resume(
        self, request: ClientRequest, identity: Identity, text: str
    ) -> ResponsesEncoder | None:
        """Events of the same answer, in the item and the part that are open."""
        return ResponsesEncoder.resumed(request, identity, self._sent, text)
