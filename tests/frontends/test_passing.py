"""What only OpenAI has, by its SDK and over real sockets: each account's own, and nobody else's."""

from __future__ import annotations

from pathlib import Path

import openai
import pytest

from tests.passed import open_kept
from tests.webserver import PNG

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
"""OpenAI's SDK says it of all of assistants."""


async def test_a_conversation_is_made_read_changed_and_deleted(tmp_path: Path) -> None:
    async with open_kept(tmp_path) as kept:
        made = await kept.ours.conversations.create(
            metadata={"topic": "cats"},
            items=[{"type": "message", "role": "user", "content": "Hello"}],
        )
        found = await kept.ours.conversations.retrieve(made.id)
        assert (found.id, found.metadata) == (made.id, {"topic": "cats"})
        changed = await kept.ours.conversations.update(made.id, metadata={"topic": "dogs"})
        assert changed.metadata == {"topic": "dogs"}

        items = await kept.ours.conversations.items.list(made.id)
        [item] = items.data
        assert item.id is not None
        again = await kept.ours.conversations.items.retrieve(item.id, conversation_id=made.id)
        assert again.id == item.id

        gone = await kept.ours.conversations.delete(made.id)
        assert gone.deleted
        with pytest.raises(openai.NotFoundError):
            await kept.ours.conversations.retrieve(made.id)


async def test_another_account_is_told_what_it_is_told_of_nothing(tmp_path: Path) -> None:
    async with open_kept(tmp_path) as kept:
        made = await kept.ours.conversations.create()
        asked_before = len(kept.calls)
        with pytest.raises(openai.NotFoundError) as refused:
            await kept.theirs.conversations.retrieve(made.id)
        with pytest.raises(openai.NotFoundError) as unknown:
            await kept.theirs.conversations.retrieve("conv_0123456789abcdef")
        words = [str(each.value).split("request_id")[0] for each in (refused, unknown)]
        assert words[0].replace(made.id, "") == words[1].replace("conv_0123456789abcdef", "")
        for change in (
            kept.theirs.conversations.update(made.id, metadata={"a": "b"}),
            kept.theirs.conversations.delete(made.id),
            kept.theirs.conversations.items.list(made.id),
        ):
            with pytest.raises(openai.NotFoundError):
                await change
        assert len(kept.calls) == asked_before


async def test_an_assistant_is_of_a_model_by_the_accounts_name_for_it(tmp_path: Path) -> None:
    async with open_kept(tmp_path) as kept:
        made = await kept.ours.beta.assistants.create(model="kept", name="Helper")
        assert made.model == "kept"
        assert kept.body()["model"] == "sim-openai"
        assert (await kept.ours.beta.assistants.retrieve(made.id)).model == "kept"
        changed = await kept.ours.beta.assistants.update(made.id, model="kept", name="H")
        assert (changed.model, changed.name) == ("kept", "H")
        owned = await kept.served.setup.gateway.ledger.find_owned(
            kept.served.setup.account_id, [made.id]
        )
        assert (owned[made.id].kind, owned[made.id].model) == ("assistant", "kept")
        with pytest.raises(openai.NotFoundError, match="model"):
            await kept.ours.beta.assistants.create(model="nobody")
        with pytest.raises(openai.BadRequestError, match="not served by who keeps this"):
            await kept.ours.beta.assistants.create(model="sim-anthropic")


async def test_threads_and_messages(tmp_path: Path) -> None:
    async with open_kept(tmp_path) as kept:
        threads = kept.ours.beta.threads
        thread = await threads.create(messages=[{"role": "user", "content": "First"}])
        for text in ("Second", "Third"):
            await threads.messages.create(thread.id, role="user", content=text)
        page = await threads.messages.list(thread.id, limit=2, order="asc")
        assert page.has_more
        texts = [each async for each in page]
        assert len(texts) == 3
        shown = await threads.messages.retrieve(texts[1].id, thread_id=thread.id)
        assert shown.thread_id == thread.id
        other = await kept.theirs.beta.threads.create()
        with pytest.raises(openai.NotFoundError):
            await kept.theirs.beta.threads.messages.retrieve(texts[1].id, thread_id=other.id)
        with pytest.raises(openai.NotFoundError):
            await kept.theirs.beta.threads.messages.list(other.id, after=texts[0].id)
        assert (await threads.delete(thread.id)).deleted
        with pytest.raises(openai.NotFoundError):
            await threads.messages.retrieve(texts[1].id, thread_id=thread.id)


