"""A provider's refusals and broken streams, in the words of each client's protocol."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from engine.errors import UpstreamRejectedError
from engine.events import Protocol
from engine.protocols.registry import codec_of
from tests.gateways import PAIRS, drain, open_setup, run

NAMES = [f"{client}-from-{provider}" for client, provider in PAIRS]

# Of a client's protocol: what a provider's status becomes, and the name it goes by.
OPENAI = {
    400: (400, "invalid_request_error"),
    401: (502, "upstream_error"),
    404: (404, "invalid_request_error"),
    429: (429, ""),  # OpenAI's own types of it are many
    500: (500, "server_error"),
    529: (503, ""),
}
EXPECTED: dict[str, dict[int, tuple[int, str]]] = {
    "openai_chat": OPENAI,
    "openai_responses": OPENAI,
    "anthropic": {
        400: (400, "invalid_request_error"),
        401: (502, "api_error"),
        404: (404, "not_found_error"),
        429: (429, "rate_limit_error"),
        500: (500, "api_error"),
        529: (529, "overloaded_error"),
    },
    "gemini": {
        400: (400, "INVALID_ARGUMENT"),
        401: (502, ""),
        404: (404, "NOT_FOUND"),
        429: (429, "RESOURCE_EXHAUSTED"),
        500: (500, "INTERNAL"),
        529: (503, "UNAVAILABLE"),
    },
}


def name_of(client: str, document: dict[str, Any]) -> str:
    """The error's type, by the protocol's own shape, which is checked."""
    error = document["error"]
    assert isinstance(error["message"], str)
    match client:
        case "openai_chat" | "openai_responses":
            assert set(error) == {"message", "type", "param", "code"}
        case "anthropic":
            assert document["type"] == "error"
        case "gemini":
            assert isinstance(error["code"], int)
            return str(error["status"])
    return str(error["type"])


@pytest.mark.parametrize("status", [400, 401, 404, 429, 500, 529])
@pytest.mark.parametrize("pair", PAIRS, ids=NAMES)
async def test_a_refusal(tmp_path: Path, pair: tuple[Protocol, str], status: int) -> None:
    client = codec_of(pair[0])
    async with open_setup(tmp_path) as setup:
        for stream in (True, False):
            call = setup.call_of(*pair, f"status={status} retry_after=0", stream=stream)
            _, receipt, error = await run(setup, call)
            assert isinstance(error, UpstreamRejectedError)
            document = orjson.loads(client.encode_error(error, "req_1"))
            if pair[0] == "gemini":
                assert document["error"]["code"] == client.error_status(error)
            expected_status, expected_name = EXPECTED[pair[0]][status]
            assert client.error_status(error) == expected_status
            assert name_of(pair[0], document) == expected_name or not expected_name
            assert (receipt.outcome, receipt.price_nanodollars) == ("upstream_failed", 0)
            if pair[1] != "gemini":  # which says none
                assert error.provider_request_id is not None


@pytest.mark.parametrize("fault", ["error_event", "cut", "eof"])
@pytest.mark.parametrize("pair", PAIRS, ids=NAMES)
async def test_a_stream_that_breaks(tmp_path: Path, pair: tuple[Protocol, str], fault: str) -> None:
    async with open_setup(tmp_path) as setup:
        call = setup.call_of(*pair, f"tokens=30 fault={fault} cut_after=12")
        async with setup.gateway.open_exchange(call) as exchange:
            body = await drain(exchange)
        receipt, truth = exchange.receipt, setup.truth(exchange)
        # Gemini says the usage so far with every chunk.
        known = "reported" if pair[1] == "gemini" else "counted"
        assert (receipt.outcome, receipt.provenance) == ("upstream_failed", known)
        assert receipt.delivered_output_tokens <= receipt.usage["output_tokens"]
        assert 0 < receipt.usage["output_tokens"] <= truth.tokens_generated
        blocks = body.replace(b"\r\n", b"\n").rstrip().split(b"\n\n")
        if pair[0] == "openai_responses":
            assert blocks.pop().startswith(b"event: response.failed\n")
        ending = blocks[-1]
        if pair[0] in ("anthropic", "openai_responses"):
            named, _, ending = ending.partition(b"\n")
            assert named == b"event: error"
        name_of(pair[0], orjson.loads(ending.removeprefix(b"data: ")))
        normal = {
            "openai_chat": b"[DONE]",
            "openai_responses": b"response.completed",
            "anthropic": b"message_stop",
            "gemini": b"finishReason",
        }
        assert normal[pair[0]] not in body
