"""Files of the simulated provider: by the SDKs of three APIs, named in chats, and with faults."""

from __future__ import annotations

import hashlib
import io
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import anthropic
import httpx
import openai
import pytest
import trio
from google import genai
from google.genai import errors, types

from bench.simulate import Simulator, SimulatorSettings, open_simulator
from bench.simulate.files import FILES_MAX, FileShelf
from bench.simulate.pictures import png

T = TypeVar("T")
KEYS = frozenset({"k-one", "k-two"})
PNG = png(8, 8, bytes(16))
PDF = b"%PDF-1.4 a small one"
BETA = {"anthropic-version": "2023-06-01", "anthropic-beta": "files-api-2025-04-14"}


@asynccontextmanager
async def simulated() -> AsyncIterator[Simulator]:
    async with open_simulator(SimulatorSettings(api_keys=KEYS)) as simulator:
        yield simulator
        assert simulator.statistics().crashes == 0


async def in_thread(work: Callable[[], T]) -> T:
    return await trio.to_thread.run_sync(work)


def of_openai(simulator: Simulator, key: str = "k-one") -> openai.OpenAI:
    return openai.OpenAI(api_key=key, base_url=f"{simulator.base_url}/v1", max_retries=0)


def of_anthropic(simulator: Simulator, key: str = "k-one") -> anthropic.Anthropic:
    return anthropic.Anthropic(api_key=key, base_url=simulator.base_url, max_retries=0)


def of_gemini(simulator: Simulator, key: str = "k-one") -> genai.Client:
    options = types.HttpOptions(base_url=simulator.base_url, timeout=20_000)
    return genai.Client(api_key=key, http_options=options)


def web(simulator: Simulator, key: str = "k-one", *, google: bool = False) -> httpx.AsyncClient:
    headers = {"authorization": f"Bearer {key}", "x-api-key": key}
    headers = {"x-goog-api-key": key} if google else headers
    return httpx.AsyncClient(base_url=simulator.base_url, headers=headers)


async def upload_openai(client: httpx.AsyncClient, data: bytes = PDF, **more: str) -> str:
    form = {"purpose": "user_data", **more}
    answer = await client.post("/v1/files", data=form, files={"file": ("a.pdf", data)})
    return str(answer.raise_for_status().json()["id"])


async def test_openai_sdk_uploads_lists_reads_and_deletes() -> None:
    def work(client: openai.OpenAI) -> None:
        made = [
            client.files.create(file=(f"{name}.txt", b"text"), purpose="vision") for name in "ab"
        ]
        dated = client.files.create(
            file=("c.pdf", PDF),
            purpose="user_data",
            expires_after={"anchor": "created_at", "seconds": 3_600},
        )
        assert dated.expires_at == dated.created_at + 3_600
        assert [file.id for file in client.files.list()] == [dated.id, made[1].id, made[0].id]
        assert [f.id for f in client.files.list(purpose="vision", order="asc", limit=1)] == [
            file.id for file in made
        ]
        found = client.files.retrieve(made[0].id)
        assert (found.filename, found.bytes, found.status) == ("a.txt", 4, "processed")
        assert client.files.content(made[0].id).read() == b"text"
        assert client.files.delete(made[0].id).deleted
        with pytest.raises(openai.NotFoundError, match=f"No such File object: {made[0].id}"):
            client.files.retrieve(made[0].id)
        with pytest.raises(openai.BadRequestError, match="Not allowed to download"):
            client.files.content(dated.id)

    async with simulated() as simulator:
        await in_thread(lambda: work(of_openai(simulator)))
        records = simulator.truth.records()
    assert [record.api for record in records] == ["openai-files"] * 3
    assert dict(records[2].files[0]) | {"id": "", "expires_at": 0} == {
        "api": "openai",
        "id": "",
        "key": "k-one",
        "filename": "c.pdf",
        "mime_type": "application/pdf",
        "purpose": "user_data",
        "bytes": len(PDF),
        "sha256": hashlib.sha256(PDF).hexdigest(),
        "state": "ACTIVE",
        "polls": 0,
        "expires_at": 0,
    }
    assert simulator.files.uploads == 3


