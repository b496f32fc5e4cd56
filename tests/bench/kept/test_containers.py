"""Containers that are kept, and the files in them."""

from __future__ import annotations

import openai
import pytest

from tests.bench.kept.knocking import by_sdk, simulated, web


async def test_sdk_makes_fills_and_deletes() -> None:
    def work(client: openai.OpenAI) -> None:
        containers = client.containers
        file = client.files.create(file=("a.csv", b"a,b\n"), purpose="assistants")
        made = containers.create(name="Lab", file_ids=[file.id], memory_limit="4g")
        assert (made.status, made.memory_limit) == ("running", "4g")
        [copied] = list(containers.files.list(made.id))
        assert (copied.path, copied.bytes) == ("/mnt/data/a.csv", 4)
        more = containers.files.create(made.id, file=("b.txt", b"text"))
        again = containers.files.create(made.id, file_id=file.id)
        assert len({copied.id, more.id, again.id}) == 3
        assert containers.files.content.retrieve(more.id, container_id=made.id).read() == b"text"
        assert containers.files.retrieve(more.id, container_id=made.id).path == "/mnt/data/b.txt"
        containers.files.delete(more.id, container_id=made.id)
        with pytest.raises(openai.NotFoundError, match=f"'{more.id}' not found in container"):
            containers.files.retrieve(more.id, container_id=made.id)
        assert [one.id for one in containers.list(name="Lab")] == [made.id]
        containers.delete(made.id)
        with pytest.raises(openai.NotFoundError, match=f"id '{made.id}' not found"):
            containers.retrieve(made.id)

    async with simulated() as simulator:
        await by_sdk(simulator, work)
        assert not len(simulator.kept)


async def test_other_keys_and_other_containers_find_nothing() -> None:
    async with simulated() as simulator, web(simulator) as client, web(simulator, "k-two") as other:
        one, two = [
            (await client.post("/containers", json={"name": "Lab"})).json()["id"] for _ in range(2)
        ]
        made = await client.post(f"/containers/{one}/files", files={"file": ("a", b"x")})
        file = made.json()["id"]
        assert (await other.get(f"/containers/{one}/files/{file}")).status_code == 404
        assert (await client.get(f"/containers/{two}/files/{file}/content")).status_code == 404
        assert (await client.post("/containers", json={})).status_code == 400
        lost = await client.post(f"/containers/{one}/files", json={"file_id": "file-x"})
        assert lost.status_code == 404
