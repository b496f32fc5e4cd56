"""A provider's stream, event by event: to be translated, or read along while it passes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from engine.events import Event, TextDelta, Usage
from engine.protocols.codec import ClientRequest, Identity
from engine.protocols.openai_chat.encoders import ChatEncoder
from engine.protocols.openai_chat.reading import CHOICE_FIELDS, AnswerReader
from engine.protocols.openai_stream import EventDecoder, encode_length_ending, without_usage
from engine.protocols.quirks import PLAIN, Quirks

_PLAIN_FIELDS = frozenset(
    {
        "id",
        "object",
        "created",
        "model",
        "choices",
        "usage",
        "obfuscation",
        "service_tier",
        "system_fingerprint",
    }
)


class ChatDecoder(EventDecoder):
    """For a stream to be translated; see `codec.StreamDecoder`."""

    _natives = True

    def __init__(self, *, end_marker: bool, quirks: Quirks = PLAIN) -> None:
        super().__init__(end_marker=end_marker)
        self._reader = AnswerReader(natives=self._natives, quirks=quirks)

    def _read(self, document: dict[str, Any], frame: bytes) -> Sequence[Event]:
        """The events of a chunk."""
        if (plain := self._plain(document)) is not None:
            return plain
        return () if self._is_error(document, frame) else self._reader.read(document)

    def _plain(self, document: dict[str, Any]) -> tuple[Event] | None:
        """The event of a chunk that only adds text to one choice, as nearly all do."""
        reader = self._reader
        try:
            [choice] = document["choices"]
            delta = choice["delta"]
            content = delta["content"]
            index = choice["index"]
            known = index in reader.choices
        except (KeyError, TypeError, ValueError):
            return None
        if (
            not known
            or len(delta) != 1
            or type(content) is not str
            or not content
            or choice.get("finish_reason")
            or choice.get("logprobs")
            or document.get("usage")
            or "error" in document
        ):
            return None
        if self._natives and not (
            document.keys() <= _PLAIN_FIELDS and choice.keys() <= CHOICE_FIELDS
        ):
            return None  # there is more in it for an encoder of this protocol
        reader.finished = ()
        self.repeatable = True
        return (TextDelta(content, index),)


class ChatVerbatimDecoder(ChatDecoder):
    """For a stream that goes to a client of this protocol; see `codec.VerbatimDecoder`.

    Where the client did not ask for usage, the usage-only chunk is dropped and a top-level
    `"usage":null` is cut out of its event; no other byte is touched.
    """

    _natives = False

    def __init__(
        self, *, end_marker: bool, include_usage: bool, choices: int, quirks: Quirks = PLAIN
    ) -> None:
        super().__init__(end_marker=end_marker, quirks=quirks)
        self._include_usage = include_usage
        self._open_choices = set(range(choices))
        self._like: dict[str, Any] = {}

    def client_frame(self, frame: bytes) -> bytes:
        """The event decoded last as the client gets it."""
        if self.error is not None:
            return b""
        document = self._document
        if not document:
            return frame
        if document.get("id"):
            self._like = document
        if self._reader.finished:
            self._open_choices.difference_update(self._reader.finished)
        if not self._include_usage:
            return without_usage(frame, document)
        if not self._open_choices and document.get("usage"):
            self.ending = True
        return frame

    def end_frame(self) -> bytes:
        """What `end_of_input` found, with its blank line."""
        return self.client_frame(self._end_frame) if self._end_frame else b""

    def cut(self, usage: Usage) -> bytes:
        """`finish_reason: "length"` for every open choice, usage if it was asked for, `[DONE]`."""
        return encode_length_ending(
            self._like or self._document,
            sorted(self._open_choices),
            usage if self._include_usage and not self.ending else None,
            {"delta": {}},
        )

    def resume(self, request: ClientRequest, identity: Identity, text: str) -> ChatEncoder:
        """Chunks of the same completion."""
        return ChatEncoder.resumed(request, identity, self._like or self._document)
