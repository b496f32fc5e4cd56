"""Files of the gateway's that parts name: `fileData.fileUri`, in contents and in what functions
answered."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from engine.conversation import FileStandIn, FileUse
from engine.protocols.file_refs import Place, base64_of, is_file_address
from engine.protocols.gemini.spelling import get_dict, get_dicts, get_text, key_of


def places(prompt: dict[str, Any], at: str = "") -> list[Place]:
    """Where parts name files; `at` is where the prompt stands in its document."""
    return [
        Place(FileUse(uri, f"{at}{path}.{key_of(part, 'fileData')}.fileUri"), part, data)
        for path, part in _parts(prompt)
        if (data := get_dict(part, "fileData"))
        and (uri := get_text(data, "fileUri"))
        and is_file_address(uri)
    ]


def _parts(prompt: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for number, content in enumerate(get_dicts(prompt, "contents")):
        for index, part in enumerate(get_dicts(content, "parts")):
            path = f"contents[{number}].parts[{index}]"
            yield path, part
            results = get_dicts(get_dict(part, "functionResponse"), "parts")
            for position, inner in enumerate(results):
                yield f"{path}.{key_of(part, 'functionResponse')}.parts[{position}]", inner


def put(part: dict[str, Any], file: FileStandIn) -> None:
    del part[key_of(part, "fileData") or "fileData"]
    if file.held is not None:
        part["fileData"] = {"fileUri": file.uri or file.held, "mimeType": file.mime_type}
    else:
        part["inlineData"] = {"mimeType": file.mime_type, "data": base64_of(file)}
