"""What the README tells a newcomer to type works as it stands."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import get_args

import orjson
import pytest
import trio
from click.testing import CliRunner

from bench.simulate import SimulatorSettings, open_simulator
from engine import parse_config
from engine.admission.keys import SCOPES
from engine.capability_table import UnsupportedMediaError
from engine.catalogue import build_catalogue
from engine.config_job_specs import JobSpecConfig
from engine.conversation import MediaKind
from engine.errors import GatewayError, RateLimitedError, UpstreamRejectedError
from engine.protocols.registry import codec_of
from engine.upstream.provider_table import PROVIDERS
from frontends.admin import ROUTES
from frontends.cli import main
from frontends.demo import SIMULATED_BESIDE_CHAT
from tests.films import ended
from tests.forking import wait_output
from tests.gateways import HTTP2, MODELS, PROTOCOLS, add_key, config_text, open_setup, run
from tests.passed import open_kept
from tests.processes import open_process
from tests.served import open_served

README = (Path(__file__).parent.parent / "README.md").read_text()
PARSHALL = Path(sys.executable).parent
SECRETS = {
    "OPENAI_API_KEY": "sk-test",
    "ANTHROPIC_API_KEY": "sk-test",
    "PARSHALL_ADMIN_KEY": "of-the-operator-of-this-test-only",
}
ENDS = {
    "/v1/chat/completions": "data: [DONE]\n\n",
    "/v1/messages": 'data: {"type":"message_stop"}\n\n',
    "/v1beta/models/": "}\n\n",
}
"""How the streams of the three protocols end, each line by a newline."""


def blocks(language: str) -> list[str]:
    """The fenced blocks of a language."""
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def shell(command: str, folder: Path, **environ: str) -> str:
    """Run one line as a shell would; its output."""
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env=os.environ | {"PATH": f"{PARSHALL}:{os.environ['PATH']}"} | environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout


def command_line(command: str, folder: Path, **environ: str) -> str:
    """Run one line of `parshall` as `shell` does, but in this process and its folder."""
    assert Path.cwd() == folder
    done = CliRunner().invoke(main, shlex.split(command)[1:], env=environ)
    assert done.exit_code == 0, f"{command}: {done.output}"
    return done.stdout


def test_the_configuration_is_accepted() -> None:
    config = parse_config(blocks("toml")[0], "README.md", SECRETS)
    assert set(config.models) == {"gpt-5", "claude-sonnet-5-5", "in-house"}


def test_the_configuration_of_vertex_is_accepted(tmp_path: Path) -> None:
    [toml] = [block for block in blocks("toml") if 'kind = "vertex"' in block]
    file = tmp_path / "google.json"
    file.write_text('{"type": "service_account"}')
    config = parse_config(toml.replace("/run/secrets/google.json", str(file)), "README.md", {})
    assert all(provider.auth == "google" for provider in config.providers.values())
    assert build_catalogue(config, datetime.now(UTC)).keys() == config.models.keys()


def test_the_configuration_of_routing_is_accepted() -> None:
    first, [routing] = blocks("toml")[0], [b for b in blocks("toml") if b.startswith("[routing]")]
    secrets = SECRETS | {"AZURE_KEY_A": "a", "AZURE_KEY_B": "b"}
    config = parse_config(first + routing, "README.md", secrets)
    catalogue = build_catalogue(config, datetime.now(UTC))
    assert catalogue.keys() == {*config.models, "kr-auto"}
    assert catalogue["fast"].name == "gpt-5-mini"


def test_the_configuration_of_a_bucket_is_accepted() -> None:
    [toml] = [block for block in blocks("toml") if block.startswith("[files]")]
    secrets = SECRETS | {"S3_ACCESS_KEY": "a", "S3_SECRET_KEY": "b"}
    config = parse_config(blocks("toml")[0] + toml, "README.md", secrets)
    assert config.files.bucket == ("my-bucket", "parshall")


def test_a_row_of_prices_is_one() -> None:
    first, [row] = blocks("toml")[0], [b for b in blocks("toml") if b.startswith("[[prices]]")]
    config = parse_config(first + row, "README.md", SECRETS)
    on_the_day = datetime(2026, 11, 1, tzinfo=UTC)
    price = build_catalogue(config, on_the_day)["gpt-5"].price
    assert price.at(1, "priority").input == 3_000_000
    assert price.at(1).input == 1_250_000


def test_every_configuration_key_is_named() -> None:
    from engine.capabilities import Capabilities
    from engine.config import (
        AdminConfig,
        BillingConfig,
        DeploymentConfig,
        EgressConfig,
        FilesConfig,
        LimitsConfig,
        MediaConfig,
        ModelConfig,
        PlanConfig,
        PriceConfig,
        PriceRowConfig,
        ProviderConfig,
        ServerConfig,
        StorageConfig,
    )
    from engine.config_routing import (
        AutoConfig,
        AutoModelConfig,
        BreakerConfig,
        RoutingConfig,
    )

    for section in (
        AutoConfig,
        AutoModelConfig,
        BreakerConfig,
        RoutingConfig,
        AdminConfig,
        LimitsConfig,
        PlanConfig,
        ServerConfig,
        StorageConfig,
        BillingConfig,
        ProviderConfig,
        PriceConfig,
        PriceRowConfig,
        ModelConfig,
        DeploymentConfig,
        EgressConfig,
        FilesConfig,
        MediaConfig,
        Capabilities,
    ):
        for name in section.__dataclass_fields__:
            assert f"`{name}`" in README, name


def test_the_table_of_kinds() -> None:
    rows = re.findall(r"^\| `(.+?)` \| (.+?) \| (.+?) \| (.*?) ?\|$", README, flags=re.MULTILINE)
    told = {kind: (url, key, more) for kind, url, key, more in rows if kind in PROVIDERS}
    assert list(told) == list(PROVIDERS)
    for kind, row in PROVIDERS.items():
        url, key, more = told[kind]
        assert (url == f"`{row.base_url}`") == (row.base_url is not None)
        assert key == (f"`{row.api_key_env}`" if row.api_key_env else "–")
        plain = {"openai", None, ""}
        said = [row.protocol, row.auth, row.model_path, row.api_version, row.output_limit_field]
        for word in {*said, *row.refuses} - plain:
            assert str(word) in more, (kind, word)
        assert ("stream_options" in more) != row.include_usage
        assert ("eof" in more) == (row.terminal == "eof")
        assert ("reasoning" in more) == (row.reasoning_apart is True)
        assert ("`inlines`" in more) == bool(row.inlines)
        assert ("`files`" in more) == bool(row.files)
        assert ("`jobs`" in more) == bool(row.jobs)


BATCHES = """
[[prices]]
model = "kept"
service_tier = "batch"
input = 0.5
output = 1
[jobs]
poll_min_s = 0.01
"""
BESIDE_CHAT = "".join(
    f"""
