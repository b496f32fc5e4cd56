"""The files of each protocol's official SDK, over real sockets, on one store."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import anthropic
import openai
import pytest
import trio
from google import genai
from google.genai import errors as genai_errors
from google.genai import types as genai_types

from engine.ledger.file_rows import FileRow
from frontends.server import ServerSettings
from frontends.server.settings import ServerKind
from tests.served import Served, open_served

DATA = bytes(range(256)) * 1_000
LARGE_BYTES = 9 * 1024 * 1024
"""More than one of the pieces that Google's SDK sends."""
T = TypeVar("T")


async def in_thread(work: Callable[[], T], *clients: Any) -> T:
    """What SDKs do that do not wait; their connections are closed then."""

    def do() -> T:
        with ExitStack() as stack:
            for client in clients:
                stack.callback(client.close)
            return work()

    return await trio.to_thread.run_sync(do, abandon_on_cancel=True)


@pytest.fixture(params=["parshall", "hypercorn"])
def server(request: pytest.FixtureRequest) -> ServerKind:
    kind: ServerKind = request.param
    return kind


@asynccontextmanager
async def served_by(folder: Path, server: ServerKind) -> AsyncIterator[Served]:
    async with open_served(folder, settings=ServerSettings(server=server)) as served:
        yield served


async def made_by_a_job(served: Served, data: bytes = DATA) -> FileRow:
    """A file of the kind that SDKs may download everywhere."""
    store = served.setup.gateway.files
    async with store.open_upload(served.setup.account_id, 10**9, len(data)) as upload:
        await upload.append(data)
        return await upload.finish(
            filename="clip.mp4", purpose="user_data", mime_type="video/mp4", origin="job"
        )


async def test_openai(tmp_path: Path, server: ServerKind) -> None:
    async with served_by(tmp_path, server) as served:
        client = openai.OpenAI(api_key=served.setup.key, base_url=served.url, max_retries=0)

        def talk() -> None:
            made = client.files.create(
                file=("naïve.pdf", DATA, "application/pdf"),
                purpose="user_data",
                expires_after={"anchor": "created_at", "seconds": 3_600},
            )
            assert made.id.startswith("file-")
            assert (made.filename, made.bytes, made.purpose) == ("naïve.pdf", 256_000, "user_data")
            assert (made.expires_at or 0) - made.created_at == 3_600
            assert client.files.retrieve(made.id) == made
            other = client.files.create(file=("b.jsonl", b"{}"), purpose="batch")
            third = client.files.create(file=("c.jsonl", b""), purpose="batch")
            listed = list(client.files.list(limit=1))
            assert [each.id for each in listed] == [third.id, other.id, made.id], "page by page"
            assert [each.id for each in client.files.list(purpose="user_data")] == [made.id]
            rising = client.files.list(order="asc", after=made.id)
            assert [each.id for each in rising] == [other.id, third.id]
            content = client.files.content(made.id)
            assert content.read() == DATA
            assert content.response.headers["content-type"] == "application/pdf"
            assert client.files.content(third.id).read() == b""
            gone = client.files.delete(made.id)
            assert (gone.id, gone.deleted) == (made.id, True)
            with pytest.raises(openai.NotFoundError) as missing:
                client.files.retrieve(made.id)
            assert missing.value.code == "file_not_found"
            with pytest.raises(openai.BadRequestError) as wrong:
                client.files.create(file=b"x", purpose="world peace")  # type: ignore[arg-type]
            assert wrong.value.param == "purpose"

        await in_thread(talk, client)


