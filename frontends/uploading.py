"""Files on their way in: a body is passed on as it arrives, and nothing holds it whole.

The store's own pace is the client's: nothing is read while what has come is written. The bounds of
time are those of other bodies (`frontends.bodies`); what takes the store's time is not counted.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import math
import mimetypes
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Final, Protocol

import trio

from engine import Gateway
from engine.errors import (
    BodyTooLargeError,
    DigestMismatchError,
    InvalidRequestError,
    UnsupportedEncodingError,
)
from engine.media.form_stream import FileBegins, FileData, FormStream
from engine.media.forms import UNKNOWN_TYPE, Field
from engine.storage.upload import Upload
from frontends.bodies import BodyTimeoutError, Incoming
from frontends.keys import Fields

FORM_BESIDE_MAX_BYTES: Final = 128 * 1024
"""Of a form, beside its file."""
UNNAMED: Final = "upload"

_SHA256: Final = re.compile(r"(?:^|,)\s*sha-256\s*=\s*([^,;\s]*)", re.IGNORECASE)
_BYTES: Final = re.compile(r":([A-Za-z0-9+/]{43}=):")
_KIND: Final = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]{0,126}/[a-z0-9][a-z0-9!#$&^_.+-]{0,126}")
_TYPES: Final = mimetypes.MimeTypes(())
"""Python's own table: machines differ in theirs."""
for _kind, _suffix in (
    ("application/jsonl", ".jsonl"),
    ("application/vnd.openxmlformats-officedocument.presentationml.presentation", ".pptx"),
    ("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", ".xlsx"),
    ("application/vnd.openxmlformats-officedocument.wordprocessingml.document", ".docx"),
    ("image/webp", ".webp"),
    ("text/markdown", ".md"),
):
    _TYPES.add_type(_kind, _suffix)


class UploadRequest(Incoming, Protocol):
    """What an upload is read from."""

    @property
    def headers(self) -> Fields: ...


async def stream_body(
    request: UploadRequest,
    gateway: Gateway,
    keep: Callable[[bytes], Awaitable[None]],
    *,
    max_bytes: int,
    digests: tuple[str, ...] = ("content-digest", "repr-digest"),
) -> None:
    """Pass a body on to `keep`, part by part, and compare it with what these headers say of it.

    Raises:
        UnsupportedEncodingError: it is coded.
        BodyTooLargeError: it is longer than `max_bytes`.
        BodyTimeoutError: it arrives too slowly.
        DigestMismatchError: it is not what the client says that it sends.
        ShutdownError: the gateway stops.
    """
    refuse_coded(request.headers)
    if (request.content_length or 0) > max_bytes:
        raise _too_large(max_bytes)
    said = {digest for name in digests if (digest := digest_of(request.headers, name))}
    found = hashlib.sha256() if said else None
    server = gateway.config.server
    with gateway.refused_at_end() as waiting:
        started, arrived_bytes = trio.current_time(), 0
        while True:
            allowed_s = server.body_grace_s + arrived_bytes / server.body_rate_min_bytes_per_s
            waiting.deadline = started + allowed_s
            part = await anext(request.body, None)
            waiting.deadline = math.inf
            if part is None:
                if found is not None and said != {found.hexdigest()}:
                    raise DigestMismatchError("The body has another SHA-256 digest than is said.")
                return
            arrived_bytes += len(part)
            if arrived_bytes > max_bytes:
                raise _too_large(max_bytes)
            if found is not None:
                found.update(part)
            stopped = trio.current_time()
            await keep(part)
            started += trio.current_time() - stopped
    raise BodyTimeoutError("The request body arrived too slowly.")


