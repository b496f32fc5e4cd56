"""Which headers pass the gateway, over real sockets, and which every answer has."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import orjson
import pytest
import trio
import trustme

from engine.wire.http import Headers
from frontends.app import create_app, render_server_error
from frontends.headers import ANSWER_HEADERS, PROVIDER_HEADERS, SECURITY
from frontends.server import ServerSettings, open_server
from frontends.server.tls import CertificateStore
from tests.engine.upstream.peer import Peer, Request, open_peer
from tests.frontends.apps import Front, open_front
from tests.frontends.server.apps import read_all
from tests.gateways import MODELS, open_setup

SECURE = {name.decode(): value.decode() for name, value in SECURITY}

SENT_BY_A_HOSTILE_CLIENT = {
    "anthropic-beta": "canary-beta",
    "anthropic-version": "2023-06-01",
    "connection": "keep-alive, x-internal",
    "cookie": "session=canary",
    "forwarded": "for=canary",
    "openai-organization": "canary",
    "openai-project": "canary",
    "proxy-authorization": "Basic canary",
    "te": "trailers",
    "via": "1.1 canary",
    "x-amz-security-token": "canary",
    "x-api-key": "KEY",
    "x-forwarded-for": "10.0.0.1",
    "x-forwarded-host": "canary",
    "x-goog-api-key": "KEY",
    "x-goog-user-project": "canary",
    "x-http-method-override": "DELETE",
    "x-internal": "canary",
    "x-real-ip": "10.0.0.1",
    "x-request-id": "canary",
}
SAID_BY_A_HOSTILE_PROVIDER: Headers = [
    (b":status", b"200"),
    (b"content-type", b"text/html; charset=utf-8"),
    (b"access-control-allow-origin", b"*"),
    (b"alt-svc", b'h3="evil.example:443"'),
    (b"authorization", b"canary"),
    (b"cache-control", b"public, max-age=31536000"),
    (b"content-security-policy", b"default-src *"),
    (b"etag", b"canary"),
    (b"link", b"<https://evil.example/>; rel=preload"),
    (b"location", b"https://evil.example/"),
    (b"openai-organization", b"canary"),
    (b"refresh", b"0; url=https://evil.example/"),
    (b"server", b"canary"),
    (b"set-cookie", b"session=canary"),
    (b"strict-transport-security", b"max-age=0"),
    (b"www-authenticate", b"Negotiate"),
    (b"x-forwarded-for", b"10.0.0.1"),
    (b"x-internal", b"canary"),
    (b"x-parshall-cost", b"0"),
    (b"anthropic-ratelimit-tokens-remaining", b"1"),
    (b"retry-after-ms", b"1"),
    (b"x-ratelimit-remaining-tokens", b"1"),
    (b"x-request-id", b"r" * 5_000),
    (b"request-id", b"\xff canary"),
]
UNARY = orjson.dumps(
    {
        "id": "c1",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}
        ],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
    }
)
ANTHROPIC = orjson.dumps(
    {
        "id": "m1",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [{"type": "text", "text": "Hi"}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 1, "output_tokens": 1},
    }
)


@asynccontextmanager
async def open_between(folder: Path, answer: bytes) -> AsyncIterator[tuple[Front, list[Request]]]:
    """A front whose provider says the hostile head; the requests that it has had."""
    seen: list[Request] = []

    async def provide(peer: Peer) -> None:
        while True:
            request = await peer.next_request()
            await request.wait_ended()
            seen.append(request)
            request.connection.http2.send_headers(request.stream_id, SAID_BY_A_HOSTILE_PROVIDER)
            await request.send_all(answer, ended=True)

    async with open_peer() as peer, trio.open_nursery() as nursery:
        nursery.start_soon(provide, peer)
        async with open_front(folder, base_url=f"http://127.0.0.1:{peer.port}") as front:
            yield front, seen
        nursery.cancel_scope.cancel()


async def ask(front: Front, path: str, model: str) -> httpx.Response:
    """A request in one piece with the hostile client's headers."""
    headers = {n: v.replace("KEY", front.setup.key) for n, v in SENT_BY_A_HOSTILE_CLIENT.items()}
    document = {
        "model": model,
        "max_tokens": 9,
        "messages": [{"role": "user", "content": "Hello"}],
    }
    return await front.client.post(path, json=document, headers=headers)


