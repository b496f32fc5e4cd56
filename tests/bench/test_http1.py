"""The simulated provider over HTTP/1.1, real sockets."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from typing import Any

import httpx
import orjson
import pytest
import trio
import trustme

from bench.simulate import Directives, Simulator, SimulatorSettings, open_simulator
from tests.bench.peer import PATIENCE_S, chat_request, events_of, text_of
from tests.bench.raw import converse, post


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    settings = SimulatorSettings(body_max_bytes=100_000, head_timeout_s=1.0)
    async with open_simulator(settings) as simulator:
        yield simulator
        assert simulator.statistics().crashes == 0


@pytest.fixture
async def client(simulator: Simulator) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=simulator.base_url, timeout=PATIENCE_S) as client:
        yield client


async def chat(client: httpx.AsyncClient, directives: str = "", **more: Any) -> httpx.Response:
    return await client.post(
        "/v1/chat/completions",
        json=chat_request(directives, **more),
        headers={"x-request-id": "one"},
    )


def usage_of(events: list[dict[str, object]]) -> list[object]:
    return [event["usage"] for event in events if event.get("usage")]


async def test_whole_completion(simulator: Simulator, client: httpx.AsyncClient) -> None:
    response = await chat(client, "tokens=12", stream=False)
    record = simulator.truth.record("one")
    assert record is not None
    answer = response.json()
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    assert response.headers["x-request-id"] == record.provider_request_id
    assert answer["object"] == "chat.completion"
    assert answer["choices"][0]["message"]["content"] == record.text
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert answer["usage"] == record.usage_reported
    assert answer["usage"]["completion_tokens"] == 12 == record.tokens_generated
    assert answer["usage"]["prompt_tokens"] == record.input_tokens
    assert (record.ended, record.tokens_written) == ("done", 12)


async def test_stream_without_usage_asked(client: httpx.AsyncClient) -> None:
    response = await chat(client, "tokens=3")
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert response.text.endswith("data: [DONE]\n\n")
    events = events_of(response.content)
    assert all("usage" not in event for event in events)
    choices = [event["choices"][0] for event in events]  # type: ignore[index]
    assert choices[0]["delta"] == {"role": "assistant", "content": "", "refusal": None}
    assert [choice["finish_reason"] for choice in choices] == [None] * 4 + ["stop"]
    assert choices[-1]["delta"] == {}
    assert len({event["id"] for event in events}) == 1


async def test_stream_with_usage_asked(simulator: Simulator, client: httpx.AsyncClient) -> None:
    response = await chat(client, "tokens=3", stream_options={"include_usage": True})
    events = events_of(response.content)
    assert all("usage" in event for event in events)
    assert events[-1]["choices"] == []
    assert usage_of(events) == [simulator.truth.records()[0].usage_reported]


async def test_same_request_same_text_streamed_or_not(client: httpx.AsyncClient) -> None:
    whole = (await chat(client, "tokens=30", stream=False)).json()
    streamed = (await chat(client, "tokens=30 ")).content
    again = (await chat(client, "tokens=30", stream=True)).content
    assert text_of(again) == whole["choices"][0]["message"]["content"]
    assert text_of(streamed) != text_of(again)


@pytest.mark.parametrize("per_event", [1, 2, 17, 40])
async def test_tokens_per_event(client: httpx.AsyncClient, per_event: int) -> None:
    response = await chat(client, f"tokens=41 tokens_per_event={per_event}")
    texts = [
        choice["delta"]["content"]
        for event in events_of(response.content)
        for choice in event["choices"]  # type: ignore[attr-defined]
        if choice["delta"].get("content")
    ]
    assert [len(text.split()) for text in texts] == [
        min(per_event, 41 - done) for done in range(0, 41, per_event)
    ]


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
@pytest.mark.parametrize("stream", [True, False])
async def test_honours_the_limit(
    simulator: Simulator, client: httpx.AsyncClient, field: str, stream: bool
) -> None:
    response = await chat(client, "tokens=50", stream=stream, **{field: 7})
    assert '"finish_reason":"length"' in response.text.replace(" ", "")
    assert simulator.truth.records()[0].tokens_generated == 7


async def test_can_ignore_the_limit(simulator: Simulator, client: httpx.AsyncClient) -> None:
    response = await chat(client, "tokens=50 ignore_max_tokens=1", max_tokens=7)
    assert '"finish_reason":"stop"' in response.text
    assert simulator.truth.records()[0].tokens_generated == 50


@pytest.mark.parametrize("stream", [True, False])
async def test_choices_are_independent(
    simulator: Simulator, client: httpx.AsyncClient, stream: bool
) -> None:
    response = await chat(client, "tokens=9 tokens_per_event=2", n=3, stream=stream)
    record = simulator.truth.records()[0]
    if stream:
        texts = [text_of(response.content, choice) for choice in range(3)]
    else:
        texts = [choice["message"]["content"] for choice in response.json()["choices"]]
    assert texts == record.choices
    assert len(set(texts)) == 3
    assert record.tokens_generated == record.tokens_written == 27


@pytest.mark.parametrize(
    ("usage", "more", "expected"),
    [
        ("none", (0, 0), False),
        ("wrong", (7, 100), True),
        ("always", (0, 0), True),
        ("normal", (0, 0), True),
    ],
)
async def test_usage_can_be_missing_or_wrong(
    simulator: Simulator,
    client: httpx.AsyncClient,
    usage: str,
    more: tuple[int, int],
    expected: bool,
) -> None:
    options = {} if usage == "always" else {"stream_options": {"include_usage": True}}
    reported = usage_of(
        events_of((await chat(client, f"tokens=5 usage={usage}", **options)).content)
    )
    record = simulator.truth.records()[0]
    assert len(reported) == int(expected)
    if expected:
        (found,) = reported
        assert isinstance(found, dict)
        assert found["prompt_tokens"] == record.input_tokens + more[0]
        assert found["completion_tokens"] == 5 + more[1]
        assert record.usage_reported == found
    whole = (await chat(client, f"tokens=5 usage={usage}", stream=False)).json()
    assert ("usage" in whole) == expected


@pytest.mark.parametrize(
    ("status", "directives", "retry_after"),
    [
        (429, "", "1"),
        (500, "", None),
        (529, " retry_after=7", "7"),
        (503, " retry_after=0.5", "0.5"),
    ],
)
@pytest.mark.parametrize("stream", [True, False])
async def test_error_status(
    simulator: Simulator,
    client: httpx.AsyncClient,
    status: int,
    directives: str,
    retry_after: str | None,
    stream: bool,
) -> None:
    response = await chat(client, f"status={status}{directives}", stream=stream)
    assert response.status_code == status
    assert response.headers.get("retry-after") == retry_after
    assert set(response.json()["error"]) == {"message", "type", "param", "code"}
    record = simulator.truth.records()[0]
    assert (record.ended, record.status, record.tokens_generated) == ("error", status, 0)


async def test_unknown_directive_says_so(client: httpx.AsyncClient) -> None:
    response = await chat(client, "tokns=5")
    assert response.status_code == 400
    assert response.json()["error"]["code"] == "invalid_directive"


async def test_models(simulator: Simulator, client: httpx.AsyncClient) -> None:
    assert [m["id"] for m in (await client.get("/v1/models")).json()["data"]] == ["sim-openai"]
    assert (await client.get("/v1/models/sim-openai")).json()["id"] == "sim-openai"
    assert (await client.get("/v1/models/other")).status_code == 404
    response = await client.post("/v1/chat/completions", json={**chat_request(), "model": "other"})
    assert response.status_code == 404
    assert response.json()["error"]["code"] == "model_not_found"


async def test_any_model() -> None:
    settings = SimulatorSettings(any_model=True, defaults=Directives(tokens=2))
    body = {"model": "gpt-99", "messages": [{"role": "user", "content": "hello"}]}
    async with (
        open_simulator(settings) as simulator,
        httpx.AsyncClient(base_url=simulator.base_url, timeout=PATIENCE_S) as client,
    ):
        answer = (await client.post("/v1/chat/completions", json=body)).json()
    assert answer["model"] == "gpt-99"
    assert answer["usage"]["completion_tokens"] == 2


async def test_routes(client: httpx.AsyncClient) -> None:
    assert (await client.get("/healthz")).json() == {"status": "ok"}
    assert (await client.get("/v1/nothing")).status_code == 404
    wrong = await client.get("/v1/chat/completions")
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (405, "method_not_supported")


@pytest.mark.parametrize(
    ("header", "code"),
    [(None, None), ("Basic eA==", None), ("Bearer", None), ("Bearer sk-wrong", "invalid_api_key")],
)
async def test_keys_when_configured(header: str | None, code: str | None) -> None:
    settings = SimulatorSettings(api_keys=frozenset({"sk-right"}))
    headers = {"authorization": header} if header else {}
    async with (
        open_simulator(settings) as simulator,
        httpx.AsyncClient(base_url=simulator.base_url, timeout=PATIENCE_S) as client,
    ):
        for path in ("/v1/models", "/v1/models/sim-openai"):
            refused = await client.get(path, headers=headers)
            assert refused.status_code == 401
            assert refused.json()["error"]["code"] == code
        refused = await client.post("/v1/chat/completions", json={}, headers=headers)
        assert refused.status_code == 401
        client.headers["authorization"] = "Bearer sk-right"
        assert (await chat(client)).status_code == 200
    assert "sk-right" not in repr(settings)


async def test_truth_over_http(simulator: Simulator, client: httpx.AsyncClient) -> None:
    for name in ("a", "b", "a"):
        await client.post(
            "/v1/chat/completions", json=chat_request("tokens=2"), headers={"x-request-id": name}
        )
    response = await client.get("/_truth")
    lines = [orjson.loads(line) for line in response.content.splitlines()]
    assert [line["request_id"] for line in lines] == ["a", "b", "a"]
    only = (await client.get("/_truth", params={"request_id": "b"})).content.splitlines()
    assert [orjson.loads(line) for line in only] == [lines[1]]
    assert lines[1] == simulator.truth.records("b")[0].to_json()
    assert lines[1]["ended"] == "done"
    assert (await client.get("/_truth", params={"request_id": "c"})).content == b""
    bare = orjson.loads((await client.get("/_truth?request_id=b&text=0")).content)
    assert (bare["text"], bare["tokens_generated"]) == (None, 2)


async def test_pipelined_requests_are_answered_in_order(simulator: Simulator) -> None:
    first = post(chat_request("tokens=1 tokens_per_second=0 first_token_ms=50", stream=False))
    last = post(chat_request("tokens=2", stream=False), more="connection: close\r\n")
    received = await converse(simulator.port, first + last)
    lengths = [record.tokens_written for record in simulator.truth.records()]
    assert lengths == [1, 2]
    assert received.data.count(b"HTTP/1.1 200 OK") == 2
    assert not received.reset


async def test_request_in_single_bytes() -> None:
    data = post(chat_request("tokens=2"), more="connection: close\r\n")
    with trio.fail_after(PATIENCE_S):
        async with (
            open_simulator() as simulator,
            await trio.open_tcp_stream("127.0.0.1", simulator.port) as stream,
        ):
            for byte in data:
                await stream.send_all(bytes([byte]))
            received = b""
            while more := await stream.receive_some():
                received += more
    assert received.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")


async def test_http_1_0_ends_with_the_connection(simulator: Simulator) -> None:
    received = await converse(simulator.port, post(chat_request("tokens=2"), version="1.0"))
    assert b"transfer-encoding" not in received.head
    assert received.body.endswith(b"data: [DONE]\n\n")


async def test_expect_continue(simulator: Simulator) -> None:
    more = "expect: 100-continue\r\nconnection: close\r\n"
    received = await converse(simulator.port, post(chat_request("tokens=2"), more=more))
    assert received.data.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK")


@pytest.mark.parametrize(
    "data",
    [
        b"\x00\x01\x02\x03" * 20,
        b"GET / HTTP/9.9\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\ncontent-length: x\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
        b"CONNECT a:1 HTTP/1.1\r\nhost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\nxx",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 50_000 + b"\r\n",
        b"GET / HTTP/1.1\r\nhost: x\r\n\r\n" * 40,
    ],
)
async def test_bad_bytes_end_one_connection_only(
    simulator: Simulator, client: httpx.AsyncClient, data: bytes
) -> None:
    await converse(simulator.port, data + b"\r\n")
    assert (await client.get("/healthz")).status_code == 200


async def test_body_over_the_limit(simulator: Simulator) -> None:
    request = chat_request("tokens=2", user="x" * 200_000)
    received = await converse(simulator.port, post(request))
    assert received.status == 413
    assert simulator.truth.records() == []


async def test_a_request_that_never_completes_is_dropped(simulator: Simulator) -> None:
    received = await converse(simulator.port, b"GET / HTTP/1.1\r\nhost: x\r\n")
    assert received.data == b""
    assert (await converse(simulator.port, b"P")).data == b""


async def test_client_that_leaves_resets_the_reply(simulator: Simulator) -> None:
    request = chat_request("tokens=100000 tokens_per_second=200 tokens_per_event=2")
    async with await trio.open_tcp_stream("127.0.0.1", simulator.port) as stream:
        await stream.send_all(post(request, more="x-request-id: one\r\n"))
        with trio.fail_after(PATIENCE_S):
            received = b""
            while received.count(b'"delta":{"content"') < 5:
                received += await stream.receive_some()
    with trio.fail_after(PATIENCE_S):
        record = await simulator.truth.wait_ended("one")
    assert record.ended == "reset"
    assert 10 <= record.tokens_written <= record.tokens_generated < 100_000
    assert record.usage_reported is None
    assert simulator.statistics().scheduled_replies == 0


async def test_tls_with_alpn_http_1_1() -> None:
    authority = trustme.CA()
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(server)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    async with open_simulator(SimulatorSettings(tls=server)) as simulator:
        url = f"https://localhost:{simulator.port}"
        assert simulator.base_url.startswith("https://127.0.0.1")
        async with httpx.AsyncClient(base_url=url, verify=trusting, timeout=PATIENCE_S) as client:
            response = await chat(client, "tokens=3000")
            assert text_of(response.content) == simulator.truth.records()[0].text
            whole = await chat(client, "tokens=30000", stream=False)
            assert whole.json()["usage"]["completion_tokens"] == 30_000
        assert (await converse(simulator.port, b"GET / HTTP/1.1\r\n\r\n")).data[:1] != b"H"
        assert simulator.statistics().crashes == 0


async def test_connections_over_the_limit_wait_their_turn() -> None:
    request = post(chat_request("tokens=3"), more="connection: close\r\n")
    async with open_simulator(SimulatorSettings(connections_max=2)) as simulator:
        idle = [await trio.open_tcp_stream("127.0.0.1", simulator.port) for _ in range(2)]
        answers: list[bytes] = []

        async def late() -> None:
            answers.append((await converse(simulator.port, request)).body)

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(late)
            for stream in idle:
                await stream.send_all(request)
                while await stream.receive_some():
                    pass
                await stream.aclose()
        assert [answer.endswith(b"data: [DONE]\n\n") for answer in answers] == [True] * 3
        assert simulator.statistics().crashes == 0
