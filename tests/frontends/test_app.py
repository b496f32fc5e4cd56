"""Routes, errors and the access log, over real sockets."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import h2.events
import httpx
import pytest
import trio

from frontends.access import clean_client_id
from tests.frontends.apps import Front, open_front
from tests.frontends.server.apps import headers, open_http2, read_all, read_until
from tests.gateways import chat_body, content, settled

CHAT = "/v1/chat/completions"


def error_of(response: httpx.Response) -> dict[str, Any]:
    """The error object, after checking the shape that OpenAI's SDKs rely on."""
    assert response.headers["content-type"] == "application/json"
    document = response.json()
    assert set(document) == {"error"}
    assert set(document["error"]) == {"message", "type", "param", "code"}
    assert response.headers["x-request-id"].startswith("req_")
    error: dict[str, Any] = document["error"]
    return error


def raw_request(key: str, body: bytes) -> bytes:
    """A chat request as bytes."""
    head = (
        f"POST {CHAT} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {key}\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def post(front: Front, body: bytes, **options: Any) -> httpx.Response:
    return await front.client.post(CHAT, content=body, **options)


async def test_a_stream_arrives_and_is_billed(tmp_path: Path) -> None:
    async with open_front(tmp_path) as front:
        response = await post(front, chat_body("tokens=20"))
        request_id = response.headers["x-request-id"]
        receipt = (await front.client.get(f"/v1/receipts/{request_id}")).json()
        truth = front.setup.sim.truth.record(request_id)

        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        assert response.content.endswith(b"data: [DONE]\n\n")
        assert truth is not None
        assert content(response.content) == truth.text
        assert receipt["outcome"] == "completed"
        assert receipt["usage"]["output_tokens"] == 20


async def test_a_stream_over_http2(tmp_path: Path) -> None:
    body = chat_body("tokens=20")
    async with open_front(tmp_path) as front, open_http2(front.server) as client:
        key = (b"authorization", f"Bearer {front.setup.key}".encode())
        await client.request(1, [*headers(CHAT.encode(), b"POST"), key], ended=False)
        client.state.send_data(1, body, end_stream=True)
        await client.flush()
        await client.wait_for(h2.events.StreamEnded, 1)
        data = b"".join(e.data for e in client.events if isinstance(e, h2.events.DataReceived))
        (head,) = [e for e in client.events if isinstance(e, h2.events.ResponseReceived)]
        request_id = dict(head.headers)[b"x-request-id"].decode()
        truth = front.setup.sim.truth.record(request_id)

        assert data.endswith(b"data: [DONE]\n\n")
        assert truth is not None
        assert content(data) == truth.text


async def test_a_stream_over_http_1_0(tmp_path: Path) -> None:
    request = raw_request("KEY", chat_body("tokens=20")).replace(b"HTTP/1.1", b"HTTP/1.0")
    async with open_front(tmp_path) as front, await trio.open_tcp_stream(*front.address) as stream:
        await stream.send_all(request.replace(b"KEY", front.setup.key.encode()))
        data = await read_all(stream)

        assert b"chunked" not in data
        assert data.endswith(b"data: [DONE]\n\n")


async def test_an_answer_in_one_piece(tmp_path: Path) -> None:
    async with open_front(tmp_path) as front:
        response = await post(front, chat_body("tokens=20", stream=False))

        assert response.json()["usage"]["completion_tokens"] == 20
        assert int(response.headers["content-length"]) == len(response.content)


async def test_a_client_that_leaves_ends_the_provider_stream_and_pays_for_what_it_got(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "parshall.access")
    body = chat_body("tokens=5000 tokens_per_second=100")
    async with open_front(tmp_path) as front:
        async with await trio.open_tcp_stream(*front.address) as stream:
            await stream.send_all(raw_request(front.setup.key, body))
            answer = await read_until(stream, b"}\n\n")
            request_id = answer.partition(b"x-request-id: ")[2].partition(b"\r\n")[0].decode()
        await settled(lambda: front.setup.gateway.open_exchanges == 0)
        await settled(lambda: bool(caplog.records))
        receipt = (await front.client.get(f"/v1/receipts/{request_id}")).json()
        truth = front.setup.sim.truth.record(request_id)

    assert receipt["outcome"] == "client_left"
    assert truth is not None
    assert receipt["delivered_output_tokens"] <= receipt["usage"]["output_tokens"]
    assert receipt["usage"]["output_tokens"] <= truth.tokens_generated < 5_000
    assert fields_of(caplog.records[0])["outcome"] == "client_left"


@pytest.mark.parametrize(
    ("headers", "text"),
    [
        ({"authorization": ""}, "didn't provide"),
        ({"authorization": "Basic eDp5"}, "didn't provide"),
        ({"authorization": "Bearer sk-parshall-unknown"}, "Incorrect"),
        ({"authorization": "Bearer " + "x" * 5_000}, "Incorrect"),
        ({"authorization": "Bearer \xff\xfe"}, "Incorrect"),
    ],
)
async def test_an_unknown_key_is_refused(
    tmp_path: Path, headers: dict[str, str], text: str
) -> None:
    raw = {name: value.encode("latin-1") for name, value in headers.items()}
    async with open_front(tmp_path) as front:
        response = await post(front, chat_body(), headers=raw)

        assert response.status_code == 401
        assert response.headers["www-authenticate"] == "Bearer"
        error = error_of(response)
        assert error["code"] == "invalid_api_key"
        assert text in error["message"]
        assert await front.setup.balance() == 1_000_000_000


async def test_the_key_is_checked_before_the_body_is_read(tmp_path: Path) -> None:
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n\r\n"
    async with open_front(tmp_path) as front, await trio.open_tcp_stream(*front.address) as stream:
        await stream.send_all(head)
        with trio.fail_after(30):
            answer = bytes(await stream.receive_some(65_536))

        assert answer.startswith(b"HTTP/1.1 401")


@pytest.mark.parametrize("framing", ["content-length", "chunked"])
async def test_a_body_over_the_limit_is_refused_before_it_has_all_arrived(
    tmp_path: Path, framing: str
) -> None:
    async def chunks() -> Any:
        for _ in range(1_000):
            yield b"x" * 10_000

    body: Any = b"x" * 200_000 if framing == "content-length" else chunks()
    async with open_front(tmp_path, server="body_max_bytes = 100_000") as front:
        response = await front.client.post(CHAT, content=body)

        assert response.status_code == 413
        assert error_of(response)["code"] == "body_too_large"


async def test_a_body_at_the_limit_is_taken(tmp_path: Path) -> None:
    body = chat_body("tokens=1", stream=False)
    async with open_front(tmp_path, server=f"body_max_bytes = {len(body)}") as front:
        assert (await post(front, body)).status_code == 200
        assert (await post(front, body + b" ")).status_code == 413


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("POST", CHAT, b"{", 400, None),
        ("POST", CHAT, b"", 400, None),
        ("POST", CHAT, chat_body(model="gpt-9"), 404, "model_not_found"),
        ("GET", CHAT, b"", 405, "method_not_allowed"),
        ("OPTIONS", CHAT, b"", 405, "method_not_allowed"),
        ("GET", "/", b"", 404, "not_found"),
        ("POST", "/v1/embedding", b"{}", 404, "not_found"),
        ("GET", "/v1//models", b"", 404, "not_found"),
        ("GET", "/static/app.py", b"", 404, "not_found"),
        ("GET", "/v1/receipts/req_00", b"", 404, "not_found"),
        ("GET", "/v1/models/gpt-9", b"", 404, "model_not_found"),
        ("GET", "/%ff", b"", 404, "not_found"),
        ("PURGE", "/v1/models", b"", 405, "method_not_allowed"),
    ],
)
async def test_errors_have_openai_shape(
    tmp_path: Path, method: str, path: str, body: bytes, status: int, code: str | None
) -> None:
    async with open_front(tmp_path) as front:
        url = f"http://{front.server.addresses[0]}{path}"
        response = await front.client.request(method, url, content=body)

        assert response.status_code == status
        error = error_of(response)
        assert code is None or error["code"] == code
        assert await front.setup.balance() == 1_000_000_000


