"""A gateway whose accounts have batches, in front of a provider that keeps what it is sent."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import orjson

from engine import Call
from engine.batches.viewing import shown_batch
from engine.file_ids import shown_file_id
from engine.ledger.receipts import Receipt
from tests.filed import Filed, open_filed
from tests.gateways import HTTP2, drain, settled

CHAT: Final = "/v1/chat/completions"
MODEL: Final = "small"
UPSTREAM: Final = "sim-openai"
INPUT_NANODOLLARS: Final = 500
OUTPUT_NANODOLLARS: Final = 1_000
"""Of a token in a batch: half of what it costs otherwise."""

POLLED: Final = """
[jobs]
poll_min_s = 0.01
poll_max_s = 0.04
"""


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


def told(number: int, directives: str, **body: Any) -> dict[str, Any]:
    """One that the simulated provider answers so."""
    messages = [{"role": "user", "content": f"#sim {directives}\nTell me more."}]
    said: dict[str, Any] = {"messages": messages, "max_tokens": 100, **body}
    return request(number, **said)


def charge(receipt: Receipt) -> int:
    """What the usage of a batch costs, in nanodollars."""
    taken, made = (receipt.usage.get(f"{kind}_tokens", 0) for kind in ("input", "output"))
    return taken * INPUT_NANODOLLARS + made * OUTPUT_NANODOLLARS


def file_of(*lines: Any) -> bytes:
    """An input file."""
    return b"".join(orjson.dumps(line) + b"\n" for line in lines)


async def keep_input(filed: Filed, data: bytes, purpose: str = "batch") -> str:
    """An input file of the account's, as its client calls it."""
    async with filed.gateway.files.open_upload(filed.setup.account_id, 10**9) as upload:
        await upload.append(data)
        row = await upload.finish(
            filename="in.jsonl", purpose=purpose, mime_type="application/jsonl"
        )
    return shown_file_id(row.file_id, "openai")


def batch_call(filed: Filed, file_id: str, **said: Any) -> Call:
    """A call that asks for a batch of a file."""
    document = {"input_file_id": file_id, "endpoint": CHAT, "completion_window": "24h", **said}
    return Call(orjson.dumps(document), filed.setup.key, "openai", operation="batch")


async def ask(filed: Filed, lines: list[Any], **said: Any) -> tuple[dict[str, Any], Receipt]:
    """A batch of these lines, as its client is shown it first."""
    call = batch_call(filed, await keep_input(filed, file_of(*lines)), **said)
    async with filed.gateway.open_exchange(call) as exchange:
        body = await drain(exchange)
    return orjson.loads(body), exchange.receipt


async def receipt_of(filed: Filed, receipt: Receipt) -> Receipt:
    """As it is now."""
    found = await filed.gateway.ledger.read_receipt(receipt.account_id, receipt.request_id)
    assert found is not None
    return Receipt.from_json(found)


async def seen(filed: Filed, receipt: Receipt) -> Receipt:
    """The receipt of a batch once that has closed."""
    await settled(lambda: not filed.gateway.ledger.open_jobs_of(receipt.account_id))
    await filed.gateway._parts.jobs.wait_durable()
    return await receipt_of(filed, receipt)


async def shown(filed: Filed, batch_id: str) -> dict[str, Any]:
    """What its provider says of a batch, as its client sees it."""
    gateway, account_id = filed.gateway, filed.setup.account_id
    kept = filed.setup.sim.kept.any("batch", batch_id)
    assert kept is not None
    found = await shown_batch(gateway._parts.jobs, account_id, "keeper", kept.value)
    assert found is not None
    return found


async def stored_lines(filed: Filed, file_id: str) -> list[Any]:
    """The lines of a file of the account's."""
    row = await filed.gateway.files.find(filed.setup.account_id, file_id)
    return [orjson.loads(line) for line in (await filed.gateway.files.read(row)).splitlines()]


@asynccontextmanager
async def open_batched(
    folder: Path,
    *,
    keys: tuple[str, ...] = ("key-1",),
    jobs: str = "",
    more: str = "",
    **options: Any,
) -> AsyncIterator[Filed]:
    """As `open_filed`, with the model `small` whose batches cost half, and `dear`, of which nobody
    says what a batch costs."""
    tables = config_of(folder, keys) + jobs + more
    async with open_filed(folder, more=tables, **options) as filed:
        yield filed
