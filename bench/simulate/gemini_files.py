"""Gemini's files: resumable uploads, processing that takes its time, 48 hours, and no download.

An upload is begun with a key and goes on at a URL that needs none: whoever knows it may write.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from typing import Any, Final
from urllib.parse import parse_qs

import orjson

from bench.simulate.dialect import Dialect
from bench.simulate.errands import JSON, Errand, Told, Visit, json_told, not_allowed
from bench.simulate.errors import ApiError
from bench.simulate.files import FileShelf, KeptFile
from bench.simulate.paths import number_of
from bench.simulate.replies import Request

KEPT_S: Final = 48 * 3_600.0
GRANULE_BYTES: Final = 256 * 1024
"""What every piece of an upload but the last is a multiple of."""
SESSIONS_MAX: Final = 1_000
PAGE: Final = 10
PAGE_MAX: Final = 100
_START: Final = re.compile(r"/upload/v1(?:beta|alpha)?/files")
_FILES: Final = re.compile(r"/v1(?:beta|alpha)?/files(?:/([^/:]+)(:download)?)?")
_NAME: Final = re.compile(r"files/([a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?)")
_TAKEN: Final = "Invalid value at 'file.name': a name is files/ and up to 40 of a-z, 0-9 and -."


@dataclass(slots=True)
class _Session:
    """An upload that has begun; `file` once it is over."""

    key: str
    mime_type: str
    display_name: str
    name: str
    size_bytes: int | None
    version: str
    received: bytearray = field(default_factory=bytearray)
    file: KeptFile | None = None


class GeminiFiles:
    """The desk of Gemini's files."""

    def __init__(self, shelf: FileShelf, dialect: Dialect, instance: str) -> None:
        self._shelf = shelf
        self._dialect = dialect
        self._instance = instance
        self._sessions: dict[str, _Session] = {}
        self._numbers = count(1)

    def errand(self, request: Request) -> Errand | None:
        if _START.fullmatch(request.path):
            if request.method not in ("POST", "PUT"):
                raise not_allowed(request)
            upload_id = parse_qs(request.query).get("upload_id")
            if upload_id is None:
                return Errand(self._dialect, self._start)
            return Errand(
                self._dialect,
                lambda visit: self._go_on(visit, upload_id[0]),
                "gemini-files",
                keyless=True,
            )
        found = _FILES.fullmatch(request.path)
        if found is None or (request.path.startswith("/v1/") and not has_key(request)):
            return None
        file_id = found[1]
        match request.method, bool(found[2]):
            case "GET", False if file_id is None:
                return Errand(self._dialect, self._list)
            case "GET", False:
                return Errand(self._dialect, lambda visit: self._get(visit, file_id))
            case "DELETE", False if file_id is not None:
                return Errand(self._dialect, lambda visit: self._delete(visit, file_id))
            case "GET", True:
                return Errand(self._dialect, lambda visit: self._download(visit, file_id))
        raise not_allowed(request)

    # -- uploads ----------------------------------------------------------------------------------

    def _start(self, visit: Visit) -> Told:
        visit.begin_call("files.start")
        request = visit.request
        headers = request.headers
        if headers.get(b"x-goog-upload-protocol") != b"resumable":
            raise ApiError("This simulated provider takes resumable uploads only.")
        if headers.get(b"x-goog-upload-command") != b"start":
            raise ApiError("Invalid upload command: it has to be start.")
        document = _metadata(request.body)
        if self._shelf.holds("gemini", document.get("name", "").removeprefix("files/")):
            raise ApiError("Requested entity already exists", status=409, kind="ALREADY_EXISTS")
        size = headers.get(b"x-goog-upload-header-content-length")
        if size is not None and not size.isdigit():
            raise ApiError("X-Goog-Upload-Header-Content-Length is no number.")
        kind = headers.get(b"x-goog-upload-header-content-type", b"").decode("latin-1")
        upload_id = f"{self._instance}{next(self._numbers):08x}"
        if len(self._sessions) >= SESSIONS_MAX:
            del self._sessions[next(iter(self._sessions))]
        self._sessions[upload_id] = _Session(
            visit.key,
            kind or document.get("mimeType", "application/octet-stream"),
            document.get("displayName", ""),
            document.get("name", "").removeprefix("files/"),
            None if size is None else int(size),
            request.path.split("/")[2],
        )
        url = f"{visit.origin}{request.path}?upload_id={upload_id}&upload_protocol=resumable"
        return Told(
            b"",
            [
                (b"x-goog-upload-status", b"active"),
                (b"x-goog-upload-url", url.encode()),
                (b"x-goog-upload-control-url", url.encode()),
                (b"x-goog-upload-chunk-granularity", b"%d" % GRANULE_BYTES),
                (b"content-type", b"text/plain; charset=utf-8"),
            ],
        )

    def _go_on(self, visit: Visit, upload_id: str) -> Told:
        session = self._sessions.get(upload_id)
        if session is None:
            raise ApiError("Upload not found.", status=404)
        named = visit.request.headers.get(b"x-goog-upload-command", b"").decode("latin-1")
        commands = [word.strip() for word in named.split(",")]
        match commands:
            case ["query"]:
                visit.begin_call("files.query")
                return Told(b"", _progress(session))
            case ["cancel"]:
                visit.begin_call("files.cancel")
                del self._sessions[upload_id]
                return Told(b"", [(b"x-goog-upload-status", b"cancelled")])
            case ["upload"] | ["upload", "finalize"] | ["finalize"]:
                visit.begin_call("files.upload")
                if "upload" in commands:
                    _take(session, visit.request, last="finalize" in commands)
                if "finalize" in commands:
                    return self._finish(visit, session)
                return Told(b"", _progress(session))
        raise ApiError(f"Invalid upload command: {named!r}.")

    def _finish(self, visit: Visit, session: _Session) -> Told:
        if session.size_bytes not in (None, len(session.received)):
            raise ApiError(
                f"Upload has {len(session.received)} bytes, but {session.size_bytes} were said."
            )
        if session.file is None:
            directives = visit.directives
            lifetime_s = KEPT_S if directives.file_s is None else directives.file_s
            session.file = self._shelf.add(
                "gemini",
                session.key,
                bytes(session.received),
                filename=session.display_name,
                mime_type=session.mime_type,
                lifetime_s=lifetime_s,
                busy_polls=directives.file_polls,
                fails=directives.file_fails,
                named=session.name,
            )
            session.received.clear()
            session.size_bytes = None
        assert visit.record is not None
        visit.record.files = (session.file.to_json(),)
        shown = {"file": _shown(session.file, visit.origin, session.version)}
        return json_told(shown, (b"x-goog-upload-status", b"final"))

    # -- the files --------------------------------------------------------------------------------

    def _list(self, visit: Visit) -> Told:
        visit.begin_call("files.list")
        query = parse_qs(visit.request.query)
        size = number_of(query, "pageSize", PAGE)
        if not 0 <= size <= PAGE_MAX:
            raise ApiError(f"* ListFilesRequest.page_size: at most {PAGE_MAX}\n")
        start = number_of(query, "pageToken", 0)
        files = self._shelf.of("gemini", visit.key)[::-1]
        page = files[start : start + (size or PAGE)]
        version = visit.request.path.split("/")[1]
        answer: dict[str, Any] = {}
        if page:
            answer["files"] = [_shown(file, visit.origin, version) for file in page]
        if start + len(page) < len(files):
            answer["nextPageToken"] = str(start + len(page))
        return json_told(answer)

    def _get(self, visit: Visit, file_id: str) -> Told:
        visit.begin_call("files.get")
        file = self._found(visit, file_id)
        file.polls += 1
        return json_told(_shown(file, visit.origin, visit.request.path.split("/")[1]))

    def _delete(self, visit: Visit, file_id: str) -> Told:
        visit.begin_call("files.delete")
        self._shelf.drop(self._found(visit, file_id))
        return Told(b"{}\n", [JSON])

    def _download(self, visit: Visit, file_id: str) -> Told:
        visit.begin_call("files.content")
        raise ApiError(
            f"The file '{self._found(visit, file_id).file_id}' was uploaded: only generated files "
            "can be downloaded."
        )

    def _found(self, visit: Visit, file_id: str) -> KeptFile:
        file = self._shelf.find("gemini", visit.key, file_id)
        if file is None:
            raise no_such_file(file_id)
        return file


