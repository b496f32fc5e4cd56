"""Files at simulated providers: sent, waited for, and removed; and providers that do odd things."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal

import orjson
import pytest
import trio

from bench.simulate import Simulator, SimulatorSettings, open_simulator
from engine.errors import UpstreamError, UpstreamRejectedError
from engine.protocols.registry import provider_codec
from engine.upstream.pool import Pool, open_pool
from engine.upstream.provider_files import OutgoingFile, ProviderFiles
from engine.upstream.provider_table import FilesApi
from engine.upstream.providers import Provider
from tests.webserver import Script, answer, open_webserver

PDF = b"%PDF-1.7\n" + b"x" * 1_100_000
APIS: tuple[FilesApi, ...] = ("openai", "anthropic", "gemini")
VERSIONS = {"openai": "v1", "anthropic": "v1", "gemini": "v1beta"}


def outgoing(
    data: bytes = PDF, name: str = "a.pdf", mime_type: str = "application/pdf"
) -> OutgoingFile:
    async def pieces() -> AsyncGenerator[bytes, None]:
        for start in range(0, len(data), 1024 * 1024):
            yield data[start : start + 1024 * 1024]

    return OutgoingFile(name, mime_type, len(data), pieces)


def files_at(
    pool: Pool,
    url: str,
    api: FilesApi,
    http2: Literal["off", "prior-knowledge"] = "prior-knowledge",
    prefix: str = "",
) -> ProviderFiles:
    base_url = f"{url}{prefix}/{VERSIONS[api]}"
    provider = Provider("p", api, base_url, api_key="key-1", files=api, http2=http2)
    return ProviderFiles(pool, provider, 0, provider_codec(api).read_error)


@asynccontextmanager
async def open_shelf() -> AsyncIterator[tuple[Simulator, Pool]]:
    async with open_simulator(SimulatorSettings()) as sim, open_pool() as pool:
        yield sim, pool


@pytest.mark.parametrize("http2", ["off", "prior-knowledge"])
@pytest.mark.parametrize("api", APIS)
async def test_a_file_is_sent_and_removed(
    api: FilesApi, http2: Literal["off", "prior-knowledge"]
) -> None:
    async with open_shelf() as (sim, pool):
        files = files_at(pool, sim.base_url, api, http2)
        held = await files.send(outgoing(name='a "b"\r\nx: y'))
        [kept] = sim.files
        assert (kept.data, kept.key, kept.mime_type) == (PDF, "key-1", "application/pdf")
        assert held.file_id == (f"files/{kept.file_id}" if api == "gemini" else kept.file_id)
        assert (held.uri is not None) == (api == "gemini")
        assert (held.expires_at_ms is not None) == (api != "anthropic")
        if api == "openai":
            assert kept.purpose == "user_data"
            assert kept.filename.endswith(".pdf"), "which is what it goes by"
        assert await files.delete(held.file_id)
        assert len(sim.files) == 0
        assert await files.delete(held.file_id), "gone is gone"


@pytest.mark.parametrize(
    ("name", "sent_as"),
    [
        ("notes.md", "notes.md"),
        ("rows.csv", "rows.csv"),
        ("rows.json", "rows.json"),
        ("notes", "notes.txt"),
        ("notes.pdf", "notes.pdf.txt"),
    ],
)
async def test_a_text_keeps_the_ending_of_a_text(name: str, sent_as: str) -> None:
    async with open_shelf() as (sim, pool):
        text = outgoing(b"Hello", name, "text/plain")
        await files_at(pool, sim.base_url, "openai").send(text)
        [kept] = sim.files
        assert kept.filename == sent_as


async def test_a_file_that_is_processed_is_waited_for() -> None:
    async with open_shelf() as (sim, pool):
        sim.behave("files.upload", "file_polls=2")
        await files_at(pool, sim.base_url, "gemini").send(outgoing(b"%PDF-"))
        [kept] = sim.files
        assert kept.state == "ACTIVE"


async def test_a_file_that_cannot_be_processed() -> None:
    async with open_shelf() as (sim, pool):
        sim.behave("files.upload", "file_polls=1 file_fails=true")
        with pytest.raises(UpstreamRejectedError, match="cannot process") as refused:
            await files_at(pool, sim.base_url, "gemini").send(outgoing(b"%PDF-"))
        assert refused.value.status == 400


@pytest.mark.parametrize("status", [401, 413, 429, 500])
@pytest.mark.parametrize("api", APIS)
async def test_a_refusal_is_read_as_of_a_chat(api: FilesApi, status: int) -> None:
    async with open_shelf() as (sim, pool):
        sim.behave("files.upload", f"status={status}")
        with pytest.raises(UpstreamRejectedError) as refused:
            await files_at(pool, sim.base_url, api).send(outgoing(b"%PDF-"))
        assert refused.value.status == (502 if status == 401 else status)
        assert (refused.value.retry_after_s is None) == (status != 429)
        sim.behave("files.delete", "status=500")
        assert not await files_at(pool, sim.base_url, api).delete("files/file-1")


ODD: list[tuple[FilesApi, Any, str]] = [
    ("openai", b"<html>", "cannot be read"),
    ("openai", b"[]", "cannot be read"),
    ("openai", b"{}", "not said its id"),
    ("anthropic", orjson.dumps({"id": 7}), "not said its id"),
    ("openai", b" " * 300_000 + b"{}", "larger"),
    ("gemini", b"{}", "elsewhere"),
]


def saying(body: bytes, **headers: str) -> Script:
    """An answer to whatever is asked; the rest of it is read."""

    async def script(stream: trio.abc.Stream) -> None:
        await stream.send_all(answer(body, "application/json", **headers))
        while await stream.receive_some():
            pass

    return script


@pytest.mark.parametrize(("api", "body", "problem"), ODD)
async def test_answers_that_say_nothing(api: FilesApi, body: bytes, problem: str) -> None:
    answers = {"/v1/files": saying(body), "/upload/v1beta/files": saying(body)}
    async with open_webserver(answers) as web, open_pool() as pool:
        with pytest.raises(UpstreamError, match=problem):
            await files_at(pool, f"http://127.0.0.1:{web.port}", api, "off").send(outgoing(PDF[:5]))


@pytest.mark.parametrize(
    "url", ["https://evil.example/upload", "//evil.example/x", "file:///etc/passwd", "http://[", ""]
)
async def test_nobody_else_is_sent_a_file(url: str) -> None:
    answers = {"/upload/v1beta/files": saying(b"{}", x_goog_upload_url=url)}
    async with open_webserver(answers) as web, open_pool() as pool:
        files = files_at(pool, f"http://127.0.0.1:{web.port}", "gemini", "off")
        with pytest.raises(UpstreamError, match="elsewhere"):
            await files.send(outgoing(PDF[:5]))
        assert len(web.heads) == 1


async def test_a_provider_behind_a_path() -> None:
    paths = ["/ai/v1/files", "/ai/v1/files", "/ai/upload/v1beta/files"]
    async with open_webserver(dict.fromkeys(paths, saying(b"{}"))) as web:
        for api in APIS:
            async with open_pool() as pool:
                files = files_at(pool, f"http://127.0.0.1:{web.port}", api, "off", "/ai")
                with pytest.raises(UpstreamError):
                    await files.send(outgoing(PDF[:5]))
        assert web.paths == paths