async def test_files_are_called_as_the_account_calls_them_in_both_directions(
    tmp_path: Path,
) -> None:
    async with open_kept(tmp_path) as kept:
        file = await kept.ours.files.create(file=("a.txt", b"Cats sleep."), purpose="assistants")
        store = await kept.ours.vector_stores.create(name="Cats", file_ids=[file.id])
        there = kept.body()["file_ids"][0]
        assert there != file.id
        files = kept.ours.vector_stores.files
        [listed] = (await files.list(store.id)).data
        shown = await files.retrieve(file.id, vector_store_id=store.id)
        assert listed.id == shown.id == file.id
        content = await files.content(file.id, vector_store_id=store.id)
        assert [part.text for part in content.data] == ["Cats sleep."]

        batch = await kept.ours.vector_stores.file_batches.create(store.id, file_ids=[file.id])
        assert batch.vector_store_id == store.id
        [listed] = (
            await kept.ours.vector_stores.file_batches.list_files(
                batch.id, vector_store_id=store.id
            )
        ).data
        assert listed.id == file.id
        assert kept.served.setup.sim.files.uploads == 1

        gone = await files.delete(file.id, vector_store_id=store.id)
        assert gone.id == file.id
        assert (await kept.ours.files.retrieve(file.id)).id == file.id


async def test_files_of_nobody_and_of_others_are_not_found_and_not_sent(tmp_path: Path) -> None:
    async with open_kept(tmp_path) as kept:
        file = await kept.ours.files.create(file=("a.txt", b"Cats."), purpose="assistants")
        await kept.ours.vector_stores.create(file_ids=[file.id])
        there = kept.body()["file_ids"][0]
        theirs = await kept.theirs.vector_stores.create()
        asked_before = len(kept.calls)
        for file_id in (file.id, there, "file-" + "b" * 26, "nothing"):
            with pytest.raises(openai.NotFoundError) as refused:
                await kept.theirs.vector_stores.files.create(theirs.id, file_id=file_id)
            assert refused.value.param == "file_id"
            with pytest.raises(openai.NotFoundError):
                await kept.theirs.vector_stores.files.retrieve(file_id, vector_store_id=theirs.id)
        assert len(kept.calls) == asked_before


async def test_lists_have_what_is_the_accounts_in_pages(tmp_path: Path) -> None:
    async with open_kept(tmp_path) as kept:
        made = []
        for number in range(5):
            made.append((await kept.ours.vector_stores.create(name=f"{number}")).id)
            await kept.theirs.vector_stores.create(name=f"theirs {number}")
        page = await kept.ours.vector_stores.list(limit=2)
        assert [each.id for each in page.data] == made[:-3:-1]
        assert page.has_more
        assert [each.id async for each in page] == made[::-1]
        rising = await kept.ours.vector_stores.list(order="asc", after=made[1], limit=2)
        assert [each.id for each in rising.data] == made[2:4]
        before = await kept.ours.vector_stores.list(order="asc", before=made[2])
        assert [each.id for each in before.data] == made[:2]
        assert not before.has_more

        await kept.ours.vector_stores.delete(made[2])
        kept.served.setup.sim.kept.drop(kept.there("vector_store", made[3]))
        left = await kept.ours.vector_stores.list(limit=1)
        assert [each.id async for each in left] == [made[4], made[1], made[0]]
        for after in ("vs_0123456789abcdef", (await kept.theirs.vector_stores.create()).id):
            with pytest.raises(openai.BadRequestError):
                await kept.ours.vector_stores.list(after=after)


async def test_a_file_of_a_container_goes_through_as_it_is(tmp_path: Path) -> None:
    async with open_kept(tmp_path) as kept:
        file = await kept.ours.files.create(file=("a.csv", b"1,2"), purpose="assistants")
        container = await kept.ours.containers.create(name="box", file_ids=[file.id])
        data = bytes(range(256)) * 40
        put = await kept.ours.containers.files.create(container.id, file=("b.bin", data))
        files = [each async for each in await kept.ours.containers.files.list(container.id)]
        assert put.id in [each.id for each in files]
        content = await kept.ours.containers.files.content.retrieve(
            put.id, container_id=container.id
        )
        assert content.content == data
        await kept.ours.containers.files.delete(put.id, container_id=container.id)
        with pytest.raises(openai.NotFoundError):
            await kept.ours.containers.files.retrieve(put.id, container_id=container.id)
        await kept.ours.containers.delete(container.id)


async def test_a_response_is_shown_streamed_again_and_deleted(tmp_path: Path) -> None:
    async with open_kept(tmp_path) as kept:
        made = await kept.ours.responses.create(model="kept", input="#sim tokens=5\nHello")
        found = await kept.ours.responses.retrieve(made.id)
        assert (found.id, found.output_text) == (made.id, made.output_text)
        items = await kept.ours.responses.input_items.list(made.id)
        assert len(items.data) == 1
        with pytest.raises(openai.NotFoundError):
            await kept.theirs.responses.retrieve(made.id)
        await kept.ours.responses.delete(made.id)
        with pytest.raises(openai.NotFoundError):
            await kept.ours.responses.retrieve(made.id)


