"""The supervisor over real processes: what it replaces, what it keeps, when it gives up."""

from __future__ import annotations

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from configparser import ConfigParser
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import trio

from bench.simulate import SimulatorSettings, open_simulator
from engine import Outcome, open_gateway, parse_config
from engine.config_tables import ServerConfig
from frontends.cli import serve
from frontends.server.listener import FLUSH_S
from frontends.supervisor import FAILURES_MAX, NOT_STARTED, REFUSED, SUPERVISED, Supervisor
from tests.gateways import assert_invariants, config_text, settled
from tests.processes import PARSHALL, Client, ask, fund_account, is_ready

ROOT = Path(__file__).parents[2]
START_TIMEOUT_S = 60
BIND = ("--bind", "127.0.0.1:0")


@dataclass
class Supervised:
    """A running `parshall serve --supervised`."""

    supervisor: trio.Process
    port: int
    log_path: Path

    def serving_pids(self) -> list[int]:
        """Of every serving process that was started, the latest last."""
        return [int(pid) for pid in re.findall(r"serving process is (\d+)", self.log())]

    def log(self) -> str:
        return self.log_path.read_text()


@asynccontextmanager
async def open_supervised(
    config: Path, *options: str, environ: Mapping[str, str] | None = None
) -> AsyncIterator[Supervised]:
    """Serve under a supervisor; ready to take requests."""
    folder = config.parent
    command = [str(PARSHALL), "serve", "--supervised", "--config", str(config), *options]
    with (folder / "log").open("ab") as log, (folder / "out").open("wb") as out:
        process = await trio.lowlevel.open_process(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=log, env=environ
        )
    try:
        port = 0
        with trio.fail_after(START_TIMEOUT_S):
            while not port or not await is_ready(port):
                assert process.poll() is None, (folder / "log").read_text()
                found = re.search(r"127\.0\.0\.1:(\d+)", (folder / "out").read_text())
                port = int(found.group(1)) if found else 0
                await trio.sleep(0.02)
        yield Supervised(process, port, folder / "log")
    finally:
        if process.poll() is None:
            process.terminate()
        with trio.CancelScope(shield=True), trio.move_on_after(START_TIMEOUT_S):
            await process.wait()


