"""What the provider does where a request does not say: set at the start, and changed meanwhile."""

from __future__ import annotations

from datetime import UTC, datetime

import orjson
import pytest

from bench.simulate import Directives, Simulator, SimulatorSettings, open_simulator
from bench.simulate.behaviour import MODELS_MAX, Behaviour
from bench.simulate.directives import DirectiveError
from tests.bench.raw import Received, converse
from tests.bench.talks import APIS, ask


def behaviour(defaults: str = "", **by_model: Directives) -> Behaviour:
    behaved = Behaviour(Directives(), by_model, "seed")
    behaved.set(None, defaults)
    return behaved


async def behave(simulator: Simulator, document: object) -> Received:
    body = orjson.dumps(document)
    request = f"POST /_behave HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n"
    return await converse(simulator.port, request.encode() + b"connection: close\r\n\r\n" + body)


def header(received: Received, name: str) -> list[str]:
    """The values of a header, in order."""
    lines = received.head.decode().split("\r\n")
    return [line.partition(": ")[2] for line in lines if line.startswith(f"{name}: ")]


def test_a_request_goes_over_its_model_and_that_over_all() -> None:
    behaved = behaviour("tokens=9 cached=2", slow=Directives(first_token_ms=50, tokens=3))
    assert behaved.of("other", None, 1) == Directives(tokens=9, cached=2)
    assert behaved.of("slow", None, 1) == Directives(tokens=3, first_token_ms=50)
    assert behaved.of("slow", "tokens=5", 1) == Directives(tokens=5, first_token_ms=50)


def test_it_is_set_for_one_and_taken_back() -> None:
    behaved = behaviour("tokens=9")
    behaved.set("a", "status=500")
    assert behaved.of("a", None, 1) == Directives(tokens=9, status=500)
    assert behaved.of("b", None, 1).status is None
    behaved.set("a", "")
    behaved.set(None, "")
    assert behaved.of("a", None, 1) == behaved.of("b", None, 1) == Directives()


def test_what_is_not_understood_changes_nothing() -> None:
    behaved = behaviour("tokens=9")
    with pytest.raises(DirectiveError, match="did you mean 'status'"):
        behaved.set(None, "statuss=500")
    assert behaved.of("a", None, 1).tokens == 9


def test_models_are_bounded() -> None:
    behaved = behaviour()
    for number in range(MODELS_MAX):
        behaved.set(str(number), "tokens=1")
    with pytest.raises(ValueError, match="1000 models"):
        behaved.set("one more", "tokens=1")
    behaved.set("7", "tokens=2")
    assert behaved.of("7", None, 1).tokens == 2


def test_chance_strikes_so_often_and_the_same_requests_every_time() -> None:
    runs = [behaviour("status=500 chance=0.05") for _ in range(2)]
    struck = [[n for n in range(2_000) if run.of("a", None, n).status] for run in runs]
    assert struck[0] == struck[1]
    assert 60 <= len(struck[0]) <= 140, "100 ± 4 σ of 2,000, fixed by the seed"


@pytest.mark.parametrize(("chance", "strikes"), [(0, 0), (1, 50)])
def test_never_and_always(chance: int, strikes: int) -> None:
    behaved = behaviour(f"fault=cut chance={chance}")
    assert sum(behaved.of("a", None, n).fault == "cut" for n in range(50)) == strikes


@pytest.mark.parametrize(
    ("words", "spared"),
    [
        ("first_token_ms=2000", Directives(first_token_ms=100, chance=0)),
        (
            "first_token_ms=200 fault=stall cut_after=0 stall_ms=2000",
            Directives(first_token_ms=200, stall_ms=2000, chance=0),
        ),
        ("status=429 retry_after=3", Directives(first_token_ms=100, retry_after=3, chance=0)),
    ],
)
def test_a_request_that_is_spared_is_as_without_the_fault(words: str, spared: Directives) -> None:
    behaved = behaviour("first_token_ms=100")
    behaved.set("a", f"{words} chance=0")
    assert behaved.of("a", None, 1) == spared


def test_the_first_few_are_struck_from_when_it_was_told() -> None:
    behaved = behaviour()

    def struck(number: int) -> list[int | None]:
        return [behaved.of("one", None, place).status for place in range(number)]

    behaved.set("one", "status=503 times=2")
    assert struck(4) == [503, 503, None, None]
    assert behaved.of("other", None, 1).status is None
    behaved.set("one", "status=500 times=1")
    assert struck(2) == [500, None]
    behaved.set("one", "status=500 times=0")
    assert struck(1) == [None]


