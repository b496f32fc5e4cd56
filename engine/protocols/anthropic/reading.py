"""A client's messages as canonical turns: content blocks as parts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final, get_args

from engine.conversation import (
    Media,
    Native,
    NativePart,
    Part,
    Reasoning,
    Role,
    Signature,
    Text,
    ToolCall,
    ToolResult,
    Turn,
    Unexpressed,
)
from engine.errors import InvalidRequestError
from engine.protocols.anthropic.checks import Members, refuse
from engine.protocols.anthropic.marks import PROTOCOL, is_marked, native, read_signature
from engine.protocols.anthropic.values import dump_text
from engine.protocols.carried import uncarry
from engine.protocols.fields import dicts

_ROLES: tuple[Role, ...] = get_args(Role)


class TurnReader:
    """Reads messages; `unexpressed` gathers what no canonical part has a place for."""

    def __init__(self) -> None:
        self.unexpressed: list[Unexpressed] = []

    def turns(self, document: Members) -> tuple[Turn, ...]:
        """`system` and `messages`; adjacent turns of one role are one."""
        turns: list[tuple[Role, list[Part]]] = []
        if system := self.system(document):
            turns.append(("system", system))
        for message in document.objects("messages"):
            said = message.text("role")
            role = next((role for role in _ROLES if role == said), None)
            if role is None:
                refuse(message.at("role"), f"must be one of {', '.join(sorted(_ROLES))}")
            parts = self._content(message)
            if turns and turns[-1][0] == role:
                turns[-1][1].extend(parts)
            else:
                turns.append((role, parts))
        return tuple(Turn(role, tuple(parts)) for role, parts in turns)

    def system(self, document: Members) -> list[Part]:
        """`system`, a string or text blocks."""
        said = document.get("system")
        if isinstance(said, str):
            return [Text(said)]
        parts: list[Part] = []
        for block in document.objects("system"):
            if block.text("type") != "text":
                refuse(block.at("type"), "must be text")
            parts.extend(self._text(block))
        return parts

    def _content(self, message: Members) -> list[Part]:
        content = message.get("content")
        if isinstance(content, str):
            return [Text(content)]
        if content is None:
            refuse(message.at("content"), "Field required")
        return [part for block in message.objects("content") for part in self._parts(block)]

    def _parts(self, block: Members) -> Iterator[Part]:
        kind = block.text("type")
        read = _READERS.get(kind)
        if read is not None:
            return read(self, block)
        return iter((NativePart(Native(PROTOCOL, {"block": block.rest()}), kind),))

    def _leave_out(self, path: str, *, harmless: bool = True) -> None:
        self.unexpressed.append(Unexpressed(path, harmless))

    def _text(self, block: Members) -> Iterator[Part]:
        citations = block.items("citations")
        own = [cite for cite in dicts(citations) if not is_marked(cite.get("encrypted_index"))]
        extras = {"citations": own} if own else {}
        yield Text(block.text("text"), cache=block.cache(), native=native(extras))

    def _image(self, block: Members) -> Iterator[Part]:
        source = _source(block)
        extras = block.rest("type", "source", "cache_control")
        kind = source.text("type")
        if kind == "base64":
            yield Media(
                "image",
                mime_type=source.text("media_type"),
                data=source.text("data"),
                cache=block.cache(),
                native=native(extras),
            )
        elif kind == "url":
            url = source.text("url")
            yield Media("image", url=url, cache=block.cache(), native=native(extras))
        elif kind == "file":
            held = source.text("file_id")
            yield Media("image", file_id=held, cache=block.cache(), native=native(extras))
        else:
            refuse(source.at("type"), "must be one of base64, file, url")

    def _document(self, block: Members) -> Iterator[Part]:
        """Its context is told to the model, so it goes in front of it as text."""
        if context := block.optional_text("context"):
            yield Text(context)
        if (citations := block.members("citations")) and citations.flag("enabled"):
            self._leave_out(citations.path)
        source = _source(block)
        match source.text("type"):
            case "base64":
                mime_type, data = source.text("media_type"), source.text("data")
                media = Media("document", mime_type=mime_type, data=data)
            case "url":
                media = Media("document", mime_type="application/pdf", url=source.text("url"))
            case "file":
                media = Media("document", file_id=source.text("file_id"))
            case "text":
                media = Media("document", mime_type="text/plain", text=source.text("data"))
            case "content":
                yield from self._contents(block, source)
                return
            case _:
                refuse(source.at("type"), "must be one of base64, content, file, text, url")
        yield self._titled(block, media)

    def _titled(self, block: Members, media: Media) -> Media:
        extras = block.rest("type", "source", "cache_control", "title", "context")
        return Media(
            media.kind,
            mime_type=media.mime_type,
            data=media.data,
            url=media.url,
            text=media.text,
            file_id=media.file_id,
            name=block.optional_text("title"),
            cache=block.cache(),
            native=native(extras),
        )

    def _contents(self, block: Members, source: Members) -> Iterator[Part]:
        """A document of blocks: one text, or, where images are among them, its parts in order."""
        content = source.get("content")
        if isinstance(content, str):
            parts: list[Part] = [Text(content)]
        else:
            parts = [part for inner in source.objects("content") for part in self._parts(inner)]
        texts = [part.text for part in parts if isinstance(part, Text)]
        if len(texts) < len(parts):
            yield from parts
        else:
            text = "\n".join(texts)
            yield self._titled(block, Media("document", mime_type="text/plain", text=text))

    def _search_result(self, block: Members) -> Iterator[Part]:
        """A text with a title; `source` says where it is from."""
        text = "\n".join(inner.text("text") for inner in block.objects("content"))
        extras = block.rest("type", "content", "title", "cache_control")
        self._leave_out(block.at("source"))
        yield Media(
            "document",
            mime_type="text/plain",
            text=text,
            name=block.text("title"),
            cache=block.cache(),
            native=native({"search_result": extras}),
        )

    def _thinking(self, block: Members) -> Iterator[Part]:
        signature = read_signature(block.optional_text("signature") or "")
        yield Reasoning(block.text("thinking"), signature)

    def _redacted(self, block: Members) -> Iterator[Part]:
        signature = read_signature(block.text("data"))
        yield Reasoning("", signature or Signature(PROTOCOL, ""), redacted=True)

    def _call(self, block: Members) -> Iterator[Part]:
        call_id, signature = uncarry(block.text("id"))
        called = block.object("input")
        if called is None:
            refuse(block.at("input"), "Field required")
        yield ToolCall(
            call_id,
            block.text("name"),
            _dump(block.at("input"), called),
            signature=signature,
            cache=block.cache(),
            native=native(block.rest("type", "id", "name", "input", "cache_control")),
        )

    def _result(self, block: Members) -> Iterator[Part]:
        content = block.get("content")
        if isinstance(content, str):
            parts: list[Text | Media] = [Text(content)]
        else:
            parts = []
            for inner in block.objects("content"):
                for part in self._parts(inner):
                    if isinstance(part, (Text, Media)):
                        parts.append(part)
                    else:
                        self._leave_out(inner.path, harmless=False)
        extras = block.rest("type", "tool_use_id", "content", "is_error", "cache_control")
        yield ToolResult(
            uncarry(block.text("tool_use_id"))[0],
            tuple(parts),
            is_error=bool(block.flag("is_error")),
            cache=block.cache(),
            native=native(extras),
        )

    def _fallback(self, block: Members) -> Iterator[Part]:
        """Marks where another model took over; it is not part of the prompt."""
        self._leave_out(block.path)
        return iter(())


_READERS: Final[dict[str, Callable[[TurnReader, Members], Iterator[Part]]]] = {
    "text": TurnReader._text,
    "image": TurnReader._image,
    "document": TurnReader._document,
    "search_result": TurnReader._search_result,
    "thinking": TurnReader._thinking,
    "redacted_thinking": TurnReader._redacted,
    "tool_use": TurnReader._call,
    "tool_result": TurnReader._result,
    "fallback": TurnReader._fallback,
}


def _source(block: Members) -> Members:
    source = block.members("source")
    if source is None:
        refuse(block.at("source"), "Field required")
    return source


def _dump(path: str, value: dict[str, Any]) -> str:
    try:
        return dump_text(value)
    except ValueError:
        raise InvalidRequestError(f"{path}: nested too deeply.", param=path) from None
