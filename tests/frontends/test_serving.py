"""The serving process as people start it: a demo that works when pasted, signals, restarts."""

from __future__ import annotations

import os
import re
import shutil
import signal
import sqlite3
import ssl
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
import trio
import trustme
from trio.testing import wait_all_tasks_blocked

from bench.simulate import SimulatorSettings, open_simulator
from engine import Gateway, parse_config
from engine.catalogue import build_catalogue
from engine.config_access import ADMIN_VARIABLE
from frontends.demo import PROVIDERS, SIMULATED_BESIDE_CHAT, Provider, demo_config
from frontends.serving import serve, server_settings
from frontends.welcome import client_url, welcome
from tests.forking import start, wait_output
from tests.frontends.server.apps import read_until
from tests.gateways import chat_body, config_text, settled
from tests.processes import ask

PARSHALL = Path(sys.executable).parent / "parshall"
START_TIMEOUT_S = 60
WELCOME_END = 'print(chunk.text or "", end="", flush=True)\n'
SCREEN_LINES = 50


@dataclass
class Process:
    """A running `parshall serve`."""

    trio_process: trio.Process
    output: str
    folder: Path

    @property
    def url(self) -> str:
        found = re.search(r"http://\S+:\d+", self.output)
        assert found is not None, self.output
        return found.group()

    @property
    def key(self) -> str:
        found = re.search(r"sk-parshall-\S+", self.output)
        assert found is not None, self.output
        return found.group()

    def log(self) -> list[dict[str, Any]]:
        return [orjson.loads(line) for line in (self.folder / "log").read_bytes().splitlines()]

    async def end(self, signal_number: int = signal.SIGTERM) -> int:
        self.trio_process.send_signal(signal_number)
        with trio.fail_after(START_TIMEOUT_S):
            return await self.trio_process.wait()


@asynccontextmanager
async def open_process(folder: Path, *options: str, until: str) -> AsyncIterator[Process]:
    """`parshall serve` on a free port; ready once it has printed `until`."""
    unset = ("_API_KEY",) if "--config" in options else ("_API_KEY", ADMIN_VARIABLE)
    environ = {k: v for k, v in os.environ.items() if not k.endswith(unset)}
    with (folder / "log").open("ab") as log:
        process = start(
            "parshall",
            ["serve", *options],
            stdout=subprocess.PIPE,
            stderr=log.fileno(),
            cwd=folder,
            env=environ,
        )
    try:
        assert process.stdout is not None
        with trio.fail_after(START_TIMEOUT_S):
            output = (await read_until(process.stdout, until.encode())).decode()
        assert until in output, (folder / "log").read_text()
        yield Process(process, output, folder)
    finally:
        if process.returncode is None:
            process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
            if process.stdout is not None:
                await process.stdout.aclose()


def snippets_of(demo: Process) -> list[str]:
    """Each of the welcome's snippets, and all in one."""
    every = demo.output.partition("reaches every model:\n\n")[2]
    snippets = [block for block in every.split("\n\n") if "import" in block]
    assert [re.findall(r"from (\w+) import", block)[0] for block in snippets] == [
        "openai",
        "anthropic",
        "google",
    ]
    return [*snippets, every]


async def paste(snippet: str) -> str:
    """What Python prints of it."""
    return await wait_output(snippet)


def open_demo_process(folder: Path) -> Any:
    return open_process(folder, "--bind", "127.0.0.1:0", until=WELCOME_END)


async def test_the_demo_works_when_pasted_and_prints_the_same_key_again(tmp_path: Path) -> None:
    async with open_demo_process(tmp_path) as demo:
        key = demo.key
        path = tmp_path / "parshall.demo-key"
        assert path.read_text().strip() == key
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        admin_path = tmp_path / "parshall.demo-admin-key"
        admin_key = admin_path.read_text().strip()
        assert len(admin_key) >= 32
        assert stat.S_IMODE(admin_path.stat().st_mode) == 0o600
        assert f"the operator's key is in {admin_path.name}" in demo.output

        for snippet in snippets_of(demo):
            assert len((await paste(snippet)).split()) > 10

        if shutil.which("curl"):
            line = demo.output[demo.output.index("curl -N") :].partition("\n\n")[0]
            curl = await trio.run_process(["bash", "-c", line], capture_stdout=True)
            assert curl.stdout.endswith(b"data: [DONE]\n\n")

        assert await demo.end() == 0
        entries = [line for line in demo.log() if line["logger"] == "parshall.access"]
        assert all(entry["outcome"] == "completed" for entry in entries)
        for secret in (key, admin_key):
            assert secret not in (tmp_path / "log").read_text()

    async with open_demo_process(tmp_path) as demo:
        assert demo.key == key
        assert admin_path.read_text().strip() == admin_key
        async with httpx.AsyncClient(base_url=demo.url, timeout=30) as client:
            answer = await client.get("/v1/models", headers={"authorization": f"Bearer {key}"})
        assert answer.json()["data"][0]["id"] == "sim-openai"
        assert await demo.end(signal.SIGINT) == 0


