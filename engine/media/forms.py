"""multipart/form-data (RFC 7578), read from a whole body and written again.

A form is read strictly: what two readers could take for two different forms is refused, since what
is metered here is understood by a provider's reader later. Reading takes time linear in the body,
and copies no file: its bytes are a view into the body.
"""

from __future__ import annotations

import mmap
import re
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote_to_bytes

from engine.errors import InvalidRequestError

PARTS_MAX: Final = 256
PART_HEAD_MAX_BYTES: Final = 8 * 1024
NAME_MAX_CHARS: Final = 256
FILENAME_MAX_CHARS: Final = 1_024
UNKNOWN_TYPE: Final = "application/octet-stream"

# RFC 2046, section 5.1.1: 1 to 70 of these, the last one no space.
_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]")
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105 (RFC 9110's word, no credential)
# One parameter; a value without quotes may hold more than a token, since boundaries often do.
_PARAMETER = re.compile(
    rf'[ \t]*;[ \t]*(?:({_TOKEN})[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^";\s]+)))?[ \t]*'
)
_is_token = re.compile(_TOKEN).fullmatch
_KIND = re.compile(rf"[ \t]*({_TOKEN}(?:/{_TOKEN})?)[ \t]*")
_HEADER = re.compile(rf"({_TOKEN})[ \t]*:(.*)")
_FOLD = re.compile(r"\r\n[ \t]+")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")  # a tab is none
AFTER_BOUNDARY = re.compile(rb"(?:(--)|[ \t]{0,64}\r\n)")
"""What follows a boundary: the end of the form, or of the line."""
_TYPE = re.compile(r"[\x20-\x7e]{1,255}")
_READ_AS_UTF8 = frozenset({"utf-8", "utf8", "us-ascii", "ascii"})
_PLAIN_ENCODINGS = frozenset({"binary", "8bit", "7bit"})


@dataclass(frozen=True, slots=True)
class Field:
    """A field of text."""

    name: str
    value: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class File:
    """A file: its base name (which may be empty, and is never a path), what the client says of its
    type, and its bytes."""

    name: str
    filename: str
    content_type: str | None
    data: memoryview = field(repr=False)


@dataclass(frozen=True, slots=True)
class Form:
    """The parts of a form, in their order. Lists may be spelled `name` or `name[]`, or both."""

    parts: tuple[Field | File, ...]

    def texts(self, name: str) -> list[str]:
        """The values of the fields `name` and `name[]`."""
        names = (name, f"{name}[]")
        return [part.value for part in self.parts if isinstance(part, Field) and part.name in names]

    def files(self, name: str) -> list[File]:
        """The files `name` and `name[]`."""
        names = (name, f"{name}[]")
        return [part for part in self.parts if isinstance(part, File) and part.name in names]


def parse_form(content_type: str, body: bytes | memoryview) -> Form:
    """The form that a body of this Content-Type is.

    A part with a file name is a file, any other one is text of UTF-8. The files' bytes are views
    of `body`; one that is a view of a part of something larger is copied first.

    Raises:
        InvalidRequestError: it is no such form; the message says which part is wrong, and why.
    """
    delimiter = b"\r\n--" + boundary_of(content_type).encode("ascii")
    source, view = _searchable(body)
    parts: list[Field | File] = []
    at = _first_boundary(source, delimiter)
    while True:
        after = AFTER_BOUNDARY.match(source, at)
        if after is None:
            raise wrong_after_boundary(source, at, len(parts) + 1)
        if after[1]:
            return Form(tuple(parts))
        if len(parts) == PARTS_MAX:
            raise InvalidRequestError(f"The form has more than {PARTS_MAX} parts.")
        head, start = _head_of(source, after.end(), delimiter, len(parts) + 1)
        # The empty line of a head without headers, and of one whose content is empty, is the
        # CRLF that the next boundary begins with.
        end = source.find(delimiter, start - 2)
        if end < 0:
            raise InvalidRequestError(
                "The body ends before the closing boundary of the form: it is truncated."
            )
        parts.append(part_of(head, view[start : max(start, end)], len(parts) + 1))
        at = end + len(delimiter)


def write_form(
    parts: Iterable[Field | File], boundary: str | None = None
) -> tuple[str, list[bytes | memoryview]]:
    """The Content-Type and the body, in pieces, of a form of these parts.

    Names are escaped as browsers do (WHATWG HTML, section 4.10.22.8). The files' bytes are not
    copied. The boundary is random, and stands in none of the parts; a given one is that of the
    form that the parts were read from.
    """
    parts = tuple(parts)
    delimiter = fresh_boundary(parts) if boundary is None else boundary.encode("ascii")
    pieces: list[bytes | memoryview] = []
    head = b"--" + delimiter + b"\r\n"
    for part in parts:
        head += b'Content-Disposition: form-data; name="' + _escaped(part.name) + b'"'
        if isinstance(part, File):
            kind = part.content_type
            kind = kind if kind is not None and _TYPE.fullmatch(kind) else UNKNOWN_TYPE
            head += b'; filename="' + _escaped(part.filename) + b'"\r\n'
            head += b"Content-Type: " + kind.encode("ascii") + b"\r\n\r\n"
            pieces += [head, part.data]
            head = b"\r\n--" + delimiter + b"\r\n"
        else:
            head += b"\r\n\r\n" + part.value.encode() + b"\r\n--" + delimiter + b"\r\n"
    pieces.append(head[:-2] + b"--\r\n")
    return form_type(delimiter.decode("ascii")), pieces


def form_type(boundary: str) -> str:
    """The Content-Type of a form with this boundary."""
    word = boundary if _is_token(boundary) else f'"{boundary}"'
    return f"multipart/form-data; boundary={word}"


def boundary_of(content_type: str, wanted: str = "multipart/form-data") -> str:
    """The boundary that a Content-Type says. Raises InvalidRequestError: it is of no form."""
    kind, parameters = _parameters_of(content_type, "The Content-Type")
    if kind != wanted:
        raise InvalidRequestError(f"The Content-Type is not {wanted}.")
    boundary = parameters.get("boundary")
    if boundary is None:
        raise InvalidRequestError("The Content-Type of the form has no boundary.")
    if not _BOUNDARY.fullmatch(boundary):
        raise InvalidRequestError(
            "The boundary of the Content-Type is none: it has 1 to 70 of the characters that "
            "RFC 2046 allows."
        )
    return boundary


def _parameters_of(header: str, what: str) -> tuple[str, dict[str, str]]:
    """`kind; name=value; …`: the kind and the names in lower case."""
    match = _KIND.match(header)
    if match is None:
        raise InvalidRequestError(f"{what} is malformed.")
    kind, at = match[1].lower(), match.end()
    found: dict[str, str] = {}
    while at < len(header):
        match = _PARAMETER.match(header, at)
        if match is None:
            raise InvalidRequestError(f"{what} is malformed.")
        at = match.end()
        if match[1] is None:  # a semicolon with nothing after it
            continue
        name = match[1].lower()
        if name in found:
            raise InvalidRequestError(f"{what} says '{name}' twice.")
        found[name] = match[3] if match[2] is None else _unquoted(match[2])
    return kind, found


def _unquoted(value: str) -> str:
    """Only quotes and backslashes are escaped: in `C:\\temp` a backslash is one."""
    return re.sub(r'\\(["\\])', r"\1", value)


def _searchable(body: bytes | memoryview) -> tuple[bytes | bytearray | mmap.mmap, memoryview]:
    """Something with `find`, and a view of the same bytes."""
    if not isinstance(body, memoryview):
        return body, memoryview(body)
    whole = body.obj
    if (
        isinstance(whole, bytes | bytearray | mmap.mmap)
        and body.contiguous
        and body.nbytes == len(whole)
    ):
        return whole, body.cast("B") if body.format != "B" else body
    copy = bytes(body)
    return copy, memoryview(copy)


def _first_boundary(source: bytes | bytearray | mmap.mmap, delimiter: bytes) -> int:
    """Where the first boundary ends; what stands before it is nobody's (RFC 2046's preamble)."""
    size = len(delimiter) - 2
    if source[:size] == delimiter[2:]:
        return size
    found = source.find(delimiter)
    if found < 0:
        raise InvalidRequestError(
            "The boundary of the Content-Type does not stand in the body."
            if len(source)
            else "The body is empty, and no form."
        )
    return found + len(delimiter)


def wrong_after_boundary(
    source: bytes | bytearray | mmap.mmap, at: int, number: int
) -> InvalidRequestError:
    """What is wrong where `AFTER_BOUNDARY` does not match."""
    if len(source) - at < 2:
        return InvalidRequestError("The body ends within a boundary of the form: it is truncated.")
    if source[at : at + 1] == b"\n":
        return InvalidRequestError("The lines of the form have to end with CRLF.")
    return InvalidRequestError(
        f"After the boundary before part {number} of the form stands something else than a new "
        "line."
    )


def _head_of(
    source: bytes | bytearray | mmap.mmap, start: int, delimiter: bytes, number: int
) -> tuple[bytes, int]:
    """The headers of a part, and where its content begins."""
    if source[start : start + 2] == b"\r\n":
        return b"", start + 2
    end = source.find(b"\r\n\r\n", start, start + PART_HEAD_MAX_BYTES + 4)
    if end < 0 and len(source) - start > PART_HEAD_MAX_BYTES + 4:
        raise InvalidRequestError(
            f"The headers of part {number} of the form are longer than {PART_HEAD_MAX_BYTES} bytes."
        )
    if end < 0:
        raise InvalidRequestError(
            f"The body ends within the headers of part {number} of the form: it is truncated."
        )
    head = bytes(source[start:end])
    if delimiter in b"\r\n" + head:
        raise InvalidRequestError(f"The headers of part {number} of the form have no end.")
    return head, end + 4


def part_of(head: bytes, data: memoryview, number: int) -> Field | File:
    """The part that these headers make of its bytes. Raises InvalidRequestError."""
    headers = headers_of(head, number)
    what = f"The Content-Disposition of part {number} of the form"
    kind, parameters = _parameters_of(headers.get("content-disposition", "none"), what)
    name = parameters.get("name")
    if kind != "form-data" or name is None:
        raise InvalidRequestError(f"Part {number} of the form has no name.")
    name = _unescaped(name)
    if len(name) > NAME_MAX_CHARS:
        raise InvalidRequestError(
            f"The name of part {number} of the form is longer than {NAME_MAX_CHARS} characters."
        )
    encoding = headers.get("content-transfer-encoding", "binary").lower()
    if encoding not in _PLAIN_ENCODINGS:
        raise InvalidRequestError(
            f"Part {number} of the form has a Content-Transfer-Encoding; it has to be binary.",
            param=name,
        )
    filename = _filename_of(parameters, number)
    if filename is not None:
        return File(name, filename, headers.get("content-type") or None, data)
    return Field(name, _text_of(headers, data, name, number))


def headers_of(head: bytes, number: int) -> dict[str, str]:
    """Of a part, by name in lower case. Raises InvalidRequestError: they are malformed."""
    try:
        text = _FOLD.sub(" ", head.decode())
    except UnicodeDecodeError as error:
        raise InvalidRequestError(
            f"The headers of part {number} of the form are not UTF-8."
        ) from error
    found: dict[str, str] = {}
    for line in text.split("\r\n") if text else ():
        match = _HEADER.fullmatch(line)
        if match is None or _CONTROL.search(line):
            raise InvalidRequestError(f"A header of part {number} of the form is malformed.")
        name = match[1].lower()
        if name in found:
            raise InvalidRequestError(f"Part {number} of the form has '{name}' twice.")
        found[name] = match[2].strip(" \t")
    return found


def _filename_of(parameters: dict[str, str], number: int) -> str | None:
    """The base name. `filename*` wins (RFC 6266, section 4.3); None: it is no file."""
    extended = parameters.get("filename*")
    name = parameters.get("filename")
    if extended is not None:
        name = _extended(extended, number)
    elif name is not None:
        name = _unescaped(name)
    if name is None:
        return None
    name = base_name(name)
    if len(name) > FILENAME_MAX_CHARS:
        raise InvalidRequestError(
            f"The file name of part {number} of the form is longer than "
            f"{FILENAME_MAX_CHARS} characters."
        )
    return name


def base_name(path: str) -> str:
    """What a file is called, of whatever a client says; empty where that is no name.

    >>> base_name("../../etc/passwd"), base_name("C:\\\\Users\\\\me\\\\a.pdf"), base_name("a/..")
    ('passwd', 'a.pdf', '')
    """
    name = _CONTROL.sub("", re.split(r"[/\\]", path)[-1])
    return "" if name in (".", "..") else name


def _extended(value: str, number: int) -> str:
    """`UTF-8''na%C3%AFve.mp3` (RFC 8187)."""
    charset, _, rest = value.partition("'")
    _, quote, encoded = rest.partition("'")
    try:
        if not quote or charset.lower() not in ("utf-8", "iso-8859-1"):
            raise ValueError
        return unquote_to_bytes(encoded).decode(charset)
    except ValueError as error:
        raise InvalidRequestError(
            f"The filename* of part {number} of the form is malformed."
        ) from error


def _text_of(headers: dict[str, str], data: memoryview, name: str, number: int) -> str:
    what = f"The Content-Type of part {number} of the form"
    if "content-type" in headers:
        _, parameters = _parameters_of(headers["content-type"], what)
        if parameters.get("charset", "utf-8").lower() not in _READ_AS_UTF8:
            raise InvalidRequestError(
                f"Part {number} of the form has another charset than UTF-8.", param=name
            )
    try:
        return str(data, "utf-8")
    except UnicodeDecodeError as error:
        raise InvalidRequestError(
            f"Part {number} of the form is neither UTF-8 text nor a file: a file has a file name.",
            param=name,
        ) from error


def _escaped(name: str) -> bytes:
    """As browsers do; a backslash, which they leave alone, would escape what follows it."""
    for character, escape in (("\\", "\\\\"), ('"', "%22"), ("\r", "%0D"), ("\n", "%0A")):
        name = name.replace(character, escape)
    return name.encode()


def _unescaped(name: str) -> str:
    for character, escape in (('"', "%22"), ("\r", "%0D"), ("\n", "%0A")):
        name = name.replace(escape, character)
    return name


def fresh_boundary(parts: Sequence[Field | File]) -> bytes:
    """A random one, which stands in none of the parts."""
    texts = [part.value.encode() for part in parts if isinstance(part, Field)]
    # The files of one form are views of one body, which is faster to search than they are.
    views = [part.data for part in parts if isinstance(part, File)]
    wholes = {id(view.obj): view.obj for view in views if isinstance(view.obj, bytes)}
    texts += wholes.values()
    views = [view for view in views if id(view.obj) not in wholes]
    while True:
        boundary = secrets.token_hex(16).encode("ascii")
        if not any(boundary in text for text in texts) and not any(
            re.search(boundary, view) for view in views
        ):
            return boundary
