"""Providers of the rows of the table, all of which the simulated provider serves."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import httpx

from engine.events import Protocol
from tests.gateways import HTTP2
from tests.served import Served


def tables(folder: Path, kinds: Iterable[str], *, prefix: str = "", more: str = "") -> str:
    """A provider of each kind and its model, both named like it behind a prefix; `more` are further
    lines of each provider's table."""
    (folder / "key").write_text("a-key")
    return "".join(
        f"""
[providers.{prefix}{kind}]
kind = "{kind}"
base_url = "$SIM/v1"
model_path = ""
http2 = "{HTTP2}"
api_key = "file:{folder}/key"
{more}
[models.{prefix}{kind}]
deployments = [{{ provider = "{prefix}{kind}", model = "sim-openai" }}]
price = {{ input = 1, output = 2 }}
"""
        for kind in kinds
    )


async def ask_in(served: Served, protocol: Protocol, model: str, text: str) -> httpx.Response:
    """A prompt in a client's protocol; the answer in one piece."""
    messages = [{"role": "user", "content": text}]
    documents: dict[Protocol, tuple[str, dict[str, Any]]] = {
        "openai_chat": ("/v1/chat/completions", {"model": model, "messages": messages}),
        "openai_responses": ("/v1/responses", {"model": model, "input": text}),
        "anthropic": ("/v1/messages", {"model": model, "messages": messages, "max_tokens": 99}),
        "gemini": (
            f"/v1beta/models/{model}:generateContent",
            {"contents": [{"role": "user", "parts": [{"text": text}]}]},
        ),
    }
    path, document = documents[protocol]
    async with served.http() as client:
        return await client.post(f"{served.origin}{path}", json=document)