async def test_no_funds(tmp_path: Path) -> None:
    async with open_front(tmp_path, funds_nanodollars=0) as front:
        response = await post(front, chat_body())

        assert response.status_code == 402
        assert error_of(response)["type"] == "insufficient_quota"


async def test_a_provider_error_is_passed_on(tmp_path: Path) -> None:
    async with open_front(tmp_path) as front:
        response = await post(front, chat_body("status=429 retry_after=7"))

        assert response.status_code == 429
        assert error_of(response)["message"]
        assert response.headers["retry-after"] == "7"
        assert await front.setup.balance() == 1_000_000_000


async def test_what_is_not_http_is_answered_in_the_same_shape(tmp_path: Path) -> None:
    async with open_front(tmp_path) as front, await trio.open_tcp_stream(*front.address) as stream:
        await stream.send_all(b"GET / HTTP/1.1\r\nbad header\r\n\r\n")
        data = b""
        while more := await stream.receive_some(65_536):
            data += more
        head, _, body = data.partition(b"\r\n\r\n")

        assert head.startswith(b"HTTP/1.1 400")
        assert b"x-request-id: req_" in head
        assert json.loads(body)["error"]["type"] == "invalid_request_error"


async def test_models_are_listed(tmp_path: Path) -> None:
    async with open_front(tmp_path) as front:
        models = (await front.client.get("/v1/models")).json()
        model = (await front.client.get("/v1/models/sim-openai")).json()

        assert models["object"] == "list"
        assert model in models["data"]
        assert model["id"] == "sim-openai"
        assert model["object"] == "model"
        assert (await httpx_get(front, "/v1/models")).status_code == 401


