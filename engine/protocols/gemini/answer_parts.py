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
        if not text and signature is None:  # no text block to another protocol
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
        continues = call.get("willContinue") is True
        if not name:
            return [self._piece(pieces, continues=continues, part=part)]
        events = self.close_call()
        if self.calls == _CALLS_MAX:
            raise ValueError("an answer calls too many tools")
        streamed = bool(pieces) or continues
        events.append(self._call_begin(part, call, name, answer_id, streamed=streamed))
        self.calls += 1
        if not streamed:
            text = dump_json(call.get("args") or {}).decode()
            return [*events, ToolCallDelta(self.calls - 1, text, self.index)]
        self._arguments = ArgumentWriter()
        return [*events, self._piece(pieces, continues=continues)] if pieces else events

    def _piece(
        self,
        pieces: list[dict[str, Any]],
        *,
        continues: bool,
        part: dict[str, Any] | None = None,
    ) -> Event:
        """Arguments that come piece by piece; `part` is kept for clients of this protocol."""
        writer = self._arguments or ArgumentWriter()
        text = "".join(writer.write(piece) for piece in pieces)
        if not continues:
            text += writer.close()
            self._arguments = None
        kept = native() if part is None else native(part=part)
        return ToolCallDelta(self.calls - 1, text, self.index, kept)

    def _call_begin(
        self,
        part: dict[str, Any],
        call: dict[str, Any],
        name: str,
        answer_id: str,
        *,
        streamed: bool,
    ) -> Event:
        signature = read_signature(part.get("thoughtSignature"))[0]
        call_id = text_of(call.get("id")) or invent_id(answer_id, self.index, self.calls)
        if streamed:
            kept = native(streamed=part)
        else:
            rest = {key: value for key, value in call.items() if key not in _OF_CALL}
            fields: dict[str, Any] = {"call": rest} if rest else {}
            if call.get("args") is None and self._whole:
                fields["no_args"] = True
            kept = self._kept(part, "functionCall", "thoughtSignature", **fields) or native()
        return ToolCallBegin(self.calls, call_id, name, self.index, signature, kept)

    def close_call(self) -> list[Event]:
        """The end of arguments that came piece by piece, if they have none yet."""
        writer, self._arguments = self._arguments, None
        if writer is None:
            return []
        return [ToolCallDelta(self.calls - 1, writer.close(), self.index, native())]
