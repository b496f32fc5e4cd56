"""Files at providers: sent there, and removed again.

Sources: "Files" in OpenAI's API reference (`POST /files`, purpose `user_data`); "Files API" in
Anthropic's guides (a beta); "Using files" in Gemini's API reference (the resumable protocol of
`/upload/v1beta/files`, and states of files that are still being processed).
"""

from __future__ import annotations

import mimetypes
import re
import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Protocol
from urllib.parse import quote, urlsplit

import httpx
import orjson
import trio

from engine.clock import wall_ms
from engine.errors import UpstreamError, UpstreamRejectedError, UpstreamTimeoutError
from engine.upstream.answers import Answer
from engine.upstream.pool import Pool
from engine.upstream.provider_table import FilesApi
from engine.upstream.providers import Provider
from engine.upstream.transport import MultiplexTransport
from engine.wire.http import Headers
from engine.wire.retry_after import retry_after_s

_ANSWER_MAX_BYTES: Final = 256 * 1024
_SEND_S: Final = 60.0
"""For a file, and a second more for each `_BYTES_PER_S` of it."""
_BYTES_PER_S: Final = 500_000
_STEP_S: Final = 60.0
"""Without a byte in either direction."""
_DELETE_S: Final = 10.0
_READY_S: Final = 120.0
_LOOK_MIN_S: Final = 0.2
_LOOK_MAX_S: Final = 4.0
_KEEP_S: Final = 30 * 86_400
"""OpenAI removes its copy then: what nobody removed here does not stay there."""
_GONE: Final = frozenset({404, 410})
_UNNAMEABLE: Final = re.compile(r'[<>:"|?*\\/\x00-\x1f\x7f]')
"""Anthropic's list; and what would end a line of a form."""
_NAME_MAX_CHARS: Final = 200

ReadError = Callable[[int, bytes, float | None], UpstreamRejectedError]
"""How a provider's error answer is read."""


class Pieces(Protocol):
    """The bytes of a file; to be closed by whoever iterates."""

    def __aiter__(self) -> AsyncIterator[bytes]: ...

    async def aclose(self) -> None: ...


@dataclass(frozen=True, slots=True)
class OutgoingFile:
    """A file as it is sent; `pieces` gives it from the beginning, each time it is called.

    Attributes:
        purpose: what OpenAI is told that it is for; it stays there then. None: for requests that
            name it, and it goes after a while.
    """

    name: str
    mime_type: str
    size_bytes: int
    pieces: Callable[[], Pieces]
    purpose: str | None = None


@dataclass(frozen=True, slots=True)
class HeldFile:
    """What a provider calls a file that it has.

    Attributes:
        uri: where it is named by an address.
        expires_at_ms: when it will be gone there, milliseconds since 1970; None: it stays.
    """

    file_id: str
    uri: str | None = None
    expires_at_ms: int | None = None


