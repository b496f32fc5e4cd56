"""A provider breaks off in the middle of an answer, and another one writes on: over real sockets.

Both providers are simulated; the second one is given what the client has got, and answers anew.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import httpx2
import orjson
import pytest
import trio

from engine.events import Begin, Finish, Protocol, TextDelta, UsageReport
from engine.ledger.receipts import Receipt
from tests.answers import sdk, sdks
from tests.answers.reading import LENGTH, STOP, Reading
from tests.fleet import SUFFIXES, Fleet, model, open_fleet, open_front
from tests.gateways import PROTOCOLS, charge, content, events, run, settled
from tests.served import Served

SECONDS: tuple[Protocol, ...] = ("anthropic", "gemini")
TOKENS = 30
BROKEN_OFF = "fault=error_event cut_after=10"


def writes_on(provider: str, priority: int) -> dict[str, Any]:
    """A deployment that is only asked when those before it have failed."""
    return {"provider": provider, "priority": priority, "capabilities": {"prefill": True}}


def story(client: Protocol, *seconds: Protocol, **settings: Any) -> str:
    """A model that a provider of the client's own protocol serves, and others write on for."""
    name = "-".join(["story", *seconds])
    others = [writes_on(f"sim{at}{SUFFIXES[each]}", at) for at, each in enumerate(seconds, 1)]
    return model(name, f"sim0{SUFFIXES[client]}", *others, **{"continuation": True} | settings)


def joined(first: str, second: str) -> str:
    """Spaces at a seam are said once."""
    doubled = first[len(first.rstrip()) :]
    while doubled and second.startswith(doubled[0]):
        doubled, second = doubled[1:], second[1:]
    return first + second


def check_both_billed(receipt: Receipt, fleet: Fleet) -> None:
    """Each leg by its own rules, both on the receipt; the price is that of both."""
    first, second = (sim.truth.records()[-1] for sim in fleet.sims[:2])
    broken, whole = receipt.attempts
    assert (broken.role, broken.won, whole.role, whole.won) == ("first", True, "continuation", True)
    assert (broken.provider[:4], whole.provider[:4]) == ("sim0", "sim1")
    assert whole.outcome == "completed" != broken.outcome
    assert broken.usage["output_tokens"] == first.tokens_written
    assert whole.usage["output_tokens"] == second.tokens_generated
    assert whole.usage["input_tokens"] == second.input_tokens
    for unit in ("input_tokens", "output_tokens"):
        assert receipt.usage[unit] == broken.usage[unit] + whole.usage[unit]
    assert broken.price_nanodollars == charge(
        broken.usage["input_tokens"], broken.usage["output_tokens"]
    )
    assert receipt.price_nanodollars == broken.price_nanodollars + whole.price_nanodollars
    assert receipt.received_output_tokens == receipt.usage["output_tokens"]
    assert receipt.delivered_output_tokens == receipt.usage["output_tokens"]
    said = (
        "reported" if broken.provider.endswith("gemini") else "counted"
    )  # it says with each event
    assert (receipt.outcome, receipt.provenance) == ("completed", said)


# ---- read by the SDKs ----------------------------------------------------------------------------


def asked(served: Served, client: Protocol, name: str) -> tuple[Reading, str]:
    """What the client's SDK reads of an answer, and the request's id."""
    ids: list[str] = []

    def keep(response: httpx.Response | httpx2.Response) -> None:
        ids.append(response.headers["x-request-id"])

    hooks: Any = {"response": [keep]}
    with (
        httpx.Client(event_hooks=hooks, timeout=30, verify=False) as http,
        httpx2.Client(event_hooks=hooks, timeout=30, verify=False) as http2,
    ):
        prompt = f"#sim tokens={TOKENS}\nTell me more."
        clients = sdks.clients(
            served.origin, served.setup.key, http, http2, model=name, prompt=prompt
        )
        return sdk.ask(client, clients, stream=True), ids[0]


@pytest.mark.parametrize("client", PROTOCOLS)
async def test_an_sdk_reads_one_answer(tmp_path: Path, client: Protocol) -> None:
    models = "".join(story(client, second) for second in SECONDS)
    async with open_fleet(tmp_path, 2, models=models) as fleet, open_front(fleet) as served:
        fleet.sims[0].behave(None, BROKEN_OFF)
        for second in SECONDS:
            name = f"story-{second}"
            answer, request_id = await trio.to_thread.run_sync(asked, served, client, name)
            receipt = Receipt.from_json(await receipt_of(fleet, request_id))
            begun, ended = (sim.truth.records()[-1] for sim in fleet.sims)
            [choice] = answer.choices
            assert begun.tokens_written == 10
            assert choice.text == joined(begun.text_written, ended.text)
            assert (choice.finish, answer.failed) == (STOP, False)
            assert answer.id == begun.completion_id
            assert answer.usage is not None
            assert answer.usage.input_tokens == receipt.usage["input_tokens"]
            assert answer.usage.output_tokens == receipt.usage["output_tokens"]
            check_both_billed(receipt, fleet)


