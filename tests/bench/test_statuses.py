"""Error answers, keys and model lists, in the shape of each API."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from bench.simulate import Simulator, SimulatorSettings, open_simulator
from tests.bench.raw import Received, converse
from tests.bench.talks import APIS, Talk, ask

KEY = "secret-key"
KEYED = SimulatorSettings(api_keys=frozenset({KEY}))


async def get(simulator: Simulator, path: str, headers: str = "") -> Received:
    request = f"GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}\r\n"
    return await converse(simulator.port, request.encode())


def error_of(api: str, received: Received) -> tuple[Any, ...]:
    """What tells errors of an API apart."""
    document = orjson.loads(received.body)
    match api:
        case "openai":
            error = document["error"]
            assert set(error) == {"message", "type", "param", "code"}
            return error["type"], error["code"]
        case "anthropic":
            assert set(document) == {"type", "error", "request_id"}
            return (document["error"]["type"],)
        case _:
            assert document["error"]["code"] == received.status
            return (document["error"]["status"],)


@pytest.mark.parametrize(
    ("api", "status", "expected"),
    [
        ("anthropic", 400, ("invalid_request_error",)),
        ("anthropic", 401, ("authentication_error",)),
        ("anthropic", 402, ("billing_error",)),
        ("anthropic", 403, ("permission_error",)),
        ("anthropic", 404, ("not_found_error",)),
        ("anthropic", 413, ("request_too_large",)),
        ("anthropic", 429, ("rate_limit_error",)),
        ("anthropic", 500, ("api_error",)),
        ("anthropic", 504, ("timeout_error",)),
        ("anthropic", 529, ("overloaded_error",)),
        ("anthropic", 599, ("api_error",)),
        ("gemini", 400, ("INVALID_ARGUMENT",)),
        ("gemini", 403, ("PERMISSION_DENIED",)),
        ("gemini", 404, ("NOT_FOUND",)),
        ("gemini", 429, ("RESOURCE_EXHAUSTED",)),
        ("gemini", 500, ("INTERNAL",)),
        ("gemini", 503, ("UNAVAILABLE",)),
        ("gemini", 504, ("DEADLINE_EXCEEDED",)),
        ("openai", 529, ("overloaded_error", "overloaded")),
    ],
)
@pytest.mark.parametrize("stream", [True, False])
async def test_statuses(api: str, status: int, stream: bool, expected: tuple[str, ...]) -> None:
    async with open_simulator() as simulator:
        received = await ask(api, f"status={status}", stream=stream).send(simulator)
        [record] = simulator.truth.records()
    assert received.status == status == record.status
    assert error_of(api, received) == expected
    assert record.ended == "error"
    assert (b"retry-after: 1\r\n" in received.head) == (status in (429, 503, 529))


async def test_gemini_errors_before_a_stream_are_not_framed() -> None:
    async with open_simulator() as simulator:
        framed = await ask("gemini", "status=429 retry_after=34.4").send(simulator)
        listed = await ask("gemini", "status=429", as_array=True).send(simulator)
    assert b"content-type: text/event-stream" in framed.head
    details = orjson.loads(framed.body)["error"]["details"]
    assert details == [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34.4s"}]
    assert b"content-type: application/json" in listed.head
    assert [list(item) for item in orjson.loads(listed.body)] == [["error"]]


def keyed(api: str, key: str | None) -> list[Talk]:
    """A request in each way the API takes a key."""
    talk = ask(api, "tokens=1", stream=False)
    if key is None:
        return [talk]
    names = {
        "openai": ["authorization: Bearer {}"],
        "openai-responses": ["authorization: Bearer {}"],
        "openai-completions": ["authorization: Bearer {}"],
        "anthropic": ["x-api-key: {}", "authorization: Bearer {}"],
        "gemini": ["x-goog-api-key: {}"],
    }[api]
    talks = [Talk(talk.path, talk.body, f"{n.format(key)}\r\n{talk.headers}") for n in names]
    if api == "gemini":
        talks.append(Talk(f"{talk.path}?key={key}", talk.body))
    return talks


@pytest.mark.parametrize(
    ("api", "none", "wrong"),
    [
        ("openai", 401, 401),
        ("openai-responses", 401, 401),
        ("openai-completions", 401, 401),
        ("anthropic", 401, 401),
        ("gemini", 403, 400),
    ],
)
async def test_keys(api: str, none: int, wrong: int) -> None:
    async with open_simulator(KEYED) as simulator:
        for key, status in ((KEY, 200), ("other", wrong), (None, none)):
            for talk in keyed(api, key):
                assert (await talk.send(simulator)).status == status, (talk.path, talk.headers)


async def test_the_reason_of_a_wrong_gemini_key() -> None:
    async with open_simulator(KEYED) as simulator:
        received = await keyed("gemini", "other")[0].send(simulator)
    error = orjson.loads(received.body)["error"]
    assert (error["status"], error["details"][0]["reason"]) == (
        "INVALID_ARGUMENT",
        "API_KEY_INVALID",
    )


@pytest.mark.parametrize("api", APIS)
async def test_the_models_of_one_provider_are_unknown_to_the_others(api: str) -> None:
    async with open_simulator() as simulator:
        for other in ("openai", "anthropic", "gemini"):
            talk = ask(api, stream=False)
            path = talk.path.replace("sim-gemini", f"sim-{other}")
            body = talk.body if api == "gemini" else talk.body | {"model": f"sim-{other}"}
            received = await Talk(path, body, talk.headers).send(simulator)
            unknown = 400 if api == "openai-responses" else 404
            assert received.status == (200 if other == api.partition("-")[0] else unknown)


async def test_model_lists() -> None:
    async with open_simulator() as simulator:
        openai = orjson.loads((await get(simulator, "/v1/models")).body)
        anthropic = orjson.loads(
            (await get(simulator, "/v1/models", "anthropic-version: 2023-06-01\r\n")).body
        )
        gemini = orjson.loads((await get(simulator, "/v1beta/models")).body)
        named = await get(simulator, "/v1/models", "x-goog-api-key: k\r\n")
        one = orjson.loads((await get(simulator, "/v1beta/models/sim-gemini")).body)
        none = await get(simulator, "/v1beta/models/other")
    assert [model["id"] for model in openai["data"]] == ["sim-openai"]
    assert (anthropic["first_id"], anthropic["last_id"], anthropic["has_more"]) == (
        "sim-anthropic",
        "sim-anthropic",
        False,
    )
    assert gemini == {"models": [one]} == orjson.loads(named.body)
    assert one["name"] == "models/sim-gemini"
    assert (none.status, error_of("gemini", none)) == (404, ("NOT_FOUND",))


@pytest.mark.parametrize("api", ["openai-responses", "anthropic", "gemini"])
async def test_tokens_are_counted_as_they_are_billed(api: str) -> None:
    async with open_simulator() as simulator:
        talk = ask(api, "tokens=1", tools=True, stream=False)
        await talk.send(simulator)
        body = dict(talk.body)
        for name in ("max_tokens", "max_output_tokens", "stream", "generationConfig"):
            body.pop(name, None)
        if api == "gemini":
            path = "/v1beta/models/sim-gemini:countTokens"
            wrapped = {"model": "models/sim-gemini", **body}
            received = await Talk(path, {"generateContentRequest": wrapped}).send(simulator)
        else:
            paths = {"/v1/messages": "count_tokens", "/v1/responses": "input_tokens"}
            path = f"{talk.path}/{paths[talk.path]}"
            received = await Talk(path, body, talk.headers).send(simulator)
        [record] = simulator.truth.records()
    counted = orjson.loads(received.body)
    name = "totalTokens" if api == "gemini" else "input_tokens"
    assert counted[name] == record.input_tokens > 50


async def test_paths_that_are_nothing() -> None:
    async with open_simulator() as simulator:
        for path, api in (("/v1/message", "openai"), ("/v1beta/models/x:embed", "gemini")):
            received = await Talk(path, {}).send(simulator)
            assert (received.status, bool(error_of(api, received))) == (404, True)


async def test_the_request_is_kept() -> None:
    async with open_simulator() as simulator:
        for api in APIS:
            await ask(api, "tokens=1").send(simulator)
        records = simulator.truth.records()
    assert [record.api for record in records] == list(APIS)
    assert [record.request for record in records] == [ask(api, "tokens=1").body for api in APIS]
