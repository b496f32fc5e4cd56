"""Google's protocol of uploads by its headers: parts, breaks, wrong lengths, other people's."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
import trio

from engine.ledger.file_rows import FileRow
from tests.frontends.apps import Front, open_front
from tests.frontends.test_files import FILES, stored
from tests.gateways import add_key, settled

PATH = "/upload/v1beta/files"
DATA = bytes(range(256)) * 4_000
DIGEST = f"sha-256=:{base64.b64encode(hashlib.sha256(DATA).digest()).decode()}:"
WRONG_DIGEST = f"sha-256=:{base64.b64encode(bytes(32)).decode()}:"
LIMITS = FILES.replace("1_000_000", "5_000_000").replace("2_000_000", "9_000_000")


@asynccontextmanager
async def open_uploads(folder: Path, more: str = "") -> AsyncIterator[Front]:
    async with open_front(folder, models=LIMITS + more) as front:
        yield front


async def start(front: Front, size: int | None = len(DATA), **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    said = {} if size is None else {"x-goog-upload-header-content-length": str(size)}
    return await front.client.post(
        PATH,
        json={"file": {"displayName": "../a clip"}},
        headers={
            "x-goog-upload-protocol": "resumable",
            "x-goog-upload-command": "start",
            "x-goog-upload-header-content-type": "video/mp4",
            **said,
            **named,
        },
    )


async def begin(front: Front, size: int | None = len(DATA)) -> str:
    """The URL of a new upload."""
    answer = await start(front, size)
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-goog-upload-status"] == "active"
    return answer.headers["x-goog-upload-url"]


async def send(
    front: Front, url: str, data: bytes, offset: int | str, command: str = "upload", **more: str
) -> httpx.Response:
    headers = {name.replace("_", "-"): value for name, value in more.items()}
    async with httpx.AsyncClient(verify=False, timeout=30) as nobody:  # as Google's SDK: no key
        return await nobody.post(
            url,
            content=data,
            headers={
                "x-goog-upload-command": command,
                "x-goog-upload-offset": str(offset),
                **headers,
            },
        )


async def received(front: Front, url: str) -> tuple[str, str]:
    """Status and size, as they are asked for."""
    answer = await send(front, url, b"", 0, "query")
    assert answer.status_code == 200
    said = answer.headers
    return said["x-goog-upload-status"], said["x-goog-upload-size-received"]


async def row_of(front: Front, answer: httpx.Response) -> FileRow:
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-goog-upload-status"] == "final"
    store = front.setup.gateway.files
    return await store.find(front.setup.account_id, answer.json()["file"]["name"])


def assert_over(front: Front, folder: Path) -> None:
    """Nothing is left of an upload."""
    quota = front.setup.gateway.files.quota
    assert (quota.open_uploads, quota.reserved_bytes, quota.stored_files) == (0, 0, 0)
    assert stored(folder) == []


async def test_in_parts(tmp_path: Path) -> None:
    async with open_uploads(tmp_path) as front:
        url = await begin(front)
        assert url.startswith(f"http://{front.server.addresses[0]}{PATH}?upload_id=")
        quota = front.setup.gateway.files.quota
        assert quota.reserved_bytes == len(DATA), "there is room before any of it is sent"
        first = await send(front, url, DATA[:300_000], 0)
        assert first.headers["x-goog-upload-status"] == "active"
        assert first.headers["x-goog-upload-size-received"] == "300000"
        assert await received(front, url) == ("active", "300000")
        second = await send(front, url, DATA[300_000:], 300_000)
        assert second.headers["x-goog-upload-size-received"] == str(len(DATA))
        last = await send(front, url, b"", len(DATA), "finalize", repr_digest=DIGEST)
        row = await row_of(front, last)
        assert (row.filename, row.mime_type, row.size_bytes) == ("a clip", "video/mp4", len(DATA))
        assert await front.setup.gateway.files.read(row) == DATA
        again = await send(front, url, DATA[300_000:], 300_000, "upload, finalize")
        assert again.json() == last.json(), "who has missed the answer gets it again"
        assert await received(front, url) == ("final", str(len(DATA)))
        assert quota.stored_files == 1


async def test_a_part_that_breaks_off_goes_on_where_it_was(tmp_path: Path) -> None:
    async with open_uploads(tmp_path) as front:
        url = await begin(front)
        target = url.partition(front.server.addresses[0])[2]
        async with await trio.open_tcp_stream(*front.address) as stream:
            await stream.send_all(
                b"POST %b HTTP/1.1\r\nhost: a\r\nx-goog-upload-command: upload, finalize\r\n"
                b"x-goog-upload-offset: 0\r\ncontent-length: %d\r\n\r\n"
                % (target.encode(), len(DATA))
            )
            await stream.send_all(DATA[:500_000])
            [session] = front.setup.gateway.uploads._open.values()
            await settled(lambda: session.received_bytes == 500_000)
            busy = await send(front, url, b"", 0, "finalize")
            assert (busy.status_code, busy.json()["error"]["status"]) == (409, "ABORTED")
        await settled(lambda: not session.busy)
        assert await received(front, url) == ("active", "500000")
        wrong = await send(front, url, DATA[600_000:], 600_000, "upload, finalize")
        assert wrong.status_code == 400
        assert "500000" in wrong.json()["error"]["message"]
        assert (await send(front, url, DATA, "x")).status_code == 400
        done = await send(front, url, DATA[100_000:], 100_000, "upload, finalize")
        row = await row_of(front, done)
        assert await front.setup.gateway.files.read(row) == DATA, "nothing twice, nothing missing"


WRONG: dict[str, tuple[bytes, str, dict[str, str]]] = {
    "too long": (DATA + b"1", "upload", {}),
    "too short": (DATA[:-1], "upload, finalize", {}),
    "another digest of the part": (DATA, "upload", {"content-digest": WRONG_DIGEST}),
    "another digest of the file": (DATA, "upload, finalize", {"repr-digest": WRONG_DIGEST}),
    "no digest": (DATA, "upload, finalize", {"repr-digest": "sha-256=x"}),
    "packed": (DATA, "upload", {"content-encoding": "gzip"}),
}


@pytest.mark.parametrize("case", WRONG)
async def test_what_cannot_go_on_is_over(tmp_path: Path, case: str) -> None:
    data, command, headers = WRONG[case]
    async with open_uploads(tmp_path) as front:
        url = await begin(front)
        answer = await send(front, url, data, 0, command, **headers)
        assert answer.status_code == (415 if case == "packed" else 400)
        assert answer.headers["x-goog-upload-status"] == "final"
        assert answer.headers["x-storage-used-bytes"] == "0"
        assert (await send(front, url, b"", 0, "query")).status_code == 404
        assert_over(front, tmp_path)


async def test_without_a_length_the_bounds_hold(tmp_path: Path) -> None:
    async with open_uploads(tmp_path) as front:
        url = await begin(front, None)
        assert (await send(front, url, bytes(4_000_000), 0)).status_code == 200
        answer = await send(front, url, bytes(2_000_000), 4_000_000)
        assert answer.status_code == 413
        assert answer.json()["error"]["details"][0]["reason"] == "FILE_TOO_LARGE"
        assert_over(front, tmp_path)


async def test_what_is_too_large_does_not_begin(tmp_path: Path) -> None:
    async with open_uploads(tmp_path) as front:
        assert (await start(front, 5_000_001)).status_code == 413
        await begin(front, 5_000_000)
        second = await start(front, 5_000_000)
        assert second.status_code == 413
        assert second.json()["error"]["details"][0]["reason"] == "STORAGE_LIMIT_EXCEEDED"
        assert second.headers["x-storage-used-bytes"] == "0"


async def test_cancel(tmp_path: Path) -> None:
    async with open_uploads(tmp_path) as front:
        url = await begin(front)
        await send(front, url, DATA[:300_000], 0)
        answer = await send(front, url, b"", 0, "cancel")
        assert (answer.status_code, answer.headers["x-goog-upload-status"]) == (200, "cancelled")
        assert (await send(front, url, b"", 0, "query")).status_code == 404
        assert_over(front, tmp_path)


async def test_an_account_has_few_at_once(tmp_path: Path) -> None:
    async with open_uploads(tmp_path, "uploads_max = 8\n") as front:
        for _ in range(2):
            await begin(front, 10)
        refused = await start(front, 10)
        assert refused.status_code == 429
        assert refused.json()["error"]["status"] == "RESOURCE_EXHAUSTED"
        assert len(front.setup.gateway.uploads) == 2


async def test_an_upload_is_its_keys(tmp_path: Path) -> None:
    async with open_uploads(tmp_path) as front:
        gateway = front.setup.gateway
        key_id, key = await add_key(gateway, front.setup.account_id)
        answer = await start(front, authorization=f"Bearer {key}")
        url = answer.headers["x-goog-upload-url"]
        own = {"authorization": f"Bearer {front.setup.key}"}
        for said, status in ((own, 404), ({"x-goog-api-key": "sk-none"}, 401)):
            for command in ("query", "cancel", "upload, finalize"):
                refused = await send(front, url, DATA, 0, command, **said)
                assert refused.status_code == status, (said, command)
        guessed = await send(front, f"{url[:-60]}{'A' * 60}", DATA, 0)
        assert guessed.status_code == 404
        assert await received(front, url) == ("active", "0")
        await gateway.ledger.revoke_key(key_id)
        revoked = await send(front, url, DATA, 0, "upload, finalize")
        assert revoked.status_code == 401
        assert gateway.files.quota.stored_files == 0


@pytest.mark.parametrize(
    "headers",
    [
        {"x-goog-upload-protocol": "carrier pigeon"},
        {"x-goog-upload-protocol": "resumable"},
        {"x-goog-upload-protocol": "resumable", "x-goog-upload-command": "upload"},
        {
            "x-goog-upload-protocol": "resumable",
            "x-goog-upload-command": "start",
            "x-goog-upload-header-content-length": "-1",
        },
    ],
)
async def test_a_start_that_is_none(tmp_path: Path, headers: dict[str, str]) -> None:
    async with open_uploads(tmp_path) as front:
        answer = await front.client.post(PATH, headers=headers)
        assert (answer.status_code, answer.json()["error"]["status"]) == (400, "INVALID_ARGUMENT")
        bads: list[dict[str, object]] = [
            {"file": []},
            {"file": {"name": "files/mine"}},
            {"file": {"displayName": 1}},
        ]
        for bad in bads:
            document = await front.client.post(
                PATH,
                json=bad,
                headers={"x-goog-upload-protocol": "resumable", "x-goog-upload-command": "start"},
            )
            assert document.status_code == 400
        assert len(front.setup.gateway.uploads) == 0


async def test_in_one_request(tmp_path: Path) -> None:
    metadata = b'{"file": {"display_name": "Words", "mimeType": "text/plain"}}'
    related = (
        b"--b\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n%b\r\n"
        b"--b\r\nContent-Type: video/mp4\r\n\r\n%b\r\n--b--" % (metadata, DATA)
    )
    form = (
        b'--b\r\nContent-Disposition: form-data; name="metadata"\r\n'
        b"Content-Type: application/json\r\n\r\n%b\r\n"
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.mp4"\r\n\r\n%b\r\n--b--'
        % (metadata, DATA)
    )
    ways: list[tuple[bytes, str, dict[str, str]]] = [
        (related, "multipart/related; boundary=b", {"x-goog-upload-protocol": "multipart"}),
        (form, "multipart/form-data; boundary=b", {"x-goog-upload-protocol": "multipart"}),
        (
            DATA,
            "text/plain",
            {"x-goog-upload-protocol": "raw", "x-goog-upload-file-name": "Words"},
        ),
    ]
    async with open_uploads(tmp_path) as front:
        store = front.setup.gateway.files
        for body, kind, headers in ways:
            answer = await front.client.post(
                PATH, content=body, headers={"content-type": kind, **headers}
            )
            assert answer.status_code == 200, answer.text
            row = await store.find(front.setup.account_id, answer.json()["file"]["name"])
            assert (row.filename, row.mime_type) == ("Words", "text/plain")
            assert await store.read(row) == DATA
        used = store.used_bytes(front.setup.account_id)
        for body, kind, headers in ways[:2]:
            cut = await front.client.post(
                PATH, content=body[:-3], headers={"content-type": kind, **headers}
            )
            assert cut.status_code == 400
        wrong = {"content-digest": WRONG_DIGEST, "x-goog-upload-protocol": "raw"}
        assert (await front.client.post(PATH, content=DATA, headers=wrong)).status_code == 400
        assert store.used_bytes(front.setup.account_id) == used
        assert store.quota.reserved_bytes == 0
