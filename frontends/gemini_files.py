"""Google's Files API for Gemini: uploads in several requests or in one, lists, downloads.

Sources: ai.google.dev/api/files, the protocol of `X-Goog-Upload-*` headers as google-genai speaks
it, recordings. Ids are made here: a name that a client chooses is refused.

An upload in several requests goes to a URL that is told at its start. Google's SDK sends no key
there: the id in the URL is the credential, and is good for as long as the key that began it.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

import orjson
import trio
from quart import Blueprint, Response

from engine import Gateway
from engine.errors import (
    GatewayError,
    InvalidRequestError,
    NotDownloadableError,
    NotFoundError,
    ShutdownError,
    StorageUnavailableError,
)
from engine.ledger.file_rows import FileRow
from engine.media.form_stream import FormStream, related_part
from engine.media.forms import base_name
from engine.rules import Admitted
from engine.storage.sessions import CLOSE_MAX_S, Announced, UploadSession
from frontends.bodies import BodyTimeoutError
from frontends.connection import FaultRenderer, current_entry
from frontends.direct import Asked, asked
from frontends.file_content import answer_content
from frontends.file_queries import gemini_query
from frontends.file_shapes import gemini_file, gemini_page
from frontends.ingress import Ingress, asked_origin, query_value
from frontends.json_bodies import read_json
from frontends.keys import Fields, read_key
from frontends.protocols import GEMINI_VERSIONS
from frontends.rendering import json_response
from frontends.uploading import (
    FormUpload,
    digest_of,
    expected_bytes,
    refuse_coded,
    stream_body,
    type_of,
)

PURPOSE: Final = "user_data"
UPLOAD_PATH: Final = "/upload/v1beta/files"
DISPLAY_NAME_MAX_CHARS: Final = 512

_GRANULARITY_BYTES: Final = 256 * 1024
_DOWNLOAD: Final = ":download"
_STATUS: Final = "x-goog-upload-status"
_RECEIVED: Final = "x-goog-upload-size-received"
_FORM_FILES: Final = ("file", "data", "media")
_NUMBER_MAX_CHARS: Final = 18


class GeminiFileRoutes:
    """The routes of one ingress and its gateway. What they raise is worded by the app."""

    def __init__(self, ingress: Ingress, gateway: Gateway, render_fault: FaultRenderer) -> None:
        self._ingress = ingress
        self._gateway = gateway
        self._render_fault = render_fault

    def blueprint(self) -> Blueprint:
        """What an app registers; `/v1/files` is not among it, which three protocols share."""
        routes = Blueprint("gemini_files", __name__)
        for version in GEMINI_VERSIONS:
            routes.post(f"/upload/{version}/files")(self.upload)
            if version != "v1":
                routes.get(f"/{version}/files")(self.list)
                routes.get(f"/{version}/files/<file_id>")(self.show)
                routes.delete(f"/{version}/files/<file_id>")(self.delete)
        return routes

    async def upload(self) -> Response:
        """A whole file, the start of one that comes in several requests, or a part of such a one.

        Raises:
            GatewayError: it is refused.
        """
        current_entry().stores = True
        session_id = query_value("upload_id")
        if session_id is not None:
            return await self._go_on(session_id)
        admitted = await self._ingress.admit()
        self._ingress.check_load()
        headers = asked().headers
        refuse_coded(headers)
        kind = headers.get("x-goog-upload-protocol") or query_value("uploadType") or ""
        match kind.lower():
            case "resumable":
                return await self._begin(admitted)
            case "multipart":
                return await self._take_form(admitted)
            case "raw" | "media":
                return await self._take_raw(admitted)
        raise InvalidRequestError("'X-Goog-Upload-Protocol' is 'resumable', 'multipart' or 'raw'.")

    async def list(self) -> Response:
        """A page of the account's files. Raises InvalidRequestError: there is no such page."""
        account_id = await self._account_id()
        page = await self._gateway.files.page(account_id, gemini_query())
        return json_response(gemini_page(page, self._origin()))

    async def show(self, file_id: str) -> Response:
        """What is known of a file or, with `:download`, what a job has made.

        Raises:
            StoredFileNotFoundError: this account has none.
            NotDownloadableError: it was uploaded, and is not given back, as at Google.
        """
        bare = file_id.removesuffix(_DOWNLOAD)
        row = await self._gateway.files.find(await self._account_id(), bare)
        if bare == file_id:
            return json_response(self._shown(row))
        if row.origin == "upload":
            raise NotDownloadableError("Files that were uploaded cannot be downloaded here.")
        return await answer_content(self._gateway.files, row, self._render_fault)

    async def delete(self, file_id: str) -> Response:
        """Remove a file. Raises StoredFileNotFoundError: this account has none."""
        await self._gateway.files.delete(await self._account_id(), file_id)
        return json_response({})

    # ---- in one request ------------------------------------------------------------------------

    async def _take_form(self, admitted: Admitted) -> Response:
        """Metadata and the file, as form-data or as multipart/related."""
        request = asked()
        content_type = request.headers.get("content-type") or ""
        if content_type.lower().lstrip().startswith("multipart/related"):
            form = FormStream(content_type, kind="multipart/related", read_part=related_part)
        else:
            form = FormStream(content_type)
        form_upload = FormUpload(form, _FORM_FILES, _metadata)
        store, principal = self._gateway.files, admitted.entry.principal
        limit_bytes = store.limit_bytes(admitted.plan)
        size_bytes = expected_bytes(request)
        async with store.open_upload(principal.account_id, limit_bytes, size_bytes) as upload:
            file = await form_upload.receive(request, self._gateway, upload)
            display_name, mime_type = _metadata(form_upload.fields)
            filename = display_name or file.filename
            self._ingress.admit_again(admitted.entry)
            row = await upload.finish(
                filename=filename,
                purpose=PURPOSE,
                mime_type=type_of(mime_type or file.content_type, filename),
                key_id=principal.key_id,
            )
        return json_response({"file": self._shown(row)})

    async def _take_raw(self, admitted: Admitted) -> Response:
        """The body is the file."""
        request = asked()
        filename = _filename(request.headers)
        store, principal = self._gateway.files, admitted.entry.principal
        limit_bytes = store.limit_bytes(admitted.plan)
        length = request.content_length
        async with store.open_upload(principal.account_id, limit_bytes, length) as upload:
            file_max_bytes = store.settings.file_max_bytes
            await stream_body(request, self._gateway, upload.append, max_bytes=file_max_bytes)
            self._ingress.admit_again(admitted.entry)
            row = await upload.finish(
                filename=filename,
                purpose=PURPOSE,
                mime_type=type_of(request.headers.get("content-type"), filename),
                key_id=principal.key_id,
            )
        return json_response({"file": self._shown(row)})

    # ---- in several ----------------------------------------------------------------------------

    async def _begin(self, admitted: Admitted) -> Response:
        """The start: what is to come; the answer says where to."""
        headers = asked().headers
        if _commands(headers) != {"start"}:
            raise InvalidRequestError("'X-Goog-Upload-Command' is 'start' at first.")
        document = await read_json(self._gateway)
        display_name, mime_type = _described(document)
        filename = display_name or _filename(headers)
        announced = Announced(
            filename,
            type_of(headers.get("x-goog-upload-header-content-type") or mime_type, filename),
            _number(headers, "x-goog-upload-header-content-length"),
        )
        limit_bytes = self._gateway.files.limit_bytes(admitted.plan)
        session = await self._gateway.uploads.begin(admitted.entry, limit_bytes, announced)
        query = f"upload_id={session.session_id}&upload_protocol=resumable"
        return _status(
            "active",
            {
                "x-goog-upload-url": f"{self._origin()}{UPLOAD_PATH}?{query}",
                "x-goog-upload-chunk-granularity": str(_GRANULARITY_BYTES),
            },
        )

    async def _go_on(self, session_id: str) -> Response:
        """A further request of an upload that was begun."""
        request = asked()
        key_id = None
        if read_key(request.headers, request.query_string) is not None:
            key_id = self._ingress.authenticate().entry.principal.key_id
        session = self._gateway.uploads.find(session_id)
        if key_id not in (None, session.entry.principal.key_id):
            raise NotFoundError("There is no such upload, or no longer: begin again.")
        self._ingress.admit_again(session.entry)
        commands = _commands(request.headers)
        if commands == {"query"}:
            return _progress(session)
        if commands == {"cancel"}:
            await self._gateway.uploads.end(session)
            return _status("cancelled")
        if not commands or not commands <= {"upload", "finalize"}:
            raise InvalidRequestError(
                "'X-Goog-Upload-Command' is 'upload', 'upload, finalize', 'finalize', 'query' or "
                "'cancel' here."
            )
        offset = _number(request.headers, "x-goog-upload-offset")
        with session.taken():
            return await self._take_part(session, request, commands, offset)

    async def _take_part(
        self, session: UploadSession, request: Asked, commands: set[str], offset: int | None
    ) -> Response:
        """Bytes of the file, its end, or both; what cannot go on ends the upload, and says so."""
        uploads = self._gateway.uploads
        try:
            if session.row is None and "upload" in commands:
                await self._append(session, request, offset)
            if session.row is None and "finalize" in commands:
                await uploads.keep(session, await self._finish(session, request.headers))
        except GatewayError as error:
            if isinstance(error, _RESUMED) and not session.unsure:
                raise
            refusal = self._render_fault(current_entry(), error)
            refusal.headers[_STATUS] = "final"
            await uploads.end(session)
            return refusal
        finally:
            if session.unsure:
                with trio.move_on_after(CLOSE_MAX_S, shield=True):
                    await uploads.end(session)
        if session.row is None:
            return _progress(session)
        response = json_response({"file": self._shown(session.row)})
        response.headers[_STATUS] = "final"
        return response

    async def _append(self, session: UploadSession, request: Asked, offset: int | None) -> None:
        """The body, without what has come before: whoever has missed an answer sends it again."""
        received = session.received_bytes
        if offset is None or offset > received:
            raise _WrongPlaceError(f"'X-Goog-Upload-Offset' is {received} here.")
        known = received - offset
        size_bytes = session.announced.size_bytes

        async def keep(data: bytes) -> None:
            nonlocal known
            skipped = min(known, len(data))
            known -= skipped
            if skipped == len(data):
                return
            if size_bytes is not None and session.received_bytes + len(data) - skipped > size_bytes:
                raise InvalidRequestError(f"The file was to have {size_bytes} bytes.")
            await session.append(data[skipped:] if skipped else data)

        refuse_coded(request.headers)
        file_max_bytes = self._gateway.files.settings.file_max_bytes
        digests = ("content-digest",)
        await stream_body(request, self._gateway, keep, max_bytes=file_max_bytes, digests=digests)

    async def _finish(self, session: UploadSession, headers: Fields) -> FileRow:
        """That was all. A `Repr-Digest` is of the whole file."""
        announced, received = session.announced, session.received_bytes
        if announced.size_bytes not in (None, received):
            raise InvalidRequestError(
                f"The file was to have {announced.size_bytes} bytes, and {received} have come."
            )
        sha256 = digest_of(headers, "repr-digest")
        session.unsure = True
        row = await session.upload.finish(
            filename=announced.filename,
            purpose=PURPOSE,
            mime_type=announced.mime_type,
            sha256=sha256,
            key_id=session.entry.principal.key_id,
        )
        session.unsure = False
        return row

    # ---- what they share -----------------------------------------------------------------------

    async def _account_id(self) -> str:
        current_entry().stores = True
        return (await self._ingress.admit()).entry.principal.account_id

    def _shown(self, row: FileRow) -> dict[str, Any]:
        return gemini_file(row, self._origin())

    def _origin(self) -> str:
        """What clients reach the gateway by."""
        return (self._gateway.config.media.base_url or asked_origin()).rstrip("/")


