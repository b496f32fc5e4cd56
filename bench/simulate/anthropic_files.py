"""Anthropic's files, a beta that has to be named: what is uploaded cannot be downloaded again."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import parse_qs, unquote

from bench.simulate.dialect import Dialect
from bench.simulate.errands import Errand, Told, Visit, json_told, not_allowed
from bench.simulate.errors import ApiError
from bench.simulate.files import FileShelf, KeptFile
from bench.simulate.forms import read_form
from bench.simulate.openai_files import PATH
from bench.simulate.paths import number_of
from bench.simulate.replies import Request

BETA: Final = b"files-api-2025-04-14"
PAGE: Final = 20
PAGE_MAX: Final = 1_000
_FILENAME: Final = re.compile(r'[^<>:"|?*\\/\x00-\x1f]{1,255}')


class AnthropicFiles:
    """The desk of Anthropic's files."""

    def __init__(self, shelf: FileShelf, dialect: Dialect) -> None:
        self._shelf = shelf
        self._dialect = dialect

    def errand(self, request: Request) -> Errand | None:
        found = PATH.fullmatch(request.path)
        if found is None or b"anthropic-version" not in request.headers:
            return None
        if found[1] is None:
            match request.method:
                case "POST":
                    return Errand(self._dialect, self._upload, "anthropic-files")
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
        _check_beta(visit.request)
        told = visit.begin_call("files.upload")
        form = read_form(visit.request)
        assert visit.record is not None
        visit.record.parts = form.described()
        files = form.files("file")
        for name in form.values("file"):
            raise ApiError(f"{name}: Extra inputs are not permitted")
        if len(files) != 1:
            raise ApiError("file: Field required")
        filename = files[0].filename or ""
        if _FILENAME.fullmatch(filename) is None:
            raise ApiError('file: the name of a file is 1 to 255 characters, none of <>:"|?*\\/')
        file = self._shelf.add(
            "anthropic",
            visit.key,
            bytes(files[0].data),
            filename=filename,
            mime_type=files[0].content_type or "application/octet-stream",
            lifetime_s=told.file_s,
        )
        visit.record.files = (file.to_json(),)
        return json_told(_shown(file), indented=False)

    def _list(self, visit: Visit) -> Told:
        _check_beta(visit.request)
        visit.begin_call("files.list")
        query = parse_qs(visit.request.query)
        limit = number_of(query, "limit", PAGE)
        if not 1 <= limit <= PAGE_MAX:
            raise ApiError(f"limit: Input should be between 1 and {PAGE_MAX}")
        files = self._shelf.of("anthropic", visit.key)[::-1]
        ids = [file.file_id for file in files]
        before, after = query.get("before_id"), query.get("after_id")
        for named in (before or after or [])[:1]:
            if named not in ids:
                raise no_such_file(named)
        if before:
            files = files[: ids.index(before[0])]
            page, more = files[-limit:], len(files) > limit
        else:
            files = files[ids.index(after[0]) + 1 :] if after else files
            page, more = files[:limit], len(files) > limit
        return json_told(
            {
                "data": [_shown(file) for file in page],
                "has_more": more,
                "first_id": page[0].file_id if page else None,
                "last_id": page[-1].file_id if page else None,
            },
            indented=False,
        )

    def _get(self, visit: Visit, file_id: str) -> Told:
        _check_beta(visit.request)
        visit.begin_call("files.get")
        return json_told(_shown(self._found(visit, file_id)), indented=False)

    def _content(self, visit: Visit, file_id: str) -> Told:
        _check_beta(visit.request)
        visit.begin_call("files.content")
        file = self._found(visit, file_id)
        raise ApiError(f"File '{file.file_id}' is not downloadable.")

    def _delete(self, visit: Visit, file_id: str) -> Told:
        _check_beta(visit.request)
        visit.begin_call("files.delete")
        self._shelf.drop(self._found(visit, file_id))
        return json_told({"id": file_id, "type": "file_deleted"}, indented=False)

    def _found(self, visit: Visit, file_id: str) -> KeptFile:
        file = self._shelf.find("anthropic", visit.key, file_id)
        if file is None:
            raise no_such_file(file_id)
        return file


def no_such_file(file_id: str) -> ApiError:
    """The error for an id that is unknown, or another's."""
    return ApiError(f"File not found: {file_id}", status=404)


def _check_beta(request: Request) -> None:
    named = request.headers.get(b"anthropic-beta", b"").split(b",")
    if BETA not in (name.strip() for name in named):
        raise ApiError("Not found", status=404)


def _shown(file: KeptFile) -> dict[str, Any]:
    created = datetime.fromtimestamp(file.created_at, UTC).isoformat(timespec="microseconds")
    return {
        "type": "file",
        "id": file.file_id,
        "size_bytes": len(file.data),
        "created_at": created.replace("+00:00", "Z"),
        "filename": file.filename,
        "mime_type": file.mime_type,
        "downloadable": False,
    }