def test_a_call_without_a_model_goes_by_its_name_or_the_first_word_of_it() -> None:
    behaved = behaviour("status=501", files=Directives(status=502))
    behaved.set("files.get", "status=503")
    names = ("files.get", "files.list", "jobs.poll")
    assert [behaved.of_call(name, 1).status for name in names] == [503, 502, 501]


@pytest.mark.parametrize("api", APIS)
async def test_an_outage_of_one_model_begins_and_ends(api: str) -> None:
    talk = ask(api, "tokens=1")
    name = {"anthropic": "sim-anthropic", "gemini": "sim-gemini"}.get(api, "sim-openai")
    async with open_simulator(SimulatorSettings(by_model={name: Directives(status=503)})) as sim:
        statuses = [(await talk.send(sim)).status]
        sim.behave(name)
        statuses.append((await talk.send(sim)).status)
        assert (await behave(sim, {"model": name, "directives": "status=529"})).status == 200
        statuses.append((await talk.send(sim)).status)
        assert (await behave(sim, {"directives": "status=500"})).status == 200
        await behave(sim, {"model": name, "directives": ""})
        statuses.append((await talk.send(sim)).status)
        sim.behave(None)
        statuses.append((await talk.send(sim)).status)
    assert statuses == [503, 200, 529, 500, 200]


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ([], 'has to be {"model"'),
        ({"model": 1, "directives": ""}, 'has to be {"model"'),
        ({"directives": "tokens=1", "more": 1}, 'has to be {"model"'),
        ({"directives": "tokns=1"}, "did you mean 'tokens'"),
    ],
)
async def test_what_cannot_be_set_is_refused(document: object, says: str) -> None:
    async with open_simulator() as simulator:
        received = await behave(simulator, document)
    assert received.status == 400
    assert says in orjson.loads(received.body)["error"]["message"]


@pytest.mark.parametrize("directives", ["tokens=1", "status=429"])
async def test_openai_says_what_is_left_and_for_how_long(directives: str) -> None:
    async with open_simulator() as simulator:
        received = await ask("openai", f"{directives} remaining=0 reset=2.5").send(simulator)
    assert header(received, "x-ratelimit-remaining-requests") == ["0"]
    assert header(received, "x-ratelimit-reset-requests") == ["2.5s"]


@pytest.mark.parametrize("directives", ["tokens=1", "status=429"])
async def test_anthropic_says_until_when(directives: str) -> None:
    before = datetime.now(UTC)
    async with open_simulator() as simulator:
        received = await ask("anthropic", f"{directives} remaining=3 reset=60").send(simulator)
    assert header(received, "anthropic-ratelimit-requests-remaining") == ["3"]
    [until] = header(received, "anthropic-ratelimit-requests-reset")
    waits_s = (datetime.fromisoformat(until) - before).total_seconds()
    passed_s = (datetime.now(UTC) - before).total_seconds()
    assert 60 - 0.001 <= waits_s <= 60 + passed_s, "of the moment it was said"


async def test_the_others_say_nothing() -> None:
    async with open_simulator() as simulator:
        received = await ask("gemini", "tokens=1 remaining=0 reset=5").send(simulator)
    assert b"ratelimit" not in received.head


@pytest.mark.parametrize("api", ["openai", "anthropic", "gemini"])
async def test_in_an_outage_of_all_models_there_is_no_list_of_them(api: str) -> None:
    path, header = {
        "openai": ("/v1/models", ""),
        "anthropic": ("/v1/models", "anthropic-version: 2023-06-01\r\n"),
        "gemini": ("/v1beta/models", ""),
    }[api]
    get = f"GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{header}\r\n".encode()
    async with open_simulator() as simulator:
        statuses = []
        for directives in ("status=503", ""):
            simulator.behave(None, directives)
            statuses.append((await converse(simulator.port, get)).status)
    assert statuses == [503, 200]


async def test_only_a_post_sets_it() -> None:
    get = b"GET /_behave HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
    async with open_simulator() as simulator:
        assert (await converse(simulator.port, get)).status == 405