def has_key(request: Request) -> bool:
    """Whether it comes with a key as Google has them: `/v1/files` is OpenAI's path too."""
    return b"x-goog-api-key" in request.headers or "key" in parse_qs(request.query)


def no_such_file(file_id: str) -> ApiError:
    """The error for an id that is unknown, another's, or past its time."""
    return ApiError(
        f"You do not have permission to access the File {file_id} or it may not exist.", status=403
    )


def _metadata(body: bytes) -> Mapping[str, Any]:
    """What is said of a file before it comes, in camelCase.

    Raises:
        ApiError: it is no such JSON.
    """
    if not body:
        return {}
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise ApiError(f"Invalid JSON payload received. {error.msg}") from None
    match document:
        case {"file": dict(file)} if len(document) == 1:
            pass
        case {} if not document:
            file = {}
        case _:
            raise ApiError("Invalid JSON payload received. Expected {file: {…}}.")
    said = {re.sub("_([a-z])", lambda m: m[1].upper(), name): file[name] for name in file}
    for name, value in said.items():
        if name not in ("name", "displayName", "mimeType", "sizeBytes"):
            raise ApiError(
                f"Invalid JSON payload received. Unknown name \"{name}\" at 'file': "
                "Cannot find field."
            )
        if not isinstance(value, str) and name != "sizeBytes":
            raise ApiError(f"Invalid value at 'file.{name}' (TYPE_STRING)")
    if "name" in said and _NAME.fullmatch(said["name"]) is None:
        raise ApiError(_TAKEN)
    return said


