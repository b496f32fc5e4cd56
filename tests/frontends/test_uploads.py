"""Files that come in parts over HTTP: order, digests, ends, restarts, whose they are."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
import trio

from engine import Gateway, open_gateway, parse_config
from engine.ledger.upload_rows import PART_PURPOSE
from engine.storage.parted import OPEN_S
from frontends.app import create_app
from frontends.server import open_server
from tests.clocks import HandClock
from tests.frontends.apps import Front, open_front
from tests.gateways import CONFIG_FILE, add_key, settled
from tests.served import open_served

DATA = bytes(range(256)) * 40
HALVES = (DATA[:6_000], DATA[6_000:])
LIMITS = "\n[files]\nfile_max_bytes = 100_000_000\naccount_max_bytes = 25_000\n"


@asynccontextmanager
async def open_uploads_front(folder: Path, **options: Any) -> AsyncIterator[Front]:
    async with open_front(folder, models=LIMITS, **options) as front:
        yield front


@asynccontextmanager
async def reopened(folder: Path, key: str) -> AsyncIterator[tuple[Gateway, httpx.AsyncClient]]:
    """What another process serves of the same database."""
    config = parse_config((folder / CONFIG_FILE).read_text(), CONFIG_FILE, {})
    async with (
        open_gateway(config) as gateway,
        open_server(create_app(gateway), ["127.0.0.1:0"]) as server,
        httpx.AsyncClient(
            base_url=f"http://{server.addresses[0]}",
            headers={"authorization": f"Bearer {key}"},
            verify=False,  # nothing is TLS here
        ) as client,
    ):
        yield gateway, client


async def announce(front: Front, upload_id: str, size_bytes: int) -> bytes:
    """The answer to a part of which nothing but its size has come."""
    host, port = front.address
    head = (
        f"POST /v1/uploads/{upload_id}/parts HTTP/1.1\r\nhost: x\r\n"
        f"authorization: Bearer {front.setup.key}\r\ncontent-length: {size_bytes}\r\n"
        "content-type: multipart/form-data; boundary=b\r\n\r\n"
    )
    async with await trio.open_tcp_stream(host, port) as stream:
        await stream.send_all(head.encode())
        answer = b""
        while b"\r\n\r\n" not in answer or not answer.endswith(b"}"):
            answer += await stream.receive_some()
    return answer


async def create(
    client: httpx.AsyncClient, size_bytes: int = len(DATA), **more: Any
) -> dict[str, Any]:
    document = {
        "bytes": size_bytes,
        "filename": "a.jsonl",
        "mime_type": "application/jsonl",
        "purpose": "batch",
    }
    answer = await client.post("/v1/uploads", json=document | more)
    assert answer.status_code == 200, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def send(
    client: httpx.AsyncClient, upload_id: str, data: bytes, **more: Any
) -> httpx.Response:
    path = f"/v1/uploads/{upload_id}/parts"
    return await client.post(path, files={"data": ("blob", data)}, **more)


async def add(client: httpx.AsyncClient, upload_id: str, data: bytes) -> str:
    answer = await send(client, upload_id, data)
    assert answer.status_code == 200, answer.text
    part_id: str = answer.json()["id"]
    return part_id


async def complete(
    client: httpx.AsyncClient, upload_id: str, part_ids: list[str], **more: Any
) -> httpx.Response:
    path = f"/v1/uploads/{upload_id}/complete"
    return await client.post(path, json={"part_ids": part_ids, **more})


async def content(client: httpx.AsyncClient, file_id: str) -> bytes:
    return (await client.get(f"/v1/files/{file_id}/content")).content


async def refused(answer: httpx.Response, status: int, said: str) -> None:
    assert answer.status_code == status, answer.text
    assert said in answer.json()["error"]["message"]


async def test_the_sdk_uploads_a_file_in_parts(tmp_path: Path) -> None:
    async with open_served(tmp_path) as served:
        client = openai.OpenAI(api_key=served.setup.key, base_url=served.url, max_retries=0)

        def talk() -> tuple[Any, bytes]:
            with client:
                done = client.uploads.upload_file_chunked(
                    file=DATA,
                    filename="notes.txt",
                    bytes=len(DATA),
                    mime_type="text/plain",
                    purpose="assistants",
                    part_size=3_000,
                    md5=hashlib.md5(DATA, usedforsecurity=False).hexdigest(),
                )
                assert done.file is not None
                assert client.files.retrieve(done.file.id) == done.file
                assert [file.id for file in client.files.list()] == [done.file.id]
                return done, client.files.content(done.file.id).read()

        done, data = await trio.to_thread.run_sync(talk)
    assert (done.status, done.bytes, done.purpose) == ("completed", len(DATA), "assistants")
    assert done.expires_at - done.created_at == OPEN_S
    assert data == DATA


async def test_parts_are_put_in_the_order_that_is_named(tmp_path: Path) -> None:
    async with open_uploads_front(tmp_path) as front:
        upload_id = (await create(front.client))["id"]
        second = await add(front.client, upload_id, HALVES[1])
        first = await add(front.client, upload_id, HALVES[0])
        unused = await add(front.client, upload_id, b"sent again by mistake")
        assert (await front.client.get("/v1/files")).json()["data"] == []
        hidden = await front.client.get(f"/v1/files/file-{unused.removeprefix('part_')}")
        assert hidden.status_code == 404

        answer = await complete(front.client, upload_id, [first, second])
        file = answer.json()["file"]
        assert await content(front.client, file["id"]) == DATA
        quota = front.setup.gateway.files.quota
        assert (quota.stored_files, quota.stored_bytes) == (1, len(DATA)), "its parts are gone"

        again = await complete(front.client, upload_id, [first, second])
        assert again.json() == answer.json(), "whoever missed the answer asks again"
        await refused(await send(front.client, upload_id, b"late"), 400, "completed already")
        cancel = await front.client.post(f"/v1/uploads/{upload_id}/cancel")
        await refused(cancel, 400, "completed already")


async def test_a_file_that_is_not_what_was_announced_is_not_made(tmp_path: Path) -> None:
    async with open_uploads_front(tmp_path) as front:
        client = front.client
        upload_id = (await create(client))["id"]
        parts = [await add(client, upload_id, half) for half in HALVES]
        other = (await create(client))["id"]
        foreign = await add(client, other, b"x")

        await refused(await complete(client, upload_id, parts[:1]), 400, "these parts have 6,000")
        await refused(await complete(client, upload_id, [parts[0], foreign]), 400, "has no part")
        await refused(await complete(client, upload_id, [parts[0]] * 2), 400, "named twice")
        wrong = hashlib.md5(b"other", usedforsecurity=False).hexdigest()
        await refused(await complete(client, upload_id, parts, md5=wrong), 400, "MD5")
        await refused(await complete(client, upload_id, parts, md5="abc"), 400, "32 hexadecimal")
        await refused(await complete(client, upload_id, parts[::-1], md5=wrong), 400, "MD5")
        assert (await client.get("/v1/files")).json()["data"] == []

        right = base64.b64encode(hashlib.md5(DATA, usedforsecurity=False).digest()).decode()
        assert (await complete(client, upload_id, parts, md5=right)).status_code == 200


async def test_what_is_cancelled_takes_no_room(tmp_path: Path) -> None:
    async with open_uploads_front(tmp_path) as front:
        upload_id = (await create(front.client))["id"]
        parts = [await add(front.client, upload_id, half) for half in HALVES]
        for _ in range(2):
            answer = await front.client.post(f"/v1/uploads/{upload_id}/cancel")
            assert answer.json()["status"] == "cancelled"
        assert front.setup.gateway.files.used_bytes(front.setup.account_id) == 0
        await refused(await complete(front.client, upload_id, parts), 400, "cancelled already")
        await settled(lambda: not any(path.is_file() for path in (tmp_path / "files").glob("*/*")))


async def test_another_account_sees_none_of_it(tmp_path: Path) -> None:
    async with open_uploads_front(tmp_path) as front:
        upload_id = (await create(front.client))["id"]
        part = await add(front.client, upload_id, DATA)
        stranger = await front.setup.gateway.ledger.create_account("stranger")
        _, secret = await add_key(front.setup.gateway, stranger.account_id)
        mine = dict(front.client.headers)
        front.client.headers["authorization"] = f"Bearer {secret}"
        for answer in (
            await send(front.client, upload_id, b"x"),
            await complete(front.client, upload_id, [part]),
            await front.client.post(f"/v1/uploads/{upload_id}/cancel"),
            await complete(front.client, "upload_none", [part]),
        ):
            await refused(answer, 404, "There is no upload")
        theirs = (await create(front.client, 1))["id"]
        await refused(await complete(front.client, theirs, [part]), 400, "has no part")
        front.client.headers["authorization"] = mine["authorization"]
        assert (await complete(front.client, upload_id, [part])).status_code == 200


async def test_an_upload_goes_on_after_a_restart(tmp_path: Path) -> None:
    async with open_uploads_front(tmp_path) as front:
        upload_id, key = (await create(front.client))["id"], front.setup.key
        parts = [await add(front.client, upload_id, HALVES[0])]
    async with reopened(tmp_path, key) as (_, client):
        parts.append(await add(client, upload_id, HALVES[1]))
        file = (await complete(client, upload_id, parts)).json()["file"]
        assert await content(client, file["id"]) == DATA


async def test_whoever_was_cut_off_behind_the_file_gets_the_same_one(tmp_path: Path) -> None:
    """The process ended between the file and the upload's own end."""
    async with open_uploads_front(tmp_path) as front:
        upload_id, key = (await create(front.client))["id"], front.setup.key
        parts = [await add(front.client, upload_id, DATA)]
        store, account_id = front.setup.gateway.files, front.setup.account_id
        row = await store.ledger.find_upload(account_id, upload_id)
        assert row is not None
        async with store.open_upload(account_id, 10**6, file_id=row.file_id) as upload:
            await upload.append(DATA)
            await upload.finish(filename="a.jsonl", purpose="batch", mime_type="text/plain")
    async with reopened(tmp_path, key) as (gateway, client):
        answer = (await complete(client, upload_id, parts)).json()
        assert answer["status"] == "completed"
        assert answer["file"]["id"] == f"file-{row.file_id}"
        assert gateway.files.quota.stored_files == 1


