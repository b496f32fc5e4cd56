"""A gateway whose accounts have batches, in front of a provider that keeps what it is sent."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import orjson

from tests.filed import Filed, open_filed
from tests.gateways import HTTP2

CHAT: Final = "/v1/chat/completions"
MODEL: Final = "small"
UPSTREAM: Final = "sim-openai"
INPUT_NANODOLLARS: Final = 500
OUTPUT_NANODOLLARS: Final = 1_000
"""Of a token in a batch: half of what it costs otherwise."""


def config_of(folder: Path, keys: tuple[str, ...] = ("key-1",)) -> str:
    """The provider, its model, and what that costs."""
    for key in keys:
        (folder / key).write_text(key)
    said = ", ".join(f'"file:{folder / key}"' for key in keys)
    return f"""
[providers.keeper]
protocol = "openai"
base_url = "$SIM/v1"
http2 = "{HTTP2}"
api_keys = [{said}]
files = "openai"
state = "openai"
responses = true
completions = true
[models.{MODEL}]
deployments = [{{ provider = "keeper", model = "{UPSTREAM}" }}]
price = {{ input = 1, output = 2 }}
[[prices]]
model = "{MODEL}"
service_tier = "batch"
input = 0.5
output = 1
[models.dear]
deployments = [{{ provider = "keeper", model = "{UPSTREAM}" }}]
price = {{ input = 1, output = 2 }}
"""


def request(number: int = 0, url: str = CHAT, **body: Any) -> dict[str, Any]:
    """A line of an input file."""
    said: dict[str, Any] = {"model": MODEL, "messages": [{"role": "user", "content": "Hi"}]}
    return {"custom_id": f"id-{number}", "method": "POST", "url": url, "body": said | body}


def file_of(*lines: Any) -> bytes:
    """An input file."""
    return b"".join(orjson.dumps(line) + b"\n" for line in lines)


@asynccontextmanager
async def open_batched(
    folder: Path, *, keys: tuple[str, ...] = ("key-1",), more: str = "", **options: Any
) -> AsyncIterator[Filed]:
    """As `open_filed`, with the model `small` whose batches cost half, and `dear`, of which nobody
    says what a batch costs."""
    async with open_filed(folder, more=config_of(folder, keys) + more, **options) as filed:
        yield filed
