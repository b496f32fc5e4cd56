"""More inputs than a deployment takes at once: several requests, one answer, one receipt."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
import trio

from engine.errors import GatewayError, InsufficientFundsError, InvalidRequestError
from engine.events import Call, Vector
from engine.ledger.receipts import Receipt
from engine.protocols.openai_embeddings.vectors import values_of
from tests.fleet import Fleet, model, open_fleet
from tests.gateways import DOLLAR, charge, run, settled
from tests.served import open_served, raw_request

TEXTS = [f"River {number} is long." for number in range(7)]
MOST = {"inputs_max": 3}
MODELS = (
    model("openai", {"provider": "sim0", "capabilities": MOST})
    + model("gemini", {"provider": "sim0-gemini", "capabilities": MOST})
    + model(
        "pair",
        {"provider": "sim0", "capabilities": MOST},
        {"provider": "sim1", "priority": 1, "capabilities": {"inputs_max": 4}},
    )
    + model("whole", "sim0")
)
ROLES = ["first", "part", "part"]
ROUTING = "attempts_max = 3\nbreaker = { failures = 0 }"


def openais(name: str, inputs: list[Any] = TEXTS, **more: Any) -> Call:
    return Call(orjson.dumps({"model": name, "input": inputs, **more}), None, "openai", "embed")


def geminis(name: str) -> Call:
    requests = [{"content": {"parts": [{"text": text}]}} for text in TEXTS]
    body = orjson.dumps({"requests": requests})
    return Call(body, None, "gemini", "embed_batch", model=name, stream=False)


async def ask(fleet: Fleet, call: Call) -> tuple[bytes, Receipt, GatewayError | None]:
    return await run(fleet.setup, replace(call, key=fleet.setup.key))


def vectors_of(body: bytes) -> list[Any]:
    document = orjson.loads(body)
    if "data" in document:
        assert [one["index"] for one in document["data"]] == list(range(len(document["data"])))
        return [list(values_of(one["embedding"])) for one in document["data"]]
    return [one["values"] for one in document["embeddings"]]


@pytest.mark.parametrize("name", ["openai", "gemini"])
@pytest.mark.parametrize("ask_of", [openais, geminis])
async def test_joined_in_order(tmp_path: Path, name: str, ask_of: Any) -> None:
    async with open_fleet(tmp_path, 2, models=MODELS) as fleet:
        body, receipt, error = await ask(fleet, ask_of(name))
        assert error is None
        found = vectors_of(body)
        assert len(found) == len(TEXTS)
        for at in (0, 4, 6):
            one, _, _ = await ask(fleet, openais(name, TEXTS[at : at + 1]))
            assert found[at] == pytest.approx(vectors_of(one)[0], abs=1e-7)
        tokens = [record.input_tokens for record in fleet.records()[0]][:3]
        assert receipt.usage["input_tokens"] == sum(tokens)
        assert [(row.role, row.outcome, row.won) for row in receipt.attempts] == [
            ("first", "completed", True),
            ("part", "completed", True),
            ("part", "completed", True),
        ]
        assert receipt.price_nanodollars == charge(sum(tokens), 0)
        assert sum(row.price_nanodollars for row in receipt.attempts) == charge(sum(tokens), 0)
        document = orjson.loads(body)
        usage = document.get("usage") or document["usageMetadata"]
        assert (usage.get("prompt_tokens") or usage["promptTokenCount"]) == sum(tokens)
        assert usage["cost"]


async def test_packed_vectors_and_tokens(tmp_path: Path) -> None:
    async with open_fleet(tmp_path, 2, models=MODELS) as fleet:
        inputs = [[number, 5] for number in range(7)]
        call = openais("openai", inputs, encoding_format="base64", dimensions=8)
        body, receipt, _ = await ask(fleet, call)
        whole, _, _ = await ask(
            fleet, openais("whole", inputs, encoding_format="base64", dimensions=8)
        )
        assert vectors_of(body) == vectors_of(whole)
        assert receipt.usage["input_tokens"] == 14


async def test_canonical_events_are_of_all(tmp_path: Path) -> None:
    async with open_fleet(tmp_path, 2, models=MODELS) as fleet:
        call = replace(openais("openai"), key=fleet.setup.key)
        async with fleet.setup.gateway.open_exchange(call) as exchange:
            found = [event async for event in exchange.events() if isinstance(event, Vector)]
        assert [event.index for event in found] == list(range(7))


def with_directives(part: int, words: str) -> list[str]:
    """The inputs, of which the last one of a part (from 0) tells the provider what to do."""
    texts = list(TEXTS)
    at = min(3 * part + 2, len(texts) - 1)
    texts[at] = f"#sim {words}\n{texts[at]}"
    return texts


async def assert_nothing_is_paid(fleet: Fleet, receipt: Receipt) -> None:
    assert receipt.price_nanodollars == 0
    assert not any(row.won or row.price_nanodollars for row in receipt.attempts)
    assert await fleet.setup.balance() == DOLLAR


@pytest.mark.parametrize("part", [0, 1, 2])
@pytest.mark.parametrize("fault", ["status=500", "cut_after=0 fault=rst"])
async def test_a_part_that_fails_again_and_again(tmp_path: Path, part: int, fault: str) -> None:
    """Those before it are the house's cost."""
    async with open_fleet(tmp_path, 2, models=MODELS, routing=ROUTING) as fleet:
        call = openais("openai", with_directives(part, fault))
        body, receipt, error = await ask(fleet, call)
        assert error is not None
        assert body == b""
        assert [row.role for row in receipt.attempts] == [*ROLES[: part + 1], "retry"]
        answered = [row for row in receipt.attempts if row.outcome == "completed"]
        assert len(answered) == part
        assert receipt.cost_nanodollars == sum(row.cost_nanodollars for row in answered)
        assert bool(receipt.cost_nanodollars) == bool(part)
        await assert_nothing_is_paid(fleet, receipt)


