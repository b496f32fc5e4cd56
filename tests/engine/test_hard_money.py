"""Usage and funds at their worst: nothing is billed twice or given away, nothing goes unheld."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
import trio
import trio.testing

from engine import Outcome, Provenance
from tests.engine.upstream.peer import Request
from tests.gateways import (
    DOLLAR,
    charge,
    chat_body,
    content,
    events,
    run,
)
from tests.scripted import DONE, answering, event, open_scripted, usage, usage_only, word

# ---- usage ---------------------------------------------------------------------------------------


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


@pytest.mark.parametrize("stream", [True, False])
async def test_a_report_above_the_limit_is_a_fault_and_no_usage(
    tmp_path: Path, stream: bool
) -> None:
    """A request for 20 tokens cannot have cost 200 dollars, whatever is reported."""
    whole = {"choices": [{"message": {"content": " word" * 20}}], "usage": usage(10, 2**27)}
    body = word(" word") * 20 + usage_only(10, 2**27) + DONE if stream else orjson.dumps(whole)
    async with open_scripted(tmp_path, answering(body), funds_nanodollars=200 * DOLLAR) as setup:
        _, receipt, _ = await run(setup, setup.call(max_tokens=20, stream=stream))
        assert receipt.price_nanodollars == receipt.cost_nanodollars == charge(10, 20)
        assert (receipt.overrun_nanodollars, receipt.flags) == (0, ("usage_clamped",))
        assert await setup.balance() == 200 * DOLLAR - charge(10, 20)


async def test_text_proves_more_than_the_limit(tmp_path: Path) -> None:
    body = word(" word") * 50 + usage_only(10, 2**27) + DONE
    async with open_scripted(tmp_path, answering(body)) as setup:
        _, receipt, _ = await run(setup, setup.call(max_tokens=20))
        assert receipt.price_nanodollars == charge(10, 50)
        assert receipt.flags == ("usage_clamped",)


async def test_a_wrong_report_does_not_end_the_stream(tmp_path: Path) -> None:
    body = word(" word", usage=usage(2**27, 2**27)) + word(" word") * 20
    body += usage_only(10, 21) + DONE
    async with open_scripted(tmp_path, answering(body)) as setup:
        got, receipt, _ = await run(setup, setup.call(max_tokens=40))
        assert content(got) == " word" * 21
        assert receipt.price_nanodollars == charge(10, 21)
        assert receipt.flags == ("usage_clamped",)


async def test_tokens_that_are_not_seen_are_paid_from_what_the_account_has(tmp_path: Path) -> None:
    funds = charge(len(chat_body()), 2_100)
    body = word(" word") * 5 + usage_only(10, 50_000) + DONE
    async with open_scripted(tmp_path, answering(body), funds_nanodollars=funds) as setup:
        _, receipt, _ = await run(setup, setup.call())
        assert receipt.price_nanodollars == funds
        assert receipt.overrun_nanodollars == charge(10, 50_000) - funds
        assert await setup.balance() == 0


UNSEEN = """
[models.unseen]
deployments = [{ provider = "sim", model = "o3" }]
price = { input = 1, output = 2 }
"""


@pytest.mark.parametrize(
    ("changes", "held_tokens"),
    [({}, 100_000), ({"max_tokens": 5_000}, 5_000), ({"max_tokens": 100, "n": 3}, 300)],
)
async def test_what_a_model_thinks_unseen_is_held_at_once(
    tmp_path: Path, changes: dict[str, Any], held_tokens: int
) -> None:
    held = []

    def script(request: Request) -> None:
        held.append(setup.gateway.ledger.statistics().held_nanodollars)
        request.answer(word(" word") + usage_only(10, held_tokens) + DONE, ended=True)

    async with open_scripted(tmp_path, script, provider=UNSEEN) as setup:
        call = setup.call(model="unseen", **changes)
        _, receipt, _ = await run(setup, call)
        assert held == [charge(len(call.body), held_tokens)]
        assert receipt.price_nanodollars == charge(10, held_tokens)
        assert receipt.overrun_nanodollars == 0


@pytest.mark.parametrize(
    ("said", "flags"),
    [
        (usage(777, 0), ("usage_doubtful",)),
        (usage(777, None), ()),
        ({"prompt_tokens": 777}, ()),
        (usage(777, -5), ("usage_invalid",)),
        (usage(777, "20"), ("usage_invalid",)),
        (usage(777, 2**60), ("usage_invalid",)),
    ],
)
@pytest.mark.parametrize("stream", [True, False])
async def test_an_input_counts_without_its_output(
    tmp_path: Path, said: dict[str, object], flags: tuple[str, ...], stream: bool
) -> None:
    whole = {"choices": [{"message": {"content": " word" * 20}}], "usage": said}
    body = word(" word") * 20 + event(id="c1", choices=[], usage=said) + DONE
    answer = body if stream else orjson.dumps(whole)
    async with open_scripted(tmp_path, answering(answer)) as setup:
        _, receipt, _ = await run(setup, setup.call(stream=stream))
        assert receipt.price_nanodollars == charge(777, 20)
        assert receipt.usage_provenance == {
            "input_tokens": Provenance.REPORTED,
            "output_tokens": Provenance.COUNTED,
        }
        assert (receipt.provenance, receipt.flags) == (Provenance.COUNTED, flags)
        assert receipt.counted_by == "o200k_base"


async def test_an_output_counts_without_its_input(tmp_path: Path) -> None:
    body = word(" word") * 20 + usage_only("NaN", 21) + DONE
    async with open_scripted(tmp_path, answering(body)) as setup:
        _, receipt, _ = await run(setup, setup.call())
        assert receipt.usage["output_tokens"] == 21
        assert receipt.usage_provenance == {
            "input_tokens": Provenance.COUNTED,
            "output_tokens": Provenance.REPORTED,
        }
        assert (receipt.provenance, receipt.flags) == (Provenance.COUNTED, ("usage_invalid",))


async def test_media_behind_an_address_are_held_for(tmp_path: Path) -> None:
    image = {"type": "image_url", "image_url": {"url": "https://images.example/a.png"}}
    messages = [{"role": "user", "content": [image, image]}]
    body = word(" word") + usage_only(4_000, 1) + DONE
    funds = charge(len(chat_body(messages=messages, max_tokens=16)), 16) + charge(4_096, 0)
    async with open_scripted(tmp_path, answering(body), funds_nanodollars=funds) as setup:
        _, receipt, _ = await run(setup, setup.call(messages=messages, max_tokens=16))
        assert receipt.price_nanodollars == charge(4_000, 1)
        assert (receipt.overrun_nanodollars, receipt.flags) == (0, ())


# ---- funds ---------------------------------------------------------------------------------------


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