async def httpx_get(front: Front, path: str) -> httpx.Response:
    """Without a key."""
    return await front.client.get(path, headers={"authorization": ""})


async def test_a_receipt_is_only_its_own_accounts(tmp_path: Path) -> None:
    async with open_front(tmp_path) as front:
        gateway = front.setup.gateway
        other = await gateway.ledger.create_account("other")
        _, secret = await gateway.create_key(other.account_id, "other")
        response = await post(front, chat_body("tokens=1"))
        path = f"/v1/receipts/{response.headers['x-request-id']}"
        theirs = await front.client.get(path, headers={"authorization": f"Bearer {secret}"})

        assert (await front.client.get(path)).status_code == 200
        assert theirs.status_code == 404
        assert (await httpx_get(front, path)).status_code == 401


async def test_a_running_exchange_has_a_receipt(tmp_path: Path) -> None:
    body = chat_body("tokens=5000 tokens_per_second=100")
    async with open_front(tmp_path) as front:
        async with front.client.stream("POST", CHAT, content=body) as response:
            path = f"/v1/receipts/{response.headers['x-request-id']}"
            assert (await front.client.get(path)).json()["outcome"] == "running"
        await settled(lambda: front.setup.gateway.open_exchanges == 0)


async def test_the_clients_own_id_keys_nothing(tmp_path: Path) -> None:
    async with open_front(tmp_path) as front:
        first, second = [
            await post(front, chat_body("tokens=1"), headers={"x-request-id": "mine"})
            for _ in range(2)
        ]
        ids = {response.headers["x-request-id"] for response in (first, second)}
        receipts = [(await front.client.get(f"/v1/receipts/{one}")).json() for one in ids]

        assert len(ids) == 2
        assert "mine" not in ids
        assert [receipt["client_request_id"] for receipt in receipts] == ["mine", "mine"]


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ("abc-1", "abc-1"),
        ("", None),
        (None, None),
        ("a b", None),
        ("x" * 129, None),
        ("é", None),
        ("sk-parshall-x", None),
    ],
)
def test_a_clients_id_is_short_visible_ascii(value: str | None, kept: str | None) -> None:
    assert clean_client_id(value) == kept


