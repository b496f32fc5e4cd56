"""What the examples of /openapi.json are sent to: the demo and a few models more, and whatever an
example is about, made beforehand."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

import httpx

from bench.simulate import SimulatorSettings, open_simulator
from engine import Config, Gateway, open_gateway, parse_config
from engine.admission.keys import SCOPES
from frontends.app import GatewayApp, create_app, render_server_error
from frontends.demo import demo_config
from frontends.server import ServerSettings, open_server
from tests.films import GENERIC, ended, said
from tests.frontends.operators import SECRET
from tests.gateways import (
    CONFIG_FILE,
    DOLLAR,
    add_key,
    assert_invariants,
    place_empty_ledger,
    settled,
)

MORE: Final = """
[models.song]
deployments = [{ provider = "clips", model = "sim-music" }]
price = { clips = 0.25 }
[models.film]
deployments = [{ provider = "clips", model = "sim-music" }]
price = { clips = 0.25 }
[models.dall-e-2]
deployments = [{ provider = "sim-openai", model = "dall-e-2" }]
price = { images = 0.02 }
[jobs]
poll_min_s = 0.02
poll_max_s = 0.05
"""
_WORDS_OF_SONGS: Final = 'lyrics = "task.words", instrumental = "task.voiceless", '
FILMS: Final = "[providers.clips.jobs.video]" + GENERIC.partition(".music]")[2].replace(
    _WORDS_OF_SONGS, ""
)
RUNS: Final = said("run_polls=1000000")
"""A prompt of a job that does not end by itself."""


@dataclass(slots=True)
class World:
    """A served demo."""

    gateway: Gateway
    app: GatewayApp
    client: httpx.AsyncClient
    account_id: str
    stack: AsyncExitStack
    """Streams that run until the end."""
    ended_jobs: dict[str, str] = field(default_factory=dict)
    """By path: one that has succeeded."""
    kept: dict[str, str] = field(default_factory=dict)
    """What a provider keeps for the account, by the variables of paths; empty until asked for."""
    numbers: count[int] = field(default_factory=lambda: count(1))

    async def post(self, path: str, body: Any, **more: Any) -> dict[str, Any]:
        """What is made by a request."""
        answer = await self.client.post(path, json=body, **more)
        assert answer.status_code in (200, 201), answer.text
        return dict(answer.json())

    async def order(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        """What an operator's request says."""
        bearer = {"authorization": f"Bearer {SECRET}"}
        answer = await self.client.request(method, path, json=body, headers=bearer)
        assert answer.status_code in (200, 201), answer.text
        return dict(answer.json())


Maker = Callable[[World, str], Awaitable[str]]
"""What stands for a variable of a path in the operation of this name."""


@asynccontextmanager
async def open_world(folder: Path) -> AsyncIterator[World]:
    """Serve it; on leaving, the invariants are checked."""
    file = folder / CONFIG_FILE
    async with AsyncExitStack() as stack:
        sim = await stack.enter_async_context(open_simulator(SimulatorSettings()))
        text = demo_config(sim.base_url, folder / "ledger.db", ("127.0.0.1:0",), {})
        file.write_text(text + (GENERIC + FILMS + MORE).replace("$SIM", sim.base_url))

        def read() -> Config:
            return parse_config(file.read_text(), CONFIG_FILE, {"PARSHALL_ADMIN_KEY": SECRET})

        place_empty_ledger(folder / "ledger.db")
        gateway = await stack.enter_async_context(open_gateway(read(), read=read))
        account = await gateway.ledger.create_account("test")
        await gateway.ledger.fund(account.account_id, 100 * DOLLAR, "first")
        _, key = await add_key(gateway, account.account_id, scopes=SCOPES)
        app = create_app(gateway)
        settings = ServerSettings(render_error=render_server_error)
        server = await stack.enter_async_context(open_server(app, ["127.0.0.1:0"], settings))
        client = httpx.AsyncClient(
            base_url=f"http://{server.addresses[0]}",
            headers={"authorization": f"Bearer {key}"},
            timeout=30,
            verify=False,
        )
        async with client, AsyncExitStack() as streams:
            yield World(gateway, app, client, account.account_id, streams)
        await settled(lambda: not gateway.ledger.statistics().open_holds)
        await assert_invariants(gateway)


# ---- what examples are about ---------------------------------------------------------------------


async def _a_file(world: World, operation: str) -> str:
    form = {"purpose": "user_data"}
    content = {"file": ("notes.txt", b"Of water.", "text/plain")}
    answer = await world.client.post("/v1/files", data=form, files=content)
    return str(answer.json()["id"])


