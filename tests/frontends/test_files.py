"""Files over HTTP, by what is sent and said: names, types, ranges, digests, bounds, breaks."""

from __future__ import annotations

import base64
import errno
import hashlib
import io
import os
import zipfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio

from frontends.server import ServerSettings
from frontends.server.settings import ServerKind
from tests.frontends.apps import Front, open_front
from tests.gateways import add_key, settled
from tests.served import Served, open_served

DATA = bytes(range(256)) * 40
PURPOSE = {"purpose": "user_data"}
FILES = "\n[files]\nfile_max_bytes = 1_000_000\naccount_max_bytes = 2_000_000\n"
SHA256 = hashlib.sha256(DATA).digest()
DIGEST = f"sha-256=:{base64.b64encode(SHA256).decode()}:"
WRONG_DIGEST = f"sha-256=:{base64.b64encode(bytes(32)).decode()}:"


@asynccontextmanager
async def open_files_front(folder: Path, **options: Any) -> AsyncIterator[Front]:
    async with open_front(folder, models=FILES, **options) as front:
        yield front


async def upload(
    front: Front, name: str = "a.bin", data: bytes = DATA, kind: str = "application/pdf"
) -> str:
    """The id of a new file."""
    answer = await front.client.post("/v1/files", data=PURPOSE, files={"file": (name, data, kind)})
    assert answer.status_code == 200, answer.text
    made: str = answer.json()["id"]
    return made


def stored(folder: Path) -> list[str]:
    """What lies in the store, half-written or whole."""
    place = folder / "files"
    return sorted(path.name for path in place.glob("*/*") if path.is_file())


def assert_nothing(front: Front, folder: Path) -> None:
    """No file, no part of one, no room taken."""
    quota = front.setup.gateway.files.quota
    assert stored(folder) == []
    assert (quota.stored_files, quota.stored_bytes, quota.reserved_bytes) == (0, 0, 0)


# ---- what comes back -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "kind", "shown"),
    [
        ("a.pdf", "application/pdf", "application/pdf"),
        ("a.png", "image/png", "image/png"),
        ("a.html", "text/html", "application/octet-stream"),
        ("a.svg", "image/svg+xml", "application/octet-stream"),
        ("a.xml", "text/xml", "application/octet-stream"),
        ("a.js", "text/javascript", "application/octet-stream"),
        ("a.xhtml", "application/xhtml+xml", "application/octet-stream"),
        ("a.txt", "text/plain; charset=utf-7", "text/plain"),
    ],
)
async def test_no_browser_runs_what_is_stored(
    tmp_path: Path, name: str, kind: str, shown: str
) -> None:
    async with open_files_front(tmp_path) as front:
        file_id = await upload(front, name, b"<script>alert(1)</script>", kind)
        answer = await front.client.get(f"/v1/files/{file_id}/content")

    assert answer.content == b"<script>alert(1)</script>"
    assert answer.headers["content-type"] == shown
    assert answer.headers["content-disposition"] == f'attachment; filename="{name}"'
    assert answer.headers["x-content-type-options"] == "nosniff"
    policy = answer.headers["content-security-policy"].split("; ")
    assert {"sandbox", "default-src 'none'"} <= set(policy)


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("../../etc/passwd", "passwd"),
        ("..\\..\\boot.ini", "boot.ini"),
        ("/", "upload"),
        ("..", "upload"),
        ('quote".txt', 'quote".txt'),
        ("naïve ☃.txt", "naïve ☃.txt"),
    ],
)
async def test_a_name_is_no_path(tmp_path: Path, sent: str, kept: str) -> None:
    async with open_files_front(tmp_path) as front:
        file_id = await upload(front, sent)
        shown = (await front.client.get(f"/v1/files/{file_id}")).json()
        answer = await front.client.get(f"/v1/files/{file_id}/content")

    assert shown["filename"] == kept
    assert stored(tmp_path) == [file_id.removeprefix("file-")], "its id is the name of what is kept"
    said = answer.headers["content-disposition"]
    assert said.startswith('attachment; filename="')
    assert said.isascii()
    assert answer.content == DATA