async def test_operations(tmp_path: Path) -> None:
    async with open_front(tmp_path) as front:
        await post(front, chat_body("tokens=3"))
        await httpx_get(front, "/v1/models")
        metrics = await httpx_get(front, "/metrics")

        assert (await httpx_get(front, "/healthz")).json() == {"status": "ok"}
        assert (await httpx_get(front, "/readyz")).json() == {"status": "ready"}
        assert 'outcome="completed"' in metrics.text
        assert 'parshall_refused_total{code="invalid_api_key"} 1.0' in metrics.text

        front.setup.gateway.stop_admission()
        unready = await httpx_get(front, "/readyz")
        assert (unready.status_code, unready.json()["reason"]) == (503, "stopping")
        assert (await post(front, chat_body())).status_code == 503


@pytest.mark.parametrize("header", ["Forwarded", "Via", "X-Forwarded-For", "X-Real-IP"])
async def test_a_proxy_on_this_machine_asks_for_somebody_else(tmp_path: Path, header: str) -> None:
    async with open_front(tmp_path) as front:
        front.setup.gateway.stop_admission()
        through = {header: "198.51.100.7"}
        assert (await front.client.get("/metrics", headers=through)).status_code == 404
        unready = await front.client.get("/readyz", headers=through)
        assert (unready.status_code, unready.json()["reason"]) == (503, None)
        assert (await front.client.get("/metrics")).status_code == 200


def fields_of(record: logging.LogRecord) -> dict[str, Any]:
    fields: dict[str, Any] = record.__dict__["fields"]
    return fields


async def test_the_access_log_says_who_and_what_but_not_what_was_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "parshall")
    secret_words = "the launch code is 0000"
    message = [{"role": "user", "content": f"#sim tokens=5\n{secret_words}"}]

    def entries() -> list[dict[str, Any]]:
        return [fields_of(r) for r in caplog.records if r.name == "parshall.access"]

    async with open_front(tmp_path) as front:
        await post(front, chat_body(messages=message), headers={"x-request-id": "mine"})
        await post(front, chat_body(messages=message, model="gpt-9"))
        await httpx_get(front, "/v1/models?key=sk-in-the-query")
        await httpx_get(front, "/healthz")
        await settled(lambda: len(entries()) == 4)
        setup = front.setup

    done, unknown, refused, health = entries()
    assert done["account"] == setup.account_id
    assert done["client_request_id"] == "mine"
    assert done["protocol"] == "openai_chat"
    assert (done["model"], done["outcome"], done["status"]) == ("sim-openai", "completed", 200)
    assert done["usage"]["output_tokens"] == 5
    assert done["price_nanodollars"] > 0
    assert done["timings"]["settled_ms"] > 0
    assert (unknown["status"], unknown["error"]) == (404, "model_not_found")
    assert (refused["status"], refused["error"], refused["account"]) == (
        401,
        "invalid_api_key",
        None,
    )
    assert health["status"] == 200
    logged = json.dumps(entries()) + caplog.text
    for word in (secret_words, setup.key, "sk-in-the-query"):
        assert word not in logged


async def test_an_unforeseen_fault_is_a_500_that_tells_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_front(tmp_path) as front:

        async def planted() -> str:
            raise RuntimeError("a secret detail")

        front.app.add_url_rule("/planted", view_func=planted)
        response = await front.client.get("/planted")

        assert response.status_code == 500
        assert error_of(response)["code"] == "internal_error"
        assert "secret" not in response.text
        assert response.headers["x-request-id"] in caplog.text
