"""Gemini and Anthropic on Vertex behind the gateway: every client, billed; recordings of the real
one; and what becomes of requests when tokens expire, fail to come, or are revoked."""

from __future__ import annotations

import logging
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
import trio

from bench.simulate import Simulator, TruthRecord
from engine import Call
from engine.checking import plan_checks, run_checks
from engine.errors import UpstreamRejectedError
from engine.events import Protocol
from engine.protocols.registry import codec_of
from tests import recordings
from tests.answers import sdk
from tests.answers.across import compare
from tests.answers.recorded import names
from tests.costs import without_cost
from tests.e2e.test_recordings import Asker, check_billed, fetch, is_answer, prompt
from tests.gateways import MODELS, PROTOCOLS, Setup, charge, run, settled
from tests.vertex import SERVED, config_of, open_served_vertex, open_vertex, service_account

PAIRS: list[tuple[Protocol, str]] = [(client, on) for client in PROTOCOLS for on in SERVED]
ACROSS = ("openai_chat", "anthropic")
FOLDERS = ("vertex-generateContent", "vertex-streamGenerateContent")


async def test_every_client_is_served_and_billed(tmp_path: Path) -> None:
    async with open_vertex(tmp_path) as setup:
        for client, protocol in PAIRS:
            for stream in (True, False):
                directives = "tokens=40 cached=7 tools=auto preamble=3"
                call = setup.call_of(client, protocol, directives, stream=stream)
                body, receipt, error = await run(setup, call)
                assert error is None, (client, protocol, stream)
                assert (receipt.outcome, receipt.provenance) == ("completed", "reported")
                assert receipt.provider == SERVED[protocol]
                truth = setup.sim.truth.record(receipt.request_id)
                assert truth is not None
                assert receipt.usage["input_tokens"] == truth.input_tokens
                assert receipt.usage["output_tokens"] == truth.tokens_generated == 40
                assert receipt.price_nanodollars == charge(truth.input_tokens, 40)
                read = sdk.read(client, body, stream=stream)
                assert read.choices[0].text == truth.text, (client, protocol, stream)
        assert setup.sim.tokens.issued == len(SERVED), "one for each provider"


def was_reset(truth: TruthRecord) -> bool:
    """The provider was told to stop."""
    return truth.ended == "reset"


async def test_a_client_that_leaves_pays_what_it_got(tmp_path: Path) -> None:
    async with open_vertex(tmp_path) as setup:
        for protocol in SERVED:
            call = setup.call_of("openai_chat", protocol, "tokens=400 tokens_per_second=20")
            async with setup.gateway.open_exchange(call) as exchange:
                async for _ in exchange:
                    break
            truth = setup.truth(exchange)
            assert exchange.receipt.outcome == "client_left"
            await settled(partial(was_reset, truth))
            assert exchange.receipt.received_output_tokens < 400


async def test_tokens_are_counted_there(tmp_path: Path) -> None:
    text = {"role": "user", "content": "hello"}
    contents = {"contents": [{"parts": [{"text": "hello"}]}], "store": False}
    asked: list[tuple[Protocol, dict[str, Any], str]] = [
        ("anthropic", {"model": MODELS["anthropic"], "messages": [text]}, "input_tokens"),
        ("gemini", contents, "totalTokens"),
        (
            "gemini",
            {"generateContentRequest": {"model": "models/x", "toolConfig": {}} | contents},
            "totalTokens",
        ),
    ]
    async with open_vertex(tmp_path) as setup:
        for client, document, member in asked:
            call = Call(
                body=orjson.dumps(document),
                key=setup.key,
                protocol=client,
                operation="count_tokens",
                model=MODELS["gemini"] if client == "gemini" else None,
            )
            head, body = await setup.gateway.count_tokens(call)
            assert b"x-parshall-counted" not in dict(head.headers)
            assert orjson.loads(body)[member] > 0