@pytest.mark.parametrize(
    ("said", "begin", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=100-199", 100, 200),
        ("bytes=10000-", 10_000, 10_240),
        ("bytes=-40", 10_200, 10_240),
        ("bytes=-99999", 0, 10_240),
        ("bytes=10000-99999", 10_000, 10_240),
    ],
)
async def test_one_range(tmp_path: Path, said: str, begin: int, end: int) -> None:
    async with open_files_front(tmp_path) as front:
        url = f"/v1/files/{await upload(front)}/content"
        part = await front.client.get(url, headers={"range": said})
        etag = part.headers["etag"]
        same = await front.client.get(url, headers={"range": said, "if-range": etag})
        other = await front.client.get(url, headers={"range": said, "if-range": '"x"'})

    assert part.status_code == same.status_code == 206
    assert part.content == same.content == DATA[begin:end]
    assert part.headers["content-range"] == f"bytes {begin}-{end - 1}/10240"
    assert part.headers["content-length"] == str(end - begin)
    assert "content-digest" not in part.headers, "it would be of the whole"
    assert (other.status_code, other.content) == (200, DATA)


async def test_ranges_that_are_none(tmp_path: Path) -> None:
    async with open_files_front(tmp_path) as front:
        url = f"/v1/files/{await upload(front)}/content"
        empty = f"/v1/files/{await upload(front, data=b'')}/content"
        for said in ("bytes=0-1,5-6", "lines=1-2", "bytes=-", "bytes=9-2", "bytes=a-b"):
            answer = await front.client.get(url, headers={"range": said})
            assert (answer.status_code, answer.content) == (200, DATA), said
        for place, size in ((url, 10_240), (empty, 0)):
            for said in (f"bytes={size}-", "bytes=-0", "bytes=99999-100000"):
                answer = await front.client.get(place, headers={"range": said})
                assert answer.status_code == 416, said
                assert answer.headers["content-range"] == f"bytes */{size}"
                assert answer.json()["error"]["code"] == "range_not_satisfiable"
                assert answer.headers["x-storage-used-bytes"] == "10240"


async def test_heads_and_conditions(tmp_path: Path) -> None:
    async with open_files_front(tmp_path) as front:
        url = f"/v1/files/{await upload(front)}/content"
        got = await front.client.get(url)
        head = await front.client.head(url, headers={"range": "bytes=1-2"})
        etag = got.headers["etag"]
        assert etag == f'"{SHA256.hex()}"'
        for said in (etag, f'"x", W/{etag}', "*"):
            same = await front.client.get(url, headers={"if-none-match": said})
            assert (same.status_code, same.content) == (304, b""), said
            assert same.headers["etag"] == etag
        changed = await front.client.get(url, headers={"if-none-match": '"x"'})

    assert (head.status_code, head.content) == (200, b"")
    for name in ("content-length", "content-type", "etag", "content-disposition", "repr-digest"):
        assert head.headers[name] == got.headers[name]
    assert got.headers["content-digest"] == got.headers["repr-digest"] == DIGEST
    assert got.headers["accept-ranges"] == "bytes"
    assert changed.content == DATA


# ---- what is sent ----------------------------------------------------------------------------


async def test_digests_of_the_body(tmp_path: Path) -> None:
    async with open_files_front(tmp_path) as front:
        request = front.client.build_request(
            "POST", "/v1/files", data=PURPOSE, files={"file": ("a", DATA)}
        )
        body = request.read()
        kind = request.headers["content-type"]
        right = base64.b64encode(hashlib.sha256(body).digest()).decode()

        async def post(**headers: str) -> httpx.Response:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            return await front.client.post(
                "/v1/files", content=body, headers={"content-type": kind, **named}
            )

        for name in ("content_digest", "repr_digest"):
            wrong = await post(**{name: WRONG_DIGEST})
            assert wrong.status_code == 400
            assert wrong.json()["error"]["code"] == "digest_mismatch"
            for bad in ("sha-256=x", "sha-256=:eA==:", "sha-256=:%s:" % ("A" * 44)):
                assert (await post(**{name: bad})).status_code == 400, bad
        assert_nothing(front, tmp_path)
        both = f"sha-512=:eA==:, sha-256=:{right}:"
        assert (await post(content_digest=both, repr_digest=both)).status_code == 200
        assert (await post(content_digest="md5=:eA==:")).status_code == 200, "not looked at"


