"""A stored file on its way out: whole or a range of it, as an attachment that nobody runs.

Sources: RFC 9110 (conditions, ranges), RFC 6266 and 8187 (names), RFC 9530 (digests).
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from quart import Response, request

from engine.errors import RangeError
from engine.ledger.file_rows import FileRow
from engine.media.forms import UNKNOWN_TYPE
from engine.storage.files import FileStore
from frontends.connection import FaultRenderer, current_entry
from frontends.uploading import UNNAMED, sha256_field

# What browsers would render as a page, or run, is none of these, whoever says so.
_SHOWN: Final = re.compile(r"(?:image/(?!svg)|audio/|video/)[a-z0-9][a-z0-9.-]{0,63}")
_SHOWN_TOO: Final = frozenset(
    {
        "application/gzip",
        "application/json",
        "application/jsonl",
        "application/msword",
        "application/pdf",
        "application/rtf",
        "application/vnd.ms-excel",
        "application/vnd.ms-powerpoint",
        "application/vnd.openxmlformats-officedocument.presentationml.presentation",
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        "application/zip",
        "text/csv",
        "text/markdown",
        "text/plain",
    }
)
_RANGE: Final = re.compile(r"bytes=\s*(\d{0,18})\s*-\s*(\d{0,18})\s*", re.IGNORECASE)
_PLAIN: Final = re.compile(r'[^\x20-\x7e]|["\\%]')
_MODIFIED: Final = 200
_NOT_MODIFIED: Final = 304
_PARTIAL: Final = 206


@dataclass(frozen=True, slots=True)
class Conditions:
    """What a client has said of what it wants, in headers; None: nothing."""

    method: str
    range: str | None = None
    if_range: str | None = None
    if_none_match: str | None = None


async def answer_content(store: FileStore, row: FileRow, render_fault: FaultRenderer) -> Response:
    """The bytes of a file, as the request being handled asks for them. Raises GatewayError."""
    headers = request.headers
    conditions = Conditions(
        request.method, headers.get("range"), headers.get("if-range"), headers.get("if-none-match")
    )
    try:
        return await content_response(store, row, conditions)
    except RangeError as error:
        refusal = render_fault(current_entry(), error)
        refusal.headers["content-range"] = f"bytes */{row.size_bytes}"
        return refusal


async def content_response(store: FileStore, row: FileRow, asked: Conditions) -> Response:
    """The bytes of a file, or as many as are asked for; for HEAD what would be said of them.

    Raises:
        RangeError: there are none where they are asked for.
        GatewayError: as `FileStore.pieces`, until the answer begins.
    """
    etag = f'"{row.sha256}"'
    headers = {"etag": etag, "accept-ranges": "bytes"}
    kept_here = row.origin != "provider"  # else nobody knows the digest of all of it
    if _matches(asked.if_none_match, etag):
        return _without_type(Response(b"", _NOT_MODIFIED, headers))
    headers["content-disposition"] = disposition(row.filename)
    if kept_here:
        headers["repr-digest"] = sha256_field(row.sha256)
    begin, end, status = 0, row.size_bytes, _MODIFIED
    if asked.method == "GET" and asked.if_range in (None, etag):
        found = range_of(asked.range, row.size_bytes)
        if found is not None:
            begin, end = found
            status = _PARTIAL
            headers["content-range"] = f"bytes {begin}-{end - 1}/{row.size_bytes}"
    if status == _MODIFIED and kept_here:
        headers["content-digest"] = headers["repr-digest"]
    body: Pieces | bytes = b""
    if asked.method == "GET":
        body = await Pieces.of(store, row, begin, end - begin)
    response = Response(body, status, headers, content_type=shown_type(row.mime_type))
    response.content_length = end - begin
    return response


class Pieces:
    """Of a file, the first of which is there: what is wrong with the file is known before anything
    is said of it."""

    def __init__(self, first: bytes | None, rest: AsyncIterator[bytes]) -> None:
        self._first = first
        self._rest = rest

    @classmethod
    async def of(cls, store: FileStore, row: FileRow, offset: int, size_bytes: int) -> Pieces:
        """Raises GatewayError, as `FileStore.pieces`."""
        rest = aiter(store.pieces(row, offset, size_bytes))
        return cls(await anext(rest, None), rest)

    def __aiter__(self) -> Pieces:
        return self

    async def __anext__(self) -> bytes:
        first, self._first = self._first, None
        return await anext(self._rest) if first is None else first

    async def aclose(self) -> None:
        """Nothing is read any more."""
        close = getattr(self._rest, "aclose", None)
        if close is not None:
            await close()


def shown_type(mime_type: str) -> str:
    """What a browser is told of a type.

    >>> shown_type("image/png"), shown_type("image/svg+xml"), shown_type("text/html")
    ('image/png', 'application/octet-stream', 'application/octet-stream')
    """
    known = mime_type in _SHOWN_TOO or _SHOWN.fullmatch(mime_type)
    return mime_type if known else UNKNOWN_TYPE


def disposition(filename: str) -> str:
    """An attachment of this name, for old clients in ASCII.

    >>> disposition('naïve".pdf')
    "attachment; filename=\\"na_ve_.pdf\\"; filename*=UTF-8''na%C3%AFve%22.pdf"
    """
    name = filename or UNNAMED
    plain = _PLAIN.sub("_", name)
    said = f'attachment; filename="{plain}"'
    return (
        said
        if plain == name
        else f"{said}; filename*=UTF-8''{quote(name, safe='', errors='replace')}"
    )


def range_of(said: str | None, size_bytes: int) -> tuple[int, int] | None:
    """Begin and end of the one range that is asked for; None: all of it. What is no range, or
    several, asks for all of it.

    Raises:
        RangeError: it lies outside.
    """
    match = _RANGE.fullmatch(said or "")
    if match is None or match[0] == "" or not (match[1] or match[2]):
        return None
    if not match[1]:
        begin, end = max(0, size_bytes - int(match[2])), size_bytes
    else:
        begin = int(match[1])
        last = int(match[2]) if match[2] else size_bytes
        if last < begin:
            return None
        end = min(last + 1, size_bytes)
    if begin >= end:
        raise RangeError(f"The file has {size_bytes} bytes.")
    return begin, end


def _matches(said: str | None, etag: str) -> bool:
    tags = [tag.strip().removeprefix("W/") for tag in (said or "").split(",")]
    return etag in tags or tags == ["*"]


def _without_type(response: Response) -> Response:
    del response.headers["content-type"]
    return response