[models.{name}]
deployments = [{{ provider = "sim", model = "{model}" }}]
{price}
"""
    for name, protocol, model, price in SIMULATED_BESIDE_CHAT
    if protocol == "openai"
)


async def test_the_first_requests(tmp_path: Path) -> None:
    commands = [block for block in blocks("sh") if "$PARSHALL_KEY" in block]
    *asked, read_receipt, make_key, list_models, upload, _film = commands
    (tmp_path / "README.md").write_text(README)
    async with open_served(tmp_path) as served:
        _, maker = await add_key(served.setup.gateway, served.setup.account_id, scopes=SCOPES)

        async def type_in(command: str, key: str = served.setup.key) -> str:
            command = command.replace("http://127.0.0.1:8787", served.origin)
            return await trio.to_thread.run_sync(lambda: shell(command, tmp_path, PARSHALL_KEY=key))

        for ask, (path, end) in zip(asked, ENDS.items(), strict=True):
            assert path in ask
            assert (await type_in(ask)).endswith(end)
        truth = served.setup.sim.truth.records()[0]
        receipt = orjson.loads(await type_in(read_receipt.replace("REQUEST_ID", truth.request_id)))
        assert receipt["outcome"] == "completed"
        listed = orjson.loads(await type_in(list_models))
        assert [model["id"] for model in listed["data"]] == list(MODELS.values())
        stored = orjson.loads(await type_in(upload))
        assert (stored["filename"], stored["bytes"]) == ("README.md", len(README.encode()))
        made = orjson.loads(await type_in(make_key, maker))
        assert (made["models"], made["limits"]) == (["sim-*"], {"requests_per_min": 60})
        assert made["key"].startswith(made["prefix"])
        [example] = blocks("json")
        fields = re.findall(r'"([a-z_]+)":', example)
        assert fields
        for name in fields:
            assert f'"{name}":' in orjson.dumps(receipt).decode()


async def test_the_operators_api(tmp_path: Path) -> None:
    [orders] = [block for block in blocks("sh") if "$PARSHALL_ADMIN_KEY" in block]
    secret = SECRETS["PARSHALL_ADMIN_KEY"]
    async with open_served(tmp_path, admin_key=secret) as served:
        orders = orders.replace("http://127.0.0.1:8787", served.origin)
        printed = await trio.to_thread.run_sync(
            lambda: shell(orders, tmp_path, PARSHALL_ADMIN_KEY=secret)
        )
        account, key, off = (
            orjson.loads(line) for line in printed.replace("}{", "}\n{").split("\n")
        )
        assert account["balance"]["usd"] == "25.000000000"
        assert key["limits"] == {"requests_per_min": 60}
        assert (off["subject"], off["off"], off["ended"]) == ("sim", True, 0)
    for route in ROUTES:
        assert "/".join(route.rule.split("/")[:3]) in README, route


async def test_the_first_requests_with_the_sdks(tmp_path: Path) -> None:
    [snippet] = [block for block in blocks("python") if "PARSHALL_KEY" in block]
    async with open_served(tmp_path) as served:
        snippet = snippet.replace("http://127.0.0.1:8787", served.origin)
        environ = os.environ | {"PARSHALL_KEY": served.setup.key}
        printed = await wait_output(snippet, env=environ)
        texts = [truth.text for truth in served.setup.sim.truth.records()]
        assert len(texts) == snippet.count("print(") == 4
        assert printed == "".join(f"{text}\n" for text in texts)


def snippet_of(word: str, origin: str) -> str:
    """The snippet with a word, to be run by itself: behind what the first one begins with."""
    [first] = [block for block in blocks("python") if "PARSHALL_KEY" in block]
    [snippet] = [block for block in blocks("python") if word in block]
    imports, _, _ = first.partition("hello = ")
    connect = next(line for line in first.splitlines() if line.startswith("client = OpenAI("))
    return f"{imports}\n{connect}\n{snippet}".replace("http://127.0.0.1:8787", origin)


@pytest.mark.parametrize(
    ("word", "printed"),
    [
        ("previous_response_id", "True 2\nresponse.completed\nhours.md\ncompleted\n"),
        ("client.batches", "completed a\n"),
    ],
)
async def test_what_is_kept_with_the_sdk(tmp_path: Path, word: str, printed: str) -> None:
    async with open_kept(tmp_path, BATCHES) as kept:
        script = snippet_of(word, kept.served.origin).replace("sim-openai", "kept")
        environ = os.environ | {"PARSHALL_KEY": kept.served.setup.key}
        assert await wait_output(script, env=environ) == printed


async def test_agents_with_the_sdks(tmp_path: Path) -> None:
    async with open_served(tmp_path) as served:
        script = snippet_of("agent:clerk", served.origin)
        environ = os.environ | {"PARSHALL_KEY": served.setup.key}
        printed = await wait_output(script, env=environ)
        asked = served.setup.sim.truth.records()
    assert printed == "".join(f"{truth.text}\n" for truth in asked)
    assert len(asked) == 3
    assert all(b"The shop opens at nine on Sundays." in truth.body for truth in asked)


async def test_what_is_no_chat_with_the_sdk(tmp_path: Path) -> None:
    [first] = [block for block in blocks("python") if "PARSHALL_KEY" in block]
    [snippet] = [block for block in blocks("python") if "sim-embedding" in block]
    async with open_served(tmp_path, models=BESIDE_CHAT) as served:
        imports, _, _ = first.partition("hello = ")
        script = (imports + snippet).replace("http://127.0.0.1:8787", served.origin)
        environ = os.environ | {"PARSHALL_KEY": served.setup.key}
        printed = await wait_output(script, env=environ)
        asked = [truth.api for truth in served.setup.sim.truth.records()]
    assert [api.partition("-")[2] for api in asked] == [
        *("embeddings", "image-generations", "speech", "transcriptions", "moderations")
    ]
    vectors, *sizes, flagged = printed.split()
    assert (vectors, flagged) == ("2", "False")
    assert min(map(int, sizes)) > 0


async def test_files_with_the_sdk(tmp_path: Path) -> None:
    [first] = [block for block in blocks("python") if "PARSHALL_KEY" in block]
    [snippet] = [block for block in blocks("python") if "made = client.files" in block]
    imports, _, _ = first.partition("hello = ")
    connect = next(line for line in first.splitlines() if line.startswith("client = OpenAI("))
    (tmp_path / "README.md").write_text(README)
    async with open_served(tmp_path) as served:
        script = f"{imports}\n{connect}\n{snippet}".replace("http://127.0.0.1:8787", served.origin)
        environ = os.environ | {"PARSHALL_KEY": served.setup.key}
        printed = await wait_output(script, cwd=tmp_path, env=environ)
        assert served.setup.gateway.files.quota.stored_files == 0
    file_id, *sizes = printed.split()
    assert file_id.startswith("file-")
    assert sizes == [str(len(README.encode()))] * 2


FILMS = """
[jobs]
poll_min_s = 0.02
[providers.sim.jobs.video]
like = "openai"
[models.sim-video]
deployments = [{ provider = "sim", model = "sora-2" }]
price = { seconds = 0.1 }
"""


async def test_videos_with_the_sdk_and_by_hand(tmp_path: Path) -> None:
    [first] = [block for block in blocks("python") if "PARSHALL_KEY" in block]
    [snippet] = [block for block in blocks("python") if "client.videos" in block]
    [film] = [block for block in blocks("sh") if "/v1/videos/generations" in block]
    imports, _, _ = first.partition("hello = ")
    connect = next(line for line in first.splitlines() if line.startswith("client = OpenAI("))
    async with open_served(tmp_path, models=FILMS) as served:

        def here(text: str) -> str:
            return text.replace("http://127.0.0.1:8787", served.origin)

        environ = os.environ | {"PARSHALL_KEY": served.setup.key}
        printed = await wait_output(here(f"{imports}\n{connect}\n{snippet}"), env=environ)
        assert printed.split() == ["completed", "4", "True"]
        typed = partial(shell, here(film), tmp_path, PARSHALL_KEY=served.setup.key)
        made = orjson.loads(await trio.to_thread.run_sync(typed))
        assert (made["object"], made["model"]) == ("video.generation", "sim-video")
        async with served.http() as client:
            ended_film = await ended(client, f"/videos/generations/{made['job_id']}")
        assert ended_film["cost"]["nanodollars"] == 400_000_000


async def test_a_provider_of_jobs_is_described(tmp_path: Path) -> None:
    [table] = [block for block in blocks("toml") if "[providers.clips.jobs.music]" in block]
    table = table.replace("https://clips.example", "$SIM").replace(
        'api_key = "env:CLIPS_KEY"', f'http2 = "{HTTP2}"'
    )
    jobs = "\n[jobs]\npoll_min_s = 0.02\n"
    async with open_served(tmp_path, models=table + jobs) as served, served.http() as client:
        body = {"model": "song", "prompt": "A river at dawn", "seconds": 5, "lyrics": "la la"}
        made = (await client.post("/music/generations", json=body)).json()
        song = await ended(client, f"/music/generations/{made['job_id']}")
        assert (song["status"], song["usage"]) == ("succeeded", {"clips": 1, "seconds": 5})
        assert (await client.get(song["results"][0]["url"])).content.startswith(b"RIFF")


def test_every_key_of_jobs_is_named() -> None:
    _, _, section = README.partition("#### Providers of videos and music")
    section, _, _ = section.partition("\n## ")
    for name in JobSpecConfig.__dataclass_fields__:
        named = rf"`{name}\b|^{name} = |jobs\.music\.{name}\]"
        assert re.search(named, section, re.MULTILINE), name


async def test_the_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first few as a shell runs them; a process for each of thirty would take a minute."""
    async with open_setup(tmp_path) as setup:
        _, receipt, _ = await run(setup, setup.call("tokens=3"))
    (tmp_path / "ledger.db").rename(tmp_path / "parshall.db")
    (tmp_path / "parshall.toml").write_text(blocks("toml")[0])
    request = {"model": "gpt-5", "messages": [{"role": "user", "content": "Hello"}]}
    (tmp_path / "request.json").write_bytes(orjson.dumps(request))
    [commands] = [block for block in blocks("sh") if "parshall accounts" in block]
    monkeypatch.chdir(tmp_path)
    key_id = ""
    for line in commands.splitlines():
        command = shlex.join(shlex.split(line, comments=True))
        command = command.replace("KEY_ID", key_id).replace("REQUEST_ID", receipt.request_id)
        typed = command_line if line.startswith("parshall ") and key_id else shell
        printed = await trio.to_thread.run_sync(
            lambda: typed(command, tmp_path, **SECRETS)  # noqa: B023 - awaited
        )
        if "keys create" in command:
            key_id = re.findall(r"key_[0-9a-f]+", printed)[0]