UPLOADS: dict[str, tuple[str, dict[str, str]]] = {
    "openai": ("/v1/files", {"content-type": "multipart/form-data; boundary=b"}),
    "anthropic": (
        "/v1/files",
        {"content-type": "multipart/form-data; boundary=b", "anthropic-version": "2023-06-01"},
    ),
    "gemini raw": ("/upload/v1beta/files", {"x-goog-upload-protocol": "raw"}),
    "gemini form": (
        "/upload/v1beta/files",
        {"x-goog-upload-protocol": "multipart", "content-type": "multipart/form-data; boundary=b"},
    ),
}


def head_of(front: Front, path: str, headers: dict[str, str]) -> bytes:
    fields = {"host": "a", "authorization": f"Bearer {front.setup.key}", **headers}
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"POST {path} HTTP/1.1\r\n{lines}\r\n".encode()


async def ask_raw(front: Front, data: bytes) -> tuple[int, dict[str, str]]:
    """Status and headers of what is said to bytes."""
    async with await trio.open_tcp_stream(*front.address) as stream:
        await stream.send_all(data)
        answer = b""
        while b"\r\n\r\n" not in answer:
            received = await stream.receive_some()
            assert received, "no answer"
            answer += received
    status, *lines = answer.partition(b"\r\n\r\n")[0].decode().split("\r\n")
    return int(status.split()[1]), dict(line.split(": ", 1) for line in lines)


@pytest.mark.parametrize("way", UPLOADS)
async def test_what_is_refused_is_not_read(tmp_path: Path, way: str) -> None:
    path, headers = UPLOADS[way]
    async with open_files_front(tmp_path) as front:
        for more, status in (
            ({"content-length": "1000", "content-encoding": "gzip"}, 415),
            ({"content-length": "1000", "content-encoding": "identity, br"}, 415),
            ({"content-length": "2000000"}, 413),
            ({"content-length": "999999999999"}, 413),
        ):
            found, said = await ask_raw(front, head_of(front, path, headers | more))
            assert found == status, (more, found)
            assert said["x-storage-used-bytes"] == "0"
            assert said["x-storage-limit-bytes"] == "2000000"
        for _ in range(2):
            await upload(front, data=bytes(900_000))
        found, said = await ask_raw(
            front, head_of(front, path, headers | {"content-length": "990000"})
        )
        assert found == 413
        assert said["x-storage-used-bytes"] == "1800000"


async def test_what_has_no_length_ends_at_the_bound(tmp_path: Path) -> None:
    path, headers = UPLOADS["openai"]
    async with open_files_front(tmp_path) as front:
        head = head_of(front, path, headers | {"transfer-encoding": "chunked"})
        chunk = b"10000\r\n" + bytes(65_536) + b"\r\n"
        begin = FILE.partition(b"1")[0]
        async with await trio.open_tcp_stream(*front.address) as stream:
            await stream.send_all(head + b"%x\r\n%b\r\n" % (len(begin), begin))
            with trio.fail_after(20), suppress(trio.BrokenResourceError):
                while True:
                    with trio.move_on_after(0.001):
                        answer = await stream.receive_some()
                        break
                    await stream.send_all(chunk)
        assert answer.startswith(b"HTTP/1.1 413")
        assert b"file_too_large" in answer
        await settled(lambda: front.setup.gateway.files.quota.open_uploads == 0)
        assert_nothing(front, tmp_path)