class _WrongPlaceError(InvalidRequestError):
    """The bytes do not follow what has come; the upload is as it was."""


_RESUMED: Final = (BodyTimeoutError, ShutdownError, StorageUnavailableError, _WrongPlaceError)
"""After these an upload can go on where it was."""


def _status(status: str, more: Mapping[str, str] | None = None) -> Response:
    headers = {_STATUS: status, **(more or {})}
    return Response(b"", headers=headers, content_type="text/plain")


def _progress(session: UploadSession) -> Response:
    status = "active" if session.row is None else "final"
    return _status(status, {_RECEIVED: str(session.received_bytes)})


def _commands(headers: Fields) -> set[str]:
    said = ",".join(headers.getlist("x-goog-upload-command")).lower().split(",")
    return {command.strip() for command in said if command.strip()}


def _number(headers: Fields, name: str) -> int | None:
    """Raises InvalidRequestError: it is none."""
    said = ", ".join(headers.getlist(name))
    if not said:
        return None
    if not (said.isascii() and said.isdecimal() and len(said) <= _NUMBER_MAX_CHARS):
        raise InvalidRequestError(f"'{name}' is a number of bytes.", param=name)
    return int(said)


def _filename(headers: Fields) -> str:
    said = (headers.getlist("x-goog-upload-file-name") or [""])[0]
    with suppress(UnicodeError):  # else it is Latin-1
        said = said.encode("latin-1").decode()
    return base_name(said)[:DISPLAY_NAME_MAX_CHARS]


