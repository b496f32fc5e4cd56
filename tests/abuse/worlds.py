"""Everything that an account can have at a provider with state: one thing of each kind, or more."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx
import orjson

from engine.ledger.owned_rows import OwnedRow
from engine.owned import OwnedKind
from tests.passed import Kept, open_kept

SECRET: Final = "canary-of-what-is-kept-5d20"
"""Stands in whatever the other account has."""
BETA: Final = {"openai-beta": "assistants=v2"}
LINE: Final = orjson.dumps(
    {
        "custom_id": SECRET,
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": {"model": "sim-openai", "messages": [{"role": "user", "content": SECRET}]},
    }
)
EXAMPLE: Final = orjson.dumps({"messages": [{"role": "user", "content": SECRET}]})


@dataclass
class World:
    """What one account has.

    Attributes:
        at: ids by the parameters of paths that name their kind; and of files for two uses.
        raw: files as the provider calls them.
    """

    account_id: str
    client: httpx.AsyncClient
    at: dict[str, str] = field(default_factory=dict)
    raw: list[str] = field(default_factory=list)

    @property
    def ids(self) -> list[str]:
        """All of them."""
        return list(self.at.values())


@dataclass
class Worlds:
    """Two accounts of a gateway, with the same things; the provider finds anything below anything,
    so that nothing but the gateway keeps them apart."""

    kept: Kept
    mine: World
    theirs: World

    def shown(self) -> dict[tuple[str, str], bytes]:
        """What the provider has of the other account, as it would show it."""
        theirs = set(self.theirs.ids) | set(self.theirs.raw)
        found = {}
        for one in self.kept.served.setup.sim.kept:
            if one.object_id in theirs or one.parent in theirs:
                value = {name: one.value[name] for name in one.value if name != "last_active_at"}
                found[one.kind, one.object_id] = orjson.dumps(value)
        for file in self.kept.served.setup.sim.files:
            if file.file_id in theirs:
                found["file", file.file_id] = file.data
        return found


@asynccontextmanager
async def open_worlds(folder: Path) -> AsyncIterator[Worlds]:
    """A served gateway, and all of it twice."""
    async with open_kept(folder) as kept, AsyncExitStack() as stack:
        worlds = []
        for name, api_key, account_id in (
            ("mine", kept.ours.api_key, kept.served.setup.account_id),
            ("theirs", kept.theirs.api_key, kept.other_account_id),
        ):
            headers = {"authorization": f"Bearer {api_key}", **BETA}
            client = httpx.AsyncClient(
                base_url=kept.served.url, headers=headers, timeout=30, verify=False
            )
            await stack.enter_async_context(client)
            world = World(account_id, client)
            await _fill(kept, world, SECRET if name == "theirs" else "nothing of note")
            worlds.append(world)
        kept.served.setup.sim.kept.lax = True
        yield Worlds(kept, *worlds)


async def _fill(kept: Kept, world: World, words: str) -> None:
    provider = httpx.AsyncClient(
        base_url=f"{kept.served.setup.sim.base_url}/v1",
        headers={"authorization": "Bearer sk-operator", **BETA},
        verify=False,
    )
    async with provider:
        await _fill_natively(world, words)
        await _fill_beside(kept, world, provider, words)


async def made(client: httpx.AsyncClient, path: str, body: Any = None, **more: Any) -> Any:
    """What a POST has made."""
    answer = await client.post(path, json=body, **more)
    assert answer.status_code == 200, (path, answer.text)
    return answer.json()


async def _fill_natively(world: World, words: str) -> None:
    """By the gateway's own routes."""
    client, at = world.client, world.at
    for name, purpose, data in (
        ("file_id", "assistants", SECRET.encode()),
        ("batch_file_id", "batch", LINE),
        ("training_file_id", "fine-tune", EXAMPLE),
    ):
        file = {"file": ("a.jsonl", data.replace(SECRET.encode(), words.encode()))}
        uploaded = await client.post("/files", data={"purpose": purpose}, files=file)
        at[name] = uploaded.json()["id"]
    said = {"role": "user", "content": f"#sim end_polls=0\n{words}"}
    assistant = {"model": "kept", "instructions": words, "tools": [{"type": "code_interpreter"}]}
    at["assistant_id"] = (await made(client, "/assistants", assistant))["id"]
    at["thread_id"] = (await made(client, "/threads", {"messages": [said]}))["id"]
    at["message_id"] = (await made(client, f"/threads/{at['thread_id']}/messages", said))["id"]
    store = {"name": words, "file_ids": [at["file_id"]]}
    at["vector_store_id"] = (await made(client, "/vector_stores", store))["id"]
    batch = {"file_ids": [at["file_id"]], "attributes": {"of": words}}
    path = f"/vector_stores/{at['vector_store_id']}"
    at["file_batch_id"] = (await made(client, f"{path}/file_batches", batch))["id"]
    for _ in range(3):
        assert (await client.get(path)).status_code == 200
    conversation = {"items": [said], "metadata": {"of": words}}
    at["conversation_id"] = (await made(client, "/conversations", conversation))["id"]
    items = await client.get(f"/conversations/{at['conversation_id']}/items")
    at["item_id"] = items.json()["data"][0]["id"]
    at["container_id"] = (await made(client, "/containers", {"name": words}))["id"]
    path = f"/containers/{at['container_id']}/files"
    put = await client.post(path, files={"file": ("b.txt", words.encode())})
    at["container_file_id"] = put.json()["id"]


