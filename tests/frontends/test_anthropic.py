"""Anthropic's routes over real sockets: errors in its shape, whatever raises them; its headers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
import trio

from tests.engine.upstream.peer import open_peer
from tests.frontends.apps import open_front

MESSAGES = "/v1/messages"
COUNT = "/v1/messages/count_tokens"


def body(directives: str = "", **changes: Any) -> bytes:
    """The body of a message request."""
    document = {
        "model": "sim-anthropic",
        "max_tokens": 100,
        "messages": [{"role": "user", "content": f"#sim {directives}\nTell me more."}],
    }
    return orjson.dumps(document | changes)


def prompt(**changes: Any) -> bytes:
    """The body of a count: without the fields of an answer."""
    document = orjson.loads(body(**changes))
    del document["max_tokens"]
    return orjson.dumps(document)


def error_of(response: httpx.Response) -> dict[str, Any]:
    """The error, after checking the shape that Anthropic's SDKs rely on."""
    assert response.headers["content-type"] == "application/json"
    document: dict[str, Any] = response.json()
    assert set(document) == {"type", "error", "request_id"}
    assert document["type"] == "error"
    own_id = response.headers["x-request-id"]
    assert own_id.startswith("req_")
    assert own_id == response.headers["request-id"] == document["request_id"]
    assert set(document["error"]) == {"type", "message", "code"}
    error: dict[str, Any] = document["error"]
    return error


async def test_a_message_has_its_own_id(tmp_path: Path) -> None:
    async with open_front(tmp_path) as front:
        answer = await front.client.post(MESSAGES, content=body("tokens=5"))

        assert answer.status_code == 200
        assert answer.json()["type"] == "message"
        assert answer.headers["request-id"] == answer.headers["x-request-id"]
        receipt = await front.client.get(f"/v1/receipts/{answer.headers['request-id']}")
        assert receipt.json()["outcome"] == "completed"


@pytest.mark.parametrize(
    ("method", "path", "content", "status", "kind"),
    [
        ("POST", MESSAGES, b"{", 400, "invalid_request_error"),
        ("POST", MESSAGES, b"", 400, "invalid_request_error"),
        ("POST", COUNT, b"[]", 400, "invalid_request_error"),
        ("POST", MESSAGES, body(model="claude-9"), 404, "not_found_error"),
        ("POST", COUNT, prompt(model="claude-9"), 404, "not_found_error"),
        ("GET", MESSAGES, b"", 405, "invalid_request_error"),
        ("DELETE", COUNT, b"", 405, "invalid_request_error"),
        ("POST", "/v1/messages/batches", b"{}", 404, "not_found_error"),
        ("POST", "/v1/messages/", b"{}", 404, "not_found_error"),
        ("POST", MESSAGES, b"x" * 20_001, 413, "request_too_large"),
    ],
)
async def test_errors_have_anthropics_shape(
    tmp_path: Path, method: str, path: str, content: bytes, status: int, kind: str
) -> None:
    async with open_front(tmp_path, server="body_max_bytes = 20_000") as front:
        answer = await front.client.request(method, path, content=content)

        assert answer.status_code == status
        assert error_of(answer)["type"] == kind
        assert status != 405 or answer.headers["allow"]
        assert await front.setup.balance() == 1_000_000_000


@pytest.mark.parametrize("path", [MESSAGES, COUNT])
async def test_the_key_is_checked_before_the_body_is_read(tmp_path: Path, path: str) -> None:
    head = f"POST {path} HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n\r\n".encode()
    async with open_front(tmp_path) as front, await trio.open_tcp_stream(*front.address) as stream:
        await stream.send_all(head)
        with trio.fail_after(30):
            answer = bytes(await stream.receive_some(65_536))

        assert answer.startswith(b"HTTP/1.1 401")
        assert b"www-authenticate: Bearer" in answer
        assert b'"authentication_error"' in answer


async def test_no_funds(tmp_path: Path) -> None:
    async with open_front(tmp_path, funds_nanodollars=0) as front:
        answer = await front.client.post(MESSAGES, content=body())

        assert answer.status_code == 402
        assert error_of(answer)["type"] == "billing_error"


async def test_a_providers_error_has_its_id_and_says_when_to_retry(tmp_path: Path) -> None:
    async with open_front(tmp_path) as front:
        answer = await front.client.post(MESSAGES, content=body("status=529 retry_after=7"))

        assert answer.status_code == 529
        assert error_of(answer)["type"] == "overloaded_error"
        assert answer.headers["retry-after"] == "7"
        assert "x-should-retry" not in answer.headers
        [truth] = front.setup.sim.truth.records()
        assert answer.headers["x-provider-request-id"] == truth.provider_request_id


async def test_what_the_operator_must_mend_is_not_to_be_retried(tmp_path: Path) -> None:
    async with open_front(tmp_path) as front:
        answer = await front.client.post(MESSAGES, content=body("status=401"))

        assert answer.status_code == 502
        assert error_of(answer)["type"] == "api_error"
        assert answer.headers["x-should-retry"] == "false"


async def test_betas_reach_a_provider_of_the_same_protocol(tmp_path: Path) -> None:
    """Of a client's headers, these alone."""
    headers = [
        ("anthropic-beta", "files-api-2025-04-14"),
        ("anthropic-beta", "interleaved-thinking-2025-05-14"),
        ("anthropic-version", "2023-06-01"),
        ("x-private", "secret"),
    ]
    async with (
        open_peer() as peer,
        open_front(tmp_path, base_url=f"http://127.0.0.1:{peer.port}") as front,
        trio.open_nursery() as nursery,
    ):

        async def post() -> None:
            answer = await front.client.post(MESSAGES, content=body(), headers=headers)
            assert answer.status_code == 502

        nursery.start_soon(post)
        request = await peer.next_request()
        request.reset()

    seen = dict(request.head)
    betas = b",".join(value for name, value in request.head if name == b"anthropic-beta")
    assert seen[b"anthropic-version"] == b"2023-06-01"
    assert betas == b"files-api-2025-04-14,interleaved-thinking-2025-05-14"
    assert b"x-private" not in seen


async def test_counting_is_free(tmp_path: Path) -> None:
    async with open_front(tmp_path, funds_nanodollars=0) as front:
        asked = await front.client.post(COUNT, content=prompt())
        counted = await front.client.post(COUNT, content=prompt(model="sim-openai"))

        assert asked.status_code == counted.status_code == 200
        assert asked.headers["content-type"] == "application/json"
        assert set(asked.json()) == {"input_tokens"}
        assert counted.headers["x-parshall-counted"] == "estimate"
        assert counted.json()["input_tokens"] > 0
        assert asked.headers["request-id"].startswith("req_")
        assert front.setup.sim.truth.records() == []