async def test_the_demo_on_a_unix_socket_works_when_pasted(tmp_path: Path) -> None:
    bind = f"unix:{tmp_path / 'gate way.sock'}"
    async with open_process(tmp_path, "--bind", bind, until=WELCOME_END) as demo:
        # One after another with names of its own: the SDKs take longer to load than to answer.
        one_by_one = "".join(
            f"exec({snippet!r}, {{}})\nprint('\\0', end='')\n" for snippet in snippets_of(demo)
        )
        *printed, end = (await paste(one_by_one)).split("\0")
        assert len(printed) == len(snippets_of(demo))
        assert all(len(text.split()) > 10 for text in printed)
        assert end == ""

        if shutil.which("curl"):
            line = demo.output[demo.output.index("curl -N") :].partition("\n\n")[0]
            curl = await trio.run_process(["bash", "-c", line], capture_stdout=True)
            assert curl.stdout.endswith(b"data: [DONE]\n\n")


async def test_a_key_that_outlived_its_database_is_taken_up_again(tmp_path: Path) -> None:
    async with open_demo_process(tmp_path) as demo:
        key = demo.key
        await demo.end()
    for name in ("parshall.db", "parshall.db.lock"):
        (tmp_path / name).unlink()
    async with open_demo_process(tmp_path) as demo:
        assert demo.key == key


async def test_a_stopping_server_lets_a_stream_end(tmp_path: Path) -> None:
    body = chat_body("tokens=60 tokens_per_second=60")
    async with open_demo_process(tmp_path) as demo:
        headers = {"authorization": f"Bearer {demo.key}"}
        async with (
            httpx.AsyncClient(base_url=demo.url, headers=headers, timeout=30) as client,
            client.stream("POST", "/v1/chat/completions", content=body) as response,
        ):
            chunks = response.aiter_raw()
            await anext(chunks)
            demo.trio_process.send_signal(signal.SIGTERM)
            rest = b"".join([chunk async for chunk in chunks])
        with trio.fail_after(START_TIMEOUT_S):
            assert await demo.trio_process.wait() == 0

    assert rest.endswith(b"data: [DONE]\n\n")
    (entry,) = [line for line in demo.log() if line["logger"] == "parshall.access"]
    assert entry["outcome"] == "completed"


async def test_a_second_signal_ends_what_is_left_and_bills_it(tmp_path: Path) -> None:
    body = chat_body("tokens=100000 tokens_per_second=50")
    async with open_demo_process(tmp_path) as demo:
        headers = {"authorization": f"Bearer {demo.key}"}
        async with (
            httpx.AsyncClient(base_url=demo.url, headers=headers, timeout=30) as client,
            client.stream("POST", "/v1/chat/completions", content=body) as response,
        ):
            request_id = response.headers["x-request-id"]
            chunks = response.aiter_raw()
            await anext(chunks)
            demo.trio_process.send_signal(signal.SIGTERM)
            await settled(lambda: _refuses(demo.url))
            demo.trio_process.send_signal(signal.SIGTERM)
            rest = b"".join([chunk async for chunk in chunks])
        with trio.fail_after(START_TIMEOUT_S):
            assert await demo.trio_process.wait() == 0

    assert b"The gateway is stopping." in rest.rpartition(b'data: {"error":')[2]

    with sqlite3.connect(tmp_path / "parshall.db") as connection:
        row = connection.execute("SELECT body FROM receipts").fetchone()
    connection.close()
    receipt = orjson.loads(row[0])
    assert receipt["request_id"] == request_id
    assert receipt["outcome"] == "shutdown"
    assert receipt["usage"]["output_tokens"] > 0


def _refuses(url: str) -> bool:
    try:
        httpx.get(f"{url}/healthz", timeout=30)
    except (httpx.NetworkError, httpx.RemoteProtocolError):
        return True
    return False


async def test_a_signal_while_it_says_that_it_serves_is_no_reset(tmp_path: Path) -> None:
    """Whoever reads its address may connect before all is said, and end it."""
    text = config_text(tmp_path / "ledger.db", "http://127.0.0.1:1")
    environ = {ADMIN_VARIABLE: "of-the-operator-of-this-test-only"}
    config = parse_config(
        text.replace("[server]", '[server]\nbind = ["127.0.0.1:0"]'), "p", environ
    )
    answers = []

    async def announce(_gateway: Gateway, addresses: tuple[str, ...]) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        await wait_all_tasks_blocked(0.01)
        port = int(addresses[0].rpartition(":")[2])
        answers.append(await ask(port, b"GET /healthz HTTP/1.0\r\n\r\n"))

    await serve(config, announce)
    assert answers[0].startswith(b"HTTP/1.1 200 ")


async def test_a_configured_server(tmp_path: Path) -> None:
    async with open_simulator(SimulatorSettings()) as sim:
        config = tmp_path / "parshall.toml"
        config.write_text(config_text(tmp_path / "ledger.db", sim.base_url))
        socket = tmp_path / "p.sock"
        options = ("--config", str(config), "--bind", f"unix:{socket}")
        async with open_process(tmp_path, *options, until="keys create NAME") as server:
            assert "no account yet" in server.output
            transport = httpx.AsyncHTTPTransport(uds=str(socket))
            async with httpx.AsyncClient(
                transport=transport, base_url="http://p", timeout=30
            ) as client:
                assert (await client.get("/readyz")).json() == {"status": "ready"}
            assert await server.end() == 0
        assert not socket.exists()