class ProviderFiles:
    """The files of one provider, by one of its keys."""

    def __init__(self, pool: Pool, provider: Provider, key: int, read_error: ReadError) -> None:
        assert provider.files is not None, "it has files"
        self._pool = pool
        self._provider = provider
        self._key = key
        self._read_error = read_error
        self._api: FilesApi = provider.files

    async def send(self, file: OutgoingFile) -> HeldFile:
        """Send a file; it can be named in requests when this returns.

        Raises:
            UpstreamError: the provider has not taken it.
            Exception: whatever its pieces raise.
        """
        with trio.move_on_after(_SEND_S + file.size_bytes / _BYTES_PER_S):
            return await (self._send_to_gemini(file) if self._api == "gemini" else self._send(file))
        raise UpstreamTimeoutError("The provider did not take a file in time.")

    async def delete(self, file_id: str) -> bool:
        """Remove a file; whether it is gone now. Never raises."""
        path = f"/{file_id}" if self._api == "gemini" else f"/files/{quote(file_id, safe='')}"
        with trio.move_on_after(_DELETE_S):
            try:
                await self._ask("DELETE", self._provider.path(path))
            except UpstreamRejectedError as error:
                return error.status in _GONE
            except UpstreamError:
                return False
            return True
        return False

    @asynccontextmanager
    async def open_content(self, file_id: str) -> AsyncIterator[AsyncIterator[bytes]]:
        """What is in a file, of OpenAI or Anthropic, for the block: piece by piece, as it comes.

        Raises:
            UpstreamRejectedError: it is not given.
            UpstreamError: it cannot be had now; also while its pieces are read.
        """
        provider = self._provider
        path = provider.path(f"/files/{quote(file_id, safe='')}/content")
        headers: Headers = [
            (b":method", b"GET"),
            (b":scheme", provider.origin.scheme.encode()),
            (b":authority", provider.origin.authority.encode()),
            (b":path", path.encode()),
            (b"accept", b"*/*"),
            (b"accept-encoding", b"identity"),
            (b"user-agent", b"parshall"),
            *provider.credentials_of(self._key).sign("GET", path, b""),
            *(_OF_ANTHROPIC if self._api == "anthropic" else ()),
        ]
        answer = Answer(min(provider.idle_timeout_s, _STEP_S), lambda _: None)
        try:
            answer.opened(await self._pool.open_stream(provider, headers, b"", answer))
            head = dict(await answer.wait_head(_STEP_S))
            status = int(head[b":status"])
            if status != 200:
                raise self._read_error(status, await _start_of(answer), None)
            yield answer
        except httpx.TimeoutException:
            raise UpstreamTimeoutError("The provider does not give a file in time.") from None
        except (httpx.TransportError, httpx.StreamClosed):
            raise UpstreamError("The provider broke off a file.") from None
        finally:
            answer.close()

    # ---- OpenAI's and Anthropic's -------------------------------------------------------------

    async def _send(self, file: OutgoingFile) -> HeldFile:
        boundary = secrets.token_hex(16)
        fields: Mapping[str, str] = _OPENAI_FIELDS if self._api == "openai" else {}
        if file.purpose is not None and self._api == "openai":
            fields = {"purpose": file.purpose}
        kind = f"multipart/form-data; boundary={boundary}".encode()
        path = self._provider.path("/files")
        async with aclosing(file.pieces()) as pieces:
            form = _form(boundary, fields, file, aiter(pieces))
            said, _ = await self._ask("POST", path, [(b"content-type", kind)], form)
        file_id, expires_at_s = said.get("id"), said.get("expires_at")
        if not isinstance(file_id, str) or not file_id:
            raise UpstreamError("The provider has taken a file and not said its id.")
        known = isinstance(expires_at_s, int) and not isinstance(expires_at_s, bool)
        return HeldFile(file_id, None, expires_at_s * 1_000 if known and expires_at_s else None)

    # ---- Gemini's -----------------------------------------------------------------------------

    async def _send_to_gemini(self, file: OutgoingFile) -> HeldFile:
        before, _, version = self._provider.path("").rpartition("/")
        _, headers = await self._ask(
            "POST",
            f"{before}/upload/{version}/files",
            [
                (b"content-type", b"application/json"),
                (b"x-goog-upload-protocol", b"resumable"),
                (b"x-goog-upload-command", b"start"),
                (b"x-goog-upload-header-content-length", str(file.size_bytes).encode()),
                (b"x-goog-upload-header-content-type", file.mime_type.encode()),
            ],
            orjson.dumps({"file": {"display_name": file.name}}),
        )
        path = self._path_there(headers.get("x-goog-upload-url", ""))
        all_of_it = [
            (b"x-goog-upload-offset", b"0"),
            (b"x-goog-upload-command", b"upload, finalize"),
        ]
        async with aclosing(file.pieces()) as pieces:
            said, _ = await self._ask("POST", path, all_of_it, aiter(pieces))
        described = said.get("file")
        with trio.move_on_after(_READY_S):
            return await self._ready(described if isinstance(described, dict) else {})
        raise UpstreamTimeoutError("The provider has not processed a file in time.")

    async def _ready(self, described: Mapping[str, Any]) -> HeldFile:
        """Once its state is ACTIVE."""
        pause_s = _LOOK_MIN_S
        while True:
            name, uri = described.get("name"), described.get("uri")
            if not (isinstance(name, str) and name.startswith("files/") and isinstance(uri, str)):
                raise UpstreamError("The provider has taken a file and not said its name.")
            match described.get("state"):
                case "ACTIVE" | None:
                    return HeldFile(name, uri, _milliseconds(described.get("expirationTime")))
                case "FAILED":
                    raise UpstreamRejectedError(
                        "The provider cannot process a file of the request.", status=400
                    )
            await trio.sleep(pause_s)
            pause_s = min(2 * pause_s, _LOOK_MAX_S)
            described, _ = await self._ask("GET", self._provider.path(f"/{name}"))

    def _path_there(self, url: str) -> str:
        """Of a URL of this provider's: nobody else is sent a file or a key."""
        origin = self._provider.origin
        try:
            split = urlsplit(url)
        except ValueError:
            split = urlsplit("")
        if (split.scheme, split.netloc) != (origin.scheme, origin.authority):
            raise UpstreamError("The provider wants a file to be sent elsewhere.")
        return f"{split.path}?{split.query}" if split.query else split.path

    # ---- one request --------------------------------------------------------------------------

    async def _ask(
        self,
        method: str,
        path: str,
        headers: Headers | None = None,
        content: bytes | AsyncIterator[bytes] | None = None,
    ) -> tuple[dict[str, Any], httpx.Headers]:
        """The JSON object of the answer, and its headers. Raises UpstreamError."""
        provider = self._provider
        sent = [
            (b"accept", b"application/json"),
            (b"accept-encoding", b"identity"),
            (b"user-agent", b"parshall"),
            *provider.credentials_of(self._key).sign(method, path, b""),
            *(_OF_ANTHROPIC if self._api == "anthropic" else ()),
            *(headers or ()),
        ]
        url = f"{provider.origin.scheme}://{provider.origin.authority}{path}"
        transport = MultiplexTransport(self._pool, **provider.connection)
        timeout = httpx.Timeout(min(provider.first_byte_timeout_s, _STEP_S))
        answer = b""
        try:
            async with (
                httpx.AsyncClient(transport=transport, timeout=timeout) as client,
                client.stream(method, url, headers=sent, content=content) as response,
            ):
                async for part in response.aiter_bytes():
                    if len(answer) <= _ANSWER_MAX_BYTES:  # what is too long is read and forgotten
                        answer += part
        except httpx.TimeoutException:
            raise UpstreamTimeoutError("The provider did not take a file in time.") from None
        except (httpx.TransportError, httpx.DecodingError):
            raise UpstreamError("The provider broke off while it was sent a file.") from None
        if len(answer) > _ANSWER_MAX_BYTES:
            raise UpstreamError("The provider's answer is larger than it may be.")
        if response.status_code >= 300:
            wait_s = retry_after_s(_lower(response.headers), wall_ms() / 1_000)
            raise self._read_error(response.status_code, answer, wait_s)
        try:
            said = orjson.loads(answer) if answer else {}
        except orjson.JSONDecodeError:
            said = None
        if not isinstance(said, dict):
            raise UpstreamError("The provider's answer to a file cannot be read.")
        return said, response.headers


