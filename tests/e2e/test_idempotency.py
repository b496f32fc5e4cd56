"""Idempotency keys over HTTP: repeated requests, clients that race, a gateway that is killed."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from subprocess import PIPE
from typing import Any

import httpx
import openai
import orjson
import pytest
import trio

from bench.simulate import SimulatorSettings, open_simulator
from engine.events import Protocol
from tests.engine.upstream.peer import Request
from tests.gateways import MODELS, PROTOCOLS, chat_body, config_text, run, settled
from tests.processes import fund_account, open_process
from tests.scripted import DONE, open_scripted, word
from tests.served import Served, open_served

KEYED = {"idempotency-key": "order-66"}
VARYING = {"date", "idempotent-replayed"}
PATHS: dict[str, str] = {
    "openai_chat": "/v1/chat/completions",
    "openai_responses": "/v1/responses",
    "anthropic": "/v1/messages",
    "gemini": "/v1beta/models/{model}:generateContent",
}

RACER = """
import http.client, json, sys
port, key, body = int(sys.argv[1]), sys.argv[2], sys.argv[3]
sys.stdin.readline()
for number in range(int(sys.argv[4])):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    headers = {"authorization": "Bearer " + key, "idempotency-key": f"race-{number}"}
    connection.request("POST", "/v1/chat/completions", body, headers)
    answer = connection.getresponse()
    print(json.dumps([number, answer.status, answer.read().decode()]))
