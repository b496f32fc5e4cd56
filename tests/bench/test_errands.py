"""Calls that leave something behind: how their answers are spoiled, over both protocols of HTTP."""

from __future__ import annotations

import orjson
import pytest
import trio

from bench.simulate import SimulatorSettings, open_simulator
from tests.bench.peer import open_http2
from tests.bench.raw import Received, converse, post
from tests.bench.uploads import BOUNDARY, form

CLOSED = "connection: close\r\n"
PROMPT = "A river at dawn."
FORM = form([("file", b"words"), ("purpose", "batch")])


async def asked(directives: str) -> tuple[Received, int, str | None]:
    """What a submit brings, how many jobs it left, and how its record ended."""
    async with open_simulator(SimulatorSettings()) as simulator:
        body: dict[str, object] = {"prompt": f"#sim {directives}\n{PROMPT}"}
        received = await converse(simulator.port, post(body, path="/v1/videos", more=CLOSED))
        with trio.fail_after(5):
            [record] = simulator.truth.records()
            await simulator.truth.wait_ended(record.provider_request_id)
        assert simulator.statistics().crashes == 0
        return received, len(simulator.jobs), record.ended


@pytest.mark.parametrize(
    ("fault", "status", "jobs", "ended"),
    [
        ("html", 200, 1, "error"),
        ("error_ok", 200, 1, "error"),
        ("eof", 200, 1, "cut"),
        ("cut_body", 200, 1, "cut"),
        ("cut", None, 1, "cut"),
        ("rst", None, 1, "cut"),
        ("refused", None, 0, "cut"),
        ("goaway_refused", None, 0, "cut"),
        ("stall stall_ms=20", 200, 1, "error"),
    ],
)
async def test_a_fault_strikes_the_answer(
    fault: str, status: int | None, jobs: int, ended: str
) -> None:
    received, taken, how = await asked(f"fault={fault}")
    assert (taken, how, received.reset) == (jobs, ended, fault == "rst")
    assert (received.status if received.data else None) == status
    match fault:
        case "html":
            assert received.body.startswith(b"<!DOCTYPE html>")
        case "error_ok":
            assert "error" in orjson.loads(received.body)
        case "eof" | "cut_body":
            assert received.body.startswith(b"{")
            assert not received.body.rstrip().endswith(b"}")
            assert received.terminated == (fault == "eof")
        case "stall stall_ms=20":
            assert orjson.loads(received.body)["object"] == "video"
        case _:
            assert received.data == b""


async def test_a_status_is_told_before_anything_is_done() -> None:
    received, jobs, ended = await asked("status=429 retry_after=3 fault=cut")
    assert (received.status, jobs, ended) == (429, 0, "error")
    assert b"\r\nretry-after: 3\r\n" in received.head


async def test_streams_of_http2_are_refused_and_reset() -> None:
    headers = [(b"content-type", f"multipart/form-data; boundary={BOUNDARY}".encode())]
    async with open_simulator(SimulatorSettings()) as simulator:
        async with open_http2(simulator.port) as client:
            codes = []
            for words in ("fault=refused", "fault=rst", ""):
                simulator.behave("files.upload", words)
                answer = await client.wait(await client.send("/v1/files", FORM, headers))
                codes.append(answer.reset_code)
            assert answer.status == 200
        assert (codes, simulator.files.uploads) == ([7, 2, None], 2)


async def test_the_same_seed_makes_the_same_film() -> None:
    async def film(seed: str) -> bytes:
        async with open_simulator(SimulatorSettings(seed=seed)) as simulator:
            body: dict[str, object] = {"prompt": f"#sim end_polls=0\n{PROMPT}"}
            made = await converse(simulator.port, post(body, path="/v1/videos", more=CLOSED))
            path = f"/v1/videos/{orjson.loads(made.body)['id']}/content"
            get = f"GET {path} HTTP/1.1\r\nhost: x\r\n{CLOSED}\r\n"
            return (await converse(simulator.port, get.encode())).body

    assert await film("a") == await film("a") != await film("b")