async def receipt_of(fleet: Fleet, request_id: str) -> dict[str, Any]:
    """The whole receipt, once the exchange has settled."""
    with trio.fail_after(30):
        while True:
            ledger, account_id = fleet.setup.gateway.ledger, fleet.setup.account_id
            found = await ledger.read_receipt(account_id, request_id)
            if found is not None and found["state"] == "settled":
                return found
            await trio.sleep(0.005)


# ---- what the second leg is given ----------------------------------------------------------------


async def test_however_it_breaks_off(tmp_path: Path) -> None:
    """The second provider gets the answer so far, without spaces at its end."""
    models = story("openai_chat", "anthropic")
    async with open_fleet(tmp_path, 2, models=models, provider="idle_timeout_s = 1") as fleet:
        for fault in ("eof", "rst", "error_event", "stall"):
            fleet.sims[0].behave(None, f"fault={fault} cut_after=10")
            call = fleet.call("story-anthropic", f"tokens={TOKENS}")
            body, receipt, error = await run(fleet.setup, call)
            first, second = (sim.truth.records()[-1] for sim in fleet.sims)
            assert error is None, fault
            assert content(body) == joined(first.text_written, second.text), fault
            *_, last = second.request["messages"]
            assert last["role"] == "assistant"
            assert text_of(last["content"]) == first.text_written.rstrip()
            check_both_billed(receipt, fleet)


def text_of(said: Any) -> str:
    """What an Anthropic message says, in either of its forms."""
    return said if isinstance(said, str) else "".join(block["text"] for block in said)


async def test_an_embedder_gets_one_answer(tmp_path: Path) -> None:
    async with open_fleet(tmp_path, 2, models=story("gemini", "anthropic")) as fleet:
        fleet.sims[0].behave(None, BROKEN_OFF)
        call = fleet.call("story-anthropic", f"tokens={TOKENS}", client="gemini")
        async with fleet.setup.gateway.open_exchange(call) as exchange:
            told = [event async for event in exchange.events()]
        [[first], [second]] = fleet.records()
    assert isinstance(told[0], Begin)
    assert [type(event) for event in told].count(Begin) == 1
    assert [type(event) for event in told].count(Finish) == 1
    text = "".join(event.text for event in told if isinstance(event, TextDelta))
    assert text == joined(first.text_written, second.text)
    reports = [event.usage for event in told if isinstance(event, UsageReport)]
    assert reports[-1].output_tokens == exchange.receipt.usage["output_tokens"]


async def test_the_client_s_limit_is_of_both(tmp_path: Path) -> None:
    async with open_fleet(tmp_path, 2, models=story("openai_chat", "anthropic")) as fleet:
        fleet.sims[0].behave(None, BROKEN_OFF)
        call = fleet.call("story-anthropic", f"tokens={TOKENS}", max_completion_tokens=14)
        body, receipt, _ = await run(fleet.setup, call)
        [_, [second]] = fleet.records()
    assert second.request["max_tokens"] == 4
    assert receipt.usage["output_tokens"] == 14
    assert finish_of(body) == LENGTH


async def test_an_answer_whose_limit_is_used_up_ends_there(tmp_path: Path) -> None:
    """As it would have, had its provider lived to say so."""
    async with open_fleet(tmp_path, 2, models=story("openai_chat", "anthropic")) as fleet:
        fleet.sims[0].behave(None, BROKEN_OFF)
        call = fleet.call("story-anthropic", f"tokens={TOKENS}", max_completion_tokens=10)
        body, receipt, _ = await run(fleet.setup, call)
        [[first], none] = fleet.records()
    assert none == []
    assert (finish_of(body), content(body)) == (LENGTH, first.text_written)
    assert body.endswith(b"data: [DONE]\n\n")
    assert (receipt.outcome, receipt.usage["output_tokens"]) == ("completed", 10)


def finish_of(body: bytes) -> str:
    """Why the only choice ended."""
    choices = [choice for event in events(body) for choice in event["choices"]]
    [reason] = [choice["finish_reason"] for choice in choices if choice["finish_reason"]]
    return str(reason)


# ---- where nobody writes on ----------------------------------------------------------------------


NOT_WRITTEN_ON: list[tuple[str, dict[str, Any]]] = [
    ("not wanted", {}),
    ("by nobody known to", {}),
    ("story-anthropic", {"response_format": {"type": "json_object"}}),
    ("story-anthropic", {"logprobs": True}),
    ("story-anthropic", {"reasoning_effort": "low"}),
    ("story-anthropic", {"n": 2}),
]
"""Models and what is asked of them."""


