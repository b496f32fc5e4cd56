"""Media by URL are found wherever they stand, and what was fetched takes their place."""

from __future__ import annotations

from typing import Any

import orjson

from engine.conversation import Conversation, Inline, Media, Text, ToolResult, Turn
from engine.protocols.inlining import (
    media_urls,
    put_inline,
    put_sources_inline,
    source_urls,
)

CAT, DOG, LAW = "https://a.example/cat", "http://a.example/dog", "HTTPS://a.example/law"
FOUND = {CAT: Inline("image/png", "Q0FU"), LAW: Inline("application/pdf", "TEFX")}


def test_media_of_a_conversation() -> None:
    kept = (
        Text("Look"),
        Media("image", data="AAAA"),
        Media("image", url="gs://bucket/x"),
        Media("image", url="data:image/png;base64,AAAA"),
        Media("image", url=DOG),
    )
    conversation = Conversation(
        (
            Turn("user", (Media("image", url=CAT, detail="low"), *kept)),
            Turn("user", (ToolResult("c1", (Text("x"), Media("document", url=LAW))),)),
        )
    )
    assert list(media_urls(conversation)) == [
        ("image", CAT),
        ("image", DOG),
        ("document", LAW),
    ]

    inlined = put_inline(conversation, FOUND)

    cat = Media("image", mime_type="image/png", data="Q0FU", detail="low")
    law = Media("document", mime_type="application/pdf", data="TEFX")
    assert inlined.turns[0].parts == (cat, *kept)
    assert inlined.turns[1].parts == (ToolResult("c1", (Text("x"), law)),)
    assert list(media_urls(inlined)) == [("image", DOG)]


def source(url: str) -> dict[str, Any]:
    return {"type": "url", "url": url}


def inline(kind: str, data: str) -> dict[str, Any]:
    return {"type": "base64", "media_type": kind, "data": data}


def anthropic_document(cat: Any, law: Any, dog: Any) -> dict[str, Any]:
    """A request with media in a message, in a tool's result, and in a document of blocks."""
    blocks = [{"type": "image", "source": dog, "cache_control": {"type": "ephemeral"}}]
    return {
        "model": "m",
        "system": "https://a.example/cat",
        "messages": [
            {"role": "user", "content": "https://a.example/cat"},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": CAT},
                    {"type": "image", "source": cat},
                    {"type": "tool_result", "tool_use_id": "t", "content": [
                        {"type": "document", "title": "Law", "source": law},
                    ]},
                    {"type": "document", "source": {"type": "content", "content": blocks}},
                    {"type": "tool_use", "id": "t", "name": "n", "input": {
                        "type": "image", "source": source(CAT),
                    }},
                ],
            },
        ],
    }  # fmt: skip


def test_sources_of_an_anthropic_document() -> None:
    document = anthropic_document(source(CAT), source(LAW), source(DOG))

    assert list(source_urls(document)) == [("image", CAT), ("document", LAW), ("image", DOG)]
    put_sources_inline(document, FOUND)

    assert document == anthropic_document(
        inline("image/png", "Q0FU"), inline("application/pdf", "TEFX"), source(DOG)
    )


def test_a_document_of_any_shape_is_walked() -> None:
    deep: Any = []
    for _ in range(100):
        deep = {"type": "tool_result", "content": [deep]}
    for document in ({}, {"messages": None}, {"messages": [[1], "x", {"content": deep}]}):
        assert list(source_urls(document)) == []
        before = orjson.dumps(document)
        put_sources_inline(document, FOUND)
        assert orjson.dumps(document) == before
