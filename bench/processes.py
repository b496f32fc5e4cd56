"""A simulated provider and a gateway in processes of their own, to be measured from outside."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

_PROVIDER = """
import trio
from bench.simulate import SimulatorSettings, open_simulator
from engine.wire.http2 import Http2Limits

async def main():
    limits = Http2Limits(resets_max=1_000_000)
    async with open_simulator(SimulatorSettings(http2=limits)) as simulator:
        print(simulator.base_url, flush=True)
        await trio.sleep_forever()

trio.run(main)
"""

_GATEWAY = """
import sys, trio
from pathlib import Path
from engine import open_gateway, parse_config
from frontends.app import create_app
from frontends.collecting import calm_collector
from frontends.server import ServerSettings, open_server
from frontends.server.tls import CertificateStore

async def main(folder, provider, server, *pair):
    config = parse_config(f'''
[storage]
url = "sqlite:{folder}/ledger.db"
[server]
lag_max_s = 10
[providers.sim]
protocol = "openai"
base_url = "{provider}/v1"
http2 = "prior-knowledge"
responses = true
state = "openai"
[providers.sim-responses]
protocol = "openai-responses"
base_url = "{provider}/v1"
http2 = "prior-knowledge"
[providers.sim-anthropic]
protocol = "anthropic"
base_url = "{provider}/v1"
http2 = "prior-knowledge"
[providers.sim-gemini]
protocol = "gemini"
base_url = "{provider}/v1beta"
http2 = "prior-knowledge"
[models.sim-openai]
deployments = [{{ provider = "sim", model = "sim-openai" }}]
price = {{ input = 1, output = 2 }}
[models.sim-responses]
deployments = [{{ provider = "sim-responses", model = "sim-openai" }}]
price = {{ input = 1, output = 2 }}
[models.sim-anthropic]
deployments = [{{ provider = "sim-anthropic", model = "sim-anthropic" }}]
price = {{ input = 1, output = 2 }}
[models.sim-gemini]
deployments = [{{ provider = "sim-gemini", model = "sim-gemini" }}]
price = {{ input = 1, output = 2 }}
[models.whisper-1]
deployments = [{{ provider = "sim", model = "whisper-1" }}]
price = {{ seconds = 0.0001 }}
''', "bench", {})
    async with open_gateway(config) as gateway:
        account = await gateway.ledger.create_account("bench")
        await gateway.ledger.fund(account.account_id, 10**15, "bench")
        _, key = await gateway.create_key(account.account_id, "bench")
        tls = CertificateStore(*map(Path, pair)) if pair else None
        settings = ServerSettings(
            server=server, tls=tls, loop_lag_s=lambda: gateway.load.lag.seconds
        )
        async with open_server(create_app(gateway), ["127.0.0.1:0"], settings) as served:
            print(served.addresses[0], key, flush=True)
            with calm_collector():
                await trio.sleep_forever()

trio.run(main, *sys.argv[1:])
"""


@dataclass(slots=True)
class Target:
    """A running gateway."""

    pid: int
    port: int
    key: str
    provider_port: int
    folder: Path
    """Where its ledger is; `sys.argv[1]` of its program."""

    def cpu_s(self) -> float:
        """CPU used since it began, user and system, all threads."""
        return cpu_s(self.pid)

    def memory(self) -> dict[str, int]:
        """Bytes in memory: all that is mapped (`rss`), and its share of what others map (`pss`)."""
        lines = Path(f"/proc/{self.pid}/smaps_rollup").read_text().splitlines()[1:]
        fields = dict(line.split()[:2] for line in lines)
        return {"rss": int(fields["Rss:"]) * 1024, "pss": int(fields["Pss:"]) * 1024}


def cpu_s(pid: int) -> float:
    """CPU that a process has used, user and system, all threads; to the nanosecond."""
    return time.clock_gettime((~pid << 3) | 2)  # the clock that clock_getcpuclockid(3) names


@contextmanager
def running(program: str, *arguments: str) -> Iterator[tuple[int, list[str]]]:
    """A Python program in a process of its own; its id and the words of its first line."""
    with subprocess.Popen(  # noqa: S603 - our own interpreter and programs
        [sys.executable, "-c", program, *arguments], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            yield process.pid, process.stdout.readline().split()
        finally:
            process.kill()


@contextmanager
def running_gateway(
    prelude: str = "",
    *,
    provider_port: int | None = None,
    server: Literal["parshall", "hypercorn"] = "parshall",
    certificate: tuple[Path, ...] = (),
) -> Iterator[Target]:
    """A gateway in front of a simulated provider, which is started with it if none is given; the
    gateway's process runs `prelude` first. With a certificate and its key it serves TLS."""
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        if provider_port is None:
            _, [provider] = stack.enter_context(running(_PROVIDER))
            provider_port = _port(provider)
        program = prelude + _GATEWAY
        arguments = [folder, f"http://127.0.0.1:{provider_port}", server, *map(str, certificate)]
        pid, [address, key] = stack.enter_context(running(program, *arguments))
        yield Target(pid, _port(address), key, provider_port, Path(folder))


def _port(address: str) -> int:
    return int(address.rpartition(":")[2])
