"""A simulated provider in a process of its own, as a benchmark's parent has it."""

from __future__ import annotations

import json
import os
import socket
from http.client import HTTPConnection

import pytest

from bench.simulate import process
from bench.simulate.process import SimulatorError, running_simulator
from tests.bench.uploads import BOUNDARY, form

FORM = {"content-type": f"multipart/form-data; boundary={BOUNDARY}"}


def ask(port: int, directives: str) -> bytes:
    connection = HTTPConnection("127.0.0.1", port, timeout=20)
    message = {"role": "user", "content": f"#sim {directives}\nHello."}
    body = json.dumps({"model": "any", "messages": [message]})
    connection.request("POST", "/v1/chat/completions", body, {"content-type": "application/json"})
    answer = connection.getresponse().read()
    connection.close()
    return answer


def test_its_truth_is_read_page_by_page_and_its_load_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(process, "PAGE_RECORDS", 2)
    core = min(os.sched_getaffinity(0))
    with running_simulator(core) as simulator:
        assert os.sched_getaffinity(simulator.pid) == {core}
        before = simulator.load()
        for number in range(5):
            ask(simulator.port, f"tokens=3 tag={number}")
        truth = simulator.truth()
        assert [record["tag"] for record in truth] == list("01234")
        assert [record["tokens_written"] for record in truth] == [3] * 5
        assert [record["tag"] for record in simulator.truth(after=3)] == ["3", "4"]
        after = simulator.load()
        assert (after.requests - before.requests, after.lost) == (5, 0)
        assert after.cpu_s > before.cpu_s
    with pytest.raises(ProcessLookupError):
        os.kill(simulator.pid, 0)


def test_a_port_that_is_taken_is_said(capfd: pytest.CaptureFixture[str]) -> None:
    taken = socket.create_server(("127.0.0.1", 0))
    port = taken.getsockname()[1]
    with taken, pytest.raises(SimulatorError, match="not start"), running_simulator(None, port):
        pass
    assert f"cannot listen on port {port}: Address already in use" in capfd.readouterr().err


def test_it_is_told_how_to_behave() -> None:
    with running_simulator(None) as simulator:
        simulator.behave("any", "tokens=2")
        assert b'"completion_tokens":2' in ask(simulator.port, "").replace(b" ", b"")
        simulator.behave("any", "status=500")
        assert b"server_error" in ask(simulator.port, "")
        with pytest.raises(SimulatorError, match="Unknown directive"):
            simulator.behave("any", "statuss=500")


def test_what_it_has_is_told() -> None:
    with running_simulator(None) as simulator:
        connection = HTTPConnection("127.0.0.1", simulator.port, timeout=20)
        body = json.dumps({"prompt": "#sim tag=mine end_polls=0\nA river."})
        connection.request("POST", "/v1/videos", body, {"content-type": "application/json"})
        video = json.loads(connection.getresponse().read())
        connection.request(
            "POST", "/v1/files", form([("file", b"words"), ("purpose", "batch")]), FORM
        )
        file = json.loads(connection.getresponse().read())
        connection.close()
        [job], [kept] = simulator.jobs(), simulator.files()
    assert (job["id"], job["tag"], job["state"]) == (video["id"], "mine", "succeeded")
    assert job["succeeded_monotonic_s"] == job["created_monotonic_s"]
    assert (kept["id"], kept["bytes"]) == (file["id"], 5)