def is_alive(pid: int) -> bool:
    """Whether it runs; one that has ended and is nobody's child any more does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def test_a_killed_process_is_replaced_on_the_same_sockets(tmp_path: Path) -> None:
    path = tmp_path / "p.sock"
    async with open_simulator(SimulatorSettings()) as sim:
        text = config_text(tmp_path / "ledger.db", sim.base_url)
        (tmp_path / "parshall.toml").write_text(text)
        account_id, key = await fund_account(text)
        binds = ("--bind", "127.0.0.1:0", "--bind", f"unix:{path}")
        async with open_supervised(tmp_path / "parshall.toml", *binds) as running:
            inode = path.stat().st_ino
            clients = [Client(tokens=100_000) for _ in range(8)]
            [first] = running.serving_pids()
            async with trio.open_nursery() as nursery:
                for client in clients:
                    nursery.start_soon(client.run, running.port, key)
                await settled(lambda: all(client.words > 20 for client in clients), 30)
                os.kill(first, signal.SIGHUP)  # of no terminal: not the end
                os.kill(first, signal.SIGKILL)
            with trio.fail_after(START_TIMEOUT_S):  # it waits in the kernel's queue
                answer = await ask(running.port, b"GET /readyz HTTP/1.0\r\nhost: x\r\n\r\n")
                over_unix = await _ask_unix(path)
            after = Client(tokens=5)
            await after.run(running.port, key)
            assert running.supervisor.poll() is None
            assert len(running.serving_pids()) == 2
            assert path.stat().st_ino == inode
            running.supervisor.send_signal(signal.SIGTERM)
            with trio.fail_after(START_TIMEOUT_S):
                assert await running.supervisor.wait() == 0
    assert answer.startswith(b"HTTP/1.1 200")
    assert over_unix.startswith(b"HTTP/1.1 200")
    assert after.done
    assert not path.exists()
    assert not any(is_alive(pid) for pid in running.serving_pids())
    async with open_gateway(parse_config(text, "parshall.toml", {})) as gateway:
        await assert_invariants(gateway)
        for client in clients:
            receipt = await gateway.ledger.read_receipt(account_id, client.request_id)
            assert receipt is not None
            assert (receipt["state"], receipt["outcome"]) == ("settled", Outcome.GATEWAY_FAILED)


async def _ask_unix(path: Path) -> bytes:
    async with await trio.open_unix_socket(path) as stream:
        await stream.send_all(b"GET /readyz HTTP/1.0\r\nhost: x\r\n\r\n")
        return b"".join([bytes(data) async for data in stream])


async def test_systemd_hears_of_it_through_the_supervisor(tmp_path: Path) -> None:
    """READY, the watchdog of the main process, a reload, STOPPING; then no process is left."""
    async with open_simulator(SimulatorSettings()) as sim:
        config = tmp_path / "parshall.toml"
        text = config_text(tmp_path / "ledger.db", sim.base_url)
        config.write_text(text)
        path = tmp_path / "notify"
        environ = {**os.environ, "NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": "1000000"}
        async with (
            open_systemd(path) as systemd,
            open_supervised(config, *BIND, environ=environ) as running,
        ):
            await _hear(systemd, b"READY=1")
            await _hear(systemd, b"WATCHDOG=1")
            for change in ("[plans.new]\n", "[plans.new]\nrequests = 1\n"):
                config.write_text(text + change)
                running.supervisor.send_signal(signal.SIGHUP)
                await _hear(systemd, b"RELOADING=1\nMONOTONIC_USEC=")
                await _hear(systemd, b"READY=1")
            running.supervisor.send_signal(signal.SIGINT)
            await _hear(systemd, b"STOPPING=1")
            with trio.fail_after(START_TIMEOUT_S):
                assert await running.supervisor.wait() == 0
    assert not any(is_alive(pid) for pid in running.serving_pids())
    [read] = [line for line in running.log().splitlines() if "was read again" in line]
    assert '"changed":["plans.new"]' in read
    assert "the configuration in use stays: " in running.log()
    assert "plans.new.requests is unknown; did you mean 'requests_per_min'?" in running.log()


@asynccontextmanager
async def open_systemd(path: Path) -> AsyncIterator[trio.MemoryReceiveChannel[bytes]]:
    """What it is told there. It always listens: the kernel keeps ten messages, and what is sent
    then is lost."""
    told, heard = trio.open_memory_channel[bytes](1_000)

    async def listen(sock: trio.socket.SocketType) -> None:
        while True:
            told.send_nowait(await sock.recv(4_096))

    with trio.socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        await sock.bind(str(path))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(listen, sock)
            yield heard
            nursery.cancel_scope.cancel()


async def _hear(systemd: trio.MemoryReceiveChannel[bytes], expected: bytes) -> None:
    with trio.fail_after(START_TIMEOUT_S):
        while not (await systemd.receive()).startswith(expected):
            pass


async def test_a_supervisor_that_is_killed_leaves_no_orphan(tmp_path: Path) -> None:
    """The serving process stops gracefully: what runs may end."""
    async with open_simulator(SimulatorSettings()) as sim:
        text = config_text(tmp_path / "ledger.db", sim.base_url)
        (tmp_path / "parshall.toml").write_text(text)
        _, key = await fund_account(text)
        async with open_supervised(tmp_path / "parshall.toml", *BIND) as running:
            client = Client(tokens=60, tokens_per_s=60)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(client.run, running.port, key)
                await settled(lambda: client.words > 5, 30)
                running.supervisor.kill()
            [serving] = running.serving_pids()
            await settled(lambda: not is_alive(serving), 30)
    assert client.done
    assert "the supervisor has died" in running.log()


@pytest.mark.parametrize("supervised", [False, True])
async def test_the_sockets_of_systemd_are_served_instead_of_ours(
    tmp_path: Path, supervised: bool
) -> None:
    async with open_simulator(SimulatorSettings()) as sim:
        config = tmp_path / "parshall.toml"
        config.write_text(config_text(tmp_path / "ledger.db", sim.base_url))
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
            activate = f"""