_OF_ANTHROPIC: Final = (
    (b"anthropic-version", b"2023-06-01"),
    (b"anthropic-beta", b"files-api-2025-04-14"),
)
_OPENAI_FIELDS: Final = {
    "purpose": "user_data",
    "expires_after[anchor]": "created_at",
    "expires_after[seconds]": str(_KEEP_S),
}


async def _start_of(answer: Answer) -> bytes:
    """As much of it as says why a file is not given."""
    start = b""
    async for piece in answer:
        start += piece
        if len(start) > _ANSWER_MAX_BYTES:
            break
    return start


async def _form(
    boundary: str, fields: Mapping[str, str], file: OutgoingFile, pieces: AsyncIterator[bytes]
) -> AsyncIterator[bytes]:
    """A multipart form (RFC 7578) with the file in it, which `pieces` are."""
    for name, value in fields.items():
        head = f'--{boundary}\r\ncontent-disposition: form-data; name="{name}"\r\n\r\n'
        yield f"{head}{value}\r\n".encode()
    named = f'form-data; name="file"; filename="{_filename(file)}"'
    yield (
        f"--{boundary}\r\ncontent-disposition: {named}\r\ncontent-type: {file.mime_type}\r\n\r\n"
    ).encode("utf-8", "replace")
    async for piece in pieces:
        yield piece
    yield f"\r\n--{boundary}--\r\n".encode()


def _filename(file: OutgoingFile) -> str:
    """As all take it, and with the ending of its type: some go by that."""
    name = _UNNAMEABLE.sub("_", file.name)[:_NAME_MAX_CHARS] or "file"
    told = mimetypes.guess_type(name)[0] or ""
    if told != file.mime_type and not (file.mime_type == "text/plain" and _is_text(told)):
        name += mimetypes.guess_extension(file.mime_type) or ""
    return name


def _is_text(mime_type: str) -> bool:
    """What is plain text in another sense: `notes.md` and `rows.csv` are called so by who wrote
    them, and their bytes alone do not tell."""
    return mime_type.startswith("text/") or mime_type == "application/json"


def _lower(headers: httpx.Headers) -> Headers:
    return [(name.lower(), value) for name, value in headers.raw]


def _milliseconds(timestamp: object) -> int | None:
    """Of a time as Google writes it (RFC 3339)."""
    try:
        return int(datetime.fromisoformat(str(timestamp)).timestamp() * 1_000)
    except ValueError:
        return None
