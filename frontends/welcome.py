"""What the demo prints: a key, and lines that work when pasted, for each protocol."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

MODELS_SHOWN = 6


@dataclass(frozen=True, slots=True)
class _Way:
    """How curl and the SDKs reach a URL."""

    curl: str
    base_url: str
    imports: str = ""
    openai: str = ""
    """More arguments of OpenAI's and Anthropic's clients."""
    google: str = ""
    """More of Google's `http_options`."""


def welcome(url: str, secret: str, models: Sequence[str], money: str) -> str:
    """What to paste, for people who have just started it. `url` is one of `client_url`."""
    way = _way(url)
    messages = [{"role": "user", "content": "Hello"}]
    body = json.dumps({"model": "sim-openai", "stream": True, "messages": messages})
    return f"""Parshall serves on {url}

  key     {secret}
  models  {_shown(models)}
  money   {money}

Try it:

curl -N {way.curl}/v1/chat/completions \\
  -H 'Authorization: Bearer {secret}' \\
  -H 'Content-Type: application/json' \\
  -d {shlex.quote(body)}

Or with an SDK (pip install openai anthropic google-genai); each reaches every model:

{way.imports}from openai import OpenAI
client = OpenAI(base_url="{way.base_url}/v1", api_key="{secret}"{way.openai})
for chunk in client.chat.completions.create(
    model="sim-gemini", messages={json.dumps(messages)}, stream=True
):
    print(chunk.choices[0].delta.content or "", end="", flush=True)

{way.imports}from anthropic import Anthropic
client = Anthropic(base_url="{way.base_url}", api_key="{secret}"{way.openai})
with client.messages.stream(
    model="sim-openai", messages={json.dumps(messages)}, max_tokens=500
) as stream:
    for text in stream.text_stream:
        print(text, end="", flush=True)

{way.imports}from google import genai
client = genai.Client(
    api_key="{secret}", http_options={{"base_url": "{way.base_url}"{way.google}}}
)
for chunk in client.models.generate_content_stream(model="sim-anthropic", contents="Hello"):
    print(chunk.text or "", end="", flush=True)
"""


def client_url(addresses: tuple[str, ...]) -> str:
    """The URL that a client on this machine uses; a wildcard address becomes loopback.

    Where there are Unix sockets only, the first of them, as `unix:/path`.
    """
    for address in addresses:
        if not address.startswith("unix:"):
            host, _, port = address.rpartition(":")
            host = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}.get(host, host)  # noqa: S104
            return f"http://{host}:{port}"
    return addresses[0]


def _way(url: str) -> _Way:
    if not url.startswith("unix:"):
        return _Way(curl=url, base_url=url)
    path = url.removeprefix("unix:")
    transport = f"httpx.HTTPTransport(uds={json.dumps(path)})"
    return _Way(
        curl=f"--unix-socket {shlex.quote(path)} http://localhost",
        base_url="http://localhost",
        imports="import httpx\n",
        openai=f", http_client=httpx.Client(transport={transport})",
        google=f', "client_args": {{"transport": {transport}}}',
    )


def _shown(models: Sequence[str]) -> str:
    """The first few, so that all stays on a screen."""
    more = len(models) - MODELS_SHOWN
    text = ", ".join(models[:MODELS_SHOWN])
    return f"{text} and {more} more (GET /v1/models)" if more > 0 else text