@pytest.mark.parametrize("part", [0, 1, 2])
async def test_a_part_is_asked_for_once_more(tmp_path: Path, part: int) -> None:
    """Whoever answers the part before is slow, so that there is time to fail the one after it."""
    async with open_fleet(tmp_path, 2, models=MODELS, routing=ROUTING) as fleet:
        sim, texts = fleet.sims[0], with_directives(part - 1, "first_token_ms=100")
        found: list[tuple[bytes, Receipt, GatewayError | None]] = []

        async def call() -> None:
            found.append(await ask(fleet, openais("openai", texts if part else TEXTS)))

        async with trio.open_nursery() as nursery:
            if not part:
                sim.behave(None, "status=500")
            nursery.start_soon(call)
            await settled(lambda: sim.truth.opened == max(part, 1))
            sim.behave(None, "" if not part else "status=500")
            if part:
                await settled(lambda: sim.truth.opened == part + 1)
                sim.behave(None)
        [(body, receipt, error)] = found
        assert error is None
        assert len(vectors_of(body)) == len(TEXTS)
        roles = [row.role for row in receipt.attempts]
        assert roles == [*ROLES[: part + 1], "retry"] + ["part"] * (2 - part)
        assert [row.won for row in receipt.attempts].count(False) == 1
        assert receipt.price_nanodollars == charge(receipt.usage["input_tokens"], 0)


@pytest.mark.parametrize("part", [1, 2])
async def test_another_deployment_begins_anew(tmp_path: Path, part: int) -> None:
    """So that an answer never has vectors of two models; it takes more at once."""
    async with open_fleet(tmp_path, 2, models=MODELS, routing=ROUTING) as fleet:
        sim, texts = fleet.sims[0], with_directives(part - 1, "first_token_ms=100")
        found: list[tuple[bytes, Receipt, GatewayError | None]] = []

        async def call() -> None:
            found.append(await ask(fleet, openais("pair", texts)))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(call)
            await settled(lambda: sim.truth.opened == part)
            sim.behave(None, "status=500")
        [(body, receipt, error)] = found
        assert error is None
        assert len(vectors_of(body)) == len(TEXTS)
        *failed, first, last = receipt.attempts
        assert [(row.provider, row.role, row.won) for row in (first, last)] == [
            ("sim1", "fallback", True),
            ("sim1", "part", True),
        ]
        assert not any(row.won or row.price_nanodollars for row in failed)
        answered = sum(row.outcome == "completed" for row in failed)
        assert answered == part
        tokens = [record.input_tokens for record in fleet.records()[1]]
        assert receipt.usage["input_tokens"] == sum(tokens)
        assert receipt.price_nanodollars == charge(sum(tokens), 0)
        assert receipt.cost_nanodollars > receipt.price_nanodollars, "the house pays the rest"


