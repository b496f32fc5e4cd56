"""What an exchange keeps of its request while the answer streams."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from engine import Call, Outcome, Provenance
from engine.events import Protocol
from engine.uploads import Upload
from tests.engine.upstream.peer import open_peer
from tests.gateways import DOLLAR, PROTOCOLS, Setup, drain, open_setup

WORDS = "All work and no play makes a dull day. " * 25
ENGINE = (
    tracemalloc.Filter(inclusive=True, filename_pattern="*/engine/*"),
    tracemalloc.Filter(inclusive=False, filename_pattern="*/tests/*"),
)


@pytest.fixture
def traced() -> Iterator[None]:
    tracemalloc.start()
    yield
    tracemalloc.stop()


def engines_bytes() -> int:
    """What code of the engine has allocated, and is not free yet."""
    gc.collect()
    snapshot = tracemalloc.take_snapshot().filter_traces(ENGINE)
    return sum(statistic.size for statistic in snapshot.statistics("filename"))


def long_call(setup: Setup, client: Protocol, provider: str, turns: int) -> Call:
    """A conversation of about a kilobyte a turn, whose answer is endless."""
    call = setup.call_of(client, provider, "tokens=100000 tokens_per_second=100")
    document: dict[str, Any] = orjson.loads(call.body)
    name = {"gemini": "contents", "openai_responses": "input"}.get(client, "messages")
    last = document[name]
    if isinstance(last, str):
        last = [{"role": "user", "content": last}]
    for number in range(turns):
        user = number % 2 == 0
        if client == "gemini":
            turn = {"role": "user" if user else "model", "parts": [{"text": WORDS}]}
        else:
            turn = {"role": "user" if user else "assistant", "content": WORDS}
        last.insert(number, turn)
    return replace(call, body=orjson.dumps(document | {name: last}))


@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize("place", ["here", "apart"])
@pytest.mark.parametrize("provider", ["openai_chat", "anthropic"])
async def test_a_long_prompt_is_let_go_of_once_the_answer_has_begun(
    tmp_path: Path, provider: str, place: str
) -> None:
    released: list[int] = []
    server = "parsed_here_max_bytes = 10_000_000" if place == "here" else ""
    async with open_setup(tmp_path, funds_nanodollars=100 * DOLLAR, server=server) as setup:
        call = long_call(setup, "openai_chat", provider, turns=1_000)
        size_bytes = len(call.body)
        assert size_bytes > 900_000
        upload = Upload(call.body, lambda: released.append(size_bytes))
        call = replace(call, body=b"", upload=upload)
        before_bytes = engines_bytes()
        async with setup.gateway.open_exchange(call) as exchange:
            assert released == [], "it may have to be sent again"
            held_bytes = engines_bytes() - before_bytes
            await exchange.head()
            kept_bytes = engines_bytes() - before_bytes

    assert held_bytes > size_bytes * 0.9
    assert kept_bytes < size_bytes / 4
    assert released == [size_bytes], "once"


@pytest.mark.parametrize("turns", [0, 30, 200], ids=["small", "middling", "large"])
@pytest.mark.parametrize("client", PROTOCOLS)
async def test_a_prompt_that_was_let_go_of_is_counted_all_the_same(
    tmp_path: Path, client: Protocol, turns: int
) -> None:
    """The client leaves a provider that has not said what the prompt has come to."""
    provider = "openai_responses" if client == "openai_responses" else "openai_chat"
    async with open_setup(tmp_path, funds_nanodollars=100 * DOLLAR) as setup:
        call = long_call(setup, client, provider, turns)
        async with setup.gateway.open_exchange(call) as exchange:
            await anext(aiter(exchange))
        receipt = exchange.receipt

        assert receipt.outcome is Outcome.CLIENT_LEFT
        assert receipt.usage_provenance["input_tokens"] is Provenance.COUNTED
        counted, known = receipt.usage["input_tokens"], setup.truth(exchange).input_tokens
        assert counted == pytest.approx(known, rel=0.1, abs=10)


async def test_room_is_given_back_however_a_request_ends(tmp_path: Path) -> None:
    released: list[str] = []

    def held(name: str, call: Call) -> Call:
        upload = Upload(call.body, lambda: released.append(name))
        return replace(call, body=b"", upload=upload)

    async with open_setup(tmp_path) as setup:
        whole = held("whole", setup.call("tokens=3", stream=False))
        async with setup.gateway.open_exchange(whole) as exchange:
            await drain(exchange)
            assert released == ["whole"]
        async with setup.gateway.open_exchange(held("left", setup.call("tokens=3"))):
            assert released == ["whole"]

    assert released == ["whole", "left"]


async def test_room_is_taken_until_the_provider_has_all_of_it(tmp_path: Path) -> None:
    """The client has its head, as one who has waited for long enough; nothing has been answered."""
    released: list[str] = []
    async with open_peer() as peer:
        peer.acknowledges = False  # no further than the first window
        url = f"http://127.0.0.1:{peer.port}"
        server = "commit_after_s = 0.01"
        async with open_setup(tmp_path, base_url=url, server=server) as setup:
            whole = setup.call(messages=[{"role": "user", "content": WORDS * 300}])
            upload = Upload(whole.body, lambda: released.append("released"))
            call = replace(whole, body=b"", upload=upload)
            async with setup.gateway.open_exchange(call) as exchange:
                await exchange.head()
                assert released == []

    assert released == ["released"]