async def test_what_a_gemini_client_says_to_ai_studio_only(tmp_path: Path) -> None:
    """It is left out, and named; a content without a role is a user's."""
    document = {
        "contents": {"parts": [{"text": "hello", "part_metadata": {"note": 1}}]},
        "store": False,
        "tool_config": {"include_server_side_tool_invocations": True},
        "labels": {"team": "blue"},
    }
    async with open_vertex(tmp_path) as setup:
        call = Call(
            body=orjson.dumps(document),
            key=setup.key,
            protocol="gemini",
            model=MODELS["gemini"],
            stream=True,
        )
        async with setup.gateway.open_exchange(call) as exchange:
            head = await exchange.head()
            async for _ in exchange:
                pass
        dropped = dict(head.headers)[b"x-parshall-dropped"]
        assert dropped == b"store,tool_config.include_server_side_tool_invocations"
        assert exchange.receipt.outcome == "completed"


@pytest.mark.parametrize("protocol", SERVED)
async def test_the_clouds_errors(tmp_path: Path, protocol: str) -> None:
    """Its refusal of the gateway is not the client's business; a missing model is."""
    async with open_vertex(tmp_path) as setup:
        for client in PROTOCOLS:
            setup.sim.tokens.revoke()
            _, receipt, error = await run(setup, setup.call_of(client, protocol))
            assert isinstance(error, UpstreamRejectedError)
            assert (error.status, error.code) == (502, "upstream_credentials_refused")
            assert receipt.price_nanodollars == 0
        for stream in (True, False):
            _, _, error = await run(setup, setup.call_of("gemini", protocol, stream=stream))
            assert isinstance(error, UpstreamRejectedError)


def test_a_missing_model_is_told_without_the_project() -> None:
    said = "Publisher Model `projects/my-project/locations/eu/publishers/x/models/m` was not found."
    document = {"error": {"code": 404, "message": said, "status": "NOT_FOUND"}}
    for protocol in SERVED:
        for body in (document, [document]):
            error = codec_of(protocol).read_error(404, orjson.dumps(body))
            assert (error.status, error.code) == (404, "model_not_found")
            assert error.message.startswith("Publisher Model")
            assert "my-project" not in error.message


# Tokens.


async def test_tokens_that_expire_under_requests_are_renewed(tmp_path: Path) -> None:
    def short(simulator: Simulator) -> None:
        simulator.tokens.lifetime_s = 4.0

    async with open_vertex(tmp_path, before=short) as setup:

        async def ask_on(protocol: str) -> None:
            with trio.fail_after(20):
                while setup.sim.tokens.issued < 2 * len(SERVED):
                    _, receipt, error = await run(setup, setup.call_of("openai_chat", protocol))
                    assert error is None
                    assert receipt.outcome == "completed"

        async with trio.open_nursery() as nursery:
            for protocol in SERVED:
                for _ in range(3):
                    nursery.start_soon(ask_on, protocol)
        assert {record.ended for record in setup.sim.truth.records()} == {"done"}


async def test_no_tokens_at_first(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The gateway starts all the same, says what is wrong, and serves once there is a token."""

    def broken(simulator: Simulator) -> None:
        simulator.tokens.failing = 403

    async with open_vertex(tmp_path, before=broken) as setup:
        _, receipt, error = await run(setup, setup.call_of("gemini", "gemini"))
        assert isinstance(error, UpstreamRejectedError)
        assert (error.status, error.code) == (502, "upstream_credentials_refused")
        assert (receipt.outcome, receipt.price_nanodollars) == ("upstream_failed", 0)
        assert setup.sim.truth.records() == []
        [said] = {r.message for r in caplog.records if r.message.startswith("provider vertex:")}
        assert "access_denied" in said
        assert "check that its account and key exist" in said
        setup.sim.tokens.failing = None
        await settled(lambda: setup.sim.tokens.issued == len(SERVED))
        await served_again(setup)
    for record in caplog.records:
        assert "PRIVATE KEY" not in record.message
        assert "ya29." not in record.message


async def served_again(setup: Setup) -> None:
    """Until a request is served: a token has been issued, and is on its way."""
    with trio.fail_after(10):
        while True:
            _, receipt, _ = await run(setup, setup.call_of("gemini", "gemini"))
            if receipt.outcome == "completed":
                return
            await trio.sleep(0.01)  # a request that is not sent waits for nothing


async def test_a_key_that_is_retired(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What was issued is used to its end."""

    def short(simulator: Simulator) -> None:
        simulator.tokens.lifetime_s = 2.0

    async with open_vertex(tmp_path, before=short) as setup:
        setup.sim.tokens.retire(service_account().name)
        warned = "provider vertex: no token of Google's"
        await settled(lambda: any(warned in record.message for record in caplog.records))
        levels = [r.levelno for r in caplog.records if warned in r.message]
        assert levels[0] == logging.WARNING, "there is a valid token"
        _, receipt, error = await run(setup, setup.call_of("gemini", "gemini"))
        assert (receipt.outcome, error) == ("completed", None)


async def test_the_account_of_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def here(simulator: Simulator) -> None:
        monkeypatch.setenv("GCE_METADATA_HOST", simulator.base_url.removeprefix("http://"))
        monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path / "empty"))

    async with open_vertex(tmp_path, before=here, file=False) as setup:
        _, receipt, error = await run(setup, setup.call_of("openai_chat", "anthropic"))
        assert (receipt.outcome, error) == ("completed", None)


