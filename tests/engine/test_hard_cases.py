"""Providers and clients at their worst: nothing is billed twice, nothing is lost, no hold leaks.

The provider is a real HTTP/2 peer that sends exactly the bytes a test names.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
import trio
import trio.testing

from bench.simulate import SimulatorSettings, open_simulator
from engine import Outcome, Provenance, open_gateway, parse_config
from engine.errors import GatewayError, UnavailableError
from tests.engine.test_push import open_client, push, read_until
from tests.engine.upstream.peer import Request, open_peer
from tests.gateways import (
    DOLLAR,
    Setup,
    charge,
    chat_body,
    config_text,
    content,
    drain,
    events,
    open_setup,
    run,
    settled,
)

DONE = b"data: [DONE]\n\n"
Script = Callable[[Request], Awaitable[None] | None]


def event(**document: object) -> bytes:
    return b"data: " + orjson.dumps(document) + b"\n\n"


def word(text: str, index: int = 0, **more: object) -> bytes:
    choice = {"index": index, "delta": {"content": text}, "finish_reason": None}
    return event(id="c1", object="chat.completion.chunk", model="m", choices=[choice], **more)


def usage(input_tokens: object, output_tokens: object) -> dict[str, object]:
    return {"prompt_tokens": input_tokens, "completion_tokens": output_tokens}


def usage_only(input_tokens: object, output_tokens: object) -> bytes:
    return event(id="c1", choices=[], usage=usage(input_tokens, output_tokens))


def answering(body: bytes) -> Script:
    """A provider that sends this and ends."""

    async def script(request: Request) -> None:
        request.answer()
        await request.send_all(body, ended=True)

    return script


@asynccontextmanager
async def open_scripted(
    folder: Path, script: Script, *, funds_nanodollars: int = DOLLAR, **sections: str
) -> AsyncIterator[Setup]:
    """A gateway whose provider follows a script for each request."""
    async with open_peer() as peer, trio.open_nursery() as nursery:

        async def follow_all() -> None:
            while True:
                nursery.start_soon(follow, await peer.next_request())

        async def follow(request: Request) -> None:
            await request.wait_ended()
            if (rest := script(request)) is not None:
                await rest

        nursery.start_soon(follow_all)
        async with open_setup(
            folder,
            funds_nanodollars=funds_nanodollars,
            base_url=f"http://127.0.0.1:{peer.port}",
            **sections,
        ) as setup:
            yield setup
        nursery.cancel_scope.cancel()


# ---- usage -------------------------------------------------------------------------------------


DEAR = """
[models.dear]
deployments = [{ provider = "sim", model = "dear" }]
price = { input = 1, output = 1000 }
"""


@pytest.mark.parametrize("stream", [True, False])
async def test_a_report_of_more_money_than_there_is_ends_the_hold(
    tmp_path: Path, stream: bool
) -> None:
    whole = {"choices": [{"message": {"content": " word"}}], "usage": usage(1, 2**40)}
    body = word(" word") + usage_only(1, 2**40) + DONE if stream else orjson.dumps(whole)
    async with open_scripted(tmp_path, answering(body), provider=DEAR) as setup:
        _, receipt, _ = await run(setup, setup.call(model="dear", stream=stream))
        assert receipt.outcome is Outcome.COMPLETED
        assert receipt.provenance is Provenance.COUNTED, "such a figure is no report"
        assert receipt.usage["output_tokens"] == 1


@pytest.mark.parametrize("count", [0.0, -0.0, False])
async def test_a_report_that_is_no_whole_number_is_none(tmp_path: Path, count: object) -> None:
    body = word(" one") + word(" two") + usage_only(5, count) + DONE
    async with open_scripted(tmp_path, answering(body)) as setup:
        _, receipt, _ = await run(setup, setup.call())
        assert receipt.provenance is Provenance.COUNTED
        assert receipt.usage["output_tokens"] == 2
        assert type(receipt.price_nanodollars) is int


@pytest.mark.parametrize("count", [None, -1, 2**60, "7"])
async def test_a_report_without_an_input_is_none(tmp_path: Path, count: object) -> None:
    body = word(" one") + word(" two") + usage_only(count, 2) + DONE
    async with open_scripted(tmp_path, answering(body)) as setup:
        _, receipt, _ = await run(setup, setup.call())
        assert receipt.provenance is Provenance.COUNTED
        assert receipt.usage["input_tokens"] > 0
        assert receipt.usage["output_tokens"] == 2


@pytest.mark.parametrize("ending", [b"", DONE])
async def test_a_report_before_the_text_does_not_give_the_text_away(
    tmp_path: Path, ending: bytes
) -> None:
    body = usage_only(11, 0) + word(" word") * 50 + ending
    async with open_scripted(tmp_path, answering(body)) as setup:
        got, receipt, _ = await run(setup, setup.call())
        assert content(got) == " word" * 50
        assert receipt.usage["input_tokens"] == 11
        assert receipt.usage["output_tokens"] == receipt.delivered_output_tokens == 50
        assert receipt.price_nanodollars == charge(11, 50)
        assert receipt.provenance is Provenance.COUNTED


async def test_text_after_a_running_report_is_counted_on_top(tmp_path: Path) -> None:
    body = b"".join(word(" word", usage=usage(9, 40 + n)) for n in range(1, 11)) + word(" word") * 5
    async with open_scripted(tmp_path, answering(body)) as setup:
        _, receipt, _ = await run(setup, setup.call())
        assert receipt.outcome is Outcome.UPSTREAM_FAILED
        assert receipt.usage["output_tokens"] == 55
        assert receipt.price_nanodollars == charge(9, 55)


async def test_a_report_of_nothing_for_text_is_none(tmp_path: Path) -> None:
    body = word(" word") * 30 + usage_only(10, 30) + usage_only(0, 0) + DONE
    async with open_scripted(tmp_path, answering(body)) as setup:
        _, receipt, _ = await run(setup, setup.call())
        assert receipt.price_nanodollars == charge(10, 30)


async def test_usage_then_a_cut_is_billed_as_reported(tmp_path: Path) -> None:
    def script(request: Request) -> None:
        request.answer(word(" word") * 30 + usage_only(10, 33))
        request.reset()

    async with open_scripted(tmp_path, script) as setup:
        _, receipt, _ = await run(setup, setup.call())
        assert receipt.outcome is Outcome.UPSTREAM_FAILED
        assert receipt.price_nanodollars == charge(10, 33)


async def test_what_the_account_has_it_pays(tmp_path: Path) -> None:
    call_body = chat_body(max_tokens=20)
    funds = charge(len(call_body), 20) + 5_000
    body = word(" word") * 20 + usage_only(10, 100_000) + DONE
    async with open_scripted(tmp_path, answering(body), funds_nanodollars=funds) as setup:
        _, receipt, _ = await run(setup, setup.call(max_tokens=20))
        assert receipt.price_nanodollars == funds
        assert receipt.overrun_nanodollars == charge(10, 100_000) - funds
        assert await setup.balance() == 0


# ---- endings -----------------------------------------------------------------------------------


async def test_a_reset_behind_a_whole_answer_does_not_spoil_it(tmp_path: Path) -> None:
    def script(request: Request) -> None:
        request.answer(word(" word") * 3 + usage_only(10, 3) + DONE)
        request.reset()

    async with open_scripted(tmp_path, script) as setup:
        body, receipt, _ = await run(setup, setup.call())
        assert body.endswith(DONE)
        assert receipt.outcome is Outcome.COMPLETED


async def test_what_follows_done_is_neither_relayed_nor_billed(tmp_path: Path) -> None:
    body = word(" word") * 3 + usage_only(10, 3) + DONE + word(" more") + usage_only(99, 99) + DONE
    async with open_scripted(tmp_path, answering(body)) as setup:
        got, receipt, _ = await run(setup, setup.call())
        assert content(got) == " word" * 3
        assert got.count(b"[DONE]") == 1
        assert receipt.price_nanodollars == charge(10, 3)


async def test_an_empty_event_is_no_event(tmp_path: Path) -> None:
    body = b"data:\n\n" + word(" word") + b"data\n\ndata: \r\n\r\n" + usage_only(10, 1) + DONE
    async with open_scripted(tmp_path, answering(body)) as setup:
        got, receipt, _ = await run(setup, setup.call())
        assert content(got) == " word"
        assert receipt.outcome is Outcome.COMPLETED


@pytest.mark.parametrize("body", [b"", b"\n\n", b": ping\n\n", b"\xef\xbb\xbf"])
async def test_an_empty_stream_is_a_failure_and_free(tmp_path: Path, body: bytes) -> None:
    async with open_scripted(tmp_path, answering(body)) as setup:
        _, receipt, error = await run(setup, setup.call())
        assert error is not None
        assert receipt.outcome is Outcome.UPSTREAM_FAILED
        assert await setup.balance() == DOLLAR


@pytest.mark.parametrize("bad", [b"\xff\xfe", b"[1]", b"{", b'{"choices":[{"index":0,"delta":'])
async def test_what_cannot_be_read_is_the_providers_fault(tmp_path: Path, bad: bytes) -> None:
    body = word(" word") * 5 + b"data: " + bad + b"\n\n" + DONE
    async with open_scripted(tmp_path, answering(body)) as setup:
        got, receipt, _ = await run(setup, setup.call())
        assert receipt.outcome is Outcome.UPSTREAM_FAILED
        assert receipt.usage["output_tokens"] == 5
        assert b"[DONE]" not in got


STRANGE = [
    {"index": [1], "delta": {"content": " word"}, "finish_reason": "stop"},
    {"index": {}, "delta": {"tool_calls": [{"index": [], "function": {"name": "f"}}]}},
    {"index": None, "delta": {"tool_calls": "no"}, "finish_reason": ["stop"]},
    {"index": 0, "delta": {"content": ["no"], "function_call": 7, "audio": "no"}},
    {"delta": None},
    7,
]


@pytest.mark.parametrize("choice", STRANGE, ids=repr)
async def test_strange_fields_do_not_fail_the_gateway(tmp_path: Path, choice: object) -> None:
    body = word(" word") + event(choices=[choice]) + event(choices={"a": 1}) + DONE
    async with open_scripted(tmp_path, answering(body)) as setup:
        got, receipt, _ = await run(setup, setup.call())
        assert receipt.outcome is Outcome.COMPLETED
        assert got == body


async def test_a_provider_that_broke_before_its_output_is_free_though_the_client_left(
    tmp_path: Path,
) -> None:
    begun = trio.Event()

    async def script(request: Request) -> None:
        request.answer(event(id="c1", choices=[]))
        await begun.wait()
        request.reset()

    async with open_scripted(tmp_path, script, server="commit_after_s = 0.01") as setup:
        async with setup.gateway.open_exchange(setup.call()) as exchange:
            await exchange.head()
            begun.set()
            await trio.testing.wait_all_tasks_blocked(0.1)
        assert exchange.receipt.outcome is Outcome.UPSTREAM_FAILED
        assert await setup.balance() == DOLLAR


@pytest.mark.parametrize("stream", [True, False])
async def test_half_a_surrogate_pair_passes_untouched(tmp_path: Path, stream: bool) -> None:
    halves = [rb'"\ud83d"', rb'"\ude00 \ud83d\ude00 \\ud83d"']
    if stream:
        chunk = b'data: {"choices":[{"index":0,"delta":{"content":%b}}]}\n\n'
        body = b"".join(chunk % half for half in halves) + DONE
    else:
        body = b'{"choices":[{"message":{"content":%b}}]}' % halves[0]
    async with open_scripted(tmp_path, answering(body)) as setup:
        got, receipt, _ = await run(setup, setup.call(stream=stream))
        assert got == body
        assert receipt.outcome is Outcome.COMPLETED
        assert receipt.usage["output_tokens"] > 0


# ---- funds -------------------------------------------------------------------------------------


@pytest.mark.parametrize("tokens", [50, 1_500, 5_000])
async def test_an_event_beyond_the_funds_is_not_delivered(tmp_path: Path, tokens: int) -> None:
    big = word(" word" * tokens)
    funds = charge(len(chat_body()), 40)
    async with open_scripted(tmp_path, answering(big + DONE), funds_nanodollars=funds) as setup:
        got, receipt, _ = await run(setup, setup.call(stream_options={"include_usage": False}))
        assert receipt.outcome is Outcome.FUNDS_EXHAUSTED
        assert content(got) == ""
        assert receipt.delivered_output_tokens <= receipt.usage["output_tokens"] == 0


async def test_an_event_beyond_the_slice_is_not_delivered_unheld(tmp_path: Path) -> None:
    """An event larger than the distance at which counting turns exact."""
    body = word(" word" * 5_000) + DONE
    funds = charge(len(chat_body()), 2_100)
    async with open_scripted(tmp_path, answering(body), funds_nanodollars=funds) as setup:
        got, receipt, _ = await run(setup, setup.call())
        assert receipt.outcome is Outcome.FUNDS_EXHAUSTED
        assert receipt.delivered_output_tokens <= receipt.usage["output_tokens"]
        assert content(got) == ""


async def test_many_choices_do_not_outrun_the_count(tmp_path: Path) -> None:
    """Each choice is counted with a lag; a hundred lags are more than a slice."""
    body = b"".join(word(" word", index) for _ in range(39) for index in range(128)) + DONE
    funds = charge(len(chat_body(n=128)), 2_100)
    async with open_scripted(tmp_path, answering(body), funds_nanodollars=funds) as setup:
        got, receipt, _ = await run(setup, setup.call(n=128))
        delivered = sum(
            choice["delta"].get("content", "").count("word")
            for each in events(got)
            for choice in each["choices"]
        )
        assert receipt.outcome is Outcome.FUNDS_EXHAUSTED
        assert delivered <= receipt.usage["output_tokens"] <= 2_100


async def test_funds_that_end_at_the_first_event_give_a_valid_ending(tmp_path: Path) -> None:
    funds = charge(len(chat_body()), 40)
    async with open_scripted(
        tmp_path, answering(word(" word" * 50) + DONE), funds_nanodollars=funds
    ) as setup:
        got, receipt, _ = await run(setup, setup.call())
        [ending] = events(got)
        assert ending["id"] == "c1"
        assert ending["model"] == "m"
        assert ending["choices"][0]["finish_reason"] == "length"
        assert got.endswith(DONE)
        assert receipt.outcome is Outcome.FUNDS_EXHAUSTED


async def test_a_short_request_holds_no_more_than_it_may_cost(tmp_path: Path) -> None:
    held = []

    async def script(request: Request) -> None:
        request.answer()
        for _ in range(20):
            await request.send_all(word(" word"))
            await trio.testing.wait_all_tasks_blocked()
            held.append(setup.gateway.ledger.statistics().held_nanodollars)
        await request.send_all(usage_only(10, 20) + DONE, ended=True)

    async with open_scripted(tmp_path, script) as setup:
        call = setup.call(max_tokens=20)
        await run(setup, call)
        assert max(held) == charge(len(call.body), 20)


async def test_both_limits_of_the_answer_are_lowered(tmp_path: Path) -> None:
    seen = []

    def script(request: Request) -> None:
        seen.append(orjson.loads(request.body))
        request.answer(DONE, ended=True)

    changes: dict[str, Any] = {"max_tokens": 900, "max_completion_tokens": 500}
    funds = charge(len(chat_body(**changes)), 40)
    async with open_scripted(tmp_path, script, funds_nanodollars=funds) as setup:
        await run(setup, setup.call(**changes))
        assert (seen[0]["max_tokens"], seen[0]["max_completion_tokens"]) == (40, 40)


async def test_reasoning_said_twice_is_counted_once(tmp_path: Path) -> None:
    delta = {"reasoning": " word", "reasoning_content": " word"}
    body = event(id="c1", choices=[{"index": 0, "delta": delta}]) * 20 + DONE
    async with open_scripted(tmp_path, answering(body)) as setup:
        _, receipt, _ = await run(setup, setup.call())
        assert receipt.usage["output_tokens"] == 20


@pytest.mark.parametrize("kib", [63, 65, 1_024])
async def test_a_huge_event_is_counted_and_held_in_one_go(tmp_path: Path, kib: int) -> None:
    words = kib * 1_024 // 5
    body = word(" word" * words) + DONE
    async with open_scripted(tmp_path, answering(body)) as setup:
        with trio.fail_after(5):
            got, receipt, _ = await run(setup, setup.call())
        assert len(content(got)) == words * 5
        assert receipt.usage["output_tokens"] == words
        assert receipt.price_nanodollars == charge(receipt.usage["input_tokens"], words)


# ---- the gateway's own ---------------------------------------------------------------------------


async def test_a_cancelled_wait_for_the_head_can_be_taken_up_again(tmp_path: Path) -> None:
    requests = []

    async def script(request: Request) -> None:
        requests.append(request)
        await trio.sleep(0.2)
        request.answer(word(" word") * 3 + usage_only(10, 3) + DONE, ended=True)

    async with open_scripted(tmp_path, script) as setup:
        async with setup.gateway.open_exchange(setup.call()) as exchange:
            with trio.move_on_after(0.1) as scope:
                await exchange.head()
            assert scope.cancelled_caught
            body = b"".join([chunk async for chunk in exchange])
        assert content(body) == " word" * 3
        assert len(requests) == 1
        assert exchange.receipt.price_nanodollars == charge(10, 3)


async def test_a_fault_in_counting_ends_its_exchange_not_the_gateway(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_text: str) -> int:
        raise RuntimeError("prompt text must not be logged")

    def script(request: Request) -> None:
        request.answer(word(" word"))

    storage = "progress_interval_s = 0.02"
    async with open_scripted(tmp_path, script, storage=storage) as setup:
        monkeypatch.setattr("engine.exchange.counter_for", lambda _encoding: broken)
        body, receipt, _ = await run(setup, setup.call())
        assert b'"code":"internal_error"' in body
        assert receipt.outcome is Outcome.GATEWAY_FAILED
        assert await setup.balance() == DOLLAR


async def test_a_huge_error_message_is_cut(tmp_path: Path) -> None:
    body = word(" word") + event(error={"message": "x" * 300_000, "code": "y" * 300_000})
    async with open_scripted(tmp_path, answering(body)) as setup:
        got, receipt, _ = await run(setup, setup.call())
        assert receipt.error is not None
        assert len(receipt.error.message) < 10_000
        assert len(receipt.error.code) < 1_000
        assert len(got) < 20_000


async def test_a_sink_that_goes_away_stops_the_provider(tmp_path: Path) -> None:
    sent = 0

    async def script(request: Request) -> None:
        nonlocal sent
        request.answer()
        while request.reset_code is None:
            await request.send_all(word(" word"))
            sent += 1
            await trio.sleep(0.005)

    async with (
        open_scripted(tmp_path, script) as setup,
        open_client() as (sink, client),
    ):
        with trio.fail_after(5):
            async with (
                setup.gateway.open_exchange(setup.call()) as exchange,
                trio.open_nursery() as nursery,
            ):
                nursery.start_soon(push, exchange, sink)
                await read_until(client, b'"finish_reason":null}]}\n\n')
                reset_at_close = struct.pack("ii", 1, 0)
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset_at_close)
                await client.aclose()
        assert sink.gone
        assert exchange.receipt.outcome is Outcome.CLIENT_LEFT
        assert exchange.receipt.received_output_tokens <= sent


@pytest.mark.parametrize("seconds", ["9" * 400, "1e9", "\xb2"])
async def test_an_absurd_retry_after_is_bounded(tmp_path: Path, seconds: str) -> None:
    def script(request: Request) -> None:
        head = [(b":status", b"429"), (b"retry-after", seconds.encode("latin-1"))]
        request.connection.http2.send_headers(request.stream_id, head, ended=True)
        request.connection.flush()

    async with open_scripted(tmp_path, script) as setup:
        _, _, error = await run(setup, setup.call())
        assert error is not None
        assert (error.retry_after_s or 0) <= 86_400


async def test_an_id_used_twice_at_once_leaves_the_first_alone(tmp_path: Path) -> None:
    async with open_scripted(
        tmp_path, answering(word(" word") + usage_only(10, 1) + DONE)
    ) as setup:
        call = setup.call()
        async with setup.gateway.open_exchange(call) as exchange:
            with pytest.raises(ValueError, match="hold already"):
                async with setup.gateway.open_exchange(call):
                    pass
            assert setup.gateway.open_exchanges == 1
            await drain(exchange)
        assert exchange.receipt.price_nanodollars == charge(10, 1)


async def test_a_failed_exchange_takes_nothing_more_from_its_provider(tmp_path: Path) -> None:
    resets = []

    async def script(request: Request) -> None:
        request.answer(event(error={"message": "overloaded"}))
        resets.append(await request.wait_reset())

    async with (
        open_scripted(tmp_path, script) as setup,
        setup.gateway.open_exchange(setup.call()) as exchange,
    ):
        with pytest.raises(GatewayError):
            await exchange.head()
        await settled(lambda: bool(resets))


async def test_a_call_made_twice_is_not_given_away(tmp_path: Path) -> None:
    """The database refuses the second hold of one request id: nothing may be delivered on it."""
    async with open_simulator(SimulatorSettings()) as sim:
        config = parse_config(config_text(tmp_path / "ledger.db", sim.base_url), "test.toml", {})
        async with open_gateway(config) as gateway:
            account = await gateway.ledger.create_account("test")
            await gateway.ledger.fund(account.account_id, DOLLAR, "first")
            _, secret = await gateway.create_key(account.account_id, "test")
            setup = Setup(gateway, sim, account.account_id, secret)
            call = setup.call("tokens=30")
            body, paid, _ = await run(setup, call)
            assert content(body)
            await settled(lambda: gateway.ledger.statistics().queued_records == 0)
            body, receipt, error = await run(setup, call)
            assert body == b""
            assert isinstance(error, UnavailableError)
            assert (receipt.outcome, receipt.durability) == (Outcome.GATEWAY_FAILED, "pending")
            assert await setup.balance() == DOLLAR - paid.price_nanodollars
            broken = [finding.name for finding in await gateway.ledger.audit() if not finding.ok]
            assert broken == ["no record was refused by the database"]
