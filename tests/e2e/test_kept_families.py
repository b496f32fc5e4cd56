"""The rest of what OpenAI's SDK can ask of what a provider keeps: every call of a family, and what
it names afterwards is what the account calls it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import openai
import pytest

from tests.passed import open_kept

RIVERS: Final = b"Rivers flow to the sea."


async def test_files_of_vector_stores_are_found_read_changed_and_taken_out(tmp_path: Path) -> None:
    async with open_kept(tmp_path) as kept:
        client = kept.ours
        file = await client.files.create(file=("rivers.txt", RIVERS), purpose="assistants")
        store = await client.vector_stores.create(name="Land", file_ids=[file.id])
        for _ in range(2):
            now = await client.vector_stores.retrieve(store.id)
        assert (now.status, now.file_counts.completed) == ("completed", 1)
        [found] = (await client.vector_stores.search(store.id, query="Where do rivers go?")).data
        assert (found.file_id, found.filename) == (file.id, "rivers.txt")
        files = client.vector_stores.files
        [passage] = (await files.content(file.id, vector_store_id=store.id)).data
        assert passage.text == RIVERS.decode()
        changed = await files.update(file.id, vector_store_id=store.id, attributes={"wet": True})
        assert (changed.id, changed.attributes) == (file.id, {"wet": True})
        batches = client.vector_stores.file_batches
        batch = await batches.create(store.id, files=[{"file_id": file.id}])
        assert (await batches.retrieve(batch.id, vector_store_id=store.id)).id == batch.id
        await batches.cancel(batch.id, vector_store_id=store.id)
        listed = await batches.list_files(batch.id, vector_store_id=store.id, limit=1)
        assert [one.id for one in listed.data] == [file.id]
        renamed = await client.vector_stores.update(store.id, name="Water")
        assert renamed.name == "Water"
        with pytest.raises(openai.NotFoundError):
            await kept.theirs.vector_stores.files.content(file.id, vector_store_id=store.id)
        gone = await files.delete(file.id, vector_store_id=store.id)
        assert (gone.id, gone.deleted) == (file.id, True)
        assert (await client.files.retrieve(file.id)).id == file.id


async def test_containers_are_listed_filled_from_files_and_deleted(tmp_path: Path) -> None:
    async with open_kept(tmp_path) as kept:
        client = kept.ours
        file = await client.files.create(file=("a.csv", RIVERS), purpose="assistants")
        made = await client.containers.create(name="Lab", file_ids=[file.id])
        files = client.containers.files
        [copied] = (await files.list(made.id)).data
        more = await files.create(made.id, file_id=file.id)
        assert len({copied.id, more.id, file.id}) == 3
        got = await files.content.retrieve(more.id, container_id=made.id)
        assert got.content == RIVERS
        await files.delete(more.id, container_id=made.id)
        with pytest.raises(openai.NotFoundError):
            await files.retrieve(more.id, container_id=made.id)
        assert [one.id for one in (await client.containers.list()).data] == [made.id]
        assert (await kept.theirs.containers.list()).data == []
        await client.containers.delete(made.id)
        with pytest.raises(openai.NotFoundError):
            await files.list(made.id)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
async def test_threads_messages_and_assistants_are_changed_and_deleted(tmp_path: Path) -> None:
    async with open_kept(tmp_path) as kept:
        beta = kept.ours.beta
        picture = await kept.ours.files.create(file=("a.png", b"\x89PNG"), purpose="vision")
        made = await beta.assistants.create(model="kept", name="Guide")
        changed = await beta.assistants.update(made.id, name="Other", model="kept")
        assert (changed.name, changed.model) == ("Other", "kept")
        content: Any = [{"type": "image_file", "image_file": {"file_id": picture.id}}]
        thread = await beta.threads.create(messages=[{"role": "user", "content": content}])
        [message] = (await beta.threads.messages.list(thread.id)).data
        part = message.content[0]
        assert part.type == "image_file"
        assert part.image_file.file_id == picture.id
        said = await beta.threads.messages.update(
            message.id, thread_id=thread.id, metadata={"seen": "yes"}
        )
        assert said.metadata == {"seen": "yes"}
        noted = await beta.threads.update(thread.id, metadata={"a": "b"})
        assert noted.metadata == {"a": "b"}
        assert (await beta.threads.messages.delete(message.id, thread_id=thread.id)).deleted
        assert (await beta.threads.messages.list(thread.id)).data == []
        for gone, delete in ((thread.id, beta.threads.delete), (made.id, beta.assistants.delete)):
            with pytest.raises(openai.NotFoundError):
                await kept.theirs.delete(f"/threads/{gone}", cast_to=object)
            assert (await delete(gone)).deleted
            with pytest.raises(openai.NotFoundError):
                await delete(gone)
