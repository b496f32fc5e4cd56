"""A batch from its file to its receipt: held for, asked for, followed, read, charged."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from engine import Call
from engine.errors import GatewayError, InsufficientFundsError, InvalidRequestError
from engine.events import new_request_id
from engine.file_ids import new_file_id, shown_file_id
from engine.owned import HeldRef
from engine.protocols.batches.requests import BatchLineError
from tests.batched import (
    INPUT_NANODOLLARS,
    MODEL,
    OUTPUT_NANODOLLARS,
    POLLED,
    ask,
    batch_call,
    charge,
    file_of,
    keep_input,
    open_batched,
    receipt_of,
    request,
    seen,
    shown,
    stored_lines,
    told,
)
from tests.filed import Filed
from tests.gateways import DOLLAR, run, settled


async def refused(filed: Filed, call: Call) -> GatewayError:
    """What a call is refused with, whatever was begun of it undone."""
    with pytest.raises(GatewayError) as caught:
        await run(filed.setup, call)
    assert filed.gateway._parts.spool.used_bytes == 0
    assert len(filed.setup.sim.kept) == 0
    return caught.value


async def test_a_batch_is_charged_by_its_answers(tmp_path: Path) -> None:
    async with open_batched(tmp_path, jobs=POLLED) as filed:
        lines = [told(0, "tokens=3"), told(1, "tokens=4"), told(2, "status=500")]
        document, receipt = await ask(filed, lines)

        assert document["status"] == "validating"
        assert (await receipt_of(filed, receipt)).state == "settling"
        ended = await seen(filed, receipt)

        assert (ended.outcome, ended.state, ended.flags) == ("completed", "settled", ())
        assert ended.usage["output_tokens"] == 7
        assert ended.provenance == "reported"
        assert ended.price_nanodollars == charge(ended)
        assert await filed.setup.balance() == DOLLAR - charge(ended)

        batch = await shown(filed, document["id"])
        assert batch["status"] == "completed"
        assert batch["input_file_id"] == document["input_file_id"]
        good = await stored_lines(filed, batch["output_file_id"])
        assert {line["custom_id"] for line in good} == {"id-0", "id-1"}
        assert {line["response"]["body"]["model"] for line in good} == {MODEL}
        (bad,) = await stored_lines(filed, batch["error_file_id"])
        assert (bad["custom_id"], bad["response"]["status_code"]) == ("id-2", 500)


async def test_all_that_it_can_come_to_is_held_at_what_batches_cost(tmp_path: Path) -> None:
    async with open_batched(tmp_path, jobs=POLLED) as filed:
        filed.setup.sim.behave("batches.create", "job=never")
        lines = [told(number, "tokens=3") for number in range(3)]
        _, receipt = await ask(filed, lines)

        bodies = sum(len(orjson.dumps(line["body"])) for line in lines)
        most = bodies * INPUT_NANODOLLARS + 300 * OUTPUT_NANODOLLARS
        assert filed.gateway.ledger.statistics().held_nanodollars == most
        (job,) = filed.gateway._parts.jobs.open.values()
        filed.gateway._parts.jobs.give_up(job)
        assert (await receipt_of(filed, receipt)).price_nanodollars == 0


@pytest.mark.parametrize(
    ("told_end", "outcome", "status", "done"),
    [
        ("job=expired progress=50", "deadline", "expired", 2),
        ("job=failed", "upstream_failed", "failed", 0),
    ],
)
async def test_what_was_done_is_charged_however_it_ended(
    tmp_path: Path, told_end: str, outcome: str, status: str, done: int
) -> None:
    async with open_batched(tmp_path, jobs=POLLED) as filed:
        filed.setup.sim.behave("batches.create", f"end_polls=1 {told_end}")
        lines = [told(number, "tokens=3") for number in range(4)]
        document, receipt = await ask(filed, lines)
        ended = await seen(filed, receipt)

        assert (ended.outcome, ended.usage.get("output_tokens", 0)) == (outcome, 3 * done)
        assert ended.price_nanodollars == charge(ended)
        assert await filed.setup.balance() == DOLLAR - charge(ended)
        batch = await shown(filed, document["id"])
        assert batch["status"] == status
        assert (batch["output_file_id"] is None) is (done == 0)


async def test_what_was_done_before_a_cancel_is_charged(tmp_path: Path) -> None:
    async with open_batched(tmp_path, jobs=POLLED) as filed:
        filed.setup.sim.behave("batches.create", "job=never progress=50")
        document, receipt = await ask(filed, [told(0, "tokens=3"), told(1, "tokens=3")])
        kept = filed.setup.sim.kept.any("batch", document["id"])
        assert kept is not None
        kept.more.course.cancel()

        ended = await seen(filed, receipt)
        assert (ended.outcome, ended.usage["output_tokens"]) == ("client_left", 3)
        assert ended.price_nanodollars == charge(ended)
        assert (await shown(filed, document["id"]))["status"] == "cancelled"


async def test_an_answer_without_usage_is_not_charged_and_the_receipt_says_so(
    tmp_path: Path,
) -> None:
    async with open_batched(tmp_path, jobs=POLLED) as filed:
        _, receipt = await ask(filed, [told(0, "tokens=3"), told(1, "tokens=3 usage=none")])
        ended = await seen(filed, receipt)

        assert ended.usage["output_tokens"] == 3
        assert ended.flags == ("batch_usage_missing",)
        assert ended.price_nanodollars == charge(ended)


async def test_it_has_not_ended_for_its_client_before_it_is_settled(tmp_path: Path) -> None:
    async with open_batched(tmp_path, jobs=POLLED.replace("0.01", "30")) as filed:
        document, _ = await ask(filed, [told(0, "tokens=3")])
        kept = filed.setup.sim.kept.any("batch", document["id"])
        assert kept is not None
        kept.value |= {"status": "completed", "completed_at": 1, "output_file_id": "file-there"}

        batch = await shown(filed, document["id"])

        assert (batch["status"], batch["completed_at"]) == ("finalizing", None)
        assert (batch["output_file_id"], batch["error_file_id"]) == (None, None)
        (job,) = filed.gateway._parts.jobs.open.values()
        filed.gateway._parts.jobs.give_up(job)


async def test_the_batch_is_its_accounts_from_its_answer_on(tmp_path: Path) -> None:
    async with open_batched(tmp_path, jobs=POLLED) as filed:
        document, receipt = await ask(filed, [told(0, "tokens=3")])
        owners, account_id = filed.gateway._parts.owners, filed.setup.account_id

        (row,) = await owners.find(account_id, [HeldRef(document["id"], "batch", "id")])
        assert (row.provider, row.model, row.kind) == ("keeper", MODEL, "batch")
        await seen(filed, receipt)


async def test_the_same_key_of_idempotency_gives_the_same_batch(tmp_path: Path) -> None:
    async with open_batched(tmp_path, jobs=POLLED) as filed:
        file_id = await keep_input(filed, file_of(told(0, "tokens=3")))
        call = replace(batch_call(filed, file_id), idempotency_key="once")
        body, receipt, _ = await run(filed.setup, call)
        again, _, _ = await run(filed.setup, replace(call, request_id=new_request_id()))

        assert again == body
        assert len(filed.setup.sim.kept) == 1
        await seen(filed, receipt)


async def test_what_there_is_no_room_for_stays_with_the_provider(tmp_path: Path) -> None:
    async with open_batched(tmp_path, jobs=POLLED, files="account_max_bytes = 1000") as filed:
        document, receipt = await ask(filed, [told(0, "tokens=300")])
        ended = await seen(filed, receipt)

        assert ended.price_nanodollars == charge(ended)
        batch = await shown(filed, document["id"])
        row = await filed.gateway.files.find(filed.setup.account_id, batch["output_file_id"])
        assert (row.origin, row.purpose) == ("provider", "batch_output")
        copy = await filed.gateway.ledger.first_copy(row.file_id)
        assert copy is not None
        held = copy.provider_file_id
        there = next(each for each in filed.setup.sim.files if each.file_id == held)
        assert row.size_bytes == len(there.data)


async def test_nobody_is_sent_what_is_not_paid_for(tmp_path: Path) -> None:
    async with open_batched(tmp_path, funds_nanodollars=1_000) as filed:
        file_id = await keep_input(filed, file_of(told(0, "tokens=3")))

        assert isinstance(await refused(filed, batch_call(filed, file_id)), InsufficientFundsError)
        assert filed.setup.sim.files.uploads == 0


@pytest.mark.parametrize(
    ("model", "says"),
    [("dear", "no price for batches"), ("by-anthropic", "takes no batches"), ("none", "none")],
)
async def test_models_that_are_in_no_batch(tmp_path: Path, model: str, says: str) -> None:
    async with open_batched(tmp_path) as filed:
        file_id = await keep_input(filed, file_of(told(0, "tokens=3", model=model)))
        error = await refused(filed, batch_call(filed, file_id))

        assert says in error.message
        assert filed.setup.sim.files.uploads == 0


async def test_a_line_that_cannot_be_served_is_named(tmp_path: Path) -> None:
    async with open_batched(tmp_path) as filed:
        lines = [request(0), request(1, messages=None)]
        error = await refused(filed, batch_call(filed, await keep_input(filed, file_of(*lines))))

        assert isinstance(error, BatchLineError)
        assert error.message.startswith("Line 2 ")


async def test_whose_file_it_is_nobody_is_told(tmp_path: Path) -> None:
    async with open_batched(tmp_path) as filed:
        other = await filed.gateway.ledger.create_account("other")
        async with filed.gateway.files.open_upload(other.account_id, 10**9) as upload:
            await upload.append(file_of(request()))
            theirs = await upload.finish(filename="x", purpose="batch", mime_type="text/plain")
        refusals = [
            await refused(filed, batch_call(filed, shown_file_id(file_id, "openai")))
            for file_id in (theirs.file_id, new_file_id())
        ]

        assert [(error.status, error.param) for error in refusals] == [(404, "input_file_id")] * 2
        assert {error.message.partition("'")[0] for error in refusals} == {
            refusals[0].message.partition("'")[0]
        }


@pytest.mark.parametrize(
    ("said", "param"),
    [
        ({"endpoint": "/v1/images"}, "endpoint"),
        ({"endpoint": 7}, "endpoint"),
        ({"completion_window": None}, "completion_window"),
        ({"prompt": "x"}, "prompt"),
        ({"input_file_id": ""}, "input_file_id"),
        ({"input_file_id": {"a": 1}}, "input_file_id"),
    ],
)
async def test_what_a_batch_does_not_say_right(
    tmp_path: Path, said: dict[str, Any], param: str
) -> None:
    async with open_batched(tmp_path) as filed:
        file_id = await keep_input(filed, file_of(request()))
        error = await refused(filed, batch_call(filed, file_id, **said))

        assert isinstance(error, InvalidRequestError)
        assert error.param == param


async def test_a_file_for_something_else_is_no_batch(tmp_path: Path) -> None:
    async with open_batched(tmp_path) as filed:
        file_id = await keep_input(filed, file_of(request()), "user_data")
        error = await refused(filed, batch_call(filed, file_id))

        assert "'user_data'" in error.message


async def test_another_deployment_gets_a_file_of_its_own(tmp_path: Path) -> None:
    async with open_batched(tmp_path, jobs=POLLED, keys=("key-1", "key-2")) as filed:
        filed.setup.sim.behave("batches.create", "status=401 times=1")
        document, receipt = await ask(filed, [told(0, "tokens=3")])
        ended = await seen(filed, receipt)

        kept = filed.setup.sim.kept.any("batch", document["id"])
        assert kept is not None
        uploads = [each for each in filed.setup.sim.files if each.purpose == "batch"]
        assert {each.key for each in uploads} == {"key-1", "key-2"}
        assert len(ended.attempts) == 2
        assert ended.price_nanodollars == charge(ended)
        await settled(lambda: not filed.gateway._parts.jobs.open)


RESPONSES = "/v1/responses"


def answer(number: int, **body: Any) -> dict[str, Any]:
    """A request for a response."""
    said = {"model": MODEL, "input": "#sim tokens=3\nTell me more.", "max_output_tokens": 50}
    return request(number, RESPONSES) | {"body": {**said, **body}}


async def response_of(filed: Filed, batch_id: str) -> dict[str, Any]:
    """The only answer of a batch that has ended."""
    batch = await shown(filed, batch_id)
    (line,) = await stored_lines(filed, batch["output_file_id"])
    response: dict[str, Any] = line["response"]["body"]
    return response


async def test_who_had_responses_in_a_batch_goes_on_from_them(tmp_path: Path) -> None:
    async with open_batched(tmp_path, jobs=POLLED) as filed:
        document, receipt = await ask(filed, [answer(0)], endpoint=RESPONSES)
        await seen(filed, receipt)
        before = (await response_of(filed, document["id"]))["id"]

        lines = [answer(0, previous_response_id=before)]
        document, receipt = await ask(filed, lines, endpoint=RESPONSES)
        await seen(filed, receipt)

        response = await response_of(filed, document["id"])
        assert response["previous_response_id"] == before


async def test_lines_name_nothing_that_is_not_the_accounts(tmp_path: Path) -> None:
    async with open_batched(tmp_path) as filed:
        lines = [answer(0), answer(1, previous_response_id="resp_0123456789abcdef")]
        file_id = await keep_input(filed, file_of(*lines))
        error = await refused(filed, batch_call(filed, file_id, endpoint=RESPONSES))

        assert isinstance(error, BatchLineError)
        assert (error.number, error.code) == (2, "not_found")
        assert "body.previous_response_id" in error.message


async def test_lines_that_name_what_another_key_has_are_asked_with_that_key(
    tmp_path: Path,
) -> None:
    async with open_batched(tmp_path, jobs=POLLED, keys=("key-1", "key-2")) as filed:
        kept = filed.setup.sim.kept
        filed.setup.sim.behave("batches.create", "status=401 times=1")
        document, receipt = await ask(filed, [answer(0)], endpoint=RESPONSES)
        await seen(filed, receipt)
        there = kept.any("batch", document["id"])
        assert there is not None
        response = await response_of(filed, document["id"])

        for _ in range(4):
            lines = [answer(0, previous_response_id=response["id"])]
            document, receipt = await ask(filed, lines, endpoint=RESPONSES)
            await seen(filed, receipt)
            after = kept.any("batch", document["id"])
            assert after is not None
            assert after.key == there.key


async def test_who_has_as_much_at_providers_as_may_be_makes_no_batch(tmp_path: Path) -> None:
    more = "[state]\nids_per_account_max = 1\n"
    async with open_batched(tmp_path, jobs=POLLED, more=more) as filed:
        _, receipt = await ask(filed, [told(0, "tokens=3")])
        await seen(filed, receipt)

        with pytest.raises(GatewayError) as caught:
            await ask(filed, [told(0, "tokens=3")])
        assert (caught.value.status, caught.value.code) == (429, "owned_ids_limit_exceeded")
        assert len(filed.setup.sim.kept) == 1