async def test_anthropic(tmp_path: Path, server: ServerKind) -> None:
    async with served_by(tmp_path, server) as served:
        made_here = await made_by_a_job(served)
        client = anthropic.Anthropic(
            api_key=served.setup.key, base_url=served.origin, max_retries=0
        )

        def talk() -> None:
            files = client.beta.files
            made = files.upload(file=("a.txt", DATA, "text/plain"))
            assert made.id.startswith("file_")
            assert (made.type, made.mime_type, made.size_bytes) == ("file", "text/plain", 256_000)
            assert made.downloadable is False
            assert files.retrieve_metadata(made.id) == made
            with pytest.raises(anthropic.BadRequestError, match="cannot be downloaded"):
                files.download(made.id)
            job_id = f"file_{made_here.file_id}"
            assert files.download(job_id).read() == DATA
            assert files.retrieve_metadata(job_id).downloadable is True
            assert [each.id for each in files.list(limit=1)] == [made.id, job_id]
            assert [each.id for each in files.list(before_id=job_id)] == [made.id]
            deleted = files.delete(made.id)
            assert (deleted.id, deleted.type) == (made.id, "file_deleted")
            with pytest.raises(anthropic.NotFoundError):
                files.delete(made.id)
            also = client.files.upload(file=("b.txt", b"b"))
            assert client.files.retrieve_metadata(also.id).filename == "b.txt"

        await in_thread(talk, client)


async def test_gemini(tmp_path: Path, server: ServerKind) -> None:
    path = tmp_path / "large.bin"
    large = bytes(LARGE_BYTES)
    path.write_bytes(large)
    async with served_by(tmp_path, server) as served:
        made_here = await made_by_a_job(served)
        options = genai_types.HttpOptions(base_url=served.origin)
        client = genai.Client(api_key=served.setup.key, http_options=options)

        def talk() -> None:
            files = client.files
            made = files.upload(
                file=path, config={"mime_type": "video/mp4", "display_name": "A name"}
            )
            assert made.name is not None
            assert made.name.startswith("files/")
            assert (made.display_name, made.mime_type) == ("A name", "video/mp4")
            assert made.size_bytes == LARGE_BYTES
            assert made.state == genai_types.FileState.ACTIVE
            assert made.uri == f"{served.origin}/v1beta/{made.name}"
            assert files.get(name=made.name).model_dump() == made.model_dump()
            with pytest.raises(ValueError, match="downloaded"):
                files.download(file=made)
            with pytest.raises(genai_errors.ClientError, match="cannot be downloaded"):
                files.download(file=made.name)
            job = files.get(name=f"files/{made_here.file_id}")
            assert job.source == genai_types.FileSource.GENERATED
            assert files.download(file=job) == DATA
            listed = files.list(config={"page_size": 1})
            assert [each.name for each in listed] == [made.name, job.name]
            files.delete(name=made.name)
            with pytest.raises(genai_errors.ClientError) as missing:
                files.get(name=made.name)
            assert missing.value.code == 404
            with pytest.raises(genai_errors.ClientError, match="made here"):
                files.upload(file=path, config={"mime_type": "video/mp4", "name": "mine"})
            small = files.upload(file=__file__, config={"mime_type": "text/x-python"})
            assert small.display_name == Path(__file__).name
            assert small.size_bytes == Path(__file__).stat().st_size

        await in_thread(talk, client)
        assert len(served.setup.gateway.uploads) <= 2, "the answers to the last requests"
        store = served.setup.gateway.files
        assert store.quota.open_uploads == 0


async def test_one_store_for_all(tmp_path: Path) -> None:
    async with open_served(tmp_path) as served:
        key = served.setup.key
        ours = openai.OpenAI(api_key=key, base_url=served.url)
        theirs = anthropic.Anthropic(api_key=key, base_url=served.origin)
        options = genai_types.HttpOptions(base_url=served.origin)
        google = genai.Client(api_key=key, http_options=options)

        def talk() -> dict[str, Any]:
            made = ours.files.create(file=("a.png", DATA), purpose="vision")
            bare = made.id.removeprefix("file-")
            assert theirs.beta.files.retrieve_metadata(f"file_{bare}").size_bytes == len(DATA)
            assert theirs.beta.files.retrieve_metadata(made.id).id == f"file_{bare}"
            seen = google.files.get(name=f"files/{bare}")
            assert ours.files.retrieve(bare) == made
            google.files.delete(name=f"files/{bare}")
            assert ours.files.list().data == []
            return seen.model_dump()

        seen = await in_thread(talk, ours, theirs, google)
        assert seen["mime_type"] == "image/png"
        digits = base64.b64decode(seen["sha256_hash"]).decode()
        assert digits == hashlib.sha256(DATA).hexdigest(), "as Google writes it"