async def test_the_check_of_providers(tmp_path: Path) -> None:
    [command] = [block for block in blocks("sh") if "providers check" in block]
    [example] = re.findall(r"^PROVIDER .*$", README, flags=re.MULTILINE)
    async with open_simulator(SimulatorSettings()) as simulator:
        text = config_text(tmp_path / "ledger.db", simulator.base_url)
        (tmp_path / "parshall.toml").write_text(text)
        printed = await trio.to_thread.run_sync(shell, command, tmp_path)
    assert printed.splitlines()[0].split() == example.split()


def error_classes() -> list[type[GatewayError]]:
    """All that a client can be told of."""
    from frontends import app  # noqa: F401 - all error classes must be loaded

    def tree(cls: type[GatewayError]) -> list[type[GatewayError]]:
        return [cls, *(sub for child in cls.__subclasses__() for sub in tree(child))]

    return tree(GatewayError)


def error_rows() -> list[list[str]]:
    """The cells of the table of errors."""
    lines = re.findall(r"^\| (?:\d{3}|any) \|.*$", README, flags=re.MULTILINE)
    return [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in lines]


def test_the_table_of_errors_is_complete() -> None:
    known = {
        ("any" if cls is UpstreamRejectedError else str(cls.status), cls.code)
        for cls in error_classes()
    }
    known |= {("400", UnsupportedMediaError(kind, "m").code) for kind in get_args(MediaKind)}
    for protocol in PROTOCOLS:
        for refused in (codec_of(protocol).read_error(status, b"") for status in (401, 402)):
            known.add((str(refused.status), refused.code))
    told = {(row[0], code) for row in error_rows() for code in re.findall(r"`([a-z_]+)`", row[1])}
    assert told == known