async def test_after_an_hour_it_is_over(tmp_path: Path) -> None:
    clock = HandClock()
    async with open_uploads_front(tmp_path, clock=clock) as front:
        upload_id = (await create(front.client))["id"]
        part = await add(front.client, upload_id, DATA)
        clock.now_ms += OPEN_S * 1_000
        await refused(await send(front.client, upload_id, b"x"), 400, "has expired")
        await refused(await complete(front.client, upload_id, [part]), 400, "has expired")
        clock.now_ms += 600_000
        store = front.setup.gateway.files
        assert await store.ledger.expired_files(10) == [part.removeprefix("part_")]


async def test_bounds(tmp_path: Path) -> None:
    async with open_uploads_front(tmp_path) as front:
        for size_bytes, said in ((100_000_001, "may have 100,000,000"), (25_001, "less room")):
            document = {"bytes": size_bytes, "filename": "a", "mime_type": "b", "purpose": "batch"}
            await refused(await front.client.post("/v1/uploads", json=document), 413, said)
        upload_id = (await create(front.client, 20_000))["id"]
        assert b"A part may have 67,108,864 bytes" in await announce(front, upload_id, 70_000_000)
        await refused(await send(front.client, upload_id, b""), 400, "empty")
        await add(front.client, upload_id, bytes(20_000))
        await refused(
            await send(front.client, upload_id, bytes(6_000)), 413, "may store 25,000 bytes"
        )


