"""Keys over HTTP: looked at before the body and after it, on every route that generates."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.frontends.apps import Front, open_front
from tests.gateways import add_key, chat_body, settled

ROUTES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"model": "$", "messages": [{"role": "user", "content": "Hi."}]},
    "/v1/responses": {"model": "$", "input": "Hi."},
    "/v1/completions": {"model": "$", "prompt": "Hi."},
    "/v1/messages": {
        "model": "$",
        "max_tokens": 10,
        "messages": [{"role": "user", "content": "Hi."}],
    },
    "/v1/messages/count_tokens": {
        "model": "$",
        "messages": [{"role": "user", "content": "Hi."}],
    },
    "/v1beta/models/$:generateContent": {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]},
    "/v1beta/models/$:countTokens": {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]},
}


def left(front: Front, key: str) -> int:
    """How many requests a key has left in this minute."""
    gateway = front.setup.gateway
    window = gateway.limit_status(gateway.identify(key, None)).requests
    assert window is not None
    return window.remaining


async def answer_on(stream: trio.SocketStream) -> bytes:
    """One answer with a length: its head in lower case, and its body."""
    data = b""
    with trio.fail_after(30):
        while b"\r\n\r\n" not in data:
            data += await _some(stream)
        head, _, body = data.partition(b"\r\n\r\n")
        found = re.search(rb"\r\ncontent-length: (\d+)", head.lower())
        assert found is not None, head
        while len(body) < int(found[1]):
            body += await _some(stream)
    return head.lower() + b"\r\n\r\n" + body


async def _some(stream: trio.SocketStream) -> bytes:
    part = await stream.receive_some()
    assert part, "it was closed"
    return bytes(part)


async def test_a_key_without_the_model_is_refused_on_every_route(tmp_path: Path) -> None:
    plan = '[plans.some]\nmodels = ["sim-openai", "sim-anthropic"]'
    async with open_front(tmp_path, models=plan) as front:
        setup = front.setup
        await setup.gateway.ledger.set_account_plan(setup.account_id, "some")
        _, key = await add_key(setup.gateway, setup.account_id, models=("sim-openai",))
        expected = {
            "sim-openai": (200, ""),
            "sim-anthropic": (403, "sim-anthropic"),
            "sim-gemini": (404, "sim-gemini"),
        }
        for route, body in ROUTES.items():
            for model, (status, named) in expected.items():
                document = {name: model if value == "$" else value for name, value in body.items()}
                answer = await front.client.post(
                    route.replace("$", model),
                    json=document,
                    headers={"authorization": f"Bearer {key}"},
                )
                assert answer.status_code == status, (route, model, answer.text)
                assert named in answer.text


async def test_a_key_that_is_revoked_while_the_body_arrives_is_refused(tmp_path: Path) -> None:
    async with open_front(tmp_path) as front:
        gateway, account_id = front.setup.gateway, front.setup.account_id
        key_id, key = await add_key(gateway, account_id, limits={"requests_per_min": 10})
        body = chat_body("tokens=5")
        async with await trio.open_tcp_stream(*front.address) as stream:
            await stream.send_all(_head(key, len(body)) + body[:20])
            await settled(lambda: left(front, key) == 9)
            await gateway.ledger.revoke_key(key_id)
            await stream.send_all(body[20:])
            answer = await answer_on(stream)
        assert answer.startswith(b"http/1.1 401 ")
        assert b"invalid_api_key" in answer
        assert list(front.setup.sim.truth.records()) == []


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages"])
async def test_a_request_above_the_limit_is_refused_before_its_body_has_come(
    tmp_path: Path, path: str
) -> None:
    async with open_front(tmp_path) as front:
        _, key = await add_key(
            front.setup.gateway, front.setup.account_id, limits={"requests_per_min": 1}
        )
        answers: list[bytes] = []
        for _ in range(2):
            async with await trio.open_tcp_stream(*front.address) as stream:
                body = chat_body("tokens=1", stream=False)
                await stream.send_all(_head(key, len(body), path) + body[:1])
                if not answers:
                    await stream.send_all(body[1:])
                answers.append(await answer_on(stream))
        assert answers[1].startswith(b"http/1.1 429 ")
        assert b"retry-after: " in answers[1]
        remaining = "anthropic-ratelimit-requests-remaining" if "messages" in path else ""
        for answer in answers:
            assert f"{remaining or 'x-ratelimit-remaining-requests'}: 0".encode() in answer


def _head(key: str, length: int, path: str = "/v1/chat/completions") -> bytes:
    return (
        f"POST {path} HTTP/1.1\r\nhost: test\r\nauthorization: Bearer {key}\r\n"
        f"content-type: application/json\r\ncontent-length: {length}\r\n\r\n"
    ).encode()
