"""Providers that a few lines of TOML add: served, billed, listed, and asked as their rows say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.engine.upstream.peer import Request
from tests.gateways import HTTP2, charge, run
from tests.scripted import DONE, Script, open_scripted, usage_only, word
from tests.served import open_served


def provider(folder: Path, kind: str, *lines: str) -> str:
    """A provider and its model, both called `mine`, as an operator would write them."""
    (folder / "key").write_text("the-key")
    own = "\n".join(lines)
    return f"""
[providers.mine]
kind = "{kind}"
api_key = "file:{folder}/key"
http2 = "{HTTP2}"
{own}
[models.mine]
deployments = [{{ provider = "mine", model = "sim-openai" }}]
price = {{ input = 1, output = 2 }}
"""


async def test_a_provider_is_added_by_toml_alone(tmp_path: Path) -> None:
    models = provider(tmp_path, "groq", 'base_url = "$SIM/v1"')
    async with open_served(tmp_path, models=models) as served, served.http() as client:
        body = {
            "model": "mine",
            "stream": True,
            "messages": [{"role": "user", "content": "#sim tokens=7\nhello"}],
        }
        answer = await client.post("/chat/completions", json=body)
        assert answer.text.endswith("data: [DONE]\n\n")
        receipt = await served.receipt(answer.headers["x-request-id"])
        assert (receipt["provider"], receipt["provenance"]) == ("mine", "reported")
        used = receipt["usage"]
        assert used["output_tokens"] == 7
        assert receipt["price"]["nanodollars"] == charge(used["input_tokens"], 7)

        listed = (await client.get("/models")).json()["data"]
        assert "mine" in [model["id"] for model in listed]
        as_anthropic = {"anthropic-version": "2023-06-01"}
        listed = (await client.get("/models", headers=as_anthropic)).json()["data"]
        assert ("mine", "model") in [(model["id"], model["type"]) for model in listed]
        listed = (await client.get(f"{served.origin}/v1beta/models")).json()["models"]
        assert "models/mine" in [model["name"] for model in listed]


def recording(requests: list[Request]) -> Script:
    """A provider that keeps what it is asked, and answers shortly."""

    async def script(request: Request) -> None:
        requests.append(request)
        request.answer()
        await request.send_all(word("hi") + usage_only(2, 1) + DONE, ended=True)

    return script


@pytest.mark.parametrize(
    ("kind", "base_url", "path", "header"),
    [
        ("groq", "$SIM/openai/v1", "/openai/v1/chat/completions", "authorization"),
        ("azure", "$SIM/openai/v1", "/openai/v1/chat/completions", "api-key"),
        (
            "azure-deployments",
            "$SIM",
            "/openai/deployments/sim-openai/chat/completions?api-version=2024-10-21",
            "api-key",
        ),
        ("perplexity", "$SIM", "/chat/completions", "authorization"),
    ],
)
async def test_where_a_kind_is_asked_and_with_what_key(
    tmp_path: Path, kind: str, base_url: str, path: str, header: str
) -> None:
    asked: list[Request] = []
    models = provider(tmp_path, kind, f'base_url = "{base_url}"')
    async with open_scripted(tmp_path, recording(asked), models=models) as setup:
        _, receipt, error = await run(setup, setup.call(model="mine"))
    assert error is None
    assert receipt.usage["output_tokens"] == 1
    [request] = asked
    head = dict(request.head)
    key = b"Bearer the-key" if header == "authorization" else b"the-key"
    assert head[b":path"] == path.encode()
    assert {name: head.get(name) for name in (b"authorization", b"api-key", b"x-api-key")} == {
        b"authorization": key if header == "authorization" else None,
        b"api-key": key if header == "api-key" else None,
        b"x-api-key": None,
    }


async def test_a_server_gets_nothing_that_it_refuses(tmp_path: Path) -> None:
    asked: list[Request] = []
    models = provider(tmp_path, "mistral", 'base_url = "$SIM/v1"')
    said: dict[str, Any] = {"user": "ann", "seed": 4, "max_completion_tokens": 9, "top_p": 0.5}
    call_fields = said | {"model": "mine", "stream_options": {"include_usage": True}}
    async with open_scripted(tmp_path, recording(asked), models=models) as setup:
        async with setup.gateway.open_exchange(setup.call(**call_fields)) as exchange:
            head = await exchange.head()
        assert dict(head.headers)[b"x-parshall-dropped"] == b"user,seed"
    sent = orjson.loads(asked[0].body)
    del sent["messages"]
    assert sent == {"model": "sim-openai", "stream": True, "max_tokens": 9, "top_p": 0.5}


async def test_a_stream_may_end_without_done_where_the_row_says_so(tmp_path: Path) -> None:
    def without_done(request: Request) -> None:
        request.answer(word("hi") + usage_only(2, 1), ended=True)

    outcomes = {}
    for kind in ("perplexity", "groq"):
        folder = tmp_path / kind
        folder.mkdir()
        models = provider(folder, kind, 'base_url = "$SIM/v1"')
        async with open_scripted(folder, without_done, models=models) as setup:
            _, receipt, _ = await run(setup, setup.call(model="mine"))
            outcomes[kind] = receipt.outcome
    assert outcomes == {"perplexity": "completed", "groq": "upstream_failed"}