import os, sys
os.dup2({listener.fileno()}, 3)
os.environ |= {{"LISTEN_FDS": "1", "LISTEN_PID": str(os.getpid())}}
os.execv(sys.argv[1], sys.argv[1:])
"""
            command = [sys.executable, "-c", activate, str(PARSHALL), "serve"]
            command += ["--supervised"] * supervised + ["--config", str(config)]
            process = await trio.lowlevel.open_process(
                command, pass_fds=[listener.fileno()], stdout=subprocess.PIPE
            )
            try:
                with trio.fail_after(START_TIMEOUT_S):
                    assert await is_ready(port)
                process.terminate()
                with trio.fail_after(START_TIMEOUT_S):
                    assert await process.wait() == 0
            finally:
                process.kill()
            assert process.stdout is not None
            said = await process.stdout.receive_some()
            await process.stdout.aclose()
    assert f"Parshall serves on 127.0.0.1:{port}\n".encode() in said


async def test_a_configuration_that_is_refused_is_tried_once(tmp_path: Path) -> None:
    config = tmp_path / "parshall.toml"
    config.write_text("[server]\nbnd = []\n")
    done = await trio.run_process(
        [PARSHALL, "serve", "--supervised", "--config", str(config)],
        capture_stderr=True,
        check=False,
    )
    assert done.returncode == 3
    assert done.stderr.count(b"the serving process is") == 1
    assert b"bnd" in done.stderr


def test_the_unit_of_systemd_starts_what_there_is() -> None:
    unit = ConfigParser(interpolation=None, strict=False)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read_string((ROOT / "scripts" / "parshall.service").read_text())
    service = unit["Service"]
    program, command, *options = shlex.split(service["ExecStart"])
    assert (Path(program).name, command) == (PARSHALL.name, "serve")
    assert serve.make_context("serve", options).params["supervised"]
    assert (service["Type"], service["NotifyAccess"]) == ("notify", "all")
    assert service["KillMode"] == "mixed", "a second signal would end the grace"
    assert float(service["TimeoutStopSec"]) > ServerConfig().shutdown_grace_s + FLUSH_S
    refused = {int(code) for code in service["RestartPreventExitStatus"].split()}
    assert refused == REFUSED


# ---- what it makes of the ends of its process: any command will do -----------------------------

READY = (
    f"os.write(json.loads(os.environ[{SUPERVISED!r}])['channel'], b'{{\"state\":\"ready\"}}\\n')"
)
KILL = "os.kill(os.getpid(), signal.SIGKILL)"


@pytest.mark.parametrize(
    ("lines", "code", "starts"),
    [
        ((READY, "sys.exit(0)"), 0, 1),
        ((READY, "sys.exit(1)"), 1, FAILURES_MAX),
        ((READY, "sys.exit(3)"), 3, 1),
        ((READY, "sys.exit(4)"), 1, FAILURES_MAX),
        ((READY, KILL), 1, FAILURES_MAX),
        ((KILL,), 1, FAILURES_MAX),
        (("sys.exit(1)",), 1, 1),
        (("sys.exit(4)",), 4, 1),
        (("os.kill(os.getppid(), signal.SIGTERM)", "signal.pause()"), 128 + signal.SIGTERM, 1),
        (("os.kill(os.getppid(), signal.SIGHUP)", "signal.pause()"), 1, FAILURES_MAX),
    ],
)
def test_who_is_replaced(tmp_path: Path, lines: Sequence[str], code: int, starts: int) -> None:
    """Who has served and fails; not who was told to end, and not who has never come up."""
    count = f"print('start', file=open({str(tmp_path / 'starts')!r}, 'a'))"
    script = "\n".join(("import json, os, signal, sys", count, *lines))
    assert Supervisor([sys.executable, "-c", script], backoff_s=(0.0,)).run() == code
    assert len((tmp_path / "starts").read_text().splitlines()) == starts


def test_a_program_that_cannot_be_run_is_tried_once(caplog: pytest.LogCaptureFixture) -> None:
    assert Supervisor(["/nonexistent/program"], backoff_s=(60.0,)).run() == NOT_STARTED
    assert "No such file" in caplog.text


def test_a_stop_between_two_processes_is_heard(tmp_path: Path) -> None:
    script = f"import json, os, signal, sys\n{READY}\nos.kill(os.getppid(), signal.SIGTERM)\n{KILL}"
    assert Supervisor([sys.executable, "-c", script], backoff_s=(60.0,)).run() in (
        0,
        128 + signal.SIGKILL,
        128 + signal.SIGTERM,  # passed on before the process could kill itself
    )


def test_what_a_replacement_does_not_take_is_let_go(tmp_path: Path) -> None:
    """A bind that the configuration has lost meanwhile is refused, not queued for nobody."""
    script = f"""
import json, os, signal, socket, sys
given = json.loads(os.environ[{SUPERVISED!r}])
channel = socket.socket(fileno=given["channel"])
def say(message, files=()):
    socket.send_fds(channel, [json.dumps(message).encode() + b"\\n"], files)
if not given["held"]:
    one, two = socket.create_server(("127.0.0.1", 0)), socket.create_server(("127.0.0.1", 0))
    ports = [str(sock.getsockname()[1]) for sock in (one, two)]
    open({str(tmp_path / "ports")!r}, "w").write(" ".join(ports))
    say({{"hold": {{"one": 1, "two": 1}}, "keep": []}}, [one.fileno(), two.fileno()])
    say({{"state": "ready"}})
    os.kill(os.getpid(), signal.SIGKILL)
assert sorted(given["held"]) == ["one", "two"]
say({{"hold": {{}}, "keep": ["two"]}})
say({{"state": "ready"}})
for held in given["held"].values():
    os.close(held[0])
one, two = map(int, open({str(tmp_path / "ports")!r}).read().split())
channel.settimeout(30)
while socket.socket().connect_ex(("127.0.0.1", one)) == 0:
    pass
assert socket.socket().connect_ex(("127.0.0.1", two)) == 0
open({str(tmp_path / "checked")!r}, "w").write("yes")
"""
    assert Supervisor([sys.executable, "-c", script], backoff_s=(0.0,)).run() == 0
    assert (tmp_path / "checked").read_text() == "yes"