class FormUpload:
    """A form with one file, which goes to the store as it comes.

    Attributes:
        fields: the others, by name.
        file: what is said of the file; None: it has not begun.
    """

    def __init__(
        self,
        form: FormStream,
        names: tuple[str, ...],
        check: Callable[[Mapping[str, str]], object],
    ) -> None:
        """`names` the file may have; `check` raises for fields that are wrong: it is asked as soon
        as the file begins, and again by whoever has all of them."""
        self.fields: dict[str, str] = {}
        self.file: FileBegins | None = None
        self._form = form
        self._names = names
        self._check = check

    async def receive(
        self,
        request: UploadRequest,
        gateway: Gateway,
        upload: Upload,
        file_max_bytes: int | None = None,
    ) -> FileBegins:
        """All of the form; what is said of its file. A file may have `file_max_bytes`, or as many
        as any.

        Raises:
            GatewayError: as `stream_body` and `Upload.append`; or it is no such form.
        """

        async def keep(data: bytes) -> None:
            for event in self._form.feed(data):
                match event:
                    case FileData():
                        await upload.append(event.data)
                    case FileBegins():
                        self._begin(event)
                    case Field():
                        self._note(event)

        if file_max_bytes is None:
            file_max_bytes = gateway.config.files.file_max_bytes
        max_bytes = file_max_bytes + FORM_BESIDE_MAX_BYTES
        await stream_body(request, gateway, keep, max_bytes=max_bytes)
        self._form.finish()
        if self.file is None:
            raise InvalidRequestError(f"The form has no '{self._names[0]}'.", param=self._names[0])
        return self.file

    def _begin(self, file: FileBegins) -> None:
        if file.name not in self._names:
            raise InvalidRequestError(
                f"The form has a file '{file.name}'; it takes '{self._names[0]}'.", param=file.name
            )
        if self.file is not None:
            raise InvalidRequestError("The form has several files.", param=file.name)
        self._check(self.fields)
        self.file = file

    def _note(self, field: Field) -> None:
        if field.name in self._names:
            raise InvalidRequestError(
                f"'{field.name}' has to be a file: a file has a file name.", param=field.name
            )
        if field.name in self.fields:
            raise InvalidRequestError(f"The form says '{field.name}' twice.", param=field.name)
        self.fields[field.name] = field.value


def expected_bytes(request: Incoming) -> int | None:
    """How long the file of a form is at least, by what its client says of the body.

    It is known before anything is read: what is too long for sure is refused unread.
    """
    length = request.content_length
    return None if length is None else max(0, length - FORM_BESIDE_MAX_BYTES)


def refuse_coded(headers: Fields) -> None:
    """Raises UnsupportedEncodingError: the body is compressed; nothing is unpacked here."""
    codings = ",".join(headers.getlist("content-encoding")).split(",")
    if any(coding.strip().lower() not in ("", "identity") for coding in codings):
        raise UnsupportedEncodingError("Send the file as it is: a Content-Encoding is not undone.")


def digest_of(headers: Fields, name: str) -> str | None:
    """The SHA-256 that a header of RFC 9530 says, in hexadecimal digits; other digests are not
    looked at. Raises InvalidRequestError: it is none."""
    found = set(_said(headers.getlist(name)))
    if len(found) > 1:
        raise InvalidRequestError(f"'{name}' says two different things.", param=name)
    return found.pop() if found else None


def _said(values: list[str]) -> Iterator[str]:
    for value in values:
        for said in _SHA256.findall(value):
            match = _BYTES.fullmatch(said)
            try:
                digest = base64.b64decode(match[1], validate=True) if match else b""
            except binascii.Error:
                digest = b""
            if len(digest) != hashlib.sha256().digest_size:
                raise InvalidRequestError("A digest is written as 'sha-256=:BASE64:'.")
            yield digest.hex()


def sha256_field(sha256: str) -> str:
    """A digest in hexadecimal digits, as RFC 9530 writes it."""
    return f"sha-256=:{base64.b64encode(bytes.fromhex(sha256)).decode()}:"


def type_of(said: str | None, filename: str) -> str:
    """The media type of a file, without parameters: what its client says, unless that is nothing;
    else what its name says.

    >>> type_of("Application/PDF; q=1", ""), type_of(UNKNOWN_TYPE, "a.md"), type_of("x", "a")
    ('application/pdf', 'text/markdown', 'application/octet-stream')
    """
    kind = (said or "").partition(";")[0].strip().lower()
    if kind != UNKNOWN_TYPE and _KIND.fullmatch(kind):
        return kind
    return _TYPES.guess_type(filename)[0] or UNKNOWN_TYPE


def _too_large(max_bytes: int) -> BodyTooLargeError:
    return BodyTooLargeError(f"The request body is larger than {max_bytes} bytes.")
