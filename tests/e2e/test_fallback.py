"""A provider fails before anything of its answer has gone out: another one answers instead."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import orjson
import pytest
import trio

from engine import Exchange, Outcome
from engine.errors import GatewayError, UpstreamError
from engine.events import Call, Protocol
from engine.ledger.receipts import Receipt
from engine.uploads import Upload
from tests.engine.upstream.proxy import open_server
from tests.fleet import SUFFIXES, Fleet, model, open_fleet, open_front
from tests.gateways import PROTOCOLS, charge, content, drain, settled

NO_BREAKER = "breaker = { failures = 0 }"
BEAT = b": keep-alive\n\n"


def pair(name: str, first: str, second: str = "sim1", **settings: object) -> str:
    """A model whose first deployment is always asked first."""
    return model(name, first, {"provider": second, "priority": 1}, **settings)


@dataclass(frozen=True, slots=True)
class Answered:
    """What became of one call."""

    body: bytes
    headers: dict[bytes, bytes]
    receipt: Receipt
    error: GatewayError | None


async def ask(fleet: Fleet, call: Call) -> Answered:
    body, headers, error = b"", dict[bytes, bytes](), None
    async with fleet.setup.gateway.open_exchange(call) as exchange:
        try:
            headers = dict((await exchange.head()).headers)
            body = await drain(exchange)
        except GatewayError as caught:
            error = caught
    return Answered(body, headers, exchange.receipt, error)


def text_of(answer: Answered) -> str:
    """Of an answer of OpenAI's, as a stream or in one piece."""
    if answer.receipt.stream:
        return content(answer.body)
    return str(orjson.loads(answer.body)["choices"][0]["message"]["content"])


FAULTS = {
    "status=429 retry_after=0": "rate_limit_exceeded",
    "status=500": None,
    "status=503 retry_after=0": None,
    "status=529 retry_after=0": None,
    "status=408": None,
    "fault=goaway_refused": "upstream_lost",
    "fault=refused": "upstream_lost",
    "cut_after=0 fault=cut": None,
    "cut_after=0 fault=rst": None,
    "cut_after=0 fault=eof": None,
}
"""What the first provider does; the code on the receipt, where that is ours."""


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "one piece"])
async def test_whatever_fails_before_the_first_byte(tmp_path: Path, stream: bool) -> None:
    """The client notices nothing but the headers, and pays the second provider's answer only."""
    models = pair("pair", "sim0") + pair("unreachable", "dead") + pair("untrusted", "foreign")
    async with open_fleet(tmp_path, 2, models=models, routing=NO_BREAKER) as fleet:
        cases = [("pair", fault) for fault in FAULTS] + [("unreachable", ""), ("untrusted", "")]
        for name, fault in cases:
            fleet.sims[0].behave(None, fault)
            answer = await ask(fleet, fleet.call(name, "tokens=4", stream=stream))
            receipt, case = answer.receipt, f"{name} {fault}"
            served = fleet.sims[1].truth.record(receipt.request_id)
            assert answer.error is None, case
            assert served is not None, case
            assert text_of(answer) == served.text, case
            assert_fell_back(answer, name, case)
            assert receipt.outcome is Outcome.COMPLETED, case
            assert receipt.price_nanodollars == charge(served.input_tokens, 4), case
            if FAULTS.get(fault):
                assert receipt.attempts[0].outcome == FAULTS[fault], case


def assert_fell_back(answer: Answered, name: str, case: str) -> None:
    """From the first deployment to the second, by all that is told of it."""
    first = {"pair": "sim0", "unreachable": "dead", "untrusted": "foreign"}[name]
    headers, receipt = answer.headers, answer.receipt
    assert headers[b"x-parshall-provider"] == b"sim1", case
    assert headers[b"x-fallback-from"] == f"{first}/sim-openai".encode(), case
    assert headers[b"x-fallback-depth"] == b"1", case
    assert headers[b"x-model-used"] == b"sim-openai", case
    *failed, last = receipt.attempts
    assert {attempt.provider for attempt in failed} == {first}, case
    assert (last.provider, last.outcome, last.role) == ("sim1", "completed", "fallback"), case
    assert [attempt.number for attempt in receipt.attempts] == [
        number + 1 for number in range(len(receipt.attempts))
    ], case
    assert receipt.provider == "sim1", case
    assert receipt.cost_nanodollars == sum(a.cost_nanodollars for a in receipt.attempts), case