DISPOSITION = b"--b\r\nContent-Disposition: form-data; name="
FILE = DISPOSITION + b'"file"; filename="a"\r\n\r\n1\r\n'
FIELD = DISPOSITION + b'"%b"\r\n\r\n%b\r\n'
BROKEN = {
    "no purpose": FILE,
    "no file": FIELD % (b"purpose", b"batch"),
    "a file that is a field": FIELD % (b"file", b"1"),
    "two files": FIELD % (b"purpose", b"batch") + FILE * 2,
    "another file": DISPOSITION + b'"x"; filename="a"\r\n\r\n1\r\n',
    "two purposes": FIELD % (b"purpose", b"batch") * 2 + FILE,
    "a purpose that is none": FIELD % (b"purpose", b"fun") + FILE,
    "an anchor": FIELD % (b"purpose", b"batch") + FIELD % (b"expires_after[anchor]", b"x") + FILE,
    "too soon": FIELD % (b"purpose", b"batch") + FILE + FIELD % (b"expires_after[seconds]", b"1"),
}


@pytest.mark.parametrize("body", BROKEN.values(), ids=list(BROKEN))
async def test_a_broken_form_leaves_nothing(tmp_path: Path, body: bytes) -> None:
    async with open_files_front(tmp_path) as front:
        kind = {"content-type": "multipart/form-data; boundary=b"}
        for end in (b"--b--", b""):
            answer = await front.client.post("/v1/files", content=body + end, headers=kind)
            assert answer.status_code == 400
            assert answer.headers["x-storage-used-bytes"] == "0"
        assert_nothing(front, tmp_path)


async def test_a_zip_stays_a_zip(tmp_path: Path) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros", bytes(50_000_000))
    async with open_files_front(tmp_path) as front:
        file_id = await upload(front, "bomb.zip", packed.getvalue(), "application/zip")
        answer = await front.client.get(f"/v1/files/{file_id}/content")
        used = front.setup.gateway.files.used_bytes(front.setup.account_id)

    assert answer.content == packed.getvalue()
    assert "content-encoding" not in answer.headers
    assert used == len(packed.getvalue()) < 100_000


async def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_files_front(tmp_path) as front:
        write = os.write

        def full(fd: int, data: bytes) -> int:
            if "files/tmp" in os.readlink(f"/proc/self/fd/{fd}"):
                raise OSError(errno.ENOSPC, "No space left on device")
            return write(fd, data)

        monkeypatch.setattr(os, "write", full)
        answer = await front.client.post(
            "/v1/files", data=PURPOSE, files={"file": ("a", bytes(600_000))}
        )
        assert answer.status_code == 507
        assert answer.json()["error"]["code"] == "insufficient_storage"
        assert answer.headers["x-storage-used-bytes"] == "0"
        monkeypatch.setattr(os, "write", write)
        assert_nothing(front, tmp_path)
        await upload(front)


async def test_every_answer_says_what_is_stored(tmp_path: Path) -> None:
    async with open_files_front(tmp_path) as front:
        file_id = await upload(front)
        asks = [
            ("GET", "/v1/files"),
            ("GET", f"/v1/files/{file_id}"),
            ("GET", f"/v1/files/{file_id}/content"),
            ("GET", f"/v1beta/files/{file_id}"),
            ("GET", "/v1beta/files"),
            ("GET", "/v1/files/unknown"),
            ("GET", "/v1/files/unknown/content"),
            ("GET", "/v1/files?limit=0"),
            ("GET", "/v1/files?after=x"),
            ("GET", "/v1/files?after=file-aaaaaaaaaaaaaaaaaaaaaaaaaa"),
            ("GET", "/v1/files?order=up"),
            ("DELETE", "/v1beta/files/unknown"),
            ("POST", "/v1/files"),
            ("POST", "/upload/v1beta/files"),
            ("POST", "/upload/v1/files?upload_id=x"),
        ]
        for method, path in asks:
            answer = await front.client.request(method, path)
            assert answer.headers["x-storage-used-bytes"] == "10240", (method, path)
            assert answer.headers["x-storage-limit-bytes"] == "2000000"
        gone = await front.client.delete(f"/v1/files/{file_id}")
        assert gone.headers["x-storage-used-bytes"] == "0"
        stranger = await front.client.get("/v1/files", headers={"authorization": "Bearer x"})
        assert stranger.status_code == 401
        assert "x-storage-used-bytes" not in stranger.headers


