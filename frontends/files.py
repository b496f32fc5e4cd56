"""Files of accounts over HTTP: OpenAI's API of them and Anthropic's, which share their paths.

Whose shape an answer has a header tells, as with models. Gemini's API of files has paths of its own
but for `/v1/files`; see `frontends.gemini_files`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from quart import Blueprint, Response

from engine import Gateway
from engine.errors import InvalidRequestError, NotDownloadableError
from engine.events import Protocol
from engine.file_ids import FileStyle, shown_file_id
from engine.ledger.file_rows import FilePage, FileQuery, FileRow
from engine.media.form_stream import FormStream
from engine.rules import Admitted
from frontends.connection import FaultRenderer, current_entry
from frontends.direct import asked
from frontends.file_content import answer_content
from frontends.file_queries import anthropic_query, openai_query
from frontends.file_shapes import anthropic_file, anthropic_page, openai_file, openai_page
from frontends.gemini_files import GeminiFileRoutes
from frontends.ingress import Ingress
from frontends.rendering import json_response
from frontends.uploading import UNNAMED, FormUpload, expected_bytes, refuse_coded, type_of

PURPOSES: Final = ("assistants", "batch", "fine-tune", "vision", "user_data", "evals")
"""What OpenAI's clients may say that a file is for."""
UNSAID_PURPOSE: Final = "user_data"
"""Of files that come by protocols without purposes."""
EXPIRES_MIN_S: Final = 3_600
EXPIRES_MAX_S: Final = 30 * 86_400

_FILE: Final = ("file",)
_ANCHOR: Final = "expires_after[anchor]"
_SECONDS: Final = "expires_after[seconds]"


@dataclass(frozen=True, slots=True)
class Told:
    """What the fields of a form say of its file."""

    purpose: str | None = None
    expires_after_s: int | None = None


@dataclass(frozen=True, slots=True)
class Face:
    """How one protocol speaks of files.

    Attributes:
        read: a form's fields, which may not all have come.
        gone: the answer when a file was removed, but for its id.
        gives_uploads_back: whether what was uploaded can be downloaded.
    """

    style: FileStyle
    read: Callable[[Mapping[str, str]], Told]
    query: Callable[[], FileQuery]
    show: Callable[[FileRow], dict[str, Any]]
    show_page: Callable[[FilePage], dict[str, Any]]
    gone: Mapping[str, Any]
    needs_purpose: bool
    gives_uploads_back: bool


