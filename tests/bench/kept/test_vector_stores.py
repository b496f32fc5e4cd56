"""Vector stores that are kept: files one by one and in batches, what they take, searches."""

from __future__ import annotations

from typing import Any

import httpx
import openai
import pytest

from tests.bench.kept.knocking import by_sdk, lacks, recorded, simulated, web

RIVERS = b"Rivers flow to the sea, and some of them freeze."
HILLS = b"Hills stand where they are."
RECORDED = "openai-vector_stores"


async def upload(client: httpx.AsyncClient, data: bytes = RIVERS) -> str:
    files = {"file": ("rivers.txt", data)}
    answer = await client.post("/files", data={"purpose": "assistants"}, files=files)
    return str(answer.json()["id"])


async def store(client: httpx.AsyncClient, **more: Any) -> dict[str, Any]:
    return dict((await client.post("/vector_stores", json=more)).raise_for_status().json())


async def test_sdk_fills_searches_and_deletes() -> None:
    def work(client: openai.OpenAI) -> None:
        stores = client.vector_stores
        files = [
            client.files.create(file=(f"{name}.txt", data), purpose="assistants").id
            for name, data in (("rivers", RIVERS), ("hills", HILLS))
        ]
        made = stores.create(name="Land", file_ids=files[:1], metadata={"a": "b"})
        assert made.status == "in_progress"
        batch = stores.file_batches.create(made.id, file_ids=files[1:], attributes={"kind": "h"})
        for _ in range(2):
            now = stores.retrieve(made.id)
        assert (now.status, now.usage_bytes) == ("completed", 2 * len(RIVERS + HILLS))
        done = stores.file_batches.retrieve(batch.id, vector_store_id=made.id)
        assert (done.status, done.file_counts.completed) == ("completed", 1)
        listed = stores.file_batches.list_files(batch.id, vector_store_id=made.id)
        assert [one.id for one in listed] == files[1:]
        assert {one.id for one in stores.files.list(made.id, filter="completed")} == set(files)
        found = list(stores.search(made.id, query="Do rivers freeze?"))
        assert [(one.file_id, one.filename) for one in found] == [(files[0], "rivers.txt")]
        [passage] = list(stores.files.content(files[0], vector_store_id=made.id))
        assert passage.text == RIVERS.decode() == found[0].content[0].text
        changed = stores.files.update(files[0], vector_store_id=made.id, attributes={"x": 1})
        assert changed.attributes == {"x": 1}
        assert stores.files.delete(files[0], vector_store_id=made.id).deleted
        assert stores.update(made.id, name="Other").name == "Other"
        assert [one.id for one in stores.list()] == [made.id]
        assert stores.delete(made.id).deleted
        with pytest.raises(openai.NotFoundError, match=f"id '{made.id}' not found"):
            stores.files.list(made.id)

    async with simulated() as simulator:
        await by_sdk(simulator, work)
        assert not len(simulator.kept)


async def test_files_end_as_told_and_a_store_takes_what_it_is_told() -> None:
    async with simulated() as simulator, web(simulator) as client:
        simulator.behave("vector_stores.create", "end_polls=0 job=failed told_bytes=4096")
        made = await store(client, file_ids=[await upload(client)])
        assert (made["usage_bytes"], made["file_counts"]["failed"]) == (4_096, 1)
        simulator.behave("vector_stores.batches.create", "job=never")
        path = f"/vector_stores/{made['id']}/file_batches"
        body = {"files": [{"file_id": await upload(client)}]}
        batch = (await client.post(path, json=body)).json()
        assert batch["status"] == "in_progress"
        assert (await client.post(f"{path}/{batch['id']}/cancel")).json()["status"] == "cancelled"


async def test_the_same_file_may_be_in_two_stores() -> None:
    async with simulated() as simulator, web(simulator) as client:
        file = await upload(client)
        one, two = [await store(client, file_ids=[file]) for _ in range(2)]
        await client.delete(f"/vector_stores/{one['id']}/files/{file}")
        found = [
            (await client.get(f"/vector_stores/{made['id']}/files/{file}")).status_code
            for made in (one, two)
        ]
        assert found == [404, 200]


async def test_threads_and_assistants_make_stores() -> None:
    async with simulated() as simulator, web(simulator) as client:
        client.headers["openai-beta"] = "assistants=v2"
        search = {"vector_stores": [{"file_ids": [await upload(client)]}]}
        thread = await client.post("/threads", json={"tool_resources": {"file_search": search}})
        [made] = thread.json()["tool_resources"]["file_search"]["vector_store_ids"]
        assert (await client.get(f"/vector_stores/{made}")).json()["file_counts"]["total"] == 1


async def test_other_keys_find_nothing_and_name_nothing() -> None:
    async with simulated() as simulator, web(simulator) as client, web(simulator, "k-two") as other:
        file = await upload(client)
        made = await store(client, file_ids=[file])
        assert (await other.get(f"/vector_stores/{made['id']}")).status_code == 404
        assert (await other.post("/vector_stores", json={"file_ids": [file]})).status_code == 404
        for body in ({"name": 1}, {"colour": "blue"}, {"expires_after": {"days": 0}}):
            assert (await client.post("/vector_stores", json=body)).status_code == 400
        both = {"file_ids": [file], "files": [{"file_id": file}]}
        path = f"/vector_stores/{made['id']}/file_batches"
        assert (await client.post(path, json=both)).status_code == 400


async def test_shapes_are_those_of_the_recordings() -> None:
    async with simulated() as simulator, web(simulator) as client:
        made = await store(client, file_ids=[await upload(client)])
        known = recorded(f"{RECORDED}/ruby-openai--vector-stores-modify.json")
        assert lacks(made, known) == set() == lacks(made["file_counts"], known["file_counts"])
        path = f"/vector_stores/{made['id']}/files"
        [file] = (await client.get(path)).json()["data"]
        known = recorded(f"{RECORDED}/ruby-openai--vector-store-files-create.json")
        assert lacks(file, known) == set()
        gone = (await client.delete(f"{path}/{file['id']}")).json()
        known = recorded(f"{RECORDED}/ruby-openai--vector-store-files-delete.json")
        assert gone | {"id": ""} == known | {"id": ""}