async def test_what_is_not_written_on_ends_with_the_error(tmp_path: Path) -> None:
    models = [
        story("openai_chat", "anthropic"),
        model("not wanted", "sim0", writes_on("sim1-anthropic", 1)),
        model("by nobody known to", "sim0", {"provider": "sim1", "priority": 1}, continuation=True),
    ]
    no_breaker = "breaker = { failures = 0 }"
    async with open_fleet(tmp_path, 2, models="".join(models), routing=no_breaker) as fleet:
        fleet.sims[0].behave(None, BROKEN_OFF)
        for name, changes in NOT_WRITTEN_ON:
            call = fleet.call(name, f"tokens={TOKENS}", **changes)
            body, receipt, _ = await run(fleet.setup, call)
            assert "error" in events(body)[-1], (name, changes)
            assert (receipt.outcome, len(receipt.attempts)) == ("upstream_failed", 1)
        assert fleet.opened() == [len(NOT_WRITTEN_ON), 0]


async def test_funds_that_do_not_cover_another_leg_end_the_answer(tmp_path: Path) -> None:
    """What was written is charged; the rest of the hold is free again."""
    models = story("openai_chat", "anthropic")
    async with open_fleet(tmp_path, 2, models=models, funds_nanodollars=1_000_000) as fleet:
        fleet.sims[0].behave(None, BROKEN_OFF)
        body, receipt, _ = await run(fleet.setup, fleet.call("story-anthropic", f"tokens={TOKENS}"))
        assert fleet.opened() == [1, 0]
        assert await fleet.setup.balance() == 1_000_000 - receipt.price_nanodollars
    assert "error" in events(body)[-1]
    assert (receipt.outcome, receipt.usage["output_tokens"]) == ("upstream_failed", 10)
    assert receipt.price_nanodollars == charge(receipt.usage["input_tokens"], 10)


# ---- more than one failure -----------------------------------------------------------------------


async def test_a_second_leg_may_break_off_too(tmp_path: Path) -> None:
    """A third provider writes on, from what both have said; all three are billed."""
    models = story("anthropic", "anthropic", "gemini")
    async with open_fleet(tmp_path, 3, models=models) as fleet:
        for sim in fleet.sims[:2]:
            sim.behave(None, BROKEN_OFF)
        name = "story-anthropic-gemini"
        call = fleet.call(name, f"tokens={TOKENS}", client="anthropic")
        body, receipt, error = await run(fleet.setup, call)
        first, second, third = (record for [record] in fleet.records())
        begun = joined(first.text_written, second.text_written)
        assert error is None
        [choice] = sdk.read("anthropic", body, stream=True).choices
        assert (choice.text, choice.finish) == (joined(begun, third.text), STOP)
    assert [attempt.role for attempt in receipt.attempts] == ["first", *["continuation"] * 2]
    assert receipt.usage["output_tokens"] == 10 + 10 + TOKENS
    assert receipt.price_nanodollars == sum(each.price_nanodollars for each in receipt.attempts)


async def test_a_second_leg_that_says_nothing_is_the_house_s(tmp_path: Path) -> None:
    models = story("openai_chat", "anthropic", "gemini")
    async with open_fleet(tmp_path, 3, models=models) as fleet:
        fleet.sims[0].behave(None, BROKEN_OFF)
        fleet.sims[1].behave(None, "status=529")
        call = fleet.call("story-anthropic-gemini", f"tokens={TOKENS}")
        body, receipt, error = await run(fleet.setup, call)
        first, _, third = (record for [record] in fleet.records())
        assert error is None
        assert content(body) == joined(first.text_written, third.text)
    assert [attempt.won for attempt in receipt.attempts] == [True, False, True]
    assert receipt.attempts[1].price_nanodollars == 0
    assert receipt.usage["output_tokens"] == 10 + TOKENS


async def test_what_has_fallen_back_is_written_on_too(tmp_path: Path) -> None:
    """The first one refuses, the second breaks off, the third writes on."""
    models = story("openai_responses", "anthropic", "gemini")
    async with open_fleet(tmp_path, 3, models=models) as fleet:
        fleet.sims[0].behave(None, "status=501")
        fleet.sims[1].behave(None, BROKEN_OFF)
        call = fleet.call("story-anthropic-gemini", f"tokens={TOKENS}", client="openai_responses")
        body, receipt, _ = await run(fleet.setup, call)
        second, third = (sim.truth.records()[-1] for sim in fleet.sims[1:])
        [choice] = sdk.read("openai_responses", body, stream=True).choices
    assert (choice.text, choice.finish) == (joined(second.text_written, third.text), STOP)
    assert [attempt.role for attempt in receipt.attempts][-2:] == ["fallback", "continuation"]
    assert [attempt.won for attempt in receipt.attempts][-3:] == [False, True, True]
    assert receipt.usage["output_tokens"] == 10 + TOKENS