async def test_anthropic_sdk_uploads_lists_and_deletes() -> None:
    def work(client: anthropic.Anthropic) -> None:
        files = client.beta.files
        made = [files.upload(file=(f"{name}.pdf", PDF, "application/pdf")) for name in "abc"]
        assert (made[0].filename, made[0].mime_type) == ("a.pdf", "application/pdf")
        assert (made[0].size_bytes, made[0].downloadable) == (len(PDF), False)
        assert [f.id for f in files.list(limit=2)] == [file.id for file in made[::-1]]
        before = files.list(before_id=made[0].id, limit=1)
        assert [file.id for file in before.data] == [made[1].id]
        assert files.retrieve_metadata(made[0].id) == made[0]
        with pytest.raises(anthropic.BadRequestError, match="not downloadable"):
            files.download(made[0].id)
        assert files.delete(made[0].id).type == "file_deleted"
        with pytest.raises(anthropic.NotFoundError, match="File not found"):
            files.retrieve_metadata(made[0].id)
        with pytest.raises(anthropic.BadRequestError, match="the name of a file"):
            files.upload(file=("a:b.pdf", PDF, "application/pdf"))

    async with simulated() as simulator:
        await in_thread(lambda: work(of_anthropic(simulator)))
        async with web(simulator) as client:
            unnamed = await client.get("/v1/files", headers={"anthropic-version": "2023-06-01"})
    assert (unnamed.status_code, unnamed.json()["error"]["type"]) == (404, "not_found_error")


async def test_gemini_sdk_uploads_in_pieces_polls_and_deletes() -> None:
    data = bytes(range(256)) * 40_000  # more than a piece of the SDK's

    def work(client: genai.Client) -> None:
        config = types.UploadFileConfig(display_name="A film", mime_type="video/mp4")
        made = client.files.upload(file=io.BytesIO(data), config=config)
        assert made.state == types.FileState.PROCESSING
        states = [client.files.get(name=made.name or "").state for _ in range(3)]
        assert [state and state.name for state in states] == ["PROCESSING", "PROCESSING", "ACTIVE"]
        assert (made.display_name, made.size_bytes) == ("A film", len(data))
        assert made.expiration_time is not None
        assert made.create_time is not None
        assert (made.expiration_time - made.create_time).total_seconds() == 48 * 3_600
        named = client.files.upload(
            file=io.BytesIO(b"x"),
            config=types.UploadFileConfig(name="mine", mime_type="text/plain"),
        )
        assert named.name == "files/mine"
        assert [file.name for file in client.files.list(config={"page_size": 1})] == [
            "files/mine",
            made.name,
        ]
        client.files.delete(name="mine")
        with pytest.raises(errors.ClientError, match="You do not have permission"):
            client.files.get(name="mine")

    async with simulated() as simulator:
        simulator.behave("files.upload", "file_polls=2")
        await in_thread(lambda: work(of_gemini(simulator)))
        made = [record.files for record in simulator.truth.records()]
    assert [len(files) for files in made] == [0, 1, 1]  # a piece, the rest, the small one
    assert made[1][0]["sha256"] == hashlib.sha256(data).hexdigest()


async def test_a_resumable_upload_goes_on_where_it_broke_off() -> None:
    piece = bytes(262_144)
    async with simulated() as simulator, web(simulator, google=True) as client:
        start = {"x-goog-upload-protocol": "resumable", "x-goog-upload-command": "start"}
        began = await client.post("/upload/v1beta/files", headers=start)
        url = began.headers["x-goog-upload-url"]
        assert (began.content, began.headers["x-goog-upload-status"]) == (b"", "active")

        async def send(command: str, offset: int = 0, data: bytes = b"") -> httpx.Response:
            headers = {"x-goog-upload-command": command, "x-goog-upload-offset": str(offset)}
            async with httpx.AsyncClient() as anyone:
                return await anyone.post(url, headers=headers, content=data)

        simulator.behave("files.upload", "fault=cut times=1")
        with pytest.raises(httpx.RemoteProtocolError):
            await send("upload", 0, piece)
        asked = await send("query")
        assert asked.headers["x-goog-upload-size-received"] == str(len(piece))
        assert (await send("upload", 0, piece)).status_code == 400
        assert (await send("upload", len(piece), b"short")).status_code == 400
        done = await send("upload, finalize", len(piece), b"end")
        assert done.headers["x-goog-upload-status"] == "final"
        assert done.json()["file"]["sizeBytes"] == str(len(piece) + 3)
        assert (await send("query")).headers["x-goog-upload-status"] == "final"
        again = await client.post("/upload/v1beta/files", headers=start)
        url = again.headers["x-goog-upload-url"]
        assert (await send("cancel")).headers["x-goog-upload-status"] == "cancelled"
        assert (await send("query")).status_code == 404
        length = start | {"x-goog-upload-header-content-length": "9"}
        short = await client.post("/upload/v1beta/files", headers=length)
        url = short.headers["x-goog-upload-url"]
        assert "9 were said" in (await send("upload, finalize", 0, b"end")).text