async def test_the_check_of_providers(tmp_path: Path) -> None:
    async with open_vertex(tmp_path) as setup:
        file = tmp_path / "google.json"
        config = config_of(tmp_path, setup.sim.base_url, file)
        findings = await run_checks(plan_checks(config), timeout_s=20)
        for finding in findings:
            assert (finding.key_accepted, finding.streams, finding.calls_tools) == (True,) * 3
            assert finding.problem is None
        setup.sim.tokens.retire(service_account().name)
        for finding in await run_checks(plan_checks(config), timeout_s=20):
            assert (finding.key_accepted, finding.failed) == (False, True)
            assert finding.problem == "it refuses Google's credentials, or there are none"
            assert finding.advice is not None
            assert "'credentials_file'" in finding.advice


# Recordings.


def whole() -> list[str]:
    """The recorded answers that are whole."""
    found = [name for name in names("gemini") if name.startswith(FOLDERS) and is_answer(name)]
    if not found:
        pytest.skip("no recordings")
    return found


async def test_recordings_byte_for_byte(tmp_path: Path) -> None:
    async with open_served_vertex(tmp_path) as served:
        for seed, name in enumerate(whole()):
            recording = recordings.load(name)
            answer = await fetch(served, recording, seed)
            assert without_cost(answer.content) == without_cost(recording.body), (
                f"{name}, seed {seed}"
            )
            await check_billed(served, answer.headers["x-request-id"], sdk.recorded(name).usage)


async def test_recordings_across(tmp_path: Path) -> None:
    async with open_served_vertex(tmp_path) as served:
        asker = Asker(served)
        try:
            for seed, (name, client) in enumerate(zip(whole(), cycle(ACROSS), strict=False)):
                got = await trio.to_thread.run_sync(asker.ask, client, name, seed)
                original = sdk.recorded(name)
                assert compare(original, got, client).wrong == [], f"{name}, seed {seed}"
                await check_billed(served, asker.request_id, original.usage)
        finally:
            asker.close()


async def ask(served: Any, path: str, document: dict[str, Any]) -> httpx.Response:
    async with served.http() as client:
        answer: httpx.Response = await client.post(f"{served.origin}{path}", json=document)
    return answer


async def test_recorded_refusals(tmp_path: Path) -> None:
    found = [
        name
        for folder in FOLDERS
        for name in recordings.names(folder)
        if isinstance(name, str) and recordings.load(name).status >= 400
    ]
    if not found:
        pytest.skip("no recordings")
    async with open_served_vertex(tmp_path) as served:
        for name in found:
            recording = recordings.load(name)
            contents = [{"role": "user", "parts": [{"text": prompt(recording, 1)}]}]
            path = f"/v1beta/models/{MODELS['gemini']}:generateContent"
            answer = await ask(served, path, {"contents": contents})
            expected = 502 if recording.status == 401 else recording.status
            assert answer.status_code == expected, name
            assert "fake-project" not in answer.text


async def test_recorded_counts(tmp_path: Path) -> None:
    """Vertex's own shape goes through to a client of Gemini's."""
    found = [name for name in recordings.names("vertex-countTokens") if isinstance(name, str)]
    if not found:
        pytest.skip("no recordings")
    async with open_served_vertex(tmp_path) as served:
        for name in found:
            asked = recordings.load(name).request
            assert asked is not None
            path = f"/v1beta/models/{MODELS['gemini']}:countTokens"
            answer = await ask(served, path, asked)
            assert answer.status_code == 200, (name, answer.text)
            assert answer.json().keys() >= {"totalTokens", "totalBillableCharacters"}