def _metadata(fields: Mapping[str, str]) -> tuple[str | None, str | None]:
    """Display name and type, of the form's `metadata`. Raises InvalidRequestError."""
    said = fields.get("metadata")
    if said is None:
        return None, None
    try:
        document = orjson.loads(said)
    except orjson.JSONDecodeError:
        document = None
    if not isinstance(document, dict):
        raise InvalidRequestError("'metadata' is a JSON object.", param="metadata")
    return _described(document)


def _described(document: dict[str, Any]) -> tuple[str | None, str | None]:
    """Display name and type, of `{"file": {…}}`. Raises InvalidRequestError."""
    file = document.get("file", {})
    if not isinstance(file, dict):
        raise InvalidRequestError("'file' is an object.", param="file")
    if file.get("name"):
        raise InvalidRequestError("The names of files are made here.", param="file.name")
    found = []
    for name, other in (("displayName", "display_name"), ("mimeType", "mime_type")):
        value = file.get(name) or file.get(other)
        if not isinstance(value, str | None):
            raise InvalidRequestError(f"'{name}' is a string.", param=f"file.{name}")
        if value is not None and len(value) > DISPLAY_NAME_MAX_CHARS:
            raise InvalidRequestError(
                f"'{name}' has {DISPLAY_NAME_MAX_CHARS} characters at most.", param=f"file.{name}"
            )
        found.append(value)
    display_name, mime_type = found
    return display_name and base_name(display_name), mime_type
