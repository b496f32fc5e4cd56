"""Peers are started before a simulated provider, asked for a stream, and gone without a trace."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, suppress
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from bench.peers import ROWS, PeerError, install_peer, parse_peer, running_peer
from bench.simulate.process import RunningSimulator, running_simulator
from bench.suite.model import Peer
from bench.suite.processes import cpu_s_of
from tests.bench.peers.servers import CHILDREN, SERVES, script, server
from tests.bench.peers.slowed import SLOWED, SLOWED_US


@pytest.fixture(scope="module")
def provider() -> Iterator[RunningSimulator]:
    with running_simulator(None) as simulator:
        yield simulator


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


def ask(peer: Peer, tokens: int = 5) -> tuple[int, bytes]:
    """Status and body of a streamed answer of so many tokens."""
    address = urlsplit(peer.base_url)
    body = {
        "model": peer.models["openai_chat"],
        "stream": True,
        "messages": [{"role": "user", "content": f"#sim tokens={tokens}\nTell me more."}],
    }
    headers = {"content-type": "application/json", **dict(peer.headers)}
    with closing(HTTPConnection(str(address.hostname), address.port, timeout=60)) as connection:
        connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
        response = connection.getresponse()
        return response.status, response.read()


def is_there(pid: int) -> bool:
    """Whether a process runs; one that has ended, and that nobody has asked about, does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


# -- streams ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "direct",
        "nginx",
        "parshall",
        *(
            pytest.param(name, marks=pytest.mark.long)
            for name in ("parshall-h1", "parshall@HEAD", "smg", "portkey", "litellm")
        ),
    ],
)
def test_a_streamed_request(name: str, provider: RunningSimulator, home: Path) -> None:
    row = parse_peer(name)
    try:
        install_peer(row, home, print)
    except PeerError as error:
        pytest.skip(str(error))
    before = len(provider.truth())
    with running_peer(row, provider.base_url, core := min(os.sched_getaffinity(0)), home) as peer:
        pids = peer.pids()
        status, body = ask(peer)
        assert status == 200, body
        assert body.endswith(b"data: [DONE]\n\n")
        if name == "direct":
            assert pids[0] == provider.pid
        else:
            assert os.sched_getaffinity(pids[0]) == {core}
        assert peer.version or name == "direct"
    [record] = provider.truth()[before:]
    assert record["tokens_generated"] == 5
    assert [pid for pid in pids if is_there(pid)] == [p for p in pids if p == provider.pid]


@pytest.mark.long
def test_a_prelude_makes_a_gateway_slower(provider: RunningSimulator, home: Path) -> None:
    row = dataclasses.replace(ROWS["parshall"], prelude=SLOWED)
    install_peer(row, home, print)
    with running_peer(row, provider.base_url, None, home) as peer:
        before_s = cpu_s_of(peer.pids())
        ask(peer, tokens=1_000)
        assert cpu_s_of(peer.pids()) - before_s > 1_000 * SLOWED_US / 1e6


# -- what does not start ----------------------------------------------------------------------


def test_a_peer_that_ends_at_once_says_what_it_said(home: Path) -> None:
    row = script("import sys; print('no licence'); sys.exit(7)")
    with (
        pytest.raises(PeerError, match=r"script ended at once \(7\):\n +no licence") as refused,
        running_peer(row, "http://127.0.0.1:1", None, home),
    ):
        pass
    assert str(home / "logs" / "script.log") in str(refused.value)


def test_a_peer_that_is_never_well_is_given_up(home: Path) -> None:
    program = "import sys, time; print('loading', flush=True); time.sleep(60)"
    for start_timeout_s in (1, 4, 16, 30):  # it may take a while to say anything
        row = script(program, start_timeout_s=start_timeout_s)
        said = f"does not serve within {start_timeout_s} s:"
        with (
            pytest.raises(PeerError, match=said) as given_up,
            running_peer(row, "http://127.0.0.1:1", None, home),
        ):
            pass
        if "loading" in str(given_up.value):
            break
    assert re.search(r" s:\n +loading", str(given_up.value))


def test_a_peer_that_others_could_reach_is_refused(home: Path) -> None:
    with (
        pytest.raises(PeerError, match=r"listens on 0\.0\.0\.0, not only on loopback"),
        running_peer(server("0.0.0.0"), "http://127.0.0.1:1", None, home),
    ):
        pass


def test_a_port_that_was_taken_meanwhile_is_chosen_anew(home: Path, tmp_path: Path) -> None:
    once = tmp_path / "once"
    program = f"""
import errno, os, pathlib
if not os.path.exists({str(once)!r}):
    pathlib.Path({str(once)!r}).touch()
    raise OSError(errno.EADDRINUSE, "Address already in use")
HOST = "127.0.0.1"{SERVES}server.serve_forever()
"""
    with running_peer(script(program), "http://127.0.0.1:1", None, home) as peer:
        assert peer.pids()


def test_what_is_not_installed_says_how_to_get_it(home: Path) -> None:
    with (
        pytest.raises(PeerError, match=r"smg .* is not installed; `parshall bench peers install"),
        running_peer(ROWS["smg"], "http://127.0.0.1:1", None, home / "empty"),
    ):
        pass


# -- what it sees, and how it ends ------------------------------------------------------------


def test_a_peer_sees_nothing_of_our_environment(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    seen = tmp_path / "seen"
    then = f"import json, os; json.dump(dict(os.environ), open({str(seen)!r}, 'w'))"
    row = server(then=f"{then}\nserver.serve_forever()", environment={"MODE": "p"})
    with running_peer(row, "http://127.0.0.1:1", None, home):
        environment = json.loads(seen.read_text())
    # CPython sets LC_CTYPE itself where the locale is C.
    assert environment.keys() - {"LC_CTYPE"} == {"HOME", "TMPDIR", "PATH", "LANG", "MODE"}
    assert environment["HOME"] == str(home / "home")
    assert not Path(environment["TMPDIR"]).exists()


def test_its_children_end_with_it_however_it_goes(home: Path) -> None:
    row = server(then=CHILDREN)
    with suppress(ZeroDivisionError), running_peer(row, "http://127.0.0.1:1", None, home) as peer:
        pids = peer.pids()
        assert len(pids) == 3
        raise ZeroDivisionError
    assert not any(map(is_there, pids))


def test_an_interrupt_ends_it_too(home: Path) -> None:
    program = f"""
import sys, time
from pathlib import Path
from bench.peers import running_peer
from tests.bench.peers.servers import CHILDREN, server
row = server(then=CHILDREN)
with running_peer(row, "http://127.0.0.1:1", None, Path({str(home)!r})) as peer:
    print(*peer.pids(), flush=True)
    time.sleep(60)
"""
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout is not None
        pids = [int(word) for word in process.stdout.readline().split()]
        assert len(pids) == 3
        process.send_signal(signal.SIGINT)
        process.wait(60)
    assert not any(map(is_there, pids))
