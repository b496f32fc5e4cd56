"""Multipart forms as a provider reads them: a small reader of its own, for whole bodies.

What is of a file is not copied: it stays a view of the body.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from mmap import mmap
from typing import Any, Final

import orjson

from bench.simulate.errors import ApiError
from bench.simulate.openai_fields import Check, missing
from bench.simulate.replies import Request

PARTS_MAX: Final = 1_000
HEADERS_MAX_BYTES: Final = 16_384
VALUE_SHOWN: Final = 1_000
_BOUNDARY: Final = re.compile(rb'boundary=(?:"([^"]{1,70})"|([^\s;,"]{1,70}))', re.IGNORECASE)
_OPTION: Final = re.compile(rb';\s*(name|filename)="((?:[^"\\]|\\.)*)"', re.IGNORECASE)


Body = bytes | mmap


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a form; `filename` is None where it is a value."""

    name: str
    filename: str | None
    content_type: str
    data: memoryview

    @property
    def text(self) -> str:
        """A value."""
        return bytes(self.data).decode("utf-8", "replace")

    def described(self) -> dict[str, Any]:
        """As the truth log has it: a value, or what a file is known by."""
        if self.filename is None:
            return {"name": self.name, "value": self.text[:VALUE_SHOWN]}
        return {
            "name": self.name,
            "filename": self.filename,
            "content_type": self.content_type,
            "bytes": len(self.data),
            "crc32": zlib.crc32(self.data),
        }


@dataclass(frozen=True, slots=True)
class Form:
    """The parts in their order."""

    parts: tuple[Part, ...]

    def described(self) -> tuple[dict[str, Any], ...]:
        """Of every part, as the truth log has it."""
        return tuple(part.described() for part in self.parts)

    def files(self, *names: str) -> list[Part]:
        """The files under any of these names."""
        found = [part for part in self.parts if part.name in names]
        for part in found:
            if part.filename is None:
                raise ApiError(f"Invalid type for '{part.name}': expected a file.", param=part.name)
        return found

    def values(self, *files: str) -> dict[str, Any]:
        """What is no file, by its name; a name that ends with `[]` has a list."""
        values: dict[str, Any] = {}
        for part in self.parts:
            if part.name in files:
                continue
            if part.name.endswith("[]"):
                values.setdefault(part.name, []).append(part.text)
            elif part.name in values:
                raise ApiError(f"Duplicate parameter: '{part.name}'.", param=part.name)
            else:
                values[part.name] = part.text
        return values


def read_form(request: Request) -> Form:
    """The parts of a request's body.

    Raises:
        ApiError: it is no form, or a broken one.
    """
    content_type = request.headers.get(b"content-type", b"")
    body = request.body if request.upload is None else request.upload
    kind = content_type.partition(b";")[0].strip().lower()
    if kind != b"multipart/form-data":
        shown = kind.decode("latin-1") or "none"
        raise ApiError(f"Unsupported content type: '{shown}'. Expected 'multipart/form-data'.")
    found = _BOUNDARY.search(content_type)
    if found is None:
        raise ApiError("Could not parse multipart form: no boundary.")
    delimiter = b"--" + (found[1] or found[2])
    at = body.find(delimiter)
    if at < 0 or body[:at].strip(b"\r\n"):
        raise ApiError("Could not parse multipart form: it does not begin with its boundary.")
    view = memoryview(body)
    parts: list[Part] = []
    while True:
        at += len(delimiter)
        if body[at : at + 2] == b"--":
            return Form(tuple(parts))
        end = body.find(b"\r\n" + delimiter, at)
        if end < 0 or body[at : at + 2] != b"\r\n":
            raise ApiError("Could not parse multipart form: unexpected end of the form.")
        if len(parts) == PARTS_MAX:
            raise ApiError(f"Could not parse multipart form: more than {PARTS_MAX} parts.")
        parts.append(_part(body, view, at + 2, end))
        at = end + 2


def _part(body: Body, view: memoryview, start: int, end: int) -> Part:
    headers_end = body.find(b"\r\n\r\n", start, min(end, start + HEADERS_MAX_BYTES))
    if headers_end < 0:
        raise ApiError("Could not parse multipart form: a part without headers.")
    headers: dict[bytes, bytes] = {}
    for line in body[start:headers_end].split(b"\r\n"):
        name, _, value = line.partition(b":")
        headers[name.strip().lower()] = value.strip()
    disposition = headers.get(b"content-disposition", b"")
    options = {name.lower(): value for name, value in _OPTION.findall(disposition)}
    if b"name" not in options:
        raise ApiError("Could not parse multipart form: a part without a name.")
    filename = options.get(b"filename")
    return Part(
        options[b"name"].decode("utf-8", "replace"),
        None if filename is None else filename.decode("utf-8", "replace"),
        headers.get(b"content-type", b"").decode("latin-1"),
        view[headers_end + 4 : end],
    )


def typed_values(
    values: Mapping[str, str | list[str]], fields: Mapping[str, Check]
) -> dict[str, Any]:
    """The values of a form as JSON would have them, checked by the same fields.

    Whatever is to be a number or a boolean comes as text; a check that takes text gets the text.

    Raises:
        ApiError: in the words of the API.
    """
    read: dict[str, Any] = {}
    for name, text in values.items():
        check = fields.get(name)
        if check is None:
            raise ApiError(f"Unknown parameter: '{name}'.", param=name, code="unknown_parameter")
        read[name] = _checked(check, name, text)
    return read


def _checked(check: Check, name: str, text: str | list[str]) -> Any:
    try:
        check(name, text)
    except ApiError as error:
        if isinstance(text, list) or error.code != "invalid_type":
            raise
        try:
            value = orjson.loads(text.lower() if text in ("True", "False") else text)
        except orjson.JSONDecodeError:
            raise error from None
        check(name, value)
        return value
    return text


def required(form: Form, *names: str) -> None:
    """These are there.

    Raises:
        ApiError: one is not.
    """
    present = {part.name for part in form.parts}
    for name in names:
        if name not in present:
            raise missing(name)