async def test_a_provider_that_does_not_begin_in_time(tmp_path: Path) -> None:
    """No byte of it puts the moment off: its head had come."""
    routing = f"{NO_BREAKER}\nfirst_token_timeout_s = 0.2"
    async with open_fleet(tmp_path, 2, models=pair("pair", "sim0"), routing=routing) as fleet:
        for slow in ("head_ms=60000", "first_token_ms=60000"):
            fleet.sims[0].behave(None, slow)
            answer = await ask(fleet, fleet.call("pair", "tokens=3"))
            served = fleet.sims[1].truth.record(answer.receipt.request_id)
            assert served is not None
            assert content(answer.body) == served.text
            assert [a.outcome for a in answer.receipt.attempts] == ["upstream_timeout", "completed"]
        await settled(lambda: all(record.ended for record in fleet.records()[0]), 30.0)


async def test_a_key_that_is_refused(tmp_path: Path) -> None:
    """It is left alone from then on: the next request does not try it."""
    async with open_fleet(tmp_path, 2, models=pair("pair", "sim0"), routing=NO_BREAKER) as fleet:
        fleet.sims[0].behave(None, "status=401")
        first = await ask(fleet, fleet.call("pair", "tokens=3"))
        second = await ask(fleet, fleet.call("pair", "tokens=3"))
        assert [a.provider for a in first.receipt.attempts] == ["sim0", "sim1"]
        assert [a.provider for a in second.receipt.attempts] == ["sim1"]
        assert b"x-fallback-from" not in second.headers
        assert fleet.opened() == [1, 2]


@pytest.mark.parametrize("status", [400, 413, 422])
async def test_a_request_that_is_refused_is_not_asked_again(tmp_path: Path, status: int) -> None:
    async with open_fleet(tmp_path, 2, models=pair("pair", "sim0")) as fleet:
        fleet.sims[0].behave(None, f"status={status}")
        answer = await ask(fleet, fleet.call("pair"))
        assert isinstance(answer.error, UpstreamError)
        assert answer.error.status == status
        assert fleet.opened() == [1, 0]


async def test_all_that_are_planned_fail(tmp_path: Path) -> None:
    """The client is told of who says when to come again, and pays nothing."""
    models = model(
        "three", "sim0", {"provider": "sim1", "priority": 1}, {"provider": "dead", "priority": 2}
    )
    async with open_fleet(tmp_path, 2, models=models, routing=NO_BREAKER) as fleet:
        fleet.sims[0].behave(None, "status=429 retry_after=7")
        fleet.sims[1].behave(None, "status=503 retry_after=20")
        answer = await ask(fleet, fleet.call("three"))
        assert answer.error is not None
        assert (answer.error.status, answer.error.retry_after_s) == (429, 7.0)
        receipt = answer.receipt
        assert [attempt.provider for attempt in receipt.attempts] == ["sim0", "sim1", "dead"]
        assert (receipt.outcome, receipt.price_nanodollars) == (Outcome.UPSTREAM_FAILED, 0)
        assert receipt.cost_nanodollars == 0


async def test_other_models_stand_in(tmp_path: Path) -> None:
    """At their own price, and by their own name on the receipt."""
    models = model("main", "sim0", fallbacks=["dearer"]) + model(
        "dearer", "sim1-anthropic", price={"input": 3, "output": 6}
    )
    async with open_fleet(tmp_path, 2, models=models, routing=NO_BREAKER) as fleet:
        fleet.sims[0].behave(None, "fault=refused")
        answer = await ask(fleet, fleet.call("main", "tokens=5"))
        served = fleet.sims[1].truth.record(answer.receipt.request_id)
        assert served is not None
        assert content(answer.body) == served.text
        receipt = answer.receipt
        assert receipt.model == "main"
        assert receipt.model_used == "sim-anthropic"
        assert receipt.route is not None
        assert receipt.route.served == "dearer"
        assert receipt.price_nanodollars == 3 * charge(served.input_tokens, 5)


