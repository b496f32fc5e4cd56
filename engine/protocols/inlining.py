"""Media that a client names by URL, put inline for providers that fetch nothing. Pure: what was
fetched is given.

Source: the platforms' notes on Anthropic's page of vision (base64 only on Bedrock and on Google's
cloud); Gemini's page of file input methods (its older models take no URL of others).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from engine.conversation import Conversation, Inline, Media, MediaKind, ToolResult, Turn

T = TypeVar("T")


Found = Mapping[str, Inline]
"""By URL."""


def is_web_url(url: str) -> bool:
    """Whether it is meant for anybody to fetch, well written or not; `gs://` and the like are the
    provider's own.

    >>> is_web_url("HTTPS://a.example/x"), is_web_url("gs://bucket/x"), is_web_url("data:,x")
    (True, False, False)
    """
    return url[:6].lower().startswith(("https:", "http:"))


def media_urls(conversation: Conversation) -> Iterator[tuple[MediaKind, str]]:
    """What stands in a conversation by URL."""
    for turn in conversation.turns:
        for part in turn.parts:
            inner = part.content if isinstance(part, ToolResult) else (part,)
            for media in inner:
                if not isinstance(media, Media) or media.url is None or media.file_id is not None:
                    continue
                if is_web_url(media.url):
                    yield media.kind, media.url


def put_inline(conversation: Conversation, found: Found) -> Conversation:
    """The conversation, with what was found in place of its URLs."""
    turns = tuple(_turn(turn, found) for turn in conversation.turns)
    return replace(conversation, turns=turns)


def _turn(turn: Turn, found: Found) -> Turn:
    parts = tuple(
        replace(part, content=tuple(_part(inner, found) for inner in part.content))
        if isinstance(part, ToolResult)
        else _part(part, found)
        for part in turn.parts
    )
    return replace(turn, parts=parts)


def _part(part: T, found: Found) -> T | Media:
    inline = found.get(part.url or "") if isinstance(part, Media) else None
    if inline is None or not isinstance(part, Media):
        return part
    return replace(part, url=None, mime_type=inline.mime_type, data=inline.data)


def source_urls(document: Mapping[str, Any]) -> Iterator[tuple[MediaKind, str]]:
    """What stands in the document of an Anthropic client by URL."""
    for kind, source in _sources(document):
        if is_web_url(source["url"]):
            yield kind, source["url"]


def put_sources_inline(document: Mapping[str, Any], found: Found) -> None:
    """Write what was found into the document of an Anthropic client, in place of its URLs."""
    for _, source in _sources(document):
        inline = found.get(source["url"])
        if inline is not None:
            source.clear()
            source |= {"type": "base64", "media_type": inline.mime_type, "data": inline.data}


def _sources(document: Mapping[str, Any]) -> Iterator[tuple[MediaKind, dict[str, Any]]]:
    """Images and documents are in messages, in results of tools, and in documents of blocks."""
    waiting: list[Any] = [document.get("messages")]
    while waiting:
        match waiting.pop():
            case list(items):
                waiting.extend(reversed(items))
            case {
                "type": "image" | "document" as kind,
                "source": {"type": "url", "url": str()} as source,
            }:
                yield kind, source
            case {"type": "document", "source": {"type": "content", "content": content}}:
                waiting.append(content)
            case {"content": list(content)}:
                waiting.append(content)