def chats(openai_id: str, anthropic_id: str, gemini_uri: str) -> dict[str, tuple[str, Any]]:
    """By API: the path and a request that names a file."""
    text = "What does it say?"
    source = {"type": "file", "file_id": anthropic_id}
    document = {"type": "document", "source": source}
    call = {"type": "tool_use", "id": "t1", "name": "look", "input": {"file_id": "theirs"}}
    result = {"type": "tool_result", "tool_use_id": "t1", "content": [document]}
    return {
        "chat": (
            "/v1/chat/completions",
            {
                "model": "sim-openai",
                "messages": [
                    {
                        "role": "user",
                        "content": [
                            {"type": "file", "file": {"file_id": openai_id}},
                            {"type": "text", "text": text},
                        ],
                    }
                ],
            },
        ),
        "responses": (
            "/v1/responses",
            {
                "model": "sim-openai",
                "input": [
                    {
                        "role": "user",
                        "content": [
                            {"type": "input_file", "file_id": openai_id},
                            {"type": "input_text", "text": text},
                        ],
                    }
                ],
            },
        ),
        "messages": (
            "/v1/messages",
            {
                "model": "sim-anthropic",
                "max_tokens": 100,
                "messages": [
                    {"role": "user", "content": [document, {"type": "text", "text": text}]}
                ],
            },
        ),
        "tool result": (
            "/v1/messages",
            {
                "model": "sim-anthropic",
                "max_tokens": 100,
                "messages": [
                    {"role": "user", "content": text},
                    {"role": "assistant", "content": [call]},
                    {"role": "user", "content": [result]},
                ],
            },
        ),
        "contents": (
            "/v1beta/models/sim-gemini:generateContent",
            {
                "contents": [
                    {
                        "role": "user",
                        "parts": [{"fileData": {"fileUri": gemini_uri}}, {"text": text}],
                    }
                ]
            },
        ),
    }


async def stock(simulator: Simulator) -> tuple[str, str, str]:
    """One file in each API, of the first key."""
    async with web(simulator) as client:
        first = await upload_openai(client)
        form = {"file": ("a.pdf", PDF, "application/pdf")}
        second = await client.post("/v1/files", files=form, headers=BETA)
    async with web(simulator, google=True) as client:
        start = {
            "x-goog-upload-protocol": "resumable",
            "x-goog-upload-command": "start",
            "x-goog-upload-header-content-type": "application/pdf",
        }
        began = await client.post("/upload/v1beta/files", headers=start)
        headers = {"x-goog-upload-command": "upload, finalize", "x-goog-upload-offset": "0"}
        third = await client.post(began.headers["x-goog-upload-url"], headers=headers, content=PDF)
        return first, second.json()["id"], third.json()["file"]["uri"]


@pytest.mark.parametrize("api", ["chat", "responses", "messages", "tool result", "contents"])
async def test_a_chat_names_a_file_of_its_own_key_while_there_is_one(api: str) -> None:
    status = {"chat": 404, "responses": 400, "contents": 403}.get(api, 404)
    async with simulated() as simulator:
        path, body = chats(*await stock(simulator))[api]
        google = api == "contents"
        one, two = (web(simulator, key, google=google) for key in ("k-one", "k-two"))
        async with one as client, two as other:
            taken = await client.post(path, json=body, headers=BETA)
            strange = await other.post(path, json=body, headers=BETA)
            assert simulator.files.expire() == 3
            late = await client.post(path, json=body, headers=BETA)
        *_, record, refused, _ = simulator.truth.records()
    assert taken.status_code == 200, taken.text
    assert [file["sha256"] for file in record.files] == [hashlib.sha256(PDF).hexdigest()]
    assert refused.files == ()
    assert (strange.status_code, late.status_code) == (status, status)
    assert "file" in late.text.lower()