async def _an_upload(world: World, operation: str) -> str:
    """To complete it again is to be told of the same file."""
    body = {"bytes": 2, "filename": "a.txt", "mime_type": "text/plain", "purpose": "user_data"}
    made = str((await world.post("/v1/uploads", body))["id"])
    if operation == "completeUpload":
        path, content = f"/v1/uploads/{made}", {"data": ("blob", b"Of")}
        part = (await world.client.post(f"{path}/parts", files=content)).json()["id"]
        await world.post(f"{path}/complete", {"part_ids": [part]})
    return made


def _a_job(path: str, model: str, cancelled: str, name: str) -> Maker:
    async def make(world: World, operation: str) -> str:
        seconds = "4" if path == "/v1/videos" else 4
        if operation.startswith("cancel"):
            body = {"model": cancelled, "prompt": RUNS, "seconds": seconds}
            return str((await world.post(path, body))[name])
        if path not in world.ended_jobs:
            body = {"model": model, "prompt": "A river", "seconds": seconds}
            made = str((await world.post(path, body))[name])
            await ended(world.client, f"{path}/{made}")
            world.ended_jobs[path] = made
        return world.ended_jobs[path]

    return make


async def _an_operation(world: World, operation: str) -> str:
    made = await world.post(
        "/v1beta/models/sim-video:predictLongRunning", {"instances": [{"prompt": "A river"}]}
    )
    return str(made["name"]).rpartition("/")[2]


async def _a_made_file(world: World, operation: str) -> str:
    path = "/v1/videos/generations"
    body = {"model": "sim-video", "prompt": "A river", "seconds": 4, "store_result": True}
    made = await world.post(path, body)
    while True:
        shown = await ended(world.client, f"{path}/{made['job_id']}")
        if (file_id := shown["results"][0].get("file_id")) is not None:
            return str(file_id)


async def _a_receipt(world: World, operation: str) -> str:
    if operation == "endExchange":
        return await _a_stream(world, operation)
    answer = await world.client.post(
        "/v1/completions", json={"model": "sim-openai", "prompt": "Hello", "max_tokens": 3}
    )
    return answer.headers["x-request-id"]


async def _a_stream(world: World, operation: str) -> str:
    body = {
        "model": "sim-openai",
        "stream": True,
        "messages": [
            {"role": "user", "content": "#sim tokens=3000 tokens_per_second=20\nTell me."}
        ],
    }
    asked = world.client.stream("POST", "/v1/chat/completions", json=body)
    answer = await world.stack.enter_async_context(asked)
    assert answer.status_code == 200, (await answer.aread()).decode()
    return answer.headers["x-request-id"]


async def _a_key(world: World, operation: str) -> str:
    return str((await world.post("/api/auth", {"name": f"key {next(world.numbers)}"}))["key_id"])


async def _an_agent(world: World, operation: str) -> str:
    body = {"name": f"agent-{next(world.numbers)}", "model": "sim-openai"}
    return str((await world.post("/v1/agents", body))["id"])


async def _an_account(world: World, operation: str) -> str:
    name = f"acme-{next(world.numbers)}"
    made = await world.order("POST", "/admin/accounts", {"name": name, "fund": "9.00"})
    if operation == "removeBudget":
        await world.order("PUT", f"/admin/accounts/{name}/budgets/month", {"limit": "5"})
    return str(made["account_id"])


async def _a_plan(world: World, operation: str) -> str:
    if operation in ("getModel", "getGeminiModel"):
        return "sim-openai"
    name = f"plan-{next(world.numbers)}"
    await world.order("PUT", f"/admin/plans/{name}", {"requests_per_min": 30})
    return name


async def _a_period(world: World, operation: str) -> str:
    return "month"


async def _a_kind(world: World, operation: str) -> str:
    return "model"


async def _a_subject(world: World, operation: str) -> str:
    return "sim-moderation"


MAKERS: Final[Mapping[str, Maker]] = {
    "file_id": _a_file,
    "made_file_id": _a_made_file,
    "upload_id": _an_upload,
    "generation_id": _a_job("/v1/videos/generations", "sim-video", "film", "job_id"),
    "music_id": _a_job("/v1/music/generations", "song", "song", "job_id"),
    "video_id": _a_job("/v1/videos", "sim-video", "film", "id"),
    "job_id": _an_operation,
    "request_id": _a_receipt,
    "stream_request_id": _a_stream,
    "key_id": _a_key,
    "agent_id": _an_agent,
    "account": _an_account,
    "name": _a_plan,
    "period": _a_period,
    "kind": _a_kind,
    "subject": _a_subject,
}
"""By the variable that a path has where an example does not say what stands there."""


async def medium(world: World) -> tuple[str, dict[str, str]]:
    """The id of a picture that is served by URL, and what its URL has beside."""
    body = {"model": "sim-image", "prompt": "A flume"}
    call = await world.post("/v1/images/generations", {**body, "response_format": "url"})
    url = urlsplit(str(call["data"][0]["url"]))
    return url.path.rpartition("/")[2], dict(parse_qsl(url.query))
