"""Whole exchanges of a gateway: from a provider's HTTP/2 frames to a client's sink, billed.

The provider says a token when the one before has reached the client, so that every run makes the
same reads, however fast the machine is.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import orjson
import trio

from bench.counts.counter import CallCounter
from bench.counts.provider import Answer, Say, open_provider
from bench.counts.streams import chat_answer, chat_stream
from engine import Call, Gateway, open_gateway, parse_config

_DEADLINE_S: Final = 60.0
_WARM: Final = 2
_CONFIG: Final = """
[storage]
url = "sqlite:{folder}/ledger.db"
[server]
lag_max_s = 60
[providers.fixed]
protocol = "openai"
base_url = "{base_url}/v1"
http2 = "prior-knowledge"
[models.m]
deployments = [{{ provider = "fixed", model = "m" }}]
price = {{ input = 1, output = 2 }}
"""


class LockstepSink:
    """A client that takes everything at once, and whose provider waits for it."""

    gone = False

    def __init__(self) -> None:
        self.delivered_bytes = 0
        self._events = 0
        self._came = trio.Event()

    def send_nowait(self, data: bytes) -> bool:
        """Count them; never past any mark."""
        self.delivered_bytes += len(data)
        self._events += data.count(b"data: ")
        self._came.set()
        return True

    def uncork(self, head: bytes) -> None:
        """There is no head."""

    def abort(self) -> None:
        """It does not leave."""

    async def wait_drained(self) -> None:
        """It always is."""
        await trio.lowlevel.checkpoint()

    async def wait_events(self, count: int) -> None:
        """Return when so many have come in all."""
        while self._events < count:
            self._came = trio.Event()
            await self._came.wait()


def calls_of_stream(tokens: int) -> float:
    """Calls a token of a relayed stream, its opening and settling not counted."""
    return trio.run(_count_stream, tokens)


def calls_of_request(requests: int) -> float:
    """Calls a request that is answered in one piece, everything counted."""
    return trio.run(_count_requests, requests)


async def _count_stream(tokens: int) -> float:
    counter = CallCounter()
    sink = LockstepSink()
    events, ending = chat_stream(tokens)

    async def answer(say: Say) -> None:
        await say(b"".join(events[:_WARM]), False)  # the first has no text, and waits for more
        await sink.wait_events(_WARM)
        with counter.counting():
            for number, event in enumerate(events[_WARM:], start=_WARM + 1):
                await say(event, False)
                await sink.wait_events(number)
        await say(ending, True)

    async with _open(b"text/event-stream", answer) as (gateway, key):
        async with gateway.open_exchange(_call(key, stream=True)) as exchange:
            await exchange.relay_to(sink)
        assert exchange.receipt.usage["output_tokens"] == tokens
    return counter.calls / (len(events) - _WARM)


async def _count_requests(requests: int) -> float:
    counter = CallCounter()

    async def answer(say: Say) -> None:
        await say(chat_answer(16), True)

    async with _open(b"application/json", answer) as (gateway, key):

        async def ask() -> None:
            sink = LockstepSink()
            async with gateway.open_exchange(_call(key, stream=False)) as exchange:
                await exchange.relay_to(sink)
            assert sink.delivered_bytes

        for _ in range(_WARM):
            await ask()
        with counter.counting():
            for _ in range(requests):
                await ask()
    return counter.calls / requests


@asynccontextmanager
async def _open(content_type: bytes, answer: Answer) -> AsyncIterator[tuple[Gateway, str]]:
    """A gateway of one model, and a key of an account that can pay."""
    with TemporaryDirectory() as folder, trio.fail_after(_DEADLINE_S):
        async with open_provider(content_type, answer) as base_url:
            text = _CONFIG.format(folder=Path(folder), base_url=base_url)
            async with open_gateway(parse_config(text, "bench.counts", {})) as gateway:
                account = await gateway.ledger.create_account("bench")
                await gateway.ledger.fund(account.account_id, 10**15, "bench")
                _, key = await gateway.create_key(account.account_id, "bench")
                yield gateway, key


def _call(key: str, *, stream: bool) -> Call:
    asked = {
        "model": "m",
        "stream": stream,
        "messages": [{"role": "user", "content": "Tell me more."}],
    }
    return Call(body=orjson.dumps(asked), key=key)
