"""One call to a simulated provider, by every way it can end; over HTTP/2 and HTTP/1.1."""

from __future__ import annotations

import socket
from pathlib import Path

import orjson
import pytest
import trio

from engine import Call, Exchange, Outcome, Provenance
from engine.errors import (
    AuthenticationError,
    GatewayError,
    InsufficientFundsError,
    InvalidRequestError,
    ModelNotFoundError,
    UnavailableError,
    UpstreamError,
    UpstreamTimeoutError,
)
from engine.ledger.receipts import Receipt
from tests.gateways import (
    DOLLAR,
    Setup,
    charge,
    chat_body,
    content,
    drain,
    events,
    open_setup,
    run,
    settled,
)
from tests.leaving import cancelled_once

pytestmark = pytest.mark.usefixtures("each_protocol")

# ---- completed ---------------------------------------------------------------------------------


async def test_a_stream_is_relayed_and_billed_as_reported(tmp_path: Path) -> None:
    async with open_setup(tmp_path) as setup:
        async with setup.gateway.open_exchange(setup.call("tokens=50")) as exchange:
            head = await exchange.head()
            body = await drain(exchange)
        truth, receipt = setup.truth(exchange), exchange.receipt
        assert head.status == 200
        assert dict(head.headers)[b"content-type"].startswith(b"text/event-stream")
        assert content(body) == truth.text
        assert body.endswith(b"data: [DONE]\n\n")
        assert not any("usage" in event for event in events(body)), "it was not asked for"
        assert (receipt.outcome, receipt.provenance) == (Outcome.COMPLETED, Provenance.REPORTED)
        assert receipt.usage["output_tokens"] == truth.tokens_generated == 50
        assert receipt.usage["input_tokens"] == truth.input_tokens
        assert receipt.received_output_tokens == receipt.delivered_output_tokens == 50
        assert receipt.price_nanodollars == charge(truth.input_tokens, 50)
        assert receipt.durability == "durable"
        assert await setup.balance() == DOLLAR - receipt.price_nanodollars


async def test_usage_is_in_the_stream_when_it_was_asked_for(tmp_path: Path) -> None:
    async with open_setup(tmp_path) as setup:
        call = setup.call("tokens=5", stream_options={"include_usage": True})
        body, receipt, _ = await run(setup, call)
        last = events(body)[-1]
        assert last["choices"] == []
        assert last["usage"]["completion_tokens"] == receipt.usage["output_tokens"] == 5
        assert all("usage" in event for event in events(body))


async def test_an_answer_in_one_piece(tmp_path: Path) -> None:
    async with open_setup(tmp_path) as setup:
        async with setup.gateway.open_exchange(setup.call("tokens=9", stream=False)) as exchange:
            head = await exchange.head()
            body = await drain(exchange)
        assert int(dict(head.headers)[b"content-length"]) == len(body)
        answer = orjson.loads(body)
        assert answer["choices"][0]["message"]["content"] == setup.truth(exchange).text
        assert exchange.receipt.price_nanodollars == charge(answer["usage"]["prompt_tokens"], 9)


@pytest.mark.parametrize("directives", ["usage=none tokens=40", "usage=none tokens_per_event=17"])
async def test_missing_usage_is_counted_exactly(tmp_path: Path, directives: str) -> None:
    async with open_setup(tmp_path) as setup:
        _, receipt, _ = await run(setup, setup.call(directives))
        truth = setup.sim.truth.record(receipt.request_id)
        assert truth is not None
        assert receipt.provenance is Provenance.COUNTED
        assert receipt.usage["output_tokens"] == truth.tokens_generated
        assert receipt.usage["input_tokens"] == truth.input_tokens


async def test_several_choices_are_billed_together(tmp_path: Path) -> None:
    async with open_setup(tmp_path) as setup:
        _, receipt, _ = await run(setup, setup.call("usage=none tokens=30", n=3))
        assert receipt.usage["output_tokens"] == 90


# ---- the client leaves -------------------------------------------------------------------------


async def read_events(exchange: Exchange, count: int) -> None:
    """Take chunks until `count` events have come, and go."""
    seen = 0
    async for chunk in exchange:
        seen += chunk.count(b"\n\n")
        if seen >= count:
            return