async def test_two_servers_do_not_share_a_database(tmp_path: Path) -> None:
    async with open_demo_process(tmp_path):
        second = await trio.run_process(
            [str(PARSHALL), "serve", "--bind", "127.0.0.1:0"],
            cwd=tmp_path,
            check=False,
            capture_stderr=True,
            capture_stdout=True,
        )

    assert second.returncode == 4
    assert b"in use" in second.stderr


@pytest.mark.parametrize(
    ("addresses", "url"),
    [
        (("127.0.0.1:8787",), "http://127.0.0.1:8787"),
        (("0.0.0.0:8787",), "http://127.0.0.1:8787"),
        (("[::]:8787",), "http://[::1]:8787"),
        (("unix:/p", "10.0.0.1:80"), "http://10.0.0.1:80"),
        (("unix:/p",), "unix:/p"),
    ],
)
def test_the_url_to_paste(addresses: tuple[str, ...], url: str) -> None:
    assert client_url(addresses) == url


SIMULATED_MODELS = [
    *("sim-openai", "sim-anthropic", "sim-gemini"),
    *(name for name, *_ in SIMULATED_BESIDE_CHAT),
]


@pytest.mark.parametrize("provider", PROVIDERS, ids=lambda provider: provider.name)
def test_a_provider_is_added_by_its_key_which_stays_out_of_the_text(provider: Provider) -> None:
    environ = {provider.variable: "sk-from-the-environment"}
    arguments = ("http://127.0.0.1:1", Path('a b"c.db'), ("127.0.0.1:0",))
    text = demo_config(*arguments, environ)
    config = parse_config(text, "demo", environ)

    assert "sk-from-the-environment" not in text
    assert config.providers[provider.name].api_key == "sk-from-the-environment"
    assert list(config.models) == [*SIMULATED_MODELS, *provider.models]
    assert config.storage.path == Path('a b"c.db')
    assert build_catalogue(config, datetime.now(UTC)).keys() == config.models.keys(), "priced"


def test_without_keys_there_is_the_simulated_provider_only() -> None:
    text = demo_config("http://127.0.0.1:1", Path("a.db"), ("127.0.0.1:0",), {"OPENAI_API_KEY": ""})
    models = parse_config(text, "demo", {}).models
    assert list(models) == SIMULATED_MODELS


@pytest.mark.parametrize("url", ["http://127.0.0.1:8787", "unix:/run/p.sock"])
def test_the_welcome_stays_on_a_screen(url: str) -> None:
    models = [f"a-model-of-some-provider-{number}" for number in range(40)]
    text = welcome(url, "sk-parshall-" + "x" * 43, models, "some")

    assert len(text.splitlines()) <= SCREEN_LINES
    assert "and 34 more" in text
    assert "more" not in welcome(url, "sk-parshall-", models[:6], "some").partition("money")[0]


@pytest.mark.parametrize(("server", "reason"), [("parshall", b"OK"), ("hypercorn", b"")])
async def test_a_certificate_is_served_by_whichever_server(
    tmp_path: Path, server: str, reason: bytes
) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("localhost")
    issued.cert_chain_pems[0].write_to_path(str(tmp_path / "server.crt"))
    issued.private_key_pem.write_to_path(str(tmp_path / "server.key"))
    lines = ["[server]", 'tls_cert = "server.crt"', 'tls_key = "server.key"']
    (tmp_path / "p.toml").write_text("\n".join(lines))
    context = ssl.create_default_context()
    authority.configure_trust(context)
    options = ("--config", "p.toml", "--bind", "127.0.0.1:0", "--server", server)
    async with open_process(tmp_path, *options, until="keys create") as process:
        port = process.output.partition("127.0.0.1:")[2].split()[0]
        async with httpx.AsyncClient(verify=context, timeout=30) as client:
            answer = await client.get(f"https://localhost:{port}/healthz")
        assert answer.status_code == 200
        assert answer.extensions["reason_phrase"] == reason
        assert "strict-transport-security" in answer.headers
        assert await process.end() == 0


def test_the_bounds_of_the_configuration_are_the_servers() -> None:
    bounds = {
        "connections_max": 11,
        "connections_per_ip_max": 12,
        "header_max_bytes": 13_000,
        "header_timeout_s": 14.0,
        "keep_alive_s": 15.0,
        "write_stall_s": 16.0,
        "output_max_bytes": 17_000,
        "streams_max": 18,
    }
    lines = [f"{name} = {value}" for name, value in bounds.items()]
    lines += ["buffered_output_max_bytes = 19_000", "coalesce_ms = 2", 'server = "hypercorn"']
    settings = server_settings(parse_config("\n".join(["[server]", *lines]), "test.toml", {}))

    assert {name: getattr(settings, name) for name in bounds} == bounds
    assert (settings.sink_high_water_bytes, settings.coalesce_s) == (19_000, 0.002)
    assert settings.server == "hypercorn"
