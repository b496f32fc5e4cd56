"""The SDKs of Google and Anthropic for Vertex, unmodified, against the simulated provider: they
prove who they are with a key, as service accounts do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import anthropic
import httpx
import pytest
import trio
from anthropic.lib.vertex import AnthropicVertex
from google import genai
from google.genai import errors, types
from google.oauth2 import service_account as google_accounts

from bench.simulate import Simulator, SimulatorSettings, open_simulator
from tests.bench.peer import PATIENCE_S
from tests.bench.talks import WEATHER_SCHEMA
from tests.vertex import PROJECT, REGION, service_account

T = TypeVar("T")
SCOPES = ["https://www.googleapis.com/auth/cloud-platform"]
GEMINI, CLAUDE = "sim-gemini", "sim-anthropic"
VERSIONS = ("v1", "v1beta1")


def credentials(base_url: str) -> Any:
    load: Any = google_accounts.Credentials.from_service_account_info
    return load(service_account().info(base_url), scopes=SCOPES)


async def with_simulator(work: Callable[[Simulator], T], **settings: Any) -> tuple[T, Simulator]:
    """Run blocking SDK code in a thread."""
    known = SimulatorSettings(service_accounts=service_account().known, **settings)
    async with open_simulator(known) as simulator:
        return await trio.to_thread.run_sync(work, simulator), simulator


async def with_gemini(
    work: Callable[[genai.Client], T], version: str = "v1beta1", **settings: Any
) -> tuple[T, Simulator]:
    def run(simulator: Simulator) -> T:
        options = types.HttpOptions(
            base_url=simulator.base_url, api_version=version, timeout=20_000
        )
        with genai.Client(
            vertexai=True,
            project=PROJECT,
            location=REGION,
            credentials=credentials(simulator.base_url),
            http_options=options,
        ) as client:
            return work(client)

    return await with_simulator(run, **settings)


async def with_claude(work: Callable[[AnthropicVertex], T], **settings: Any) -> tuple[T, Simulator]:
    def run(simulator: Simulator) -> T:
        with AnthropicVertex(
            region=REGION,
            project_id=PROJECT,
            credentials=credentials(simulator.base_url),
            base_url=f"{simulator.base_url}/v1",
            max_retries=0,
            timeout=PATIENCE_S,
        ) as client:
            return work(client)

    return await with_simulator(run, **settings)


def prompt(directives: str) -> str:
    return f"#sim {directives}\nTell me about rivers."


def user(directives: str) -> Any:
    return [{"role": "user", "content": prompt(directives)}]


@pytest.mark.parametrize("version", VERSIONS)
async def test_gemini_streams(version: str) -> None:
    def work(client: genai.Client) -> list[Any]:
        config = types.GenerateContentConfig(labels={"team": "blue"})
        return list(
            client.models.generate_content_stream(
                model=GEMINI, contents=prompt("tokens=40 tokens_per_event=3"), config=config
            )
        )

    chunks, simulator = await with_gemini(work, version)
    [record] = simulator.truth.records()
    assert "".join(chunk.text or "" for chunk in chunks) == record.text
    last = chunks[-1].usage_metadata
    assert (last.candidates_token_count, last.traffic_type) == (40, types.TrafficType.ON_DEMAND)
    assert chunks[0].create_time is not None
    assert simulator.tokens.issued == 1


async def test_gemini_does_not_stream_and_counts() -> None:
    def work(client: genai.Client) -> tuple[Any, Any]:
        contents = prompt("tokens=5")
        config = types.CountTokensConfig(system_instruction="Be brief.")
        counted = client.models.count_tokens(model=GEMINI, contents=contents, config=config)
        return client.models.generate_content(model=GEMINI, contents=contents), counted

    (answer, counted), simulator = await with_gemini(work)
    [record] = simulator.truth.records()
    assert answer.text == record.text
    assert answer.usage_metadata.candidates_token_count == 5
    assert answer.create_time is not None
    assert counted.total_tokens > record.input_tokens


async def test_gemini_calls_tools_in_a_chat() -> None:
    tool = types.Tool(
        function_declarations=[
            types.FunctionDeclaration(name="get_weather", parameters_json_schema=WEATHER_SCHEMA)
        ]
    )
    config = types.GenerateContentConfig(tools=[tool])

    def work(client: genai.Client) -> str:
        chat = client.chats.create(model=GEMINI, config=config)
        [call] = chat.send_message(prompt("tools=auto tokens=5")).function_calls or []
        part = types.Part.from_function_response(name=str(call.name), response={"result": 1})
        return str(chat.send_message(part).text)

    text, simulator = await with_gemini(work)
    first, second = simulator.truth.records()
    assert (len(first.calls), text, second.signatures) == (1, second.text, "verified")


async def test_claude_streams() -> None:
    def work(client: AnthropicVertex) -> tuple[str, Any]:
        with client.messages.stream(
            model=CLAUDE, max_tokens=100, messages=user("tokens=40 tokens_per_event=3")
        ) as stream:
            return "".join(stream.text_stream), stream.get_final_message()

    (text, message), simulator = await with_claude(work)
    [record] = simulator.truth.records()
    assert text == record.text
    assert message.usage.output_tokens == 40
    assert message.id.startswith("msg_vrtx_")


async def test_claude_does_not_stream_and_counts() -> None:
    def work(client: AnthropicVertex) -> tuple[Any, Any, Any]:
        asked: Any = {"model": CLAUDE, "messages": user("tokens=5")}
        counted = client.messages.count_tokens(**asked)
        betas: Any = client.beta.messages
        beta = betas.create(max_tokens=50, betas=["context-1m-2025-08-07"], **asked)
        return client.messages.create(max_tokens=50, **asked), counted, beta

    (message, counted, beta), simulator = await with_claude(work)
    records = simulator.truth.records()
    assert {message.content[0].text, beta.content[0].text} == {record.text for record in records}
    assert counted.input_tokens == records[0].input_tokens


async def test_an_unknown_model() -> None:
    def gemini(client: genai.Client) -> errors.ClientError:
        with pytest.raises(errors.ClientError) as caught:
            client.models.generate_content(model="other", contents="hi")
        return caught.value

    def claude(client: AnthropicVertex) -> str:
        with (
            pytest.raises(anthropic.NotFoundError) as caught,
            client.messages.stream(model="other", max_tokens=5, messages=user("")) as stream,
        ):
            stream.until_done()
        return str(caught.value)

    refused, _ = await with_gemini(gemini)
    assert (refused.code, refused.status) == (404, "NOT_FOUND")
    assert "Publisher Model" in (await with_claude(claude))[0]


async def test_a_token_that_is_none_or_has_been_revoked() -> None:
    def work(simulator: Simulator) -> list[tuple[int, str]]:
        path = f"/v1/projects/{PROJECT}/locations/{REGION}/publishers/google/models/{GEMINI}"
        url = f"{simulator.base_url}{path}:generateContent"
        body = {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}
        metadata = "/computeMetadata/v1/instance/service-accounts/default/token"
        with httpx.Client(verify=False) as client:
            flavor = {"metadata-flavor": "Google"}
            token = client.get(simulator.base_url + metadata, headers=flavor).json()
            bearer = {"authorization": f"Bearer {token['access_token']}"}
            answers = [client.post(url, json=body), client.post(url, json=body, headers=bearer)]
            simulator.tokens.revoke()
            answers.append(client.post(url, json=body, headers=bearer))
            answers.append(client.get(simulator.base_url + metadata))
        return [(answer.status_code, answer.text) for answer in answers]

    (none, valid, revoked, unasked), _ = await with_simulator(work)
    assert (none[0], "CREDENTIALS_MISSING" in none[1]) == (401, True)
    assert valid[0] == 200
    assert (revoked[0], "ACCESS_TOKEN_EXPIRED" in revoked[1]) == (401, True)
    assert unasked[0] == 403


@pytest.mark.parametrize("spoil", ["account", "signature", "down"])
async def test_who_gets_no_token(spoil: str) -> None:
    def work(simulator: Simulator) -> str:
        from google.auth import exceptions
        from google.auth.transport.requests import Request

        owner = service_account("other@sim-project.iam.gserviceaccount.com")
        info = service_account().info(simulator.base_url)
        match spoil:
            case "account":
                info["client_email"] = owner.name
            case "signature":
                info["private_key"] = owner.private_key
            case _:
                simulator.tokens.failing = 403
        load: Any = google_accounts.Credentials.from_service_account_info
        with pytest.raises(exceptions.RefreshError) as caught:
            load(info, scopes=SCOPES).refresh(Request())
        return str(caught.value)

    said, simulator = await with_simulator(work)
    expected = {
        "account": "account not found",
        "signature": "Invalid JWT Signature",
        "down": "access_denied",
    }
    assert expected[spoil] in said
    assert simulator.tokens.issued == 0


FIELDS_OF_AI_STUDIO: list[dict[str, Any]] = [
    {"store": False},
    {"contents": [{"parts": [{"text": "no role"}]}]},
    {"toolConfig": {"includeServerSideToolInvocations": True}},
    {"tools": [{"file_search": {}}]},
]


@pytest.mark.parametrize("changes", FIELDS_OF_AI_STUDIO, ids=lambda changes: next(iter(changes)))
async def test_what_only_ai_studio_takes(changes: dict[str, Any]) -> None:
    def work(simulator: Simulator) -> httpx.Response:
        path = f"/v1/projects/{PROJECT}/locations/{REGION}/publishers/google/models/{GEMINI}"
        body = {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]} | changes
        url = f"{simulator.base_url}{path}:generateContent"
        return httpx.post(url, json=body, verify=False)

    async with open_simulator() as simulator:
        answer = await trio.to_thread.run_sync(work, simulator)
    assert answer.status_code == 400
    assert answer.json()["error"]["status"] == "INVALID_ARGUMENT"


ANTHROPICS_OWN: list[tuple[str, dict[str, Any]]] = [
    ("rawPredict", {"anthropic_version": None}),
    ("rawPredict", {"anthropic_version": "2023-06-01"}),
    ("rawPredict", {"model": CLAUDE}),
    ("rawPredict", {"stream": True}),
    ("streamRawPredict", {}),
]


@pytest.mark.parametrize(("method", "changes"), ANTHROPICS_OWN)
async def test_what_only_anthropic_itself_takes(method: str, changes: dict[str, Any]) -> None:
    def work(simulator: Simulator) -> httpx.Response:
        path = f"/v1/projects/{PROJECT}/locations/{REGION}/publishers/anthropic/models/{CLAUDE}"
        asked = {"anthropic_version": "vertex-2023-10-16", "max_tokens": 9, "messages": user("")}
        body = {name: value for name, value in (asked | changes).items() if value is not None}
        return httpx.post(f"{simulator.base_url}{path}:{method}", json=body, verify=False)

    async with open_simulator() as simulator:
        answer = await trio.to_thread.run_sync(work, simulator)
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"
