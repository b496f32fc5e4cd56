"""OpenAI's files: `/v1/files`, its forms, its pages, its errors, as recorded."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import parse_qs, unquote

from bench.simulate.dialect import Dialect
from bench.simulate.errands import Errand, Told, Visit, json_told, not_allowed
from bench.simulate.errors import ApiError
from bench.simulate.files import FileShelf, KeptFile
from bench.simulate.forms import Form, Part, read_form, required
from bench.simulate.paths import number_of
from bench.simulate.replies import Request

PATH: Final = re.compile(r"/v1/files(?:/([^/]+)(/content)?)?")
PURPOSES: Final = ("fine-tune", "assistants", "batch", "user_data", "vision", "evals")
PAGE_MAX: Final = 10_000
EXPIRES_S: Final = (3_600, 2_592_000)
_NOT_DOWNLOADED: Final = frozenset({"assistants", "user_data"})


class OpenAIFiles:
    """The desk of OpenAI's files."""

    def __init__(self, shelf: FileShelf, dialect: Dialect) -> None:
        self._shelf = shelf
        self._dialect = dialect

    def errand(self, request: Request) -> Errand | None:
        found = PATH.fullmatch(request.path)
        if found is None or b"anthropic-version" in request.headers:
            return None
        if found[1] is None:
            match request.method:
                case "POST":
                    return Errand(self._dialect, self._upload, "openai-files")
                case "GET":
                    return Errand(self._dialect, self._list)
            raise not_allowed(request)
        file_id = unquote(found[1])
        match request.method, bool(found[2]):
            case "GET", True:
                return Errand(self._dialect, lambda visit: self._content(visit, file_id))
            case "GET", False:
                return Errand(self._dialect, lambda visit: self._get(visit, file_id))
            case "DELETE", False:
                return Errand(self._dialect, lambda visit: self._delete(visit, file_id))
        raise not_allowed(request)

    def _upload(self, visit: Visit) -> Told:
        told = visit.begin_call("files.upload")
        form = read_form(visit.request)
        assert visit.record is not None
        visit.record.parts = form.described()
        required(form, "file", "purpose")
        values = form.values("file")
        purpose = values.pop("purpose")
        if purpose not in PURPOSES:
            raise ApiError(
                f"'{purpose}' is not one of {list(PURPOSES)} - 'purpose'", code="invalid_value"
            )
        lifetime_s = _lifetime_s(values)
        part = the_file(form)
        file = self._shelf.add(
            "openai",
            visit.key,
            bytes(part.data),
            filename=part.filename or "",
            mime_type=part.content_type,
            purpose=purpose,
            lifetime_s=lifetime_s if told.file_s is None else told.file_s,
        )
        visit.record.files = (file.to_json(),)
        return json_told(_shown(file))

    def _list(self, visit: Visit) -> Told:
        visit.begin_call("files.list")
        query = parse_qs(visit.request.query)
        files = self._shelf.of("openai", visit.key)
        wanted = query.get("purpose")
        files = [file for file in files if wanted is None or file.purpose == wanted[0]]
        if query.get("order", ["desc"]) == ["desc"]:
            files.reverse()
        page, more = page_of(files, query.get("after"), number_of(query, "limit", PAGE_MAX))
        return json_told(
            {
                "object": "list",
                "data": [_shown(file) for file in page],
                "has_more": more,
                "first_id": page[0].file_id if page else None,
                "last_id": page[-1].file_id if page else None,
            }
        )

    def _get(self, visit: Visit, file_id: str) -> Told:
        visit.begin_call("files.get")
        return json_told(_shown(self._found(visit, file_id)))

    def _content(self, visit: Visit, file_id: str) -> Told:
        visit.begin_call("files.content")
        file = self._found(visit, file_id)
        if file.purpose in _NOT_DOWNLOADED:
            raise ApiError(f"Not allowed to download files of purpose: {file.purpose}")
        name = re.sub(r"[^ -!#-\[\]-~]", "_", file.filename)
        disposition = f'attachment; filename="{name}"'.encode()
        kind = (b"content-type", b"application/octet-stream")
        return Told(file.data, [kind, (b"content-disposition", disposition)])

    def _delete(self, visit: Visit, file_id: str) -> Told:
        visit.begin_call("files.delete")
        self._shelf.drop(self._found(visit, file_id))
        return json_told({"object": "file", "id": file_id, "deleted": True})

    def _found(self, visit: Visit, file_id: str) -> KeptFile:
        file = self._shelf.find("openai", visit.key, file_id)
        if file is None:
            raise no_such_file(file_id)
        return file


def no_such_file(file_id: str) -> ApiError:
    """The error for an id that is unknown, or another's."""
    return ApiError(f"No such File object: {file_id}", status=404, param="id")


def the_file(form: Form) -> Part:
    """The one file of a form.

    Raises:
        ApiError: there are several, or there is nothing in it.
    """
    files = form.files("file")
    if len(files) > 1:
        raise ApiError("Duplicate parameter: 'file'.", param="file")
    if not files[0].data:
        raise ApiError("File is empty.", param="file")
    return files[0]


def page_of(
    files: Sequence[KeptFile], after: Sequence[str] | None, limit: int
) -> tuple[Sequence[KeptFile], bool]:
    """What comes after an id, and whether there is more.

    Raises:
        ApiError: there is no file of that id.
    """
    if after:
        places = [place for place, file in enumerate(files) if file.file_id == after[0]]
        if not places:
            raise no_such_file(after[0])
        files = files[places[0] + 1 :]
    return files[:limit], len(files) > limit


def _lifetime_s(values: dict[str, Any]) -> float | None:
    """Of what is left of a form: nothing may be."""
    anchor = values.pop("expires_after[anchor]", None)
    seconds = values.pop("expires_after[seconds]", None)
    for name in values:
        raise ApiError(f"Unknown parameter: '{name}'.", param=name, code="unknown_parameter")
    if anchor is None and seconds is None:
        return None
    if anchor != "created_at":
        raise ApiError(
            f"Invalid value: '{anchor}'. Supported values are: 'created_at'.",
            param="expires_after[anchor]",
            code="invalid_value",
        )
    low, high = EXPIRES_S
    if not (str(seconds).isdecimal() and low <= int(str(seconds)) <= high):
        raise ApiError(
            f"Invalid value for 'expires_after[seconds]': expected {low} to {high}.",
            param="expires_after[seconds]",
            code="invalid_value",
        )
    return float(str(seconds))


def _shown(file: KeptFile) -> dict[str, Any]:
    return {
        "object": "file",
        "id": file.file_id,
        "purpose": file.purpose,
        "filename": file.filename,
        "bytes": len(file.data),
        "created_at": int(file.created_at),
        "expires_at": None if file.expires_at is None else int(file.expires_at),
        "status": "processed",
        "status_details": None,
    }