async def _fill_beside(kept: Kept, world: World, provider: httpx.AsyncClient, words: str) -> None:
    """What costs something, made at the provider and recorded as the gateway would."""
    at = world.at
    begun = await made(
        provider, f"/threads/{at['thread_id']}/runs", {"assistant_id": at["assistant_id"]}
    )
    at["run_id"] = begun["id"]
    await provider.get(f"/threads/{at['thread_id']}/runs/{begun['id']}")
    answered = await made(
        provider, "/responses", {"model": "sim-openai", "input": words, "store": True}
    )
    at["response_id"] = answered["id"]
    for purpose, data, name in (("batch", LINE, "batch_id"), ("fine-tune", EXAMPLE, "job_id")):
        data = data.replace(SECRET.encode(), words.encode())
        uploaded = await provider.post(
            "/files", data={"purpose": purpose}, files={"file": ("a.jsonl", data)}
        )
        world.raw.append(uploaded.json()["id"])
        if name == "batch_id":
            asked = {"input_file_id": world.raw[-1], "endpoint": "/v1/chat/completions"}
            begun = await made(provider, "/batches", asked | {"completion_window": "24h"})
            path = f"/batches/{begun['id']}"
        else:
            asked = {"training_file": world.raw[-1], "model": "sim-openai"}
            begun = await made(provider, "/fine_tuning/jobs", asked)
            path = f"/fine_tuning/jobs/{begun['id']}"
        at[name] = begun["id"]
        for _ in range(2):
            await provider.get(path)
    await _own(kept, world, {"response": "response_id", "batch": "batch_id"})
    await _own(kept, world, {"fine_tuning_job": "job_id", "run": "run_id"})
    runs = f"/threads/{at['thread_id']}/runs/{at['run_id']}"
    steps = await world.client.get(f"{runs}/steps")
    at["step_id"] = steps.json()["data"][0]["id"]


async def _own(kept: Kept, world: World, kinds: Mapping[OwnedKind, str]) -> None:
    """Record what was made beside the gateway."""
    ledger = kept.served.setup.gateway.ledger
    known = await ledger.find_owned(world.account_id, [world.at["conversation_id"]])
    pin = known[world.at["conversation_id"]].pin
    rows = [
        OwnedRow(world.at[name], kind, world.account_id, None, *pin, created_at_ms=1)
        for kind, name in kinds.items()
    ]
    await ledger.own(rows)