@pytest.mark.parametrize("client", PROTOCOLS)
async def test_nothing_of_a_failed_attempt_reaches_the_client(
    tmp_path: Path, client: Protocol
) -> None:
    """Neither before a client has waited long enough for its head nor after: then it has got
    comments, and no more."""
    suffix = SUFFIXES[client]
    early = "commit_after_s = 0.05\nheartbeat_s = 0.05"
    models = pair("pair", f"sim0{suffix}", f"sim1{suffix}")
    for server, fault in (("", "cut_after=0 fault=cut"), (early, "fault=stall cut_after=0")):
        folder = tmp_path / ("early" if server else "late")
        folder.mkdir()
        routing = f"{NO_BREAKER}\nfirst_token_timeout_s = {0.5 if server else 60}"
        async with open_fleet(folder, 2, models=models, server=server, routing=routing) as fleet:
            fleet.sims[0].behave(None, fault)
            answer = await ask(fleet, fleet.call("pair", "tokens=4", client=client))
            fleet.sims[0].behave(None, "")
            fleet.sims[1].behave(None, "")
            served = fleet.sims[1].truth.record(answer.receipt.request_id)
            assert served is not None
            assert answer.receipt.outcome is Outcome.COMPLETED
            told = answer.body.replace(BEAT, b"")
            assert told.count(b"message_start") == (2 if client == "anthropic" else 0)
            assert told.count(b"response.created") == (2 if client == "openai_responses" else 0)
            assert told.count(b'"role":"assistant"') <= 3
            if server and client != "gemini":
                assert answer.body.startswith(BEAT)
                assert b"x-parshall-provider" not in answer.headers


async def test_events_are_of_the_attempt_that_serves(tmp_path: Path) -> None:
    async with open_fleet(tmp_path, 2, models=pair("pair", "sim0"), routing=NO_BREAKER) as fleet:
        fleet.sims[0].behave(None, "cut_after=0 fault=cut")
        call = fleet.call("pair", "tokens=4")
        async with fleet.setup.gateway.open_exchange(call) as exchange:
            told = [event async for event in exchange.events()]
        kinds = [type(event).__name__ for event in told]
        assert kinds.count("Begin") == 1
        assert kinds.count("TextDelta") >= 1
        assert len(exchange.receipt.attempts) > 1


async def test_a_full_outage_is_not_made_worse(tmp_path: Path) -> None:
    """Of each deployment's first dispatches a fifth at most is sent again, and one."""
    async with open_fleet(tmp_path, 2, models=pair("pair", "sim0"), routing=NO_BREAKER) as fleet:
        for sim in fleet.sims:
            sim.behave(None, "status=500")
        first = [0, 0]
        for _ in range(30):
            answer = await ask(fleet, fleet.call("pair"))
            assert answer.error is not None
            for attempt in answer.receipt.attempts:
                first[int(attempt.provider[-1])] += attempt.role != "retry"
        for opened, dispatched in zip(fleet.opened(), first, strict=True):
            assert dispatched == 30
            assert dispatched < opened <= 1.2 * dispatched + 1


async def test_the_breaker_opens_and_lets_one_through(tmp_path: Path) -> None:
    """A deployment that fails again and again is left alone; the requests notice nothing."""
    routing = "retry_share_max = 0\nbreaker = { failures = 5, open_s = 0.2, open_max_s = 0.2 }"
    async with open_fleet(tmp_path, 2, models=pair("pair", "sim0"), routing=routing) as fleet:
        fleet.sims[0].behave(None, "status=500")
        for _ in range(5):
            assert (await ask(fleet, fleet.call("pair", "tokens=2"))).error is None
        met = fleet.opened()[0]
        health = fleet.setup.gateway._parts.health
        deployment = fleet.setup.gateway.running.rules.catalogue["pair"].deployments[0]
        assert health.of(deployment).breaker.generation >= 1
        fleet.sims[0].behave(None, "")
        served = ""

        async def ask_again() -> str:
            answer = await ask(fleet, fleet.call("pair", "tokens=2"))
            assert answer.error is None
            return answer.receipt.provider or ""

        with trio.fail_after(30):
            while served != "sim0":
                served = await ask_again()
                await trio.sleep(0.01)
        assert fleet.opened()[0] > met


async def test_nobody_is_left(tmp_path: Path) -> None:
    """All breakers are open: the refusal comes at once, with when to come again."""
    routing = "breaker = { failures = 1, open_s = 60, open_max_s = 60 }"
    async with open_fleet(tmp_path, 1, models=model("one", "sim0"), routing=routing) as fleet:
        fleet.sims[0].behave(None, "status=500")
        failed = await ask(fleet, fleet.call("one"))
        assert failed.error is not None
        met = fleet.opened()
        with pytest.raises(GatewayError) as refused:
            await ask(fleet, fleet.call("one"))
        assert (refused.value.status, refused.value.code) == (503, "model_unavailable")
        assert refused.value.retry_after_s is not None
        assert 1 <= refused.value.retry_after_s <= 72
        assert fleet.opened() == met