@pytest.mark.parametrize(("column", "protocol"), [(2, "anthropic"), (3, "gemini")])
def test_the_table_of_errors_says_what_each_protocol_calls_them(column: int, protocol: str) -> None:
    apart = (UpstreamRejectedError, RateLimitedError)  # which need more than a message
    known = [cls for cls in error_classes() if cls not in apart]
    classes = {cls.status: cls for cls in reversed(known)}  # the plainest of a status
    rows = {int(row[0]): row[column] for row in error_rows() if row[0] != "any"}
    codec = codec_of(protocol)
    for status, cell in rows.items():
        error = classes[status]("a message")
        body = orjson.loads(codec.encode_error(error))["error"]
        name = body["type" if protocol == "anthropic" else "status"]
        other = codec.error_status(error)
        assert cell == (f"`{name}`" if other == status else f"`{name}`, {other}")


async def test_the_server_starts_from_the_configuration(tmp_path: Path) -> None:
    toml = blocks("toml")[0]
    config = tmp_path / "parshall.toml"
    text = toml.replace("127.0.0.1:8787", "127.0.0.1:0").replace(
        '"env:OPENAI_API_KEY"', f'"file:{tmp_path}/key"'
    )
    text = text.replace(
        'kind = "anthropic"', f'kind = "anthropic"\napi_key = "file:{tmp_path}/key"'
    )
    config.write_text(text.replace("sqlite:", f"sqlite:{tmp_path}/"))
    (tmp_path / "key").write_text("sk-test")
    async with open_process(config) as (_, port):
        health = await trio.to_thread.run_sync(
            shell, f"curl -s http://127.0.0.1:{port}/healthz", tmp_path
        )
        assert health == '{"status":"ok"}'
