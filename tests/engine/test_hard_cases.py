"""Answers, clients and faults at their worst: nothing is lost, no hold leaks, one exchange ends."""

from __future__ import annotations

import socket
import struct
from pathlib import Path

import pytest
import trio
import trio.testing

from bench.simulate import SimulatorSettings, open_simulator
from engine import Outcome, open_gateway, parse_config
from engine.errors import GatewayError, UnavailableError
from engine.wire.http2 import ErrorCodes
from tests.engine.test_push import open_client, push, read_until
from tests.engine.upstream.peer import Request
from tests.gateways import (
    AGAIN,
    DOLLAR,
    Setup,
    charge,
    config_text,
    content,
    drain,
    run,
    settled,
)
from tests.scripted import DONE, answering, event, open_scripted, usage_only, word

# ---- endings -------------------------------------------------------------------------------------


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
    asked, begun = trio.Event(), trio.Event()

    async def script(request: Request) -> None:
        request.answer(event(id="c1", choices=[]))
        asked.set()
        await begun.wait()
        request.reset()

    async with open_scripted(tmp_path, script, server="commit_after_s = 0.01") as setup:
        async with setup.gateway.open_exchange(setup.call()) as exchange:
            await exchange.head()
            async with trio.open_nursery() as nursery:  # it may not have been sent by then
                nursery.start_soon(anext, exchange)
                await asked.wait()
                nursery.cancel_scope.cancel()
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
        monkeypatch.setattr("engine.passage.counter_for", lambda _encoding: broken)
        body, receipt, error = await run(setup, setup.call())
        # The books may be asked before the head is out: then the client is refused instead.
        refused = error is not None and error.code == "internal_error"
        assert refused or b'"code":"internal_error"' in body
        assert receipt.outcome is Outcome.GATEWAY_FAILED
        assert await setup.balance() == DOLLAR


async def test_a_fault_of_ours_costs_the_house_the_input_that_was_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_text: str) -> int:
        raise RuntimeError("counting is broken")

    def script(request: Request) -> None:
        request.answer(usage_only(777, 0) + word(" word"))

    storage = "progress_interval_s = 0.02"
    async with open_scripted(tmp_path, script, storage=storage) as setup:
        monkeypatch.setattr("engine.passage.counter_for", lambda _encoding: broken)
        _, receipt, _ = await run(setup, setup.call())
        assert receipt.outcome is Outcome.GATEWAY_FAILED
        assert (receipt.price_nanodollars, receipt.cost_nanodollars) == (0, charge(777, 0))


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
        with trio.fail_after(30):
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
            await trio.testing.wait_all_tasks_blocked(0.05)  # the loop has heard of it, too
            body, receipt, error = await run(setup, call)
            assert body == b""
            assert isinstance(error, UnavailableError)
            assert (receipt.outcome, receipt.durability) == (Outcome.GATEWAY_FAILED, "pending")
            assert await setup.balance() == DOLLAR - paid.price_nanodollars
            broken = [finding.name for finding in await gateway.ledger.audit() if not finding.ok]
            assert broken == ["no record was refused by the database"]


async def test_what_was_never_acted_on_is_sent_again_once(tmp_path: Path) -> None:
    seen = []

    async def refuse_first(request: Request) -> None:
        seen.append(request)
        if len(seen) == 1:
            request.reset(ErrorCodes.REFUSED_STREAM)
            return
        request.answer()
        await request.send_all(word("hello") + usage_only(5, 1) + DONE, ended=True)

    async with open_scripted(tmp_path, refuse_first, routing=AGAIN) as setup:
        body, receipt, error = await run(setup, setup.call())
        assert error is None
        assert b"hello" in body
        assert receipt.outcome is Outcome.COMPLETED
        assert [(a.number, a.outcome) for a in receipt.attempts] == [
            (1, "upstream_lost"),
            (2, "completed"),
        ]
        assert receipt.price_nanodollars == charge(5, 1)


async def test_a_provider_that_always_refuses_is_asked_twice(tmp_path: Path) -> None:
    seen = []

    def refuse(request: Request) -> None:
        seen.append(request)
        request.reset(ErrorCodes.REFUSED_STREAM)

    async with open_scripted(tmp_path, refuse, routing=AGAIN) as setup:
        _, receipt, error = await run(setup, setup.call())
        assert error is not None
        assert error.status == 502
        assert len(seen) == len(receipt.attempts) == 2
        assert receipt.price_nanodollars == 0