def _take(session: _Session, request: Request, *, last: bool) -> None:
    """One more piece, where the last one ended."""
    offset = request.headers.get(b"x-goog-upload-offset", b"")
    at = len(session.received)
    if session.file is not None or not offset.isdigit() or int(offset) != at:
        raise ApiError(
            f"The upload has {at} bytes, but a piece at {offset.decode('latin-1')!r} was sent.",
            headers=tuple(_progress(session)),
        )
    data = request.body if request.upload is None else request.upload[:]
    if not last and len(data) % GRANULE_BYTES:
        raise ApiError(f"A piece of {len(data)} bytes is no multiple of {GRANULE_BYTES}.")
    session.received += data


def _progress(session: _Session) -> list[tuple[bytes, bytes]]:
    done = session.file is not None
    size = len(session.file.data) if session.file is not None else len(session.received)
    return [
        (b"x-goog-upload-status", b"final" if done else b"active"),
        (b"x-goog-upload-size-received", b"%d" % size),
    ]


def _shown(file: KeptFile, origin: str, version: str) -> dict[str, Any]:
    shown: dict[str, Any] = {"name": f"files/{file.file_id}"}
    if file.filename:
        shown["displayName"] = file.filename
    assert file.expires_at is not None
    shown |= {
        "mimeType": file.mime_type,
        "sizeBytes": str(len(file.data)),
        "createTime": _stamp(file.created_at),
        "updateTime": _stamp(file.created_at),
        "expirationTime": _stamp(file.expires_at),
        "sha256Hash": b64encode(file.sha256.encode()).decode(),
        "uri": f"{origin}/{version}/files/{file.file_id}",
        "state": file.state,
        "source": "UPLOADED",
    }
    if file.state == "FAILED":
        shown["error"] = {"code": 3, "message": "The file could not be processed."}
    return shown


def _stamp(at_s: float) -> str:
    shown = datetime.fromtimestamp(at_s, UTC).isoformat(timespec="microseconds")
    return shown.replace("+00:00", "Z")