@pytest.mark.parametrize("part", [0, 1, 2])
@pytest.mark.parametrize("on_cancel", ["stop", "drain"])
async def test_a_client_that_leaves(tmp_path: Path, part: int, on_cancel: str) -> None:
    models = (
        '[models.slow]\ndeployments = [{ provider = "sim", model = "sim-openai", '
        "capabilities = { inputs_max = 3 } }]\nprice = { input = 1, output = 0 }"
    )
    texts = with_directives(part, "first_token_ms=500")
    body = orjson.dumps({"model": "slow", "input": texts})
    provider = f'on_cancel = "{on_cancel}"'
    async with open_served(tmp_path, models=models, provider=provider) as served:
        truth = served.setup.sim.truth
        async with await trio.open_tcp_stream("127.0.0.1", served.port) as stream:
            await stream.send_all(raw_request(served, "/v1/embeddings", body))
            await settled(lambda: truth.opened == part + 1)
        await settled(lambda: served.setup.gateway.open_exchanges == 0)
        last = truth.records()[-1]
        await settled(lambda: last.ended is not None)
        assert last.ended == ("reset" if on_cancel == "stop" else "done")
        receipt = await served.receipt(last.request_id)
        assert receipt["outcome"] == "client_left"
        assert receipt["price"]["nanodollars"] == 0
        assert len(receipt["attempts"]) == truth.opened == part + 1
        assert await served.setup.balance() == DOLLAR


async def test_what_a_crash_in_the_middle_would_bill(tmp_path: Path) -> None:
    """Nothing: the cost of what was answered is the house's."""
    async with open_fleet(tmp_path, 2, models=MODELS) as fleet:
        texts = with_directives(1, "first_token_ms=60000")
        call = replace(openais("openai", texts), key=fleet.setup.key)
        async with (
            fleet.setup.gateway.open_exchange(call) as exchange,
            trio.open_nursery() as tasks,
        ):
            tasks.start_soon(exchange.head)
            await settled(lambda: fleet.opened() == [2, 0])
            entry = exchange.progress()
            tasks.cancel_scope.cancel()
        assert entry is not None
        assert entry.charge_nanodollars == 0
        [ended] = entry.ended
        assert (ended.won, ended.price_nanodollars) == (False, 0)
        assert ended.cost_nanodollars == sum(cost.amount_nanodollars for cost in entry.costs) > 0
        await assert_nothing_is_paid(fleet, exchange.receipt)


async def test_too_many_parts(tmp_path: Path) -> None:
    async with open_fleet(tmp_path, 2, models=MODELS) as fleet:
        with pytest.raises(InvalidRequestError, match="takes 192 inputs") as refused:
            await ask(fleet, openais("openai", ["a"] * (3 * 64 + 1)))
        assert refused.value.param == "input"
        assert fleet.opened() == [0, 0]


async def test_funds_cover_all_parts_or_nobody_is_asked(tmp_path: Path) -> None:
    async with open_fleet(tmp_path, 2, models=MODELS, funds_nanodollars=100_000) as fleet:
        await ask(fleet, openais("openai", TEXTS[:3]))
        with pytest.raises(InsufficientFundsError):
            await ask(fleet, openais("openai"))
        assert fleet.opened() == [1, 0]


async def test_large_bodies(tmp_path: Path) -> None:
    """That are parsed in another process, and wait in a file."""
    texts = [f"{number} " + "a river " * 900 for number in range(600)]
    models = model("large", {"provider": "sim", "capabilities": {"inputs_max": 100}})
    body = orjson.dumps({"model": "large", "input": texts, "dimensions": 2})
    async with (
        open_served(tmp_path, models=models, funds_nanodollars=9 * DOLLAR) as served,
        served.http() as client,
    ):
        assert len(body) > 4 * 1024 * 1024
        answer = await client.post("/embeddings", content=body)
        assert answer.status_code == 200, answer.text
        assert len(vectors_of(answer.content)) == 600
        tokens = [record.input_tokens for record in served.setup.sim.truth.records()]
        assert len(tokens) == 6
        assert answer.json()["usage"]["prompt_tokens"] == sum(tokens)