async def test_what_is_not_switched_on_is_not_there(tmp_path: Path) -> None:
    more = '[state]\nfamilies = ["threads", "assistants"]\n[plans.small]\nfamilies = ["threads"]\n'
    async with open_kept(tmp_path, more) as kept:
        with pytest.raises(openai.NotFoundError, match="not passed through here"):
            await kept.ours.vector_stores.create()
        await kept.ours.beta.assistants.create(model="kept")
        ledger = kept.served.setup.gateway.ledger
        await ledger.set_account_plan(kept.served.setup.account_id, "small")
        with pytest.raises(openai.PermissionDeniedError) as refused:
            await kept.ours.beta.assistants.create(model="kept")
        assert refused.value.code == "family_not_allowed"
        await kept.ours.beta.threads.create()


async def test_nothing_is_made_without_funds_and_all_else_is_answered(tmp_path: Path) -> None:
    async with open_kept(tmp_path, theirs_nanodollars=0) as kept:
        with pytest.raises(openai.APIStatusError) as refused:
            await kept.theirs.beta.threads.create()
        assert (refused.value.status_code, refused.value.code) == (402, "insufficient_funds")
        assert (await kept.theirs.vector_stores.list()).data == []
        assert not kept.calls


async def test_what_the_provider_has_drawn_is_a_file_of_the_account(tmp_path: Path) -> None:
    async with open_kept(tmp_path) as kept:
        threads = kept.ours.beta.threads
        thread = await threads.create(messages=[{"role": "user", "content": "Draw a cat"}])
        [message] = (await threads.messages.list(thread.id)).data
        shelf = kept.served.setup.sim.files
        drawn = shelf.add(
            "openai",
            "sk-operator",
            PNG,
            filename="cat.png",
            mime_type="image/png",
            purpose="assistants_output",
        )
        uploaded = shelf.add(
            "openai", "sk-operator", b"secret", filename="s", mime_type="a/b", purpose="assistants"
        )
        content = kept.there("message", message.id).value["content"]
        for file in (drawn, uploaded):
            content.append({"type": "image_file", "image_file": {"file_id": file.file_id}})

        shown = await threads.messages.retrieve(message.id, thread_id=thread.id)
        ids = [part.image_file.file_id for part in shown.content if part.type == "image_file"]
        assert not {drawn.file_id, uploaded.file_id} & set(ids)
        ours, nobodys = ids
        told = await kept.ours.files.retrieve(ours)
        assert (told.filename, told.bytes, told.purpose) == (
            "cat.png",
            len(PNG),
            "assistants_output",
        )
        assert (await kept.ours.files.content(ours)).content == PNG
        async with kept.served.http() as http:
            part = await http.get(f"/files/{ours}/content", headers={"range": "bytes=5-9"})
            assert (part.status_code, part.content) == (206, PNG[5:10])
        assert [each.id for each in (await kept.ours.files.list()).data] == [ours]
        for call in (kept.ours.files.retrieve(nobodys), kept.theirs.files.retrieve(ours)):
            with pytest.raises(openai.NotFoundError):
                await call

        again = await threads.messages.retrieve(message.id, thread_id=thread.id)
        assert again.content == shown.content
        await kept.ours.files.delete(ours)
        with pytest.raises(openai.NotFoundError):
            await kept.ours.files.content(ours)


async def test_the_operators_own_names_are_nobodys(tmp_path: Path) -> None:
    async with open_kept(tmp_path) as kept:
        file = await kept.ours.files.create(file=("a.txt", b"Cats."), purpose="assistants")
        store = await kept.ours.vector_stores.create(file_ids=[file.id])
        there = kept.body()["file_ids"][0]
        kept.there("vector_store", store.id).value["organization_id"] = "org-operator1"
        async with kept.served.http() as http:
            shown = await http.get(f"/vector_stores/{store.id}")
            assert shown.json()["organization_id"] == ""
            await kept.ours.vector_stores.files.delete(file.id, vector_store_id=store.id)
            refused = await http.get(f"/vector_stores/{store.id}/files/{file.id}")
        assert refused.status_code == 404
        assert there not in refused.text
        assert file.id in refused.text
        assert refused.headers["x-provider-request-id"]
        assert refused.headers["x-request-id"].startswith("req_")


async def test_a_stream_goes_on_from_where_it_was_left(tmp_path: Path) -> None:
    async with open_kept(tmp_path) as kept:
        stream = await kept.ours.responses.create(
            model="kept", input="#sim tokens=6\nHello", background=True, store=True, stream=True
        )
        first = [event async for event in stream]
        made = first[-1].response.id  # type: ignore[union-attr]
        whole = await kept.ours.responses.retrieve(made, stream=True)
        assert [each.type async for each in whole] == [each.type for each in first]
        rest = await kept.ours.responses.retrieve(made, stream=True, starting_after=3)
        numbers = [each.sequence_number async for each in rest]
        assert numbers == list(range(4, len(first)))
        with pytest.raises(openai.NotFoundError):
            await kept.theirs.responses.retrieve(made, stream=True)