async def test_at_its_limit_an_account_completes_what_it_has_sent(tmp_path: Path) -> None:
    """The whole and its parts are stored beside one another for a moment."""
    async with open_uploads_front(tmp_path) as front:
        upload_id = (await create(front.client, 25_000))["id"]
        part = await add(front.client, upload_id, bytes(25_000))
        assert (await complete(front.client, upload_id, [part])).status_code == 200
        assert front.setup.gateway.files.used_bytes(front.setup.account_id) == 25_000


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"bytes": 0}, "'bytes'"),
        ({"bytes": True}, "'bytes'"),
        ({"purpose": PART_PURPOSE}, "'purpose' is one of"),
        ({"filename": ""}, "'filename'"),
        ({"mime_type": None}, "'mime_type'"),
        ({"expires_after": {"anchor": "now", "seconds": 3_600}}, "anchor"),
        ({"expires_after": {"anchor": "created_at", "seconds": 1}}, "seconds"),
        ({"colour": "red"}, "'colour' is not known"),
    ],
)
async def test_what_is_announced_has_to_be_whole(
    tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    document = {"bytes": 1, "filename": "a.txt", "mime_type": "text/plain", "purpose": "batch"}
    async with open_uploads_front(tmp_path) as front:
        await refused(await front.client.post("/v1/uploads", json=document | change), 400, said)


async def test_the_file_expires_when_it_was_asked_to(tmp_path: Path) -> None:
    async with open_uploads_front(tmp_path) as front:
        expires = {"anchor": "created_at", "seconds": 7_200}
        upload_id = (await create(front.client, 4, expires_after=expires))["id"]
        part = await add(front.client, upload_id, b"data")
        file = (await complete(front.client, upload_id, [part])).json()["file"]
        assert file["expires_at"] - file["created_at"] == 7_200