async def test_who_leaves_between_two_attempts_pays_nothing(tmp_path: Path) -> None:
    """The first has failed, the second is not there yet: nothing is left of the request."""
    async with open_fleet(
        tmp_path, 1, models=model("one", "sim0"), routing=f"{NO_BREAKER}\nretry_wait_max_s = 60"
    ) as fleet:
        fleet.sims[0].behave(None, "status=503 retry_after=60")
        seen: list[Exchange] = []
        with trio.CancelScope() as waiting:
            async with trio.open_nursery() as nursery:

                async def leave() -> None:
                    await settled(lambda: any(seen[0].receipt.attempts), 30.0)
                    await settled(lambda: seen[0].receipt.attempts[0].outcome != "running", 30.0)
                    waiting.cancel()

                call = fleet.call("one")
                async with fleet.setup.gateway.open_exchange(call) as exchange:
                    seen.append(exchange)
                    nursery.start_soon(leave)
                    await exchange.head()
        receipt = seen[0].receipt
        assert (receipt.outcome, receipt.price_nanodollars) == (Outcome.CLIENT_LEFT, 0)
        assert len(receipt.attempts) == 1
        assert fleet.opened() == [1]


@pytest.mark.parametrize("early", [False, True], ids=["with its head", "after its head"])
async def test_a_client_over_http(tmp_path: Path, early: bool) -> None:
    """What it has got of the answer is known to the token, whatever went out before."""
    server = "commit_after_s = 0.02\nheartbeat_s = 0.02" if early else ""
    async with (
        open_fleet(
            tmp_path, 2, models=pair("pair", "sim0"), server=server, routing=NO_BREAKER
        ) as fleet,
        open_front(fleet) as served,
        served.http() as client,
    ):
        fleet.sims[0].behave(None, "status=501 head_ms=200")
        call = fleet.call("pair", "tokens=20")
        response = await client.post("/chat/completions", json=orjson.loads(call.body))
        assert content(response.content) == fleet.sims[1].truth.records()[0].text
        assert response.text.startswith(BEAT.decode()) == early
        assert ("x-fallback-from" in response.headers) != early
        receipt = await fleet.setup.gateway.ledger.read_receipt(
            fleet.setup.account_id, response.headers["x-request-id"]
        )
        assert receipt is not None
        assert receipt["delivered_output_tokens"] == receipt["usage"]["output_tokens"] == 20
        assert receipt["route"]["fallback_from"] == "sim0/sim-openai"


async def test_a_large_body_is_kept_until_somebody_answers(tmp_path: Path) -> None:
    """In a file, made anew for each provider by the helper; then it takes no room."""
    async with open_fleet(
        tmp_path,
        2,
        models=pair("pair", "sim0", "sim1-anthropic"),
        routing=NO_BREAKER,
        server="parsed_here_max_bytes = 100",
    ) as fleet:
        fleet.sims[0].behave(None, "fault=refused")
        gateway, released = fleet.setup.gateway, list[bool]()
        file = gateway.spool.open()

        def release() -> None:
            released.append(True)
            file.close()

        call = fleet.call("pair", "tokens=4")
        await file.append([call.body])
        held = replace(call, body=b"", upload=Upload(file, release))
        async with gateway.open_exchange(held) as exchange:
            await exchange.head()
            assert released
            body = await drain(exchange)
        served = fleet.sims[1].truth.record(exchange.receipt.request_id)
        assert served is not None
        assert content(body) == served.text
        assert gateway.spool.used_bytes == 0


async def test_a_provider_that_takes_connections_and_says_nothing(tmp_path: Path) -> None:
    """Its client has its head by then, and is told that the stream is alive while another
    connection is waited for."""

    async def say_nothing(stream: trio.SocketStream) -> None:
        await trio.sleep_forever()

    async with open_server(say_nothing) as port:
        mute = (
            f'[providers.mute]\nprotocol = "openai"\nbase_url = "http://127.0.0.1:{port}/v1"\n'
            'http2 = "prior-knowledge"\n'
        )
        models = mute + pair("pair", "mute/sim-openai")
        async with open_fleet(
            tmp_path,
            2,
            models=models,
            server="commit_after_s = 0.05\nheartbeat_s = 0.05",
            routing=f"{NO_BREAKER}\nfirst_token_timeout_s = 0.5",
        ) as fleet:
            answer = await ask(fleet, fleet.call("pair", "tokens=3"))
            served = fleet.sims[1].truth.record(answer.receipt.request_id)
            assert served is not None
            assert content(answer.body) == served.text
            assert answer.body.count(BEAT) >= 2
            outcomes = [attempt.outcome for attempt in answer.receipt.attempts]
            assert outcomes == ["upstream_timeout", "completed"]