def test_the_lists_of_headers_that_pass() -> None:
    """To add one is to decide that whoever sets it may tell it the other side."""
    assert PROVIDER_HEADERS == {
        "openai_chat": (),
        "openai_responses": (),
        "openai_completions": (),
        "openai": (),
        "openai_videos": (),
        "anthropic": ("anthropic-beta", "anthropic-version"),
        "gemini": (),
    }
    assert {
        b"anthropic-ratelimit-requests-limit",
        b"anthropic-ratelimit-requests-remaining",
        b"anthropic-ratelimit-requests-reset",
        b"anthropic-ratelimit-tokens-limit",
        b"anthropic-ratelimit-tokens-remaining",
        b"anthropic-ratelimit-tokens-reset",
        b"accept-ranges",
        b"allow",
        b"content-digest",
        b"content-disposition",
        b"content-length",
        b"content-range",
        b"content-type",
        b"etag",
        b"idempotent-replayed",
        b"openai-poll-after-ms",
        b"repr-digest",
        b"request-id",
        b"retry-after",
        b"retry-after-ms",
        b"www-authenticate",
        b"x-credits-used",
        b"x-fallback-depth",
        b"x-fallback-from",
        b"x-goog-upload-chunk-granularity",
        b"x-goog-upload-size-received",
        b"x-goog-upload-status",
        b"x-goog-upload-url",
        b"x-model-used",
        b"x-parshall-cost",
        b"x-parshall-counted",
        b"x-parshall-dropped",
        b"x-parshall-provider",
        b"x-parshall-receipt",
        b"x-parshall-savings",
        b"x-provider-request-id",
        b"x-ratelimit-limit-requests",
        b"x-ratelimit-limit-tokens",
        b"x-ratelimit-remaining-requests",
        b"x-ratelimit-remaining-tokens",
        b"x-ratelimit-reset-requests",
        b"x-ratelimit-reset-tokens",
        b"x-request-id",
        b"x-should-retry",
        b"x-storage-limit-bytes",
        b"x-storage-used-bytes",
    } == ANSWER_HEADERS


@pytest.mark.parametrize(
    ("path", "protocol", "answer", "credential", "betas"),
    [
        ("/v1/chat/completions", "openai_chat", UNARY, b"authorization", []),
        ("/v1/messages", "anthropic", ANTHROPIC, b"x-api-key", [b"anthropic-beta"]),
    ],
)
async def test_what_a_client_says_in_headers_ends_here(
    tmp_path: Path,
    path: str,
    protocol: str,
    answer: bytes,
    credential: bytes,
    betas: list[bytes],
) -> None:
    async with open_between(tmp_path, answer) as (front, seen):
        response = await ask(front, path, MODELS[protocol])
        key = front.setup.key.encode()

    assert response.status_code == 200, response.text
    (request,) = seen
    names = {name for name, _ in request.head}
    ours = {b":method", b":scheme", b":authority", b":path", b"content-type", b"content-length"}
    ours |= {b"accept", b"accept-encoding", b"user-agent", b"x-request-id", credential}
    assert names <= ours | {b"anthropic-version", *betas}
    passed = [value for name, value in request.head if name not in betas]
    assert not [value for value in passed if b"canary" in value or key in value]


@pytest.mark.parametrize(
    ("path", "protocol", "answer"),
    [
        ("/v1/chat/completions", "openai_chat", UNARY),
        ("/v1/messages", "anthropic", ANTHROPIC),
    ],
)
async def test_what_a_provider_says_in_headers_ends_here(
    tmp_path: Path, path: str, protocol: str, answer: bytes
) -> None:
    async with open_between(tmp_path, answer) as (front, _):
        response = await ask(front, path, MODELS[protocol])

    assert response.status_code == 200, response.text
    passed = {name.encode() for name in response.headers} - {b"date"}
    assert passed <= ANSWER_HEADERS | {name for name, _ in SECURITY}
    assert "canary" not in str(response.headers)
    assert response.headers.get_list("cache-control") == ["private, no-store"]
    assert response.headers["content-type"] == "application/json"
    assert response.headers["x-request-id"].startswith("req_")
    assert "x-provider-request-id" not in response.headers
    assert response.headers["x-parshall-cost"] != "0"
    assert "www-authenticate" not in response.headers
    assert not [name for name in response.headers if "ratelimit" in name or "retry" in name]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/healthz", 200),
        ("GET", "/readyz", 200),
        ("GET", "/metrics", 200),
        ("GET", "/v1/models", 200),
        ("GET", "/v1/receipts/req_none", 404),
        ("GET", "/nothing", 404),
        ("DELETE", "/v1/messages", 405),
        ("POST", "/v1/messages", 400),
        ("POST", "/v1/chat/completions", 400),
    ],
)
async def test_every_answer_has_the_headers_of_security(
    front: Front, method: str, path: str, status: int
) -> None:
    response = await front.client.request(method, path, content=b"{")

    assert response.status_code == status
    assert {name: response.headers.get_list(name) for name in SECURE} == {
        name: [value] for name, value in SECURE.items()
    }
    assert HSTS not in response.headers


