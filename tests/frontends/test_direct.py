"""Routed by its path alone or by Quart, a request is answered the same."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
import trio
import trio.testing

from engine.passing.service import served_routes
from frontends.direct import DirectHeaders, asked, direct_routes
from frontends.scopes import ROUTES
from tests.frontends.apps import Front, open_front
from tests.gateways import chat_body

CHAT = "/v1/chat/completions"
BODY = chat_body("tokens=5", stream=False)
SERVER = """
header_brand = "acme"
body_max_bytes = 100_000
"""
_OWN = re.compile(rb"\b(req|chatcmpl|msg|resp|cmpl|sim|rs|modr)[-_][A-Za-z0-9_-]+|[0-9]{10,}")
_CHANCE = frozenset({b"date", b"connection"})
"""Who is refused before its body has come loses the connection."""
KEPT = {route.path for route in served_routes()}
"""No provider keeps anything here."""
_TIMES = frozenset({"duration_ms", "timings", "request_id", "response_bytes"})


@dataclass(frozen=True)
class Asks:
    """What is asked; of `headers` only those beside the key."""

    path: str = CHAT
    body: bytes = BODY
    headers: Mapping[str, str] = field(default_factory=dict)
    key: str | None = None
    status: int = 200


def document(path: str) -> bytes:
    """The least that is answered at a path."""
    match path:
        case "/v1/messages" | "/v1/messages/count_tokens":
            said = [{"role": "user", "content": "#sim tokens=3"}]
            limit = {} if path.endswith("count_tokens") else {"max_tokens": 9}
            return orjson.dumps({"model": "sim-anthropic", "messages": said, **limit})
        case "/v1/responses" | "/v1/responses/input_tokens":
            return b'{"model":"sim-responses","input":"#sim tokens=3"}'
        case _:
            return BODY


CASES = {
    "a whole answer": Asks(),
    "a stream": Asks(body=chat_body("tokens=5")),
    "a stream that tells its usage": Asks(
        body=chat_body("tokens=5", stream_options={"include_usage": True})
    ),
    "a key in the query": Asks(path=f"{CHAT}?key=KEY", key=""),
    "a key in another header": Asks(headers={"x-api-key": "KEY"}, key=""),
    "no key": Asks(key="", status=401),
    "an unknown key": Asks(key="sk-parshall-nobody", status=401),
    "two keys": Asks(headers={"x-api-key": "another"}, status=400),
    "no JSON": Asks(body=b"{", status=400),
    "no body": Asks(body=b"", status=400),
    "an unknown model": Asks(body=chat_body(model="nobody"), status=404),
    "a body that is too large": Asks(body=b"x" * 100_001, status=413),
    "an error of the provider": Asks(body=chat_body("status=400", stream=False), status=400),
    "a failing provider": Asks(body=chat_body("status=500", stream=False), status=500),
    "an id of the client": Asks(headers={"x-request-id": "mine-1", "x-session-id": "s"}),
    "an idempotency key": Asks(headers={"idempotency-key": "KIND-1"}),
    "too many parameters": Asks(path=f"{CHAT}?{'a=1&' * 1_001}", status=400),
    **{
        f"POST {path}": Asks(path=path, body=document(path), headers={"anthropic-version": "1"})
        for path in ("/v1/messages", "/v1/messages/count_tokens", "/v1/responses")
    },
    **{
        f"{path} without a model": Asks(path=path, body=b"{}", status=404 if path in KEPT else 400)
        for method, path in ROUTES
        if method == "POST" and ROUTES[method, path] == "inference" and "<" not in path
    },
}


async def answer(
    front: Front, asks: Asks, kind: str, caplog: pytest.LogCaptureFixture
) -> dict[str, Any]:
    """What a client gets and the access log says, but for what no two requests share."""
    key = front.setup.key
    named = {
        name: value.replace("KEY", key).replace("KIND", kind)
        for name, value in asks.headers.items()
    }
    if asks.key != "":
        named["authorization"] = f"Bearer {asks.key or key}"
    caplog.clear()
    async with httpx.AsyncClient(base_url=front.client.base_url, timeout=30, verify=False) as http:
        path = asks.path.replace("KEY", key)
        got = await http.post(path, content=asks.body, headers=named)
    await trio.testing.wait_all_tasks_blocked()
    [entry] = [record.fields for record in caplog.records if record.name == "parshall.access"]  # type: ignore[attr-defined]
    told = [header for header in got.headers.raw if header[0] not in _CHANCE]
    return {
        "status": got.status_code,
        "headers": [(name, _OWN.sub(b"ID", value)) for name, value in told],
        "body": _OWN.sub(b"ID", got.content),
        "entry": {name: value for name, value in entry.items() if name not in _TIMES},
    }


async def test_all_that_is_asked(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "parshall.access")
    async with open_front(tmp_path, server=SERVER) as front:
        routes = front.app.direct  # type: ignore[attr-defined]
        for name, asks in CASES.items():
            assert asks.path.partition("?")[0] in routes
            told = await answer(front, asks, "direct", caplog)
            front.app.direct = {}  # type: ignore[attr-defined]
            by_quart = await answer(front, asks, "quart", caplog)
            front.app.direct = routes  # type: ignore[attr-defined]
            assert told == by_quart, name
            assert told["status"] == asks.status, (name, told)


async def test_a_request_behind_another_one_on_its_connection_is_its_own(tmp_path: Path) -> None:
    async with open_front(tmp_path) as front:
        head = f"host: a\r\nauthorization: Bearer {front.setup.key}\r\n"
        call = f"POST {CHAT} HTTP/1.1\r\n{head}content-length: {len(BODY)}\r\n\r\n".encode() + BODY
        account = f"GET /v1/account HTTP/1.1\r\n{head}\r\n".encode()
        closing = f"GET /nothing HTTP/1.1\r\n{head}connection: close\r\n\r\n".encode()
        async with await trio.open_tcp_stream(*front.address) as stream:
            await stream.send_all(call + account + call + closing)
            said = b"".join([bytes(part) async for part in stream])
        assert re.findall(rb"HTTP/1.1 ([0-9]+)", said) == [b"200", b"200", b"200", b"404"]
        ids = re.findall(rb"\r\nx-request-id: (req_[^\r]+)", said)
        assert len(set(ids)) == 4
        assert b"GET /nothing" in said


async def test_routes_are_those_of_calls_without_parameters(tmp_path: Path) -> None:
    async with open_front(tmp_path) as front:
        found = direct_routes(front.app)
        assert found[CHAT].protocol == "openai_chat"
        assert found["/v1/messages"].protocol == "anthropic"
        assert not {"/v1/receipts", "/api/auth"} & set(found)


def test_fields_are_told_in_their_order() -> None:
    fields = DirectHeaders([(b"a", b"1"), (b"b", b"\xe9"), (b"a", b"2")])
    assert fields.getlist("a") == ["1", "2"]
    assert (fields.get("b"), fields.get("c"), fields.getlist("c")) == ("\xe9", None, [])


def test_outside_of_a_request_there_is_none() -> None:
    with pytest.raises(RuntimeError):
        _ = asked().scope
