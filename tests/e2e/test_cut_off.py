"""The money runs out in the middle of a stream, in every pair of protocols: the client's SDK reads
a valid answer that ended for its length, with the usage that was billed."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from engine.events import Protocol
from tests.answers import sdk
from tests.gateways import MODELS, PAIRS, charge, settled
from tests.served import PATHS, Served, open_served

FUNDED_TOKENS = 250
DIRECTIVES = "tokens=1000 tokens_per_second=20000 ignore_max_tokens=1"
BILLING = "output_slice_tokens = 100"


async def ask(served: Served, path: str, body: bytes) -> tuple[bytes, dict[str, object], int]:
    """The stream, its receipt, and how many tokens of it were billed."""
    async with served.http() as client:
        response = await client.post(served.origin + path, content=body)
    assert response.status_code == 200, response.text
    request_id = response.headers["x-request-id"]
    receipt = await served.receipt(request_id)
    truth = served.setup.sim.truth.record(request_id)
    assert truth is not None
    await settled(lambda: truth.ended is not None)
    assert receipt["outcome"] == "funds_exhausted"
    billed = receipt["usage"]["output_tokens"]
    assert receipt["delivered_output_tokens"] <= billed <= truth.tokens_generated
    assert 100 <= billed < 1_000
    price = charge(receipt["usage"]["input_tokens"], billed)
    assert receipt["price"]["nanodollars"] == price
    assert receipt["overrun"]["nanodollars"] == 0
    assert await served.setup.balance() >= 0
    return response.content, receipt, billed


@pytest.mark.parametrize(("client", "provider"), PAIRS)
async def test_in_every_pair(tmp_path: Path, client: Protocol, provider: str) -> None:
    funds = charge(600, FUNDED_TOKENS)
    async with open_served(tmp_path, billing=BILLING, funds_nanodollars=funds) as served:
        call = served.setup.call_of(client, provider, DIRECTIVES)
        path = PATHS[client].format(model=MODELS[provider])
        body, receipt, billed = await ask(served, path, call.body)
        reading = sdk.read(client, body, stream=True)
        truth = served.setup.sim.truth.record(str(receipt["request_id"]))
        assert truth is not None
        assert not reading.failed
        assert reading.choices[0].finish == "length"
        assert reading.choices[0].text
        assert truth.text.startswith(reading.choices[0].text)
        assert reading.usage is not None
        assert reading.usage.output_tokens == billed


@pytest.mark.parametrize("provider", ["openai_chat", "anthropic"])
async def test_legacy_completions(tmp_path: Path, provider: str) -> None:
    funds = charge(600, FUNDED_TOKENS)
    async with open_served(tmp_path, billing=BILLING, funds_nanodollars=funds) as served:
        document = {
            "model": MODELS[provider],
            "prompt": f"#sim {DIRECTIVES}\nGo on.",
            "stream": True,
            "max_tokens": 900,
            "stream_options": {"include_usage": True},
        }
        body, _, billed = await ask(served, "/v1/completions", orjson.dumps(document))
        events = [
            orjson.loads(block.removeprefix(b"data: "))
            for block in body.split(b"\n\n")
            if block.startswith(b"data: {")
        ]
        reasons = [c["finish_reason"] for event in events for c in event["choices"]]
        assert reasons[-1] == "length"
        assert events[-1]["usage"]["completion_tokens"] == billed
        assert body.endswith(b"data: [DONE]\n\n")