@pytest.mark.parametrize("tokens_per_event", [1, 17])
async def test_a_client_that_leaves_pays_for_what_was_received(
    tmp_path: Path, tokens_per_event: int
) -> None:
    pace = f"tokens=60 tokens_per_event={tokens_per_event} tokens_per_second=2000"
    async with open_setup(tmp_path) as setup:
        for count in range(-(-60 // tokens_per_event) + 3):
            async with setup.gateway.open_exchange(setup.call(pace)) as exchange:
                await exchange.head()
                if count:
                    await read_events(exchange, count)
            receipt, truth = exchange.receipt, setup.truth(exchange)
            billed = receipt.usage["output_tokens"]
            assert receipt.outcome in (Outcome.CLIENT_LEFT, Outcome.COMPLETED)
            assert receipt.delivered_output_tokens <= billed == receipt.received_output_tokens
            assert billed <= truth.tokens_generated
            assert receipt.price_nanodollars == charge(truth.input_tokens, billed)


async def test_leaving_resets_the_providers_stream(tmp_path: Path) -> None:
    async with open_setup(tmp_path) as setup:
        call = setup.call("tokens=100000 tokens_per_second=100")
        async with setup.gateway.open_exchange(call) as exchange:
            await read_events(exchange, 3)
        truth = setup.truth(exchange)
        await settled(lambda: truth.ended is not None)
        assert truth.ended == "reset"
        assert truth.tokens_generated < 100_000
        assert exchange.receipt.outcome is Outcome.CLIENT_LEFT
        assert exchange.receipt.provenance is Provenance.COUNTED


async def test_leaving_before_the_provider_has_answered_costs_nothing(tmp_path: Path) -> None:
    async with open_setup(tmp_path) as setup:
        async with (
            cancelled_once(lambda: any(setup.sim.truth.records())),
            setup.gateway.open_exchange(setup.call("head_ms=60000")) as exchange,
        ):
            await exchange.head()
        assert exchange.receipt.outcome is Outcome.CLIENT_LEFT
        assert await setup.balance() == DOLLAR


async def test_leaving_an_answer_in_one_piece_costs_nothing(tmp_path: Path) -> None:
    async with open_setup(tmp_path) as setup:
        call = setup.call("tokens=1000 tokens_per_second=10", stream=False)
        async with (
            cancelled_once(lambda: any(setup.sim.truth.records())),
            setup.gateway.open_exchange(call) as exchange,
        ):
            await exchange.head()
        assert await setup.balance() == DOLLAR


async def test_a_waived_departure_costs_the_house(tmp_path: Path) -> None:
    async with open_setup(tmp_path, provider='on_cancel = "waive"') as setup:
        call = setup.call("tokens=100000 tokens_per_second=50")
        async with setup.gateway.open_exchange(call) as exchange:
            await read_events(exchange, 3)
        receipt = exchange.receipt
        assert (receipt.outcome, receipt.provenance) == (Outcome.CLIENT_LEFT, Provenance.FLAT)
        assert receipt.price_nanodollars == 0 < receipt.cost_nanodollars
        assert await setup.balance() == DOLLAR


async def test_a_cancelled_exchange_is_settled(tmp_path: Path) -> None:
    async with open_setup(tmp_path) as setup:
        with trio.CancelScope() as scope:
            async with setup.gateway.open_exchange(
                setup.call("tokens=100000 tokens_per_second=50")
            ) as exchange:
                async for _ in exchange:
                    scope.cancel()
        assert exchange.receipt.outcome is Outcome.CLIENT_LEFT
        assert exchange.receipt.price_nanodollars > 0


async def test_a_slow_client_holds_up_its_own_stream_only(
    tmp_path: Path, each_protocol: str
) -> None:
    # HTTP/2 is held by its window; HTTP/1.1 only when the kernels' buffers are full too.
    ahead_max_tokens = 25_000 if each_protocol == "off" else 5_000
    async with open_setup(tmp_path) as setup:
        async with setup.gateway.open_exchange(setup.call("tokens=50000")) as slow:
            await slow.head()
            _, other, _ = await run(setup, setup.call("tokens=2000"))
            assert other.outcome is Outcome.COMPLETED
            held_up = setup.truth(slow)
            assert held_up.tokens_written < ahead_max_tokens
            assert content(await drain(slow)) == held_up.text
        assert slow.receipt.usage["output_tokens"] == 50_000


# ---- the provider breaks -----------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["cut", "rst", "goaway", "eof", "error_event"])
@pytest.mark.parametrize("after", [1, 7, 40])
async def test_a_provider_that_breaks_is_billed_as_received(
    tmp_path: Path, fault: str, after: int
) -> None:
    async with open_setup(tmp_path) as setup:
        call = setup.call(f"tokens=80 tokens_per_second=4000 cut_after={after} fault={fault}")
        body, receipt, error = await run(setup, call)
        truth = setup.sim.truth.record(receipt.request_id)
        assert truth is not None
        assert receipt.outcome is Outcome.UPSTREAM_FAILED
        billed = receipt.usage["output_tokens"] if receipt.price_nanodollars else 0
        assert billed <= truth.tokens_generated == after
        if error is None:
            assert "error" in events(body)[-1]
            assert b"[DONE]" not in body
            assert billed == receipt.received_output_tokens == receipt.delivered_output_tokens > 0
            assert receipt.price_nanodollars == charge(truth.input_tokens, billed)
        else:
            assert await setup.balance() == DOLLAR


async def test_a_provider_that_breaks_before_any_output_is_free(tmp_path: Path) -> None:
    async with open_setup(tmp_path) as setup:
        for fault in ("cut", "rst", "goaway", "eof", "error_event", "refused", "goaway_refused"):
            cut = "" if "refused" in fault else "cut_after=0"
            _, receipt, error = await run(setup, setup.call(f"tokens=9 {cut} fault={fault}"))
            assert receipt.outcome is Outcome.UPSTREAM_FAILED, fault
            assert error is not None, fault
            assert error.status == 502, fault
            assert receipt.error is not None
        assert await setup.balance() == DOLLAR


@pytest.mark.parametrize("status", [400, 429, 500, 529])
async def test_the_providers_refusal_is_the_clients(tmp_path: Path, status: int) -> None:
    async with open_setup(tmp_path) as setup:
        call = setup.call(f"status={status} retry_after=7")
        _, receipt, error = await run(setup, call)
        assert error is not None
        assert error.status == status
        assert error.retry_after_s == 7
        assert receipt.attempts[0].status == status
        assert await setup.balance() == DOLLAR


async def test_a_failed_exchange_is_not_tried_again(tmp_path: Path) -> None:
    async with open_setup(tmp_path) as setup:
        async with setup.gateway.open_exchange(setup.call("status=500")) as exchange:
            for ask in (exchange.head, exchange.__anext__, exchange.head):
                with pytest.raises(UpstreamError):
                    await ask()
        assert len(setup.sim.truth.records()) == 1


async def test_a_provider_that_cannot_be_reached(tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        async with open_setup(tmp_path, base_url=url) as setup:
            _, receipt, error = await run(setup, setup.call())
            assert isinstance(error, UpstreamError)
            assert error.status == 502
            assert receipt.attempts[0].status is None
            assert await setup.balance() == DOLLAR


@pytest.mark.parametrize("directives", ["tokens=50 cut_after=5 fault=stall", "first_token_ms=9e4"])
async def test_a_provider_that_falls_silent_is_given_up(tmp_path: Path, directives: str) -> None:
    async with open_setup(
        tmp_path, provider="idle_timeout_s = 0.2", server="commit_after_s = 0.05"
    ) as setup:
        body, receipt, error = await run(setup, setup.call(directives))
        # A machine that sleeps through both deadlines has committed itself to nothing.
        code = error.code if error is not None else events(body)[-1]["error"]["code"]
        assert code == "upstream_timeout"
        assert receipt.outcome is Outcome.UPSTREAM_FAILED
        assert receipt.received_output_tokens == (5 if "cut_after" in directives else 0)
        assert (receipt.price_nanodollars > 0) == ("cut_after" in directives)


async def test_a_provider_that_never_answers_is_given_up(tmp_path: Path) -> None:
    async with open_setup(tmp_path, provider="first_byte_timeout_s = 0.1") as setup:
        _, receipt, error = await run(setup, setup.call("head_ms=60000"))
        assert isinstance(error, UpstreamTimeoutError)
        assert receipt.price_nanodollars == 0


async def test_the_deadline_of_an_exchange(tmp_path: Path) -> None:
    async with open_setup(tmp_path, server="exchange_deadline_s = 0.5") as setup:
        call = setup.call("tokens=100000 tokens_per_second=100")
        body, receipt, _ = await run(setup, call)
        assert receipt.outcome is Outcome.DEADLINE
        assert events(body)[-1]["error"]["code"] == "deadline_exceeded"
        assert 0 < receipt.usage["output_tokens"] == receipt.received_output_tokens < 100_000
        assert receipt.price_nanodollars > 0


async def test_a_fault_of_ours_is_free_and_hurts_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_text: str) -> int:
        raise RuntimeError("prompt text must not be logged")

    async with open_setup(tmp_path) as setup:
        pace = "tokens=400 tokens_per_second=2000"
        async with setup.gateway.open_exchange(setup.call(pace)) as healthy:
            await healthy.head()
            with monkeypatch.context() as patch:
                patch.setattr("engine.passage.counter_for", lambda _encoding: broken)
                body, receipt, error = await run(setup, setup.call(pace))
            assert receipt.outcome is Outcome.GATEWAY_FAILED
            assert receipt.price_nanodollars == 0
            assert error is not None or b'"code":"internal_error"' in body
            await drain(healthy)
        assert healthy.receipt.outcome is Outcome.COMPLETED


# ---- refused -----------------------------------------------------------------------------------


async def refusal(setup: Setup, call: Call) -> GatewayError:
    with pytest.raises(GatewayError) as caught:
        async with setup.gateway.open_exchange(call):
            pass
    return caught.value


async def test_what_is_refused_leaves_no_trace(tmp_path: Path) -> None:
    async with open_setup(tmp_path) as setup:
        before = setup.gateway.ledger.statistics().committed_records
        wrong_key = Call(body=chat_body(), key="sk-parshall-wrong")
        assert isinstance(await refusal(setup, wrong_key), AuthenticationError)
        no_key = Call(body=b"not even JSON", key=None)
        assert isinstance(await refusal(setup, no_key), AuthenticationError)
        unknown = setup.call(model="gpt-unknown")
        assert isinstance(await refusal(setup, unknown), ModelNotFoundError)
        broken = Call(body=b"{", key=setup.key)
        assert isinstance(await refusal(setup, broken), InvalidRequestError)
        assert setup.gateway.ledger.statistics().committed_records == before
        assert setup.sim.truth.records() == []


async def test_without_funds_nothing_is_sent(tmp_path: Path) -> None:
    async with open_setup(tmp_path, funds_nanodollars=0) as setup:
        assert isinstance(await refusal(setup, setup.call()), InsufficientFundsError)
        assert setup.sim.truth.records() == []


async def test_a_gateway_at_its_limit_refuses(tmp_path: Path) -> None:
    async with open_setup(tmp_path, server="exchanges_max = 1") as setup:
        async with setup.gateway.open_exchange(setup.call("tokens=5")):
            error = await refusal(setup, setup.call())
        assert isinstance(error, UnavailableError)
        assert error.retry_after_s is not None


async def test_a_stopping_gateway_refuses_and_settles_what_it_cuts(tmp_path: Path) -> None:
    async with open_setup(tmp_path) as setup:
        call = setup.call("tokens=100000 tokens_per_second=50")
        async with setup.gateway.open_exchange(call) as exchange:
            await read_events(exchange, 3)
            setup.gateway.stop_admission()
            assert setup.gateway.not_ready == "stopping"
            assert isinstance(await refusal(setup, setup.call()), UnavailableError)
            setup.gateway.cut_off()
        assert exchange.receipt.outcome is Outcome.SHUTDOWN
        assert exchange.receipt.price_nanodollars > 0


# ---- funds -------------------------------------------------------------------------------------


async def test_a_long_answer_is_held_a_slice_at_a_time(tmp_path: Path) -> None:
    async with open_setup(tmp_path, billing="output_slice_tokens = 100") as setup:
        call = setup.call("tokens=1000 tokens_per_second=5000", max_tokens=100_000)
        async with setup.gateway.open_exchange(call) as exchange:
            await exchange.head()
            held = setup.gateway.ledger.statistics().held_nanodollars
            assert held < charge(len(call.body), 500)
            await drain(exchange)
        assert exchange.receipt.price_nanodollars == charge(
            exchange.receipt.usage["input_tokens"], 1_000
        )


async def test_ten_long_answers_run_side_by_side_on_a_small_balance(tmp_path: Path) -> None:
    """Each may ask for far more than there is; each goes on for as long as slices are left."""
    directives = "tokens={} tokens_per_second=400 ignore_max_tokens=1"
    body_bytes = len(chat_body(directives.format(2_000), max_tokens=100_000))
    funds = 10 * charge(body_bytes, 400)
    billing = "output_slice_tokens = 100"
    async with open_setup(tmp_path, funds_nanodollars=funds, billing=billing) as setup:
        receipts: list[Receipt] = []

        async def ask(tokens: int) -> None:
            body, receipt, error = await run(
                setup, setup.call(directives.format(tokens), max_tokens=100_000)
            )
            assert error is None
            assert body.endswith(b"data: [DONE]\n\n")
            truth = setup.sim.truth.record(receipt.request_id)
            assert truth is not None
            assert truth.text.startswith(content(body))
            receipts.append(receipt)

        async with trio.open_nursery() as nursery:
            for number in range(10):
                nursery.start_soon(ask, 150 if number < 5 else 2_000)
        whole = [each for each in receipts if each.outcome is Outcome.COMPLETED]
        cut = [each for each in receipts if each.outcome is Outcome.FUNDS_EXHAUSTED]
        assert [each.usage["output_tokens"] for each in whole] == [150] * 5
        assert len(cut) == 5
        assert all(each.usage["output_tokens"] >= 300 for each in cut)
        spent = sum(each.price_nanodollars for each in receipts)
        assert await setup.balance() == funds - spent < 10 * charge(0, 100)


@pytest.mark.parametrize("usage", [False, True])
async def test_when_funds_end_the_client_gets_a_valid_ending(tmp_path: Path, usage: bool) -> None:
    changes = {"stream_options": {"include_usage": True}} if usage else {}
    body_bytes = len(chat_body("tokens=1000 tokens_per_second=5000 ignore_max_tokens=1", **changes))
    funds = charge(body_bytes, 250)
    async with open_setup(
        tmp_path, funds_nanodollars=funds, billing="output_slice_tokens = 100"
    ) as setup:
        call = setup.call("tokens=1000 tokens_per_second=5000 ignore_max_tokens=1", **changes)
        body, receipt, _ = await run(setup, call)
        truth = setup.sim.truth.record(receipt.request_id)
        assert truth is not None
        finish = next(e for e in events(body) if e["choices"] and e["choices"][0]["finish_reason"])
        assert finish["choices"][0]["finish_reason"] == "length"
        assert body.endswith(b"data: [DONE]\n\n")
        assert receipt.outcome is Outcome.FUNDS_EXHAUSTED
        billed = receipt.usage["output_tokens"]
        assert receipt.delivered_output_tokens <= billed <= truth.tokens_generated
        assert 200 <= billed <= 250
        assert truth.text.startswith(content(body))
        assert receipt.price_nanodollars == charge(truth.input_tokens, billed) <= funds
        if usage:
            assert events(body)[-1]["usage"]["completion_tokens"] == billed


async def test_parallel_answers_in_one_piece_are_all_held(tmp_path: Path) -> None:
    directives = "tokens=5000 head_ms=200 usage=none"
    one = charge(len(chat_body(directives, stream=False)), 5_000)
    async with open_setup(tmp_path, funds_nanodollars=one + one // 2) as setup:
        receipts = []

        async def ask() -> None:
            call = setup.call(directives, stream=False, max_tokens=5_000)
            try:
                _, receipt, _ = await run(setup, call)
            except InsufficientFundsError:
                return
            receipts.append(receipt)

        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(ask)
        assert receipts
        assert all(receipt.overrun_nanodollars == 0 for receipt in receipts)
        billed = sum(receipt.usage["output_tokens"] for receipt in receipts)
        assert sum(r.price_nanodollars for r in receipts) >= charge(0, billed)


async def test_a_small_balance_lowers_the_limit_of_the_answer(tmp_path: Path) -> None:
    funds = charge(len(chat_body("tokens=500")), 40)
    async with open_setup(tmp_path, funds_nanodollars=funds) as setup:
        body, receipt, _ = await run(setup, setup.call("tokens=500"))
        assert receipt.outcome is Outcome.COMPLETED
        assert receipt.usage["output_tokens"] == 40
        assert events(body)[-1]["choices"][0]["finish_reason"] == "length"


async def test_a_reported_usage_above_the_hold_is_the_houses(tmp_path: Path) -> None:
    call_body = chat_body("tokens=20 usage=wrong")
    funds = charge(len(call_body), 20)
    async with open_setup(tmp_path, funds_nanodollars=funds) as setup:
        _, receipt, _ = await run(setup, Call(body=call_body, key=setup.key))
        assert receipt.outcome is Outcome.COMPLETED
        assert receipt.price_nanodollars == funds
        assert receipt.overrun_nanodollars > 0
        assert await setup.balance() == 0


async def test_parallel_requests_never_spend_more_than_there_is(tmp_path: Path) -> None:
    call_body = chat_body("tokens=20 tokens_per_second=200", max_tokens=20)
    one = charge(len(call_body), 20)
    refused = []
    async with open_setup(tmp_path, funds_nanodollars=one + 1) as setup:

        async def ask() -> None:
            try:
                await run(setup, Call(body=call_body, key=setup.key))
            except InsufficientFundsError as error:
                refused.append(error)

        async with trio.open_nursery() as nursery:
            for _ in range(200):
                nursery.start_soon(ask)
        assert len(refused) == 199
