"""A stream that goes to a client of this protocol as its provider wrote it, read along."""

from __future__ import annotations

from typing import Any

from engine.events import Usage
from engine.protocols.anthropic.encoders import AnthropicEncoder
from engine.protocols.anthropic.framing import Framing
from engine.protocols.anthropic.streams import (
    AnthropicDecoder,
    cut_event,
    encode_event,
    start_event,
)
from engine.protocols.codec import ClientRequest, Identity
from engine.protocols.fields import dict_of, text_of

_DELTA_KEYS = frozenset({"type", "index", "delta"})
_TEXT_KEYS = frozenset({"type", "text"})


class VerbatimAnthropic(AnthropicDecoder):
    """Reads along; every frame goes out as it came, an event as the provider wrote its JSON."""

    def __init__(self, request: ClientRequest, framing: Framing, *, end_marker: bool) -> None:
        super().__init__(framing, end_marker=end_marker)
        self._model = request.model
        self._sent = SentGrammar()

    def client_frame(self, frame: bytes) -> bytes:
        """The event: the frame itself, where it is one."""
        document = self.document
        self._sent.see(document)
        self.repeatable = (
            document.keys() == _DELTA_KEYS
            and document["type"] == "content_block_delta"
            and dict_of(document["delta"]).keys() == _TEXT_KEYS
            and document["delta"]["type"] == "text_delta"
        )  # where a citation would begin is of no interest to whom nothing is translated for
        return self._framing.client_event(frame, document)

    def end_frame(self) -> bytes:
        """The last event, made whole."""
        frame = super().end_frame()
        if frame:
            self._sent.see(self.document)
        return frame

    def cut(self, usage: Usage) -> bytes:
        """Ends what has gone out: the open block, `message_delta`, `message_stop`."""
        return self._sent.cut(usage, self._model)

    def resume(
        self, request: ClientRequest, identity: Identity, text: str
    ) -> AnthropicEncoder | None:
        """Deltas of the block that is open, where one is."""
        return self._sent.resume(identity)


# Without a message of the provider's there is no id: clients only show it.
_NO_ID = "msg_unstarted"


class SentGrammar:
    """How far a stream has got that went out."""

    __slots__ = ("_kind", "_last", "_open", "_place")

    def __init__(self) -> None:
        self._place = "before"
        self._open: int | None = None
        self._last = -1
        """The index of the block that is open or was the last one, and of what kind it is."""
        self._kind = ""

    def see(self, document: dict[str, Any]) -> None:
        """An event goes out."""
        match document.get("type"):
            case "message_start":
                self._place = "message"
            case "content_block_start":
                index = document.get("index")
                self._open = index if isinstance(index, int) else None
                self._last = self._last + 1 if self._open is None else self._open
                self._kind = text_of(dict_of(document.get("content_block")).get("type"))
            case "content_block_stop":
                self._open = None
            case "message_delta":
                self._place = "ending"
            case "message_stop":
                self._place = "after"

    def cut(self, usage: Usage, model: str) -> bytes:
        """The rest of a stream that is valid, with the reason `max_tokens`."""
        if self._place == "after":
            return b""
        out = []
        if self._place == "before":
            out.append(start_event(_NO_ID, model, usage))
        if self._open is not None:
            out.append({"type": "content_block_stop", "index": self._open})
        if self._place != "ending":
            out.append(cut_event(usage))
        out.append({"type": "message_stop"})
        return b"".join(encode_event(document) for document in out)

    def resume(self, identity: Identity) -> AnthropicEncoder | None:
        """What writes on inside the message; None before it and in its ending."""
        if self._place != "message":
            return None
        kind = None if self._open is None else self._kind
        return AnthropicEncoder.resumed(identity, self._last, kind)
