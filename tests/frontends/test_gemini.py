"""Gemini's routes over real sockets: models in the URL, two forms of a stream, errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
import trio

from tests.frontends.apps import open_front

GENERATE = "/v1beta/models/sim-gemini:generateContent"
STREAM = "/v1beta/models/sim-gemini:streamGenerateContent"
COUNT = "/v1beta/models/sim-gemini:countTokens"

ODD = "org/model:free"
MORE = f"""[models."{ODD}"]
deployments = [{{ provider = "sim-gemini", model = "sim-gemini" }}]
free = true
[models."tunedModels/mine"]
deployments = [{{ provider = "sim-gemini", model = "sim-gemini" }}]
free = true
"""


def body(directives: str = "", **changes: Any) -> bytes:
    """The body of a request."""
    prompt = f"#sim {directives}\nTell me more."
    return orjson.dumps({"contents": [{"role": "user", "parts": [{"text": prompt}]}]} | changes)


def error_of(response: httpx.Response) -> dict[str, Any]:
    """The error, after checking the shape that Google's SDKs rely on."""
    assert response.headers["content-type"].startswith("application/json")
    assert response.headers["x-request-id"].startswith("req_")
    document: dict[str, Any] = response.json()
    assert set(document) == {"error"}
    error: dict[str, Any] = document["error"]
    assert {"code", "message", "status"} <= set(error)
    assert error["code"] == response.status_code
    return error


def text_of(chunks: list[Any]) -> str:
    return "".join(
        part.get("text", "")
        for chunk in chunks
        for candidate in chunk.get("candidates", [])
        for part in candidate.get("content", {}).get("parts", [])
    )


@pytest.mark.parametrize(
    "path",
    [
        GENERATE,
        "/v1/models/sim-gemini:generateContent",
        "/v1alpha/models/sim-gemini:generateContent",
        "/v1beta/models/sim-gemini%3AgenerateContent",
        "/v1beta/models/models/sim-gemini:generateContent",
        "/v1beta/models/models%2Fsim-gemini:generateContent",
        "/v1beta/models/org/model:free:generateContent",
        "/v1beta/models/org%2Fmodel%3Afree:generateContent",
        "/v1/models/org%2Fmodel:free%3AgenerateContent",
        "/v1beta/tunedModels/mine:generateContent",
    ],
)
async def test_the_model_stands_in_the_url(tmp_path: Path, path: str) -> None:
    async with open_front(tmp_path, models=MORE) as front:
        answer = await front.client.post(path, content=body("tokens=5"))

        assert answer.status_code == 200
        [truth] = front.setup.sim.truth.records()
        assert text_of([answer.json()]) == truth.text
        assert truth.model == "sim-gemini"


@pytest.mark.parametrize("query", ["?alt=sse", "?%24alt=sse", "?a=b&alt=%73se&key="])
async def test_a_stream_of_events(tmp_path: Path, query: str) -> None:
    async with open_front(tmp_path) as front:
        answer = await front.client.post(STREAM + query, content=body("tokens=9"))

        assert answer.headers["content-type"].startswith("text/event-stream")
        events = answer.content.split(b"\r\n\r\n")
        assert events.pop() == b""
        chunks = [orjson.loads(event.removeprefix(b"data: ")) for event in events]
        assert text_of(chunks) == front.setup.sim.truth.records()[0].text


@pytest.mark.parametrize("query", ["", "?alt=json", "?$alt=json"])
@pytest.mark.parametrize("model", ["sim-gemini", "sim-openai"])
async def test_a_stream_as_one_array(tmp_path: Path, query: str, model: str) -> None:
    path = f"/v1beta/models/{model}:streamGenerateContent{query}"
    async with open_front(tmp_path) as front:
        answer = await front.client.post(path, content=body("tokens=9"))

        assert answer.headers["content-type"].startswith("application/json")
        assert len(answer.json()) > 1
        assert text_of(answer.json()) == front.setup.sim.truth.records()[0].text


@pytest.mark.parametrize(
    ("method", "path", "content", "status", "name"),
    [
        ("POST", GENERATE, b"{", 400, "INVALID_ARGUMENT"),
        ("POST", STREAM, b"", 400, "INVALID_ARGUMENT"),
        ("POST", COUNT, b"[]", 400, "INVALID_ARGUMENT"),
        ("POST", f"{STREAM}?alt=proto", body(), 400, "INVALID_ARGUMENT"),
        ("POST", "/v1beta/models/nobodys:generateContent", body(), 404, "NOT_FOUND"),
        ("POST", "/v1beta/models/nobodys:countTokens", body(), 404, "NOT_FOUND"),
        ("POST", "/v1/models/nobodys:countTokens", body(), 404, "NOT_FOUND"),
        ("POST", "/v1beta/models/sim-gemini:predict", b"{}", 404, "NOT_FOUND"),
        ("POST", "/v1beta/models/sim-gemini", b"{}", 404, "NOT_FOUND"),
        ("POST", "/v1beta/models/:generateContent", b"{}", 404, "NOT_FOUND"),
        ("POST", "/v1beta/cachedContents", b"{}", 404, "NOT_FOUND"),
        ("GET", "/v1beta", b"", 404, "NOT_FOUND"),
        ("GET", GENERATE, b"", 405, None),
        ("DELETE", GENERATE, b"", 405, None),
        ("GET", "/v1/models/sim-gemini:generateContent", b"", 405, None),
        ("POST", GENERATE, b"x" * 20_001, 413, None),
    ],
)
async def test_errors_have_googles_shape(
    tmp_path: Path, method: str, path: str, content: bytes, status: int, name: str | None
) -> None:
    async with open_front(tmp_path, server="body_max_bytes = 20_000") as front:
        answer = await front.client.request(method, path, content=content)

        assert answer.status_code == status
        error = error_of(answer)
        assert name is None or error["status"] == name
        assert "request-id" not in answer.headers
        assert await front.setup.balance() == 1_000_000_000


@pytest.mark.parametrize("path", [GENERATE, STREAM, COUNT])
async def test_the_key_is_checked_before_the_body_is_read(tmp_path: Path, path: str) -> None:
    head = f"POST {path} HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n\r\n".encode()
    async with open_front(tmp_path) as front, await trio.open_tcp_stream(*front.address) as stream:
        await stream.send_all(head)
        with trio.fail_after(30):
            answer = bytes(await stream.receive_some(65_536))

        assert answer.startswith(b"HTTP/1.1 40")
        assert b'"status":' in answer


async def test_a_providers_error_is_passed_on(tmp_path: Path) -> None:
    async with open_front(tmp_path) as front:
        answer = await front.client.post(GENERATE, content=body("status=429 retry_after=7"))

        assert answer.status_code == 429
        assert error_of(answer)["status"] == "RESOURCE_EXHAUSTED"
        assert answer.headers["retry-after"] == "7"


async def test_counting_is_free(tmp_path: Path) -> None:
    async with open_front(tmp_path, funds_nanodollars=0) as front:
        for model in ("sim-gemini", "sim-anthropic"):
            path = f"/v1beta/models/{model}:countTokens"
            counted = await front.client.post(path, content=body())
            assert counted.status_code == 200
            assert counted.json()["totalTokens"] > 0
        assert front.setup.sim.truth.records() == []
