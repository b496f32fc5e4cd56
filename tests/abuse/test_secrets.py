"""Prompts, answers and keys leave no trace in logs, whatever happens to a request."""

from __future__ import annotations

import json
import socket
import struct
from typing import Any

import pytest

from tests.abuse.rig import PROMPT_CANARY, Rig, chat, check_error

CHAT = "/v1/chat/completions"

FATES = {
    "served": ("tokens=3", 200),
    "refused by the provider": ("status=400", 400),
    "the operator's key refused": ("status=401", 502),
    "too often": ("status=429", 429),
    "the provider failed": ("status=500", 500),
    "the connection lost": ("fault=cut", 502),
    "the answer reset": ("fault=rst", 502),
    "the prompt not accepted": ("refuse=prompt", 400),
}


def prompt(directives: str) -> list[dict[str, Any]]:
    """A message with a canary behind directives for the simulated provider."""
    return [{"role": "user", "content": f"#sim {directives}\n{PROMPT_CANARY}"}]


@pytest.mark.parametrize("fate", FATES)
@pytest.mark.parametrize("model", ["sim-openai", "sim-anthropic", "sim-gemini", "sim-responses"])
def test_whatever_becomes_of_a_request(rig: Rig, fate: str, model: str) -> None:
    directives, status = FATES[fate]
    answer = rig.ask(CHAT, chat(model=model, messages=prompt(directives)))

    assert answer.status in {200, status}, answer.body
    assert answer.status == 200 or check_error(answer)["message"]
    assert PROMPT_CANARY.encode() not in answer.body
    assert rig.key.encode() not in answer.body


@pytest.mark.parametrize(
    "fault", ["cut", "rst", "error_event", "corrupt", "truncated", "eof", "oversized"]
)
def test_a_stream_that_breaks(rig: Rig, fault: str) -> None:
    directives = f"tokens=50 cut_after=10 fault={fault}"
    answer = rig.ask(CHAT, chat(messages=prompt(directives), stream=True))

    assert answer.status == 200
    assert PROMPT_CANARY.encode() not in answer.body
    assert rig.key.encode() not in answer.body


def test_a_client_that_is_gone(rig: Rig) -> None:
    """Reset in the midst of its stream."""
    body = json.dumps(chat(messages=prompt("tokens=5000 tokens_per_second=50"), stream=True))
    head = (
        f"POST {CHAT} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {rig.key}\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", rig.port), 20) as connection:
        connection.sendall((head + body).encode())
        assert connection.recv(13) == b"HTTP/1.1 200 "
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    rig.wait_quiet()


@pytest.mark.parametrize(
    "raw",
    [
        b"POST /v1/chat/completions HTTP/1.1\r\nauthorization: Bearer KEY\r\nbad header\r\n\r\n",
        b"GET /v1/models?key=KEY HTTP/9.9\r\nhost: a\r\n\r\n",
        b"KEY\r\n\r\n",
        b"GET KEY HTTP/1.1\r\nhost: a\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: KEY\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03KEY",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nKEY",
    ],
    ids=["a bad header", "a version", "a line", "a target", "a length", "TLS", "HTTP/2"],
)
def test_what_is_not_http_is_not_quoted(unpaid: Rig, raw: bytes) -> None:
    with socket.create_connection(("127.0.0.1", unpaid.port), 20) as connection:
        connection.sendall(raw.replace(b"KEY", unpaid.key.encode()))
        connection.shutdown(socket.SHUT_WR)
        received = b""
        while data := connection.recv(65_536):
            received += data

    assert unpaid.key.encode() not in received
