"""A simulated provider and a gateway in processes of their own, to be measured from outside."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")

_PROVIDER = """
import trio
from bench.simulate import SimulatorSettings, open_simulator

async def main():
    async with open_simulator(SimulatorSettings()) as simulator:
        print(simulator.base_url, flush=True)
        await trio.sleep_forever()

trio.run(main)
"""

_GATEWAY = """
import sys, trio
from pathlib import Path
from engine import open_gateway, parse_config
from frontends.app import create_app
from frontends.server import open_server

async def main(folder, provider):
    config = parse_config(f'''
[storage]
url = "sqlite:{folder}/ledger.db"
[providers.sim]
protocol = "openai"
base_url = "{provider}/v1"
http2 = "prior-knowledge"
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
''', "bench", {})
    async with open_gateway(config) as gateway:
        account = await gateway.ledger.create_account("bench")
        await gateway.ledger.fund(account.account_id, 10**15, "bench")
        _, key = await gateway.create_key(account.account_id, "bench")
        async with open_server(create_app(gateway), ["127.0.0.1:0"]) as server:
            print(server.addresses[0], key, flush=True)
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
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S

    def memory_bytes(self) -> int:
        """Resident memory."""
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * _PAGE_BYTES


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
def running_gateway(prelude: str = "") -> Iterator[Target]:
    """A simulated provider, and a gateway in front of it; its process runs `prelude` first."""
    with (
        tempfile.TemporaryDirectory() as folder,
        running(_PROVIDER) as (_, [provider]),
        running(prelude + _GATEWAY, folder, provider) as (pid, [address, key]),
    ):
        yield Target(pid, _port(address), key, _port(provider), Path(folder))


def _port(address: str) -> int:
    return int(address.rpartition(":")[2])