async def test_a_stream_has_them_too(front: Front) -> None:
    document = {"model": "sim-openai", "stream": True}
    document["messages"] = [{"role": "user", "content": "#sim tokens=3\nHello"}]
    response = await front.client.post("/v1/chat/completions", json=document)

    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.content.endswith(b"data: [DONE]\n\n")
    assert {name: response.headers.get_list(name) for name in SECURE} == {
        name: [value] for name, value in SECURE.items()
    }


@pytest.mark.parametrize(
    ("request_", "status", "words"),
    [
        (b"nonsense\r\n\r\n", 400, "not valid HTTP"),
        (b"GET / HTTP/1.1\r\nhost: a\r\nx: %b\r\n\r\n" % (b"y" * 70_000), 431, "headers are too"),
        (b"GET /%b HTTP/1.1\r\nhost: a\r\n\r\n" % (b"y" * 70_000), 414, "URL is too long"),
        (b"TRACE / HTTP/1.1\r\nhost: a\r\n\r\n", 501, "method"),
        (b"GET / HTTP/1.1\r\nhost: a\r\nexpect: x\r\n\r\n", 417, "100-continue"),
        (b"GET / HTTP/3.0\r\nhost: a\r\n\r\n", 505, "version"),
    ],
)
async def test_what_the_app_never_sees_is_answered_with_them(
    tmp_path: Path, request_: bytes, status: int, words: str
) -> None:
    """And in words that say what is wrong."""
    settings = ServerSettings(render_error=render_server_error, server="parshall")
    async with (
        open_setup(tmp_path) as setup,
        open_server(create_app(setup.gateway), ["127.0.0.1:0"], settings) as server,
    ):
        host, _, port = server.addresses[0].rpartition(":")
        async with await trio.open_tcp_stream(host, int(port)) as stream:
            await stream.send_all(request_)
            with trio.fail_after(30):
                answer = await read_all(stream)

    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status)
    for name, value in SECURITY:
        assert b"\r\n%b: %b" % (name, value) in head
    assert words in orjson.loads(body)["error"]["message"]


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "invalid_request"),
        (408, "request_timeout"),
        (413, "body_too_large"),
        (431, "invalid_request"),
        (500, "internal_error"),
        (503, "unavailable"),
        (418, "invalid_request"),
    ],
)
def test_the_codes_of_what_the_app_never_sees(status: int, code: str) -> None:
    error = render_server_error(status)

    assert orjson.loads(error.body)["error"]["code"] == code
    assert (dict(error.headers).get(b"retry-after") is not None) == (status == 503)


HSTS = "strict-transport-security"


async def test_only_tls_asks_for_tls_ever_after(tmp_path: Path) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("localhost")
    certificate, key = tmp_path / "server.crt", tmp_path / "server.key"
    issued.cert_chain_pems[0].write_to_path(str(certificate))
    issued.private_key_pem.write_to_path(str(key))
    context = ssl.create_default_context()
    authority.configure_trust(context)
    settings = ServerSettings(tls=CertificateStore(certificate, key))
    async with (
        open_setup(tmp_path) as setup,
        open_server(create_app(setup.gateway), ["127.0.0.1:0"], settings) as server,
        httpx.AsyncClient(verify=context, timeout=30) as client,
    ):
        port = server.addresses[0].rpartition(":")[2]
        answers = [
            await client.get(f"https://localhost:{port}{path}") for path in ("/healthz", "/")
        ]

    assert [answer.status_code for answer in answers] == [200, 404]
    assert [answer.headers[HSTS] for answer in answers] == ["max-age=31536000"] * 2


@pytest.fixture
async def front(tmp_path: Path) -> AsyncIterator[Front]:
    async with open_front(tmp_path) as front:
        yield front
