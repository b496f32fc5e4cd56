"""OpenAI's uploads over HTTP: a large file in parts, which may come at once and in any order, and
may be gone on with after a restart of the gateway. What they become is an ordinary file.

Source: OpenAI's reference of `/v1/uploads`, the SDK's types.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeGuard

from quart import Blueprint, Response

from engine import Gateway
from engine.errors import InvalidRequestError
from engine.ledger.file_rows import FileRow
from engine.ledger.upload_rows import UploadRow
from engine.media.form_stream import FormStream
from engine.media.forms import base_name
from engine.rules import Admitted
from engine.storage.parted import PART_MAX_BYTES, PARTS_MAX, PartedUploads, Wanted, shown_part_id
from frontends.connection import current_entry
from frontends.direct import asked
from frontends.file_shapes import openai_file
from frontends.files import EXPIRES_MAX_S, EXPIRES_MIN_S, PURPOSES
from frontends.ingress import Ingress
from frontends.json_bodies import read_json
from frontends.rendering import json_response
from frontends.uploading import UNNAMED, FormUpload, expected_bytes, refuse_coded, type_of

_DATA: Final = ("data",)
_TEXT_MAX_CHARS: Final = 512
_KNOWN: Final = frozenset({"bytes", "filename", "mime_type", "purpose", "expires_after"})


class UploadRoutes:
    """The routes of one ingress and its gateway."""

    def __init__(self, ingress: Ingress, gateway: Gateway) -> None:
        self._ingress = ingress
        self._gateway = gateway
        self._uploads = PartedUploads(gateway.files)

    def blueprint(self) -> Blueprint:
        """What an app registers."""
        routes = Blueprint("uploads", __name__)
        routes.post("/v1/uploads")(self.create)
        routes.post("/v1/uploads/<upload_id>/parts")(self.add_part)
        routes.post("/v1/uploads/<upload_id>/complete")(self.complete)
        routes.post("/v1/uploads/<upload_id>/cancel")(self.cancel)
        return routes

    async def create(self) -> Response:
        """Announce a file.

        Raises:
            GatewayError: as `Ingress.admit` and `PartedUploads.create`; or it says too little.
        """
        admitted = await self._admit()
        wanted = _wanted(await read_json(self._gateway))
        principal = admitted.entry.principal
        row = await self._uploads.create(
            principal.account_id, principal.key_id, self._limit_bytes(admitted), wanted
        )
        return json_response(_shown(row))

    async def add_part(self, upload_id: str) -> Response:
        """Store a part: the `data` of a form.

        Raises:
            GatewayError: as `Ingress.admit` and `PartedUploads.open_part`; or it is no such form.
        """
        admitted = await self._admit()
        self._ingress.check_load()
        request = asked()
        refuse_coded(request.headers)
        form = FormStream(request.headers.get("content-type") or "")
        form_upload = FormUpload(form, _DATA, lambda _: None)
        account_id = admitted.entry.principal.account_id
        limit_bytes, size_bytes = self._limit_bytes(admitted), expected_bytes(request)
        async with self._uploads.open_part(account_id, upload_id, limit_bytes, size_bytes) as part:
            await form_upload.receive(request, self._gateway, part.upload, PART_MAX_BYTES)
            self._ingress.admit_again(admitted.entry)
            row = await part.finish()
        return json_response(
            {
                "id": shown_part_id(row),
                "object": "upload.part",
                "created_at": row.created_at_ms // 1_000,
                "upload_id": upload_id,
            }
        )

    async def complete(self, upload_id: str) -> Response:
        """Make the file. Raises GatewayError: as `PartedUploads.complete`."""
        admitted = await self._admit()
        document = await read_json(self._gateway)
        part_ids, md5 = document.get("part_ids"), document.get("md5")
        if not _is_texts(part_ids):
            raise InvalidRequestError(
                f"'part_ids' is a list of 1 to {PARTS_MAX:,} ids.", param="part_ids"
            )
        if not isinstance(md5, str | None):
            raise InvalidRequestError("'md5' is a text.", param="md5")
        row, file = await self._uploads.complete(
            admitted.entry.principal.account_id,
            upload_id,
            part_ids,
            md5,
            self._limit_bytes(admitted),
        )
        return json_response(_shown(row, file))

    async def cancel(self, upload_id: str) -> Response:
        """Give it up. Raises GatewayError: as `PartedUploads.cancel`."""
        admitted = await self._admit()
        account_id = admitted.entry.principal.account_id
        return json_response(_shown(await self._uploads.cancel(account_id, upload_id)))

    async def _admit(self) -> Admitted:
        current_entry().stores = True
        return await self._ingress.admit()

    def _limit_bytes(self, admitted: Admitted) -> int:
        return self._gateway.files.limit_bytes(admitted.plan)


def _wanted(document: Mapping[str, Any]) -> Wanted:
    """What a client announces. Raises InvalidRequestError."""
    for name in document:
        if name not in _KNOWN:
            raise InvalidRequestError(f"'{name[:100]}' is not known here.", param=name[:100])
    size_bytes, purpose = document.get("bytes"), document.get("purpose")
    if type(size_bytes) is not int or size_bytes < 1:
        raise InvalidRequestError("'bytes' is the size of the file, 1 or more.", param="bytes")
    if purpose not in PURPOSES:
        raise InvalidRequestError(f"'purpose' is one of {', '.join(PURPOSES)}.", param="purpose")
    filename = base_name(_text(document, "filename")) or UNNAMED
    return Wanted(
        filename=filename,
        purpose=purpose,
        mime_type=type_of(_text(document, "mime_type"), filename),
        size_bytes=size_bytes,
        expires_after_s=_expires_after_s(document.get("expires_after")),
    )


def _text(document: Mapping[str, Any], name: str) -> str:
    value = document.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= _TEXT_MAX_CHARS:
        raise InvalidRequestError(
            f"'{name}' is a text of 1 to {_TEXT_MAX_CHARS} characters.", param=name
        )
    return value


def _expires_after_s(value: object) -> int | None:
    if value is None:
        return None
    seconds = value.get("seconds") if isinstance(value, dict) else None
    if not isinstance(value, dict) or value.get("anchor") != "created_at":
        raise InvalidRequestError("'expires_after.anchor' is 'created_at'.", param="expires_after")
    if type(seconds) is not int or not EXPIRES_MIN_S <= seconds <= EXPIRES_MAX_S:
        raise InvalidRequestError(
            f"'expires_after.seconds' is a number from {EXPIRES_MIN_S:,} to {EXPIRES_MAX_S:,}.",
            param="expires_after",
        )
    return seconds


def _is_texts(value: object) -> TypeGuard[list[str]]:
    return (
        isinstance(value, list)
        and 0 < len(value) <= PARTS_MAX
        and all(isinstance(each, str) for each in value)
    )


def _shown(row: UploadRow, file: FileRow | None = None) -> dict[str, Any]:
    return {
        "id": row.upload_id,
        "object": "upload",
        "bytes": row.size_bytes,
        "created_at": row.created_at_ms // 1_000,
        "filename": row.filename,
        "purpose": row.purpose,
        "status": row.status,
        "expires_at": row.expires_at_ms // 1_000,
        "file": None if file is None else openai_file(file),
    }
