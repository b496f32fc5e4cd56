"""Files of the gateway's that blocks name: `source` of the type `file`, of an image or a document,
in messages, in results of tools and in documents of blocks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from engine.conversation import FileStandIn, FileUse
from engine.protocols.fields import dict_of, text_of
from engine.protocols.file_refs import Place, base64_of, words_of

_NAMING: Final = frozenset({"image", "document"})


def places(document: dict[str, Any]) -> list[Place]:
    """Where blocks name files."""
    return [
        Place(FileUse(written, f"{path}.source.file_id"), block, source)
        for path, block in _blocks(document.get("messages"))
        if text_of(block.get("type")) in _NAMING
        and (source := dict_of(block.get("source"))).get("type") == "file"
        and (written := text_of(source.get("file_id")))
    ]


def _blocks(messages: object) -> Iterator[tuple[str, dict[str, Any]]]:
    """Walked without recursion, as they may be nested deeply."""
    waiting: list[tuple[str, object]] = [("messages", messages)]
    while waiting:
        path, value = waiting.pop()
        if isinstance(value, list):
            waiting.extend(
                (f"{path}[{index}]", value[index]) for index in reversed(range(len(value)))
            )
        elif isinstance(value, dict):
            yield path, value
            source = dict_of(value.get("source"))
            for at, inner in ((f"{path}.source.content", source), (f"{path}.content", value)):
                if isinstance(content := inner.get("content"), list):
                    waiting.append((at, content))


def put(block: dict[str, Any], file: FileStandIn) -> None:
    """By what it is: whatever is no image is a document."""
    block["type"] = "image" if file.kind == "image" else "document"
    if (words := words_of(file)) is not None:
        block["source"] = {"type": "text", "media_type": "text/plain", "data": words}
    elif file.held is not None:
        block["source"] = {"type": "file", "file_id": file.held}
    else:
        data = base64_of(file)
        block["source"] = {"type": "base64", "media_type": file.mime_type, "data": data}
