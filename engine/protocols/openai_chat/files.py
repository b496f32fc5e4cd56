"""Files of the gateway's that messages name: `file.file_id` of a content part."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from engine.conversation import FileStandIn, FileUse
from engine.protocols.fields import dict_of, text_of
from engine.protocols.file_refs import Place, address_of, base64_of, words_of

_AUDIO_FORMATS: Final = {"audio/wav": "wav", "audio/mpeg": "mp3"}


def places(document: dict[str, Any]) -> list[Place]:
    """Where messages name files."""
    return [
        Place(FileUse(written, f"{path}.file.file_id"), part, file)
        for path, part in _parts(document)
        if part.get("type") == "file"
        and (file := dict_of(part.get("file")))
        and (written := text_of(file.get("file_id")))
    ]


def _parts(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for number, message in enumerate(document["messages"]):
        content = message.get("content")
        for index, part in enumerate(content if isinstance(content, list) else ()):
            if isinstance(part, dict):
                yield f"messages[{number}].content[{index}]", part


def put(part: dict[str, Any], file: FileStandIn) -> None:
    """By what it is: one type of part names files of any kind."""
    del part["file"]
    if (words := words_of(file)) is not None:
        part |= {"type": "text", "text": words}
        return
    match file.kind:
        case "image":
            part |= {"type": "image_url", "image_url": {"url": address_of(file)}}
        case "video":
            part |= {"type": "video_url", "video_url": {"url": address_of(file)}}
        case "audio":
            kind = _AUDIO_FORMATS.get(file.mime_type, file.mime_type.partition("/")[2])
            audio = {"data": base64_of(file), "format": kind}
            part |= {"type": "input_audio", "input_audio": audio}
        case "document" if file.held is not None:
            part["file"] = {"file_id": file.held}
        case "document":
            part["file"] = {"filename": file.name, "file_data": address_of(file)}