async def test_a_key_that_was_closed_meanwhile_stores_nothing(tmp_path: Path) -> None:
    async with open_files_front(tmp_path) as front:
        gateway = front.setup.gateway
        key_id, key = await add_key(gateway, front.setup.account_id)
        closed = trio.Event()

        async def body() -> AsyncIterator[bytes]:
            yield b'--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
            yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
            await settled(lambda: gateway.files.quota.open_uploads == 1)
            await gateway.ledger.revoke_key(key_id)
            closed.set()
            yield b"1\r\n--b--"

        answer = await front.client.post(
            "/v1/files",
            content=body(),
            headers={
                "content-type": "multipart/form-data; boundary=b",
                "authorization": f"Bearer {key}",
            },
        )
        assert closed.is_set()
        assert answer.status_code == 401
        assert_nothing(front, tmp_path)


# ---- by the clock ----------------------------------------------------------------------------


@asynccontextmanager
async def begun(served: Served, *, length: int = 50_000_000) -> AsyncIterator[trio.SocketStream]:
    """An upload whose file has begun."""
    part = (
        b'--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
    )
    head = (
        b"POST /v1/files HTTP/1.1\r\nhost: a\r\nauthorization: Bearer %b\r\n"
        b"content-type: multipart/form-data; boundary=b\r\ncontent-length: %d\r\n\r\n"
        % (served.setup.key.encode(), len(part) + length + len(b"\r\n--b--"))
    )
    async with await trio.open_tcp_stream("127.0.0.1", served.port) as stream:
        await stream.send_all(head + part)
        yield stream


SERVERS: list[ServerKind] = ["parshall", "hypercorn"]


@pytest.mark.parametrize("server", SERVERS)
async def test_who_leaves_in_the_middle_leaves_nothing(tmp_path: Path, server: ServerKind) -> None:
    async with open_served(tmp_path, settings=ServerSettings(server=server)) as served:
        quota = served.setup.gateway.files.quota
        async with begun(served) as stream:
            await stream.send_all(bytes(5_000_000))
            await settled(lambda: quota.open_uploads == 1 and len(stored(tmp_path)) == 1)
        await settled(lambda: quota.open_uploads == 0)
        assert (quota.reserved_bytes, stored(tmp_path)) == (0, [])


async def test_who_is_too_slow_leaves_nothing(tmp_path: Path) -> None:
    async with open_served(tmp_path, server="body_grace_s = 0.2") as served:
        async with begun(served) as stream:
            with trio.fail_after(10):
                answer = await stream.receive_some()
        assert answer.startswith(b"HTTP/1.1 408")
        quota = served.setup.gateway.files.quota
        await settled(lambda: quota.open_uploads == 0)
        assert (quota.reserved_bytes, stored(tmp_path)) == (0, [])


@pytest.mark.parametrize("server", SERVERS)
async def test_a_slow_disk_slows_its_client(tmp_path: Path, server: ServerKind) -> None:
    length, piece = 50_000_000, bytes(100_000)
    async with open_served(tmp_path, settings=ServerSettings(server=server)) as served:
        threads: trio.CapacityLimiter = served.setup.gateway.files.blobs._threads  # type: ignore[attr-defined]
        async with begun(served, length=length) as stream:
            await settled(lambda: served.setup.gateway.files.quota.open_uploads == 1)
            await trio.testing.wait_all_tasks_blocked(0.01)
            taken = [object() for _ in range(int(threads.total_tokens))]
            for each in taken:
                threads.acquire_on_behalf_of_nowait(each)
            sent = 0
            with trio.move_on_after(0.7):
                while sent < length:
                    await stream.send_all(piece)
                    sent += len(piece)
            assert sent < 25_000_000, "what the sockets hold, and no more"
            for each in taken:
                threads.release_on_behalf_of(each)
        await settled(lambda: served.setup.gateway.files.quota.open_uploads == 0)
        assert stored(tmp_path) == []
