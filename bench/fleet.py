"""A gateway in this process before simulated providers in processes of their own, to be asked.

For measurements of routing: the gateway is the engine without its HTTP, the providers are as many
as the configuration names. Times are those of the event loop's clock.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import orjson
import trio

from engine import Call, Gateway, open_gateway, parse_config
from engine.errors import GatewayError
from engine.ledger.receipts import Receipt

_FUNDS_NANODOLLARS: Final = 10**15
_PROMPT: Final = "Say something about rivers."


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one request.

    Attributes:
        due_s: when it was to be sent, on the loop's clock.
        first_s: from then to the first bytes of the answer; None: there was none.
        receipt: of what was not refused.
    """

    due_s: float
    first_s: float | None
    receipt: Receipt | None


class Bench:
    """A gateway with one account, and requests to it."""

    def __init__(self, gateway: Gateway, key: str) -> None:
        self.gateway = gateway
        self._key = key

    def call(self, model: str) -> Call:
        """A short stream of a model."""
        messages = [{"role": "user", "content": _PROMPT}]
        body = orjson.dumps({"model": model, "stream": True, "messages": messages})
        return Call(body=body, key=self._key)

    async def ask(self, model: str, due_s: float) -> Answer:
        """One request to its end; charged for every moment since it was due."""
        first_s: float | None = None
        try:
            async with self.gateway.open_exchange(self.call(model)) as exchange:
                async for chunk in exchange:
                    if first_s is None and b'"content"' in chunk:
                        first_s = trio.current_time() - due_s
        except GatewayError:
            return Answer(due_s, None, None)
        return Answer(due_s, first_s, exchange.receipt)


async def ask_at_rate(
    bench: Bench,
    model_of: Callable[[int], str],
    *,
    per_second: float,
    ends: Callable[[int], bool],
    note: Callable[[str, Answer], None],
) -> None:
    """Open loop: request after request when it is due, whatever became of those before, until
    `ends` says so of the next number; then the end of the last one."""
    begins_s = trio.current_time()

    async def one(number: int, due_s: float) -> None:
        model = model_of(number)
        note(model, await bench.ask(model, due_s))

    async with trio.open_nursery() as nursery:
        number = 0
        while not ends(number):
            due_s = begins_s + number / per_second
            await trio.sleep_until(due_s)
            nursery.start_soon(one, number, due_s)
            number += 1


@asynccontextmanager
async def open_bench(config: str) -> AsyncIterator[Bench]:
    """A gateway with this configuration, less where its ledger is."""
    with TemporaryDirectory(prefix="parshall-routing-") as folder:
        storage = f'[storage]\nurl = "sqlite:{Path(folder) / "ledger.db"}"\n'
        async with open_gateway(parse_config(storage + config, "bench", {})) as gateway:
            account = await gateway.ledger.create_account("bench")
            await gateway.ledger.fund(account.account_id, _FUNDS_NANODOLLARS, "bench")
            _, key = await gateway.create_key(account.account_id, "bench")
            yield Bench(gateway, key)


def provider_text(name: str, base_url: str, more: str = "") -> str:
    """The table of a simulated provider."""
    return (
        f'[providers.{name}]\nprotocol = "openai"\nbase_url = "{base_url}/v1"\n'
        f'http2 = "prior-knowledge"\n{more}\n'
    )


def quantile(values: list[float], share: float) -> float:
    """Of at least one value: the smallest that this share of them does not exceed."""
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]