class FileRoutes:
    """The routes of one ingress and its gateway."""

    def __init__(self, ingress: Ingress, gateway: Gateway, render_fault: FaultRenderer) -> None:
        self._ingress = ingress
        self._gateway = gateway
        self._render_fault = render_fault
        self._gemini = GeminiFileRoutes(ingress, gateway, render_fault)

    def blueprint(self) -> Blueprint:
        """What an app registers."""
        routes = Blueprint("files", __name__)
        routes.post("/v1/files")(self.upload)
        routes.get("/v1/files")(self.list)
        routes.get("/v1/files/<file_id>")(self.show)
        routes.delete("/v1/files/<file_id>")(self.delete)
        routes.get("/v1/files/<file_id>/content")(self.content)
        routes.register_blueprint(self._gemini.blueprint())
        return routes

    async def upload(self) -> Response:
        """Store the file of a form.

        Raises:
            GatewayError: as `Ingress.admit`; or it is no such form, or cannot be stored.
        """
        admitted = await self._admit()
        face = self._face()
        if face is None:
            raise InvalidRequestError("Files are uploaded at /upload/v1beta/files.")
        self._ingress.check_load()
        request = asked()
        refuse_coded(request.headers)
        form = FormStream(request.headers.get("content-type") or "")
        form_upload = FormUpload(form, _FILE, face.read)
        store, principal = self._gateway.files, admitted.entry.principal
        size_bytes = expected_bytes(request)
        limit_bytes = store.limit_bytes(admitted.plan)
        async with store.open_upload(principal.account_id, limit_bytes, size_bytes) as upload:
            file = await form_upload.receive(request, self._gateway, upload)
            told = face.read(form_upload.fields)
            if told.purpose is None and face.needs_purpose:
                raise InvalidRequestError("The form has no 'purpose'.", param="purpose")
            self._ingress.admit_again(admitted.entry)
            row = await upload.finish(
                filename=file.filename or UNNAMED,
                purpose=told.purpose or UNSAID_PURPOSE,
                mime_type=type_of(file.content_type, file.filename),
                expires_at_ms=self._ends_at_ms(told),
                key_id=principal.key_id,
            )
        return json_response(face.show(row))

    async def list(self) -> Response:
        """A page of the account's files. Raises InvalidRequestError: there is no such page."""
        admitted = await self._admit()
        face = self._face()
        if face is None:
            return await self._gemini.list()
        page = await self._gateway.files.page(admitted.entry.principal.account_id, face.query())
        return json_response(face.show_page(page))

    async def show(self, file_id: str) -> Response:
        """What is known of a file. Raises StoredFileNotFoundError: this account has none."""
        face = self._face()
        if face is None:
            return await self._gemini.show(file_id)
        return json_response(face.show(await self._find(file_id)))

    async def delete(self, file_id: str) -> Response:
        """Remove a file. Raises StoredFileNotFoundError: this account has none."""
        face = self._face()
        if face is None:
            return await self._gemini.delete(file_id)
        admitted = await self._admit()
        row = await self._gateway.files.delete(admitted.entry.principal.account_id, file_id)
        return json_response({"id": shown_file_id(row.file_id, face.style), **face.gone})

    async def content(self, file_id: str) -> Response:
        """The bytes of a file.

        Raises:
            StoredFileNotFoundError: this account has none.
            NotDownloadableError: it was uploaded, and the protocol gives back what was generated.
        """
        face = self._face()
        row = await self._find(file_id)
        if row.origin == "upload" and (face is None or not face.gives_uploads_back):
            raise NotDownloadableError("Files that were uploaded cannot be downloaded here.")
        return await answer_content(self._gateway.files, row, self._render_fault)

    def _face(self) -> Face | None:
        """Of the protocol that is spoken; None: Gemini's."""
        return _FACES.get(current_entry().protocol)

    async def _admit(self) -> Admitted:
        current_entry().stores = True
        return await self._ingress.admit()

    async def _find(self, file_id: str) -> FileRow:
        admitted = await self._admit()
        return await self._gateway.files.find(admitted.entry.principal.account_id, file_id)

    def _ends_at_ms(self, told: Told) -> int | None:
        if told.expires_after_s is None:
            return None
        return self._gateway.ledger.clock() + told.expires_after_s * 1_000


def _openai_fields(fields: Mapping[str, str]) -> Told:
    """Raises InvalidRequestError."""
    purpose, anchor, seconds = (fields.get(name) for name in ("purpose", _ANCHOR, _SECONDS))
    if purpose is not None and purpose not in PURPOSES:
        raise InvalidRequestError(f"'purpose' is one of {', '.join(PURPOSES)}.", param="purpose")
    if anchor not in (None, "created_at"):
        raise InvalidRequestError(f"'{_ANCHOR}' is 'created_at'.", param=_ANCHOR)
    if seconds is None:
        return Told(purpose)
    number = int(seconds) if seconds.isascii() and seconds.isdecimal() and len(seconds) < 9 else 0
    if not EXPIRES_MIN_S <= number <= EXPIRES_MAX_S:
        raise InvalidRequestError(
            f"'{_SECONDS}' is a number from {EXPIRES_MIN_S:,} to {EXPIRES_MAX_S:,}.",
            param=_SECONDS,
        )
    return Told(purpose, number)


_OPENAI: Final = Face(
    style="openai",
    read=_openai_fields,
    query=openai_query,
    show=openai_file,
    show_page=openai_page,
    gone={"object": "file", "deleted": True},
    needs_purpose=True,
    gives_uploads_back=True,
)
_ANTHROPIC: Final = Face(
    style="anthropic",
    read=lambda _: Told(),
    query=anthropic_query,
    show=anthropic_file,
    show_page=anthropic_page,
    gone={"type": "file_deleted"},
    needs_purpose=False,
    gives_uploads_back=False,
)
_FACES: Final[Mapping[Protocol, Face]] = {"openai_chat": _OPENAI, "anthropic": _ANTHROPIC}
