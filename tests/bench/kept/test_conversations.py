"""Conversations that are kept: their items, what they add to the input, what they refuse."""

from __future__ import annotations

from typing import Any

import httpx
import openai
import pytest

from tests.bench.kept.knocking import by_sdk, lacks, recorded, simulated, web

ITEM: Any = {"type": "message", "role": "user", "content": "Remember: the code is 7."}


async def conversation(client: httpx.AsyncClient, *items: Any) -> str:
    answer = await client.post("/conversations", json={"items": list(items)})
    return str(answer.raise_for_status().json()["id"])


async def test_sdk_creates_reads_changes_and_deletes() -> None:
    def work(client: openai.OpenAI) -> None:
        made = client.conversations.create(metadata={"topic": "rivers"}, items=[ITEM])
        assert client.conversations.retrieve(made.id).metadata == {"topic": "rivers"}
        assert client.conversations.update(made.id, metadata={"a": "b"}).metadata == {"a": "b"}
        more = client.conversations.items.create(made.id, items=[ITEM, ITEM])
        listed = list(client.conversations.items.list(made.id, limit=1))
        assert [item.id for item in listed][:2] == [item.id for item in reversed(more.data)]
        assert len(listed) == 3
        first: Any = listed[-1]
        found = client.conversations.items.retrieve(first.id, conversation_id=made.id)
        assert found == first
        client.conversations.items.delete(first.id, conversation_id=made.id)
        with pytest.raises(openai.NotFoundError):
            client.conversations.items.retrieve(first.id, conversation_id=made.id)
        assert client.conversations.delete(made.id).deleted
        with pytest.raises(openai.NotFoundError, match=f"id '{made.id}' not found"):
            client.conversations.retrieve(made.id)

    async with simulated() as simulator:
        await by_sdk(simulator, work)
        assert not len(simulator.kept)


async def test_responses_take_from_it_and_add_to_it() -> None:
    async with simulated() as simulator, web(simulator) as client:
        conv = await conversation(client, ITEM)
        asked = {"model": "sim-openai", "input": "#sim tokens=4\nAnd?", "conversation": conv}
        used = []
        for stream, background in ((False, False), (True, False), (False, True)):
            more = {"stream": stream, "background": background}
            answer = await client.post("/responses", json=asked | more)
            assert answer.status_code == 200
            used.append(simulator.truth.records()[-1].input_tokens)
        [stored] = list(simulator.responses)[-1:]
        for _ in range(2):
            shown = (await client.get(f"/responses/{stored.plan.answer_id}")).json()
        assert shown["conversation"] == {"id": conv}
        assert used == sorted(set(used))
        listed = (await client.get(f"/conversations/{conv}/items?order=asc")).json()["data"]
        roles = [item["role"] for item in listed]
        assert roles == ["user", *["user", "assistant"] * 3]
        both = asked | {"previous_response_id": stored.plan.answer_id}
        refused = (await client.post("/responses", json=both)).json()["error"]
        assert refused["code"] == "mutually_exclusive_parameters"


async def test_other_keys_and_other_parents_find_nothing() -> None:
    async with simulated() as simulator, web(simulator) as client, web(simulator, "k-two") as other:
        one, two = [await conversation(client, ITEM) for _ in range(2)]
        [item] = (await client.get(f"/conversations/{one}/items")).json()["data"]
        for who, conv in ((client, two), (other, one)):
            answer = await who.get(f"/conversations/{conv}/items/{item['id']}")
            assert answer.status_code == 404
        asked = {"model": "sim-openai", "input": "And?", "conversation": {"id": one}}
        assert (await other.post("/responses", json=asked)).status_code == 404
        assert [call.path for call in simulator.kept.calls][-1].endswith(item["id"])


async def test_a_lax_provider_finds_items_anywhere() -> None:
    async with simulated(lax_parents=True) as simulator, web(simulator) as client:
        one, two = [await conversation(client, ITEM) for _ in range(2)]
        [item] = (await client.get(f"/conversations/{one}/items")).json()["data"]
        answer = await client.get(f"/conversations/{two}/items/{item['id']}")
        assert answer.json() == item


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"items": [ITEM] * 21}, "array_above_max_length"),
        ({"items": [{"type": "message"}]}, "missing_required_parameter"),
        ({"metadata": {"a": 1}}, "invalid_type"),
        ({"name": "x"}, "unknown_parameter"),
    ],
)
async def test_what_is_refused(body: Any, code: str) -> None:
    async with simulated() as simulator, web(simulator) as client:
        answer = await client.post("/conversations", json=body)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, code)
        assert (await client.put("/conversations", json=body)).status_code == 405
        conv = await conversation(client)
        for query in ("limit=0", "limit=101", "order=up", "after=msg_x"):
            assert (await client.get(f"/conversations/{conv}/items?{query}")).status_code >= 400


async def test_shapes_are_those_of_the_recordings() -> None:
    async with simulated() as simulator, web(simulator) as client:
        made = (await client.post("/conversations", json={})).json()
        known = recorded("openai-conversations/ruby-openai--conversations-create.json")
        assert lacks(made, known) == set() == lacks(known, made)
        gone = (await client.delete(f"/conversations/{made['id']}")).json()
        assert gone["object"] == "conversation.deleted"