async def test_what_a_file_is_has_to_fit_its_place() -> None:
    async with simulated() as simulator, web(simulator) as client:
        picture, text = await upload_openai(client, PNG), await upload_openai(client, b"words")
        for file_id, status in ((picture, 200), (text, 400)):
            part = {"type": "input_image", "file_id": file_id}
            body = {"model": "sim-openai", "input": [{"role": "user", "content": [part]}]}
            assert (await client.post("/v1/responses", json=body)).status_code == status
            edit = {"model": "gpt-image-1", "prompt": "x", "images": [{"file_id": file_id}]}
            assert (await client.post("/v1/images/edits", json=edit)).status_code == status
        form = {"file": ("a.bin", b"x", "application/zip")}
        answer = await client.post("/v1/files", files=form, headers=BETA)
        _, body = chats("", answer.json()["id"], "")["messages"]
        refused = await client.post("/v1/messages", json=body, headers=BETA)
        assert "Invalid file type for document block: application/zip" in refused.text
        simulator.behave("files.upload", "file_polls=1")
        *_, uri = await stock(simulator)
        path, body = chats("", "", uri)["contents"]
        async with web(simulator, google=True) as google:
            early = (await google.post(path, json=body)).json()["error"]
            assert (early["code"], early["status"]) == (400, "FAILED_PRECONDITION")
            await google.get(uri)
            assert (await google.get(uri)).json()["state"] == "ACTIVE"
            assert (await google.post(path, json=body)).status_code == 200


async def test_uploads_fail_as_they_are_told() -> None:
    async with simulated() as simulator, web(simulator) as client:
        simulator.behave("files.upload", "status=503 times=1")
        with pytest.raises(httpx.HTTPStatusError, match="503"):
            await upload_openai(client)
        await upload_openai(client)
        simulator.behave("files.upload", "fault=refused")
        with pytest.raises(httpx.RemoteProtocolError):
            await upload_openai(client)
        assert simulator.files.uploads == 1
        for fault in ("cut", "cut_body"):
            simulator.behave("files.upload", f"fault={fault}")
            with pytest.raises(httpx.RemoteProtocolError):
                await upload_openai(client)
        simulator.behave("files.upload", "fault=stall")
        with pytest.raises(httpx.ReadTimeout):
            await client.post(
                "/v1/files",
                data={"purpose": "vision"},
                files={"file": b"x"},
                timeout=httpx.Timeout(5, read=0.05),
            )
        assert simulator.files.uploads == 4  # the answers were lost, not the files
        simulator.behave("files.upload", "file_s=0")
        file_id = await upload_openai(client)
        assert (await client.get(f"/v1/files/{file_id}")).status_code == 404
        simulator.behave("files.delete", "status=500")
        simulator.behave("files.upload")
        file_id = await upload_openai(client)
        assert (await client.delete(f"/v1/files/{file_id}")).status_code == 500
        assert (await client.get(f"/v1/files/{file_id}")).status_code == 200
        shown = (await client.get("/_files")).text
        assert file_id in shown
        assert (await client.delete(f"/_files/{file_id}")).json() == {"expired": 1}
        assert file_id not in (await client.get("/_files")).text


@pytest.mark.parametrize(
    ("form", "says"),
    [
        ({"purpose": "mischief"}, "'mischief' is not one of"),
        ({}, "Missing required parameter: 'purpose'"),
        ({"purpose": "batch", "colour": "red"}, "Unknown parameter: 'colour'"),
        ({"purpose": "batch", "expires_after[anchor]": "now"}, "Invalid value: 'now'"),
        (
            {
                "purpose": "batch",
                "expires_after[anchor]": "created_at",
                "expires_after[seconds]": "1",
            },
            "expected 3600 to 2592000",
        ),
    ],
)
async def test_openai_refuses_a_form_that_is_wrong(form: dict[str, str], says: str) -> None:
    async with simulated() as simulator, web(simulator) as client:
        answer = await client.post("/v1/files", data=form, files={"file": ("a", b"x")})
    assert (answer.status_code, says in answer.json()["error"]["message"]) == (400, True)


async def test_methods_and_keys_are_checked_in_the_words_of_the_api() -> None:
    async with simulated() as simulator, web(simulator, "k-none") as client:
        refused = await client.get("/v1/files", headers=BETA)
        assert (refused.status_code, refused.json()["type"]) == (401, "error")
        assert (await client.get("/v1/files")).json()["error"]["code"] == "invalid_api_key"
        of_google = await client.get("/v1beta/files", params={"key": "k-none"})
        assert of_google.json()["error"]["details"][0]["reason"] == "API_KEY_INVALID"
        wrong = await client.patch("/v1/files", headers=BETA)
        assert (wrong.status_code, wrong.json()["type"]) == (405, "error")


def test_the_shelf_is_bounded() -> None:
    shelf = FileShelf("x")
    for number in range(FILES_MAX + 2):
        shelf.add("openai", "k", b"", filename=str(number), mime_type="")
    assert len(shelf) == FILES_MAX
    assert next(iter(shelf)).filename == "2"