"""
RACES = 10


async def post(served: Served, protocol: Protocol, directives: str = "tokens=9") -> httpx.Response:
    call = served.setup.call_of(protocol, protocol, directives, stream=False)
    path = PATHS[protocol].format(model=MODELS[protocol])
    async with served.http() as http:
        return await http.post(f"{served.origin}{path}", content=call.body, headers=KEYED)


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_a_repeated_request_gets_the_same_answer(tmp_path: Path, protocol: Protocol) -> None:
    async with open_served(tmp_path) as served:
        first, second = await post(served, protocol), await post(served, protocol)
        assert (first.status_code, second.status_code) == (200, 200)
        assert second.content == first.content
        assert "idempotent-replayed" not in first.headers
        assert second.headers["idempotent-replayed"] == "true"
        assert _steady(second) == _steady(first)
        assert len(served.setup.sim.truth.records()) == 1
        receipt = await served.receipt(second.headers["x-request-id"])
        assert receipt["idempotency_key"] == "order-66"
        other = await post(served, protocol, "tokens=8")
        assert other.status_code == 409
        assert other.headers["x-parshall-receipt"] == receipt["request_id"]
        assert other.headers["x-should-retry"] == "false"


def _steady(answer: httpx.Response) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name not in VARYING}


async def test_while_it_runs_a_client_is_told_when_to_come_back(tmp_path: Path) -> None:
    slow = "tokens=1000 tokens_per_second=10"
    async with open_served(tmp_path) as served:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(post, served, "openai_chat", slow)
            await settled(lambda: any(served.setup.sim.truth.records()))
            answer = await post(served, "openai_chat", slow)
            nursery.cancel_scope.cancel()
        assert answer.status_code == 409
        assert answer.headers["retry-after"] == "1"
        assert answer.json()["error"]["code"] == "idempotency_in_progress"
        await settled(lambda: served.setup.gateway.open_exchanges == 0)


async def test_openais_sdk_comes_back_for_the_answer_by_itself(tmp_path: Path) -> None:
    """It takes a 409 for a reason to try again, unless told not to."""
    async with open_served(tmp_path) as served:

        def ask() -> tuple[str, str | None]:
            messages: Any = [{"role": "user", "content": "#sim tokens=40 tokens_per_second=100"}]
            with openai.OpenAI(
                base_url=served.url, api_key=served.setup.key, max_retries=9
            ) as client:
                answer = client.chat.completions.create(
                    model="sim-openai", messages=messages, extra_headers=KEYED
                )
            return answer.id, answer.choices[0].message.content

        answers: list[tuple[str, str | None]] = []

        async def ask_once() -> None:
            answers.append(await trio.to_thread.run_sync(ask))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask_once)
            nursery.start_soon(ask_once)
        assert answers[0] == answers[1]
        assert len(served.setup.sim.truth.records()) == 1


async def test_a_finished_stream_is_named(tmp_path: Path) -> None:
    async with open_served(tmp_path) as served, served.http() as http:
        body = chat_body("tokens=5")
        first = await http.post("/chat/completions", content=body, headers=KEYED)
        second = await http.post("/chat/completions", content=body, headers=KEYED)
        assert (first.status_code, second.status_code) == (200, 409)
        assert second.headers["x-parshall-receipt"] == first.headers["x-request-id"]
        assert first.headers["x-request-id"] in second.json()["error"]["message"]


async def test_two_keys_are_none(tmp_path: Path) -> None:
    async with open_served(tmp_path) as served, served.http() as http:
        headers = [("idempotency-key", "one"), ("idempotency-key", "two")]
        answer = await http.post("/chat/completions", content=chat_body(), headers=headers)
        assert answer.status_code == 400
        assert answer.json()["error"]["param"] == "Idempotency-Key"


async def test_providers_never_see_the_key(tmp_path: Path) -> None:
    heads: list[Any] = []

    async def script(request: Request) -> None:
        heads.append(request.head)
        request.answer()
        await request.send_all(word("hello") + DONE, ended=True)

    async with open_scripted(tmp_path, script) as setup:
        await run(setup, replace(setup.call(), idempotency_key="order-66"))
    [head] = heads
    assert not [name for name, value in head if b"idempotency" in name or b"order-66" in value]


async def test_clients_of_two_processes_race(tmp_path: Path) -> None:
    async with open_served(tmp_path) as served:
        body = chat_body("tokens=20 tokens_per_second=2000", stream=False).decode()
        racer = [sys.executable, "-c", RACER, str(served.port), served.setup.key, body, str(RACES)]
        processes = [
            await trio.lowlevel.open_process(racer, stdin=PIPE, stdout=PIPE) for _ in range(2)
        ]
        said: list[tuple[int, int, str]] = []

        async def read(process: trio.Process) -> None:
            assert process.stdout is not None
            lines = b"".join([bytes(data) async for data in process.stdout])
            said.extend(orjson.loads(line) for line in lines.splitlines())

        async with trio.open_nursery() as nursery:
            for process in processes:
                assert process.stdin is not None
                await process.stdin.send_all(b"go\n")
                nursery.start_soon(read, process)
        for process in processes:
            await process.wait()
        assert len(served.setup.sim.truth.records()) == RACES
        assert len(said) == 2 * RACES
        assert {status for _, status, _ in said} <= {200, 409}
        answers = {(number, text) for number, status, text in said if status == 200}
        assert Counter(number for number, _ in answers) == dict.fromkeys(range(RACES), 1)


async def test_a_killed_gateway_gives_what_it_gave_and_frees_what_it_lost(tmp_path: Path) -> None:
    async with open_simulator(SimulatorSettings()) as sim:
        text = config_text(tmp_path / "ledger.db", sim.base_url, server='bind = ["127.0.0.1:0"]')
        config = tmp_path / "parshall.toml"
        config.write_text(text)
        _, key = await fund_account(text)

        async def ask(port: int, name: str, directives: str) -> httpx.Response:
            headers = {"authorization": f"Bearer {key}", "idempotency-key": name}
            url = f"http://127.0.0.1:{port}/v1/chat/completions"
            async with httpx.AsyncClient(verify=False, timeout=30) as client:
                body = chat_body(directives, stream=False)
                return await client.post(url, content=body, headers=headers)

        async def ask_in_vain(port: int) -> None:
            with pytest.raises(httpx.TransportError):
                await ask(port, "lost", "tokens=1000 tokens_per_second=10")

        async with open_process(config) as (process, port), trio.open_nursery() as nursery:
            first = await ask(port, "given", "tokens=9")
            nursery.start_soon(ask_in_vain, port)
            await settled(lambda: len(sim.truth.records()) == 2)
            process.kill()
        async with open_process(config) as (_, port):
            again = await ask(port, "given", "tokens=9")
            assert again.content == first.content
            assert again.headers["x-request-id"] == first.headers["x-request-id"]
            found = await ask(port, "lost", "tokens=3")
            assert found.status_code == 200
        assert len(sim.truth.records()) == 3