async def test_all_break_off(tmp_path: Path) -> None:
    """The client gets its protocol's error behind what came, and pays for what came."""
    async with open_fleet(tmp_path, 2, models=story("openai_responses", "gemini")) as fleet:
        for sim in fleet.sims:
            sim.behave(None, BROKEN_OFF)
        call = fleet.call("story-gemini", f"tokens={TOKENS}", client="openai_responses")
        body, receipt, _ = await run(fleet.setup, call)
        first, second = (record for [record] in fleet.records())
        read = sdk.read("openai_responses", body, stream=True)
    assert read.failed
    assert read.choices[0].text == joined(first.text_written, second.text_written)
    assert (receipt.outcome, receipt.usage["output_tokens"]) == ("upstream_failed", 20)
    assert receipt.price_nanodollars == sum(each.price_nanodollars for each in receipt.attempts)


# ---- other endings -------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["leaves", "cancels"])
async def test_a_client_that_ends_it_in_the_second_leg_pays_for_both(
    tmp_path: Path, ending: str
) -> None:
    async with open_fleet(tmp_path, 2, models=story("openai_chat", "anthropic")) as fleet:
        fleet.sims[0].behave(None, BROKEN_OFF)
        fleet.sims[1].behave(None, "fault=stall cut_after=7")
        call = fleet.call("story-anthropic", f"tokens={TOKENS}")
        body = b""
        async with fleet.setup.gateway.open_exchange(call) as exchange:
            with trio.fail_after(30):
                async for chunk in exchange:
                    body += chunk
                    [first], seconds = fleet.records()
                    if seconds and content(body) == joined(
                        first.text_written, seconds[0].text_written
                    ):
                        if ending == "leaves":
                            break
                        exchange.cancel()
        [second] = fleet.sims[1].truth.records()
        await settled(lambda: second.ended is not None, 30)
        receipt = exchange.receipt
    if ending == "cancels":
        assert finish_of(body) == LENGTH
        assert body.endswith(b"data: [DONE]\n\n")
    assert receipt.outcome == "client_left"
    assert receipt.usage["output_tokens"] == 17
    assert receipt.price_nanodollars == sum(each.price_nanodollars for each in receipt.attempts)


async def test_the_body_is_kept_for_another_leg_however_large(tmp_path: Path) -> None:
    """Of a request that a helper process has parsed, from a file."""
    async with open_fleet(tmp_path, 2, models=story("openai_chat", "gemini")) as fleet:
        fleet.sims[0].behave(None, BROKEN_OFF)
        words = "word " * 60_000
        messages = [
            {"role": "system", "content": words},
            {"role": "user", "content": f"#sim tokens={TOKENS}\nTell me more."},
        ]
        call = fleet.call("story-gemini", messages=messages)
        body, receipt, error = await run(fleet.setup, call)
        [[first], [second]] = fleet.records()
        assert error is None
        assert content(body) == joined(first.text_written, second.text)
        assert len(orjson.dumps(second.request)) > len(words)
        check_both_billed(receipt, fleet)


async def test_whoever_can_is_asked_whether_or_not_it_was_planned(tmp_path: Path) -> None:
    """The plan of a request ends after so many attempts; who writes on is found when it is due."""
    models = story("openai_chat", "anthropic")
    async with open_fleet(tmp_path, 2, models=models, routing="attempts_max = 1") as fleet:
        fleet.sims[0].behave(None, BROKEN_OFF)
        call = fleet.call("story-anthropic", f"tokens={TOKENS}")
        body, receipt, _ = await run(fleet.setup, call)
        [[first], [second]] = fleet.records()
        assert content(body) == joined(first.text_written, second.text)
        check_both_billed(receipt, fleet)


async def test_a_stream_is_kept_alive_between_two_legs(tmp_path: Path) -> None:
    """What is delivered of the second is counted from behind that."""
    models = story("openai_chat", "anthropic")
    async with open_fleet(tmp_path, 2, models=models, server="heartbeat_s = 0.05") as fleet:
        fleet.sims[0].behave(None, BROKEN_OFF)
        fleet.sims[1].behave(None, "fault=stall cut_after=0")
        body = b""
        call = fleet.call("story-anthropic", f"tokens={TOKENS}")
        async with fleet.setup.gateway.open_exchange(call) as exchange:
            with trio.fail_after(30):
                async for chunk in exchange:
                    body += chunk
                    beats = body.rpartition(b"data: ")[2].count(b": keep-alive")
                    if beats > 2 and fleet.opened() == [1, 1]:
                        exchange.cancel()
        [[first], _] = fleet.records()
    assert content(body) == first.text_written
    assert finish_of(body) == LENGTH
    receipt = exchange.receipt
    assert receipt.delivered_output_tokens == receipt.usage["output_tokens"] == 10
