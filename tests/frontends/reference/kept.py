"""What a provider keeps for the account that examples are about: one thing of each kind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import orjson
import trio

from tests.frontends.reference.world import World

HELLO: Final = {"role": "user", "content": "Hello"}
_LINE: Final = {
    "custom_id": "one",
    "method": "POST",
    "url": "/v1/chat/completions",
    "body": {"model": "sim-openai", "messages": [HELLO]},
}
_TRAINING: Final = orjson.dumps({"messages": [HELLO]}) + b"\n"


async def kept(world: World) -> dict[str, str]:
    """Ids by the variables of paths; made when they are first asked for."""
    if not world.kept:
        await _fill(world, world.kept)
    return world.kept


def named(value: Any, known: Mapping[str, str]) -> Any:
    """A body with ids in the place of what names them."""
    text = orjson.dumps(value).decode()
    for name, object_id in known.items():
        text = text.replace(f'"{{{name}}}"', f'"{object_id}"')
    return orjson.loads(text)


async def _fill(world: World, at: dict[str, str]) -> None:
    at["file_id"] = await _file(world, "assistants", b"Of water.")
    at["batch_file_id"] = await _file(world, "batch", orjson.dumps(_LINE) + b"\n")
    at["training_file_id"] = await _file(world, "fine-tune", _TRAINING * 10)
    at["assistant_id"] = await _made(world, "assistants", model="sim-openai")
    at["thread_id"] = await _made(world, "threads", messages=[HELLO])
    thread = f"threads/{at['thread_id']}"
    at["message_id"] = await _made(world, f"{thread}/messages", **HELLO)
    run = await _made(world, f"{thread}/runs", assistant_id=at["assistant_id"])
    at["run_id"] = run
    await _ended(world, f"{thread}/runs/{run}")
    steps = await world.client.get(f"/v1/{thread}/runs/{run}/steps")
    at["step_id"] = steps.json()["data"][0]["id"]
    at["vector_store_id"] = await _made(world, "vector_stores", file_ids=[at["file_id"]])
    store = f"vector_stores/{at['vector_store_id']}"
    at["file_batch_id"] = await _made(world, f"{store}/file_batches", file_ids=[at["file_id"]])
    at["conversation_id"] = await _made(world, "conversations", items=[HELLO])
    items = await world.client.get(f"/v1/conversations/{at['conversation_id']}/items")
    at["item_id"] = items.json()["data"][0]["id"]
    at["response_id"] = await _made(world, "responses", model="sim-openai", input="Hello")
    at["container_id"] = await _made(world, "containers", name="Sums")
    content = {"file": ("b.txt", b"Of lamps.")}
    path = f"/v1/containers/{at['container_id']}/files"
    answer = await world.client.post(path, files=content)
    at["container_file_id"] = answer.json()["id"]
    at["batch_id"] = await _made(
        world,
        "batches",
        input_file_id=at["batch_file_id"],
        endpoint="/v1/chat/completions",
        completion_window="24h",
    )
    await _ended(world, f"batches/{at['batch_id']}")
    at["job_id"] = await _made(
        world, "fine_tuning/jobs", model="sim-openai", training_file=at["training_file_id"]
    )
    await _ended(world, f"fine_tuning/jobs/{at['job_id']}")


async def _made(world: World, path: str, **body: Any) -> str:
    return str((await world.post(f"/v1/{path}", body))["id"])


async def _file(world: World, purpose: str, data: bytes) -> str:
    content = {"file": ("a.jsonl", data)}
    answer = await world.client.post("/v1/files", data={"purpose": purpose}, files=content)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["id"])


async def _ended(world: World, path: str) -> None:
    """Ask after something until it has come to its end."""
    with trio.fail_after(30):
        while True:
            shown = (await world.client.get(f"/v1/{path}")).raise_for_status().json()
            if shown["status"] in ("completed", "succeeded", "failed"):
                assert shown["status"] != "failed", shown
                return
            await trio.sleep(0.01)
