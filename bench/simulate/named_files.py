"""The files that a chat names: whether each is there, of this key, and fit for where it stands."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple

import orjson

from bench.simulate import anthropic_files, gemini_files
from bench.simulate.errors import ApiError
from bench.simulate.files import Face, FileShelf, KeptFile
from bench.simulate.openai_files import no_such_file

_URI: Final = re.compile(r"https?://[^/]+/v1(?:beta|alpha)?/files/([^/?#:]+)")
_HINTS: Final = (b'"file_id"', b'"fileUri"', b'"file_uri"')
_PICTURES: Final = (b"\x89PNG", b"\xff\xd8\xff", b"RIFF", b"GIF8")


class Named(NamedTuple):
    """A file that a request names; `kind` is image, document, or empty where any will do."""

    file_id: str
    kind: str = ""


def _parts(holders: Any, *names: str) -> Iterator[dict[str, Any]]:
    """What stands in the lists of these names, of each of the holders."""
    for holder in holders if isinstance(holders, list) else [holders]:
        if isinstance(holder, dict):
            for name in names:
                parts = holder.get(name)
                if isinstance(parts, list):
                    yield from (part for part in parts if isinstance(part, dict))


def _of_chat(request: Mapping[str, Any]) -> Iterator[Named]:
    for part in _parts(request.get("messages"), "content"):
        match part:
            case {"type": "file", "file": {"file_id": str(file_id)}}:
                yield Named(file_id)


def _of_responses(request: Mapping[str, Any]) -> Iterator[Named]:
    for part in _parts(request.get("input"), "content", "output"):
        match part:
            case {"type": "input_file", "file_id": str(file_id)}:
                yield Named(file_id)
            case {"type": "input_image", "file_id": str(file_id)}:
                yield Named(file_id, "image")


def _of_edits(request: Mapping[str, Any]) -> Iterator[Named]:
    masks = [request["mask"]] if isinstance(request.get("mask"), dict) else []
    for image in [*_parts(request, "images"), *masks]:
        if isinstance(file_id := image.get("file_id"), str):
            yield Named(file_id, "image")


def _of_messages(request: Mapping[str, Any]) -> Iterator[Named]:
    for block in _parts(request.get("messages"), "content"):
        inner = _parts(block, "content") if block.get("type") == "tool_result" else ()
        for one in (block, *inner):
            match one:
                case {
                    "type": "image" | "document" as kind,
                    "source": {"type": "file", "file_id": str(file_id)},
                }:
                    yield Named(file_id, kind)
                case {"type": "container_upload", "file_id": str(file_id)}:
                    yield Named(file_id)


def _of_contents(request: Mapping[str, Any]) -> Iterator[Named]:
    for part in _parts(request.get("contents"), "parts"):
        response = part.get("functionResponse") or part.get("function_response")
        for one in (part, *_parts(response, "parts")):
            data = one.get("fileData") or one.get("file_data") or {}
            uri = data.get("fileUri") or data.get("file_uri") or ""
            found = _URI.fullmatch(uri)
            if found is not None:
                yield Named(found[1])


_READERS: Final[Mapping[str, tuple[Face, Callable[[Mapping[str, Any]], Iterator[Named]]]]] = {
    "openai": ("openai", _of_chat),
    "openai-responses": ("openai", _of_responses),
    "openai-image-edits": ("openai", _of_edits),
    "anthropic": ("anthropic", _of_messages),
    "gemini": ("gemini", _of_contents),
}
"""By the name of a dialect."""


def named_files(
    shelf: FileShelf, dialect: str, body: bytes, key: str
) -> tuple[Mapping[str, Any], ...]:
    """The files that a valid request names, as the truth log has them.

    Raises:
        ApiError: as the API refuses one that it does not have, or not for that place.
    """
    if dialect not in _READERS or not any(hint in body for hint in _HINTS):
        return ()
    face, read = _READERS[dialect]
    found: list[Mapping[str, Any]] = []
    for named in read(orjson.loads(body)):
        file = shelf.find(face, key, named.file_id)
        if file is None:
            raise _unknown(dialect, face, named.file_id)
        _check_fit(face, file, named.kind)
        found.append(file.to_json())
    return tuple(found)


def _unknown(dialect: str, face: Face, file_id: str) -> ApiError:
    match face:
        case "anthropic":
            return anthropic_files.no_such_file(file_id)
        case "gemini":
            return gemini_files.no_such_file(file_id)
        case _ if dialect == "openai":
            return no_such_file(file_id)
        case _:
            return ApiError(f"Files ['{file_id}'] were not found.", param="input")


def _check_fit(face: Face, file: KeptFile, kind: str) -> None:
    if face == "gemini" and file.state != "ACTIVE":
        raise ApiError(
            f"The File {file.file_id} is not in an ACTIVE state and usage is not allowed.",
            kind="FAILED_PRECONDITION",
        )
    if face == "anthropic" and kind:
        fits = ("image/",) if kind == "image" else ("application/pdf", "text/plain")
        if not file.mime_type.startswith(fits):
            raise ApiError(f"Invalid file type for {kind} block: {file.mime_type} ({file.file_id})")
    if face == "openai" and kind == "image" and not file.data.startswith(_PICTURES):
        raise ApiError(
            f"Invalid image file: {file.file_id}. Supported formats are png, jpeg, gif, and webp.",
            param="input",
            code="invalid_image_format",
        )
