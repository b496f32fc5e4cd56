"""Files of the gateway's that items name: `file_id` of an `input_file` or `input_image`, in what a
side says and in what a call came to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple

from engine.conversation import FileStandIn, FileUse
from engine.protocols.fields import dict_of, text_of
from engine.protocols.file_refs import Place, StandIns, address_of, base64_of, words_of

_NAMING: Final = frozenset({"input_file", "input_image"})
_AUDIO_FORMATS: Final = {"audio/mpeg": "mp3"}
_OF_A_NAME: Final = ("file_id", "filename", "detail")


class ToolPlace(NamedTuple):
    """Where a tool names a file: the container that has it in its `file_ids`, and where there."""

    use: FileUse
    container: dict[str, Any]
    at: int


def places(document: dict[str, Any]) -> list[Place]:
    """Where items name files."""
    return [
        Place(FileUse(written, f"{path}.file_id"), part, part)
        for path, part in _parts(document.get("input"))
        if text_of(part.get("type")) in _NAMING and (written := text_of(part.get("file_id")))
    ]


def tool_places(document: dict[str, Any]) -> list[ToolPlace]:
    """Where tools name files that are to be in their containers."""
    return [
        ToolPlace(FileUse(text_of(written), f"{path}[{index}]", by_id=True), container, index)
        for path, container in _containers(document.get("tools"))
        for index, written in enumerate(container["file_ids"])
        if text_of(written)
    ]


def _containers(tools: object) -> Iterator[tuple[str, dict[str, Any]]]:
    for number, tool in enumerate(tools if isinstance(tools, list) else ()):
        if not isinstance(tool, dict):
            continue
        container = dict_of(tool.get("container"))
        if isinstance(container.get("file_ids"), list):
            yield f"tools[{number}].container.file_ids", container


def put_in_tools(places: Iterable[ToolPlace], files: StandIns) -> tuple[FileUse, ...]:
    """Which files tools name; each that its provider has is named so."""
    uses = []
    for use, container, at in places:
        uses.append(use)
        file = files.get(use.written)
        if file is not None and file.held is not None:
            container["file_ids"][at] = file.held
    return tuple(uses)


def _parts(items: object) -> Iterator[tuple[str, dict[str, Any]]]:
    for number, item in enumerate(items if isinstance(items, list) else ()):
        if not isinstance(item, dict):
            continue
        for name in ("content", "output"):
            parts = item.get(name)
            for index, part in enumerate(parts if isinstance(parts, list) else ()):
                if isinstance(part, dict):
                    yield f"input[{number}].{name}[{index}]", part


def put(part: dict[str, Any], file: FileStandIn) -> None:
    """By what it is, whichever of the two types of part names it."""
    said = {name: part.pop(name, None) for name in _OF_A_NAME}
    if (words := words_of(file)) is not None:
        part |= {"type": "input_text", "text": words}
        return
    match file.kind:
        case "image":
            part["type"] = "input_image"
            name = "image_url" if file.held is None else "file_id"
            part |= {name: address_of(file), "detail": said["detail"] or "auto"}
        case "audio":
            kind = _AUDIO_FORMATS.get(file.mime_type, file.mime_type.partition("/")[2])
            audio = {"data": base64_of(file), "format": kind}
            part |= {"type": "input_audio", "input_audio": audio}
        case "document" if file.held is not None:
            part |= {"type": "input_file", "file_id": file.held}
        case _:
            data = f"data:{file.mime_type};base64,{base64_of(file)}"
            name = text_of(said["filename"]) or file.name
            part |= {"type": "input_file", "filename": name, "file_data": data}
