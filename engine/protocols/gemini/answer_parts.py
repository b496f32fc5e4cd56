"""Parts of an answer as canonical events, one candidate at a time."""

from __future__ import annotations

from typing import Any, Final, Literal

from engine.conversation import Native
from engine.events import (
    Event,
    MediaDelta,
    NativeEvent,
    ReasoningDelta,
    RedactedReasoning,
    TextDelta,
    ToolCallBegin,
    ToolCallDelta,
)
from engine.protocols.fields import dict_of, dicts, text_of
from engine.protocols.gemini.grounding import TEXT_MAX_CHARS
from engine.protocols.gemini.partial_args import ArgumentWriter
from engine.protocols.gemini.signatures import (
    invent_id,
    native,
    read_signature,
    standard_base64,
)
from engine.protocols.gemini.spelling import dump_json

_CALLS_MAX = 1_024
_OF_CALL: Final = frozenset({"id", "name", "args", "partialArgs", "willContinue"})
_MEDIA: Final[dict[str, Literal["image", "audio", "video"]]] = {
    "image": "image",
    "audio": "audio",
    "video": "video",
}


class ChoiceReader:
    """Reads the parts of one candidate, in one document or over many.

    Attributes:
        calls: how many calls of tools there were.
        text: of the answer so far, as far as it is kept for positions in it.
    """

    def __init__(self, index: int, *, whole: bool) -> None:
        self.index = index
        self.finished = False
        self.calls = 0
        self.text: list[str] = []
        self._text_chars = 0
        self._whole = whole
        self._arguments: ArgumentWriter | None = None

    def part(self, part: dict[str, Any], answer_id: str) -> list[Event]:
        """What a part says.

        Raises:
            ValueError: pieces of arguments that do not fit together.
        """
        if isinstance(part.get("text"), str):
            return [self._text(part, part["text"])]
        if isinstance(part.get("functionCall"), dict):
            return self._call(part, part["functionCall"], answer_id)
        inline = part.get("inlineData")
        if isinstance(inline, dict) and not part.get("thought"):
            mime_type = text_of(inline.get("mimeType"))
            kind = _MEDIA.get(mime_type.partition("/")[0].lower())
            if kind is not None and isinstance(inline.get("data"), str):
                return [self._media(part, inline, kind, mime_type)]
        return [self._other(part)]

    def _text(self, part: dict[str, Any], text: str) -> Event:
        signature, redacted = read_signature(part.get("thoughtSignature"))
        if part.get("thought") is True:
            if redacted and signature is not None:
                return RedactedReasoning(signature, self.index)
            kept = self._kept(part, "text", "thought", "thoughtSignature")
            return ReasoningDelta(text, self.index, signature, kept)
        if not text:  # only carries a signature, or nothing: no text block of another protocol
            return self._other(part)
        if self._text_chars < TEXT_MAX_CHARS:
            self._text_chars += len(text)
            self.text.append(text)
        return TextDelta(text, self.index, signature, self._kept(part, "text", "thoughtSignature"))

    def _kept(self, part: dict[str, Any], *read: str, **fields: Any) -> Native | None:
        """What no canonical field holds of a part. A whole answer's parts are always marked, since
        where one ends would be forgotten otherwise."""
        rest = {name: value for name, value in part.items() if name not in read}
        if not rest and not fields and not self._whole:
            return None
        return native(part=rest, **fields)

    def _media(
        self,
        part: dict[str, Any],
        inline: dict[str, Any],
        kind: Literal["image", "audio", "video"],
        mime_type: str,
    ) -> Event:
        rest = {name: value for name, value in inline.items() if name not in ("mimeType", "data")}
        kept = self._kept(part, "inlineData", **({"inline": rest} if rest else {}))
        data = standard_base64(inline["data"])
        return MediaDelta(kind, mime_type, data, choice=self.index, native=kept)

    def _other(self, part: dict[str, Any]) -> Event:
        label = next((name for name in part if name not in ("thought", "thoughtSignature")), "part")
        code = dict_of(part.get("executableCode")).get("code")
        return NativeEvent(native(part=part), label, self.index, generated=text_of(code))

    def _call(self, part: dict[str, Any], call: dict[str, Any], answer_id: str) -> list[Event]:
        name = text_of(call.get("name"))
        if not name and self._arguments is None:
            return [self._other(part)]
        pieces = list(dicts(call.get("partialArgs")))
        streamed = bool(pieces) or call.get("willContinue") is True
        events: list[Event] = []
        if name:
            if ending := self.close_call():
                events.append(ToolCallDelta(self.calls - 1, ending, self.index))
            if self.calls == _CALLS_MAX:
                raise ValueError("an answer calls too many tools")
            events.append(self._call_begin(part, call, name, answer_id))
            self.calls += 1
            if streamed:
                self._arguments = ArgumentWriter()
            else:
                text = dump_json(call.get("args") or {}).decode()
                events.append(ToolCallDelta(self.calls - 1, text, self.index))
        if (writer := self._arguments) is not None:
            text = "".join(writer.write(piece) for piece in pieces)
            if call.get("willContinue") is not True:
                text += self.close_call()
            if text:
                events.append(ToolCallDelta(self.calls - 1, text, self.index))
        return events

    def _call_begin(
        self, part: dict[str, Any], call: dict[str, Any], name: str, answer_id: str
    ) -> Event:
        rest = {key: value for key, value in call.items() if key not in _OF_CALL}
        fields: dict[str, Any] = {"call": rest} if rest else {}
        if call.get("args") is None and self._whole:
            fields["no_args"] = True
        return ToolCallBegin(
            self.calls,
            text_of(call.get("id")) or invent_id(answer_id, self.index, self.calls),
            name,
            self.index,
            read_signature(part.get("thoughtSignature"))[0],
            self._kept(part, "functionCall", "thoughtSignature", **fields) or native(),
        )

    def close_call(self) -> str:
        """The end of arguments that came piece by piece; empty if none are open."""
        writer, self._arguments = self._arguments, None
        return writer.close() if writer is not None else ""
