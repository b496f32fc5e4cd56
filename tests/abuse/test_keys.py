"""Keys that were good once, or are for something else, on everything that costs money."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from engine.admission.keys import SCOPES
from frontends.protocols import protocol_of
from tests.abuse.rig import ADMIN_KEY, PROMPT_CANARY, Answer, Rig, check_error
from tests.gateways import add_key

MESSAGES = [{"role": "user", "content": PROMPT_CANARY}]
PARTS = {"contents": [{"role": "user", "parts": [{"text": PROMPT_CANARY}]}]}
ASKED: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"model": "sim-openai", "messages": MESSAGES},
    "/v1/responses": {"model": "sim-openai", "input": PROMPT_CANARY},
    "/v1/responses/input_tokens": {"model": "sim-openai", "input": PROMPT_CANARY},
    "/v1/completions": {"model": "sim-openai", "prompt": PROMPT_CANARY},
    "/v1/messages": {"model": "sim-openai", "messages": MESSAGES, "max_tokens": 9},
    "/v1/messages/count_tokens": {"model": "sim-openai", "messages": MESSAGES},
    "/v1beta/models/sim-openai:generateContent": PARTS,
    "/v1beta/models/sim-openai:streamGenerateContent?alt=sse": PARTS,
    "/v1/models/sim-openai:countTokens": PARTS,
}
"""Every route for inference, with what it would serve a good key."""


def new_key(rig: Rig, **terms: Any) -> tuple[str, str]:
    """Of the account that attacks."""
    setup = rig.setup
    return rig.run(lambda: add_key(setup.gateway, setup.account_id, **terms))


def order(rig: Rig, method: str, path: str, **fields: Any) -> Answer:
    """What an operator does."""
    headers = {"authorization": f"Bearer {ADMIN_KEY}"}
    body = json.dumps(fields).encode() if method in ("POST", "PUT", "PATCH") else b""
    answer = rig.ask(path, body, method=method, headers=headers)
    assert answer.status in (200, 201), answer.body
    return answer


@contextmanager
def revoked(rig: Rig) -> Iterator[str]:
    key_id, key = new_key(rig)
    order(rig, "DELETE", f"/admin/keys/{key_id}")
    yield key


@contextmanager
def revoked_by_its_owner(rig: Rig) -> Iterator[str]:
    key_id, key = new_key(rig)
    headers = {"authorization": f"Bearer {rig.full_key}"}
    assert rig.ask(f"/api/auth/{key_id}", method="DELETE", headers=headers).status == 200
    yield key


@contextmanager
def expired(rig: Rig) -> Iterator[str]:
    yield new_key(rig, expires_at_ms=1)[1]


@contextmanager
def rotated(rig: Rig) -> Iterator[str]:
    key_id, key = new_key(rig)
    order(rig, "POST", f"/admin/keys/{key_id}/rotate", overlap_s=0)
    yield key


@contextmanager
def switched_off(rig: Rig) -> Iterator[str]:
    key_id, key = new_key(rig)
    order(rig, "PUT", f"/admin/switches/key/{key_id}", reason="abuse")
    yield key


@contextmanager
def of_an_account_switched_off(rig: Rig) -> Iterator[str]:
    path = f"/admin/switches/account/{rig.setup.account_id}"
    order(rig, "PUT", path, reason="abuse")
    try:
        yield rig.key
    finally:
        order(rig, "DELETE", path)


@contextmanager
def without_the_scope(rig: Rig) -> Iterator[str]:
    yield new_key(rig, scopes=tuple(scope for scope in SCOPES if scope != "inference"))[1]


@contextmanager
def without_the_model(rig: Rig) -> Iterator[str]:
    yield new_key(rig, models=("sim-anthropic", "sim-open"))[1]


@contextmanager
def of_a_plan_without_the_model(rig: Rig) -> Iterator[str]:
    path = f"/admin/accounts/{rig.setup.account_id}"
    order(rig, "PUT", "/admin/plans/narrow", models=["sim-anthropic"])
    order(rig, "PATCH", path, plan="narrow")
    try:
        yield rig.key
    finally:
        order(rig, "PATCH", path, plan=None)
        order(rig, "DELETE", "/admin/plans/narrow")


@contextmanager
def of_a_model_switched_off(rig: Rig) -> Iterator[str]:
    order(rig, "PUT", "/admin/switches/model/sim-openai", reason="an outage")
    try:
        yield rig.key
    finally:
        order(rig, "DELETE", "/admin/switches/model/sim-openai")


KEYS: dict[str, tuple[Callable[[Rig], Any], int, str]] = {
    "revoked": (revoked, 401, "invalid_api_key"),
    "revoked by its owner": (revoked_by_its_owner, 401, "invalid_api_key"),
    "expired": (expired, 401, "expired_api_key"),
    "rotated": (rotated, 401, "expired_api_key"),
    "switched off": (switched_off, 403, "key_disabled"),
    "of an account that is off": (of_an_account_switched_off, 403, "account_disabled"),
    "without the scope": (without_the_scope, 403, "insufficient_scope"),
    "without the model": (without_the_model, 403, "model_not_allowed"),
    "of a plan without the model": (of_a_plan_without_the_model, 404, "model_not_found"),
    "of a model that is off": (of_a_model_switched_off, 503, "model_unavailable"),
}
TYPES = {
    401: ("authentication_error", "UNAUTHENTICATED"),
    403: ("permission_error", "PERMISSION_DENIED"),
    404: ("not_found_error", "NOT_FOUND"),
    503: ("overloaded_error", "UNAVAILABLE"),
}
"""What Anthropic's and Gemini's clients are told."""


@pytest.mark.parametrize("name", KEYS)
def test_a_key_that_may_not_reaches_no_provider(unpaid: Rig, name: str) -> None:
    make, status, code = KEYS[name]
    with make(unpaid) as key:
        for path, body in ASKED.items():
            answer = unpaid.ask(path, body, headers={"authorization": f"Bearer {key}"})
            protocol = protocol_of(path.partition("?")[0], {})
            error = check_error(answer, protocol)
            anthropic, gemini = TYPES[status]
            match protocol:
                case "anthropic":
                    assert answer.status == (529 if status == 503 else status), path
                    assert (error["type"], error["code"]) == (anthropic, code), path
                case "gemini":
                    assert (answer.status, error["status"]) == (status, gemini), path
                    assert error["details"][0]["reason"] == code.upper(), path
                case _:
                    assert (answer.status, error["code"]) == (status, code), path
            assert ("retry-after" in answer.headers) == (status == 503), path
            assert key.encode() not in answer.body


def test_a_good_key_is_served_on_all_of_them(rig: Rig) -> None:
    """Else the refusals above would prove nothing."""
    _, key = new_key(rig, models=("sim-open*",), limits={"requests_per_min": 100})
    for path, body in ASKED.items():
        answer = rig.ask(path, body, headers={"authorization": f"Bearer {key}"})
        assert answer.status == 200, (path, answer.body)


def test_a_key_that_is_revoked_while_its_stream_runs(rig: Rig) -> None:
    """The stream goes on and is billed; the next request is refused."""
    key_id, key = new_key(rig)
    body = {
        "model": "sim-openai",
        "stream": True,
        "messages": [{"role": "user", "content": "#sim tokens=60 tokens_per_second=300"}],
    }
    path = "/v1/chat/completions"
    data = json.dumps(body).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {key}\r\n"
        f"content-length: {len(data)}\r\n\r\n"
    ).encode()
    with rig.connect() as connection:
        connection.sendall(head + data)
        first = connection.recv(4_096)
        order(rig, "DELETE", f"/admin/keys/{key_id}")
        refused = rig.ask(path, body, headers={"authorization": f"Bearer {key}"})
        received = first
        while not received.endswith(b"0\r\n\r\n"):
            part = connection.recv(65_536)
            assert part
            received += part
    request_id = received.partition(b"x-request-id: ")[2].partition(b"\r\n")[0].decode()
    receipt = rig.ask(f"/v1/receipts/{request_id}", method="GET").document

    assert refused.status == 401
    assert received.count(b"data: [DONE]") == 1
    assert (receipt["outcome"], receipt["usage"]["output_tokens"]) == ("completed", 60)
    assert receipt["price"]["nanodollars"] > 0


LIMITED: dict[str, tuple[str, str]] = {
    "/v1/chat/completions": ("x-ratelimit-{}-requests", "rate_limit_exceeded"),
    "/v1/responses": ("x-ratelimit-{}-requests", "rate_limit_exceeded"),
    "/v1/completions": ("x-ratelimit-{}-requests", "rate_limit_exceeded"),
    "/v1/messages": ("anthropic-ratelimit-requests-{}", "rate_limit_exceeded"),
    "/v1beta/models/sim-openai:generateContent": ("x-ratelimit-{}-requests", "RATE_LIMIT_EXCEEDED"),
}


def test_over_the_limit_in_every_protocol(rig: Rig) -> None:
    """Refused before the body is looked at; the headers are there before and after."""
    for path, (header, code) in LIMITED.items():
        _, key = new_key(rig, limits={"requests_per_min": 1})
        bearer = {"authorization": f"Bearer {key}"}
        served = rig.ask(path, ASKED[path], headers=bearer)
        refused = rig.ask(path, b"no JSON at all", headers=bearer)
        assert (served.status, refused.status) == (200, 429), (path, served.body, refused.body)
        for answer in (served, refused):
            assert answer.headers[header.format("limit")] == "1"
            assert answer.headers[header.format("remaining")] == "0"
            assert answer.headers[header.format("reset")]
        assert 1 <= int(refused.headers["retry-after"]) <= 60
        assert 1 <= int(refused.headers["retry-after-ms"]) <= 60_000
        error = check_error(refused, protocol_of(path, {}))
        shown = error["details"][0]["reason"] if "details" in error else error["code"]
        assert shown == code
        assert bearer["authorization"][7:].encode() not in refused.body
