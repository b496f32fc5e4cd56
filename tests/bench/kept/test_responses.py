"""Responses that are kept: chains, items, in the background, as events from any number on."""

from __future__ import annotations

from typing import Any

import openai
import pytest

from bench.simulate import Directives
from bench.simulate.kept import responses
from tests.bench.kept.knocking import by_sdk, events, lacks, recorded, simulated, web

GET = "openai-responses-get"


def said(directives: str = "") -> str:
    return f"#sim {directives}\nTell me about rivers."


def question(directives: str = "", **more: Any) -> dict[str, Any]:
    return {"model": "sim-openai", "input": said(directives), **more}


async def test_sdk_retrieves_lists_chains_and_deletes() -> None:
    def work(client: openai.OpenAI) -> None:
        first = client.responses.create(model="sim-openai", input=said("tokens=9"))
        assert client.responses.retrieve(first.id).output_text == first.output_text
        items = client.responses.input_items.list(first.id).data
        assert [item.type for item in items] == ["message"]
        second = client.responses.create(
            model="sim-openai", input="And hills?", previous_response_id=first.id
        )
        assert first.usage is not None
        assert second.usage is not None
        assert second.usage.input_tokens > first.usage.total_tokens
        assert second.previous_response_id == first.id
        client.responses.delete(first.id)
        with pytest.raises(openai.NotFoundError, match=f"id '{first.id}' not found"):
            client.responses.retrieve(first.id)
        with pytest.raises(openai.BadRequestError, match="Previous response"):
            client.responses.create(model="sim-openai", input="x", previous_response_id=first.id)

    async with simulated() as simulator:
        await by_sdk(simulator, work)


async def test_streamed_ones_are_kept_and_those_not_stored_are_not() -> None:
    async with simulated() as simulator, web(simulator) as client, web(simulator, "k-two") as other:
        streamed = await client.post("/responses", json=question("tokens=3", stream=True))
        done = events(streamed.text)[-1]["response"]
        assert (await client.get(f"/responses/{done['id']}")).json() == done
        assert (await other.get(f"/responses/{done['id']}")).status_code == 404
        gone = (await client.post("/responses", json=question("tokens=3", store=False))).json()
        assert (await client.get(f"/responses/{gone['id']}")).status_code == 404
        assert len(simulator.responses) == 1


async def test_items_are_referred_to_by_their_ids() -> None:
    async with simulated() as simulator, web(simulator) as client, web(simulator, "k-two") as other:
        tools = [{"type": "function", "name": "now", "parameters": {"type": "object"}}]
        made = (await client.post("/responses", json=question("tools=now", tools=tools))).json()
        call = made["output"][0]
        items = [
            {"type": "item_reference", "id": call["id"]},
            {"type": "function_call_output", "call_id": call["call_id"], "output": "noon"},
        ]
        answer = await client.post("/responses", json=question() | {"input": items})
        assert answer.status_code == 200
        # By the chain, the call is there already; without it, its output answers nothing.
        chained = question(previous_response_id=made["id"]) | {"input": items[1:]}
        assert (await client.post("/responses", json=chained)).status_code == 200
        assert (
            (await other.post("/responses", json=question() | {"input": items}))
            .json()["error"]["message"]
            .startswith(f"Item with id '{call['id']}' not found.")
        )
        await client.delete(f"/responses/{made['id']}")
        lost = await client.post("/responses", json=question() | {"input": items})
        assert lost.status_code == 404


async def test_background_goes_on_by_polls_and_says_what_it_used() -> None:
    async with simulated() as simulator, web(simulator) as client:
        asked = question("tokens=5 run_polls=1 end_polls=2", background=True)
        first = (await client.post("/responses", json=asked)).json()
        seen = [(await client.get(f"/responses/{first['id']}")).json() for _ in range(3)]
        assert [first["status"], *(one["status"] for one in seen)] == [
            "queued", "queued", "in_progress", "completed",
        ]  # fmt: skip
        assert (first["usage"], seen[1]["usage"], first["background"]) == (None, None, True)
        [record] = simulator.truth.records()
        assert record.usage_reported == seen[2]["usage"]
        assert (record.tokens_generated, seen[2]["usage"]["output_tokens"]) == (5, 5)
        assert seen[2]["output"][0]["content"][0]["text"] == record.text


@pytest.mark.parametrize(
    ("told", "status"),
    [("job=failed", "failed"), ("job=never", "in_progress"), ("job=lost", None)],
)
async def test_background_ends_as_told(told: str, status: str | None) -> None:
    async with simulated() as simulator, web(simulator) as client:
        asked = question(f"end_polls=0 {told}", background=True)
        made = (await client.post("/responses", json=asked)).json()
        answer = await client.get(f"/responses/{made['id']}")
        assert answer.json().get("status") == status
        assert answer.status_code == (404 if status is None else 200)


async def test_background_is_cancelled_once_and_nothing_else_is() -> None:
    async with simulated() as simulator, web(simulator) as client:
        made = (await client.post("/responses", json=question("job=never", background=True))).json()
        for _ in range(2):
            answer = await client.post(f"/responses/{made['id']}/cancel")
            assert answer.json()["status"] == "cancelled"
        plain = (await client.post("/responses", json=question())).json()
        refused = await client.post(f"/responses/{plain['id']}/cancel")
        assert refused.json()["error"]["message"] == "Cannot cancel a synchronous response."
        assert (await client.get(f"/responses/{plain['id']}?stream=true")).status_code == 400


async def test_events_of_the_background_are_the_same_from_every_number_on() -> None:
    async with simulated() as simulator, web(simulator) as client:
        asked = question("tokens=6 reasoning=2", background=True, stream=True)
        streamed = await client.post("/responses", json=asked)
        all_of_them = events(streamed.text)
        response_id = all_of_them[0]["response"]["id"]
        assert [event["sequence_number"] for event in all_of_them] == list(range(len(all_of_them)))
        kinds = [event["type"].removeprefix("response.") for event in all_of_them]
        assert (kinds[:3], kinds[-1]) == (["created", "queued", "in_progress"], "completed")
        for after in (0, 5, len(all_of_them) - 1):
            path = f"/responses/{response_id}?stream=true&starting_after={after}"
            assert events((await client.get(path)).text) == all_of_them[after + 1 :]
        whole = (await client.get(f"/responses/{response_id}")).json()
        assert whole == all_of_them[-1]["response"]


async def test_background_goes_on_without_its_client() -> None:
    async with simulated() as simulator, web(simulator) as client:
        asked = question("tokens=40 cut_after=3 fault=cut", background=True, stream=True)
        with pytest.raises(Exception, match=r"incomplete|peer closed"):
            await client.post("/responses", json=asked)
        [stored] = simulator.responses
        path = f"/responses/{stored.plan.answer_id}"
        streamed = events((await client.get(f"{path}?stream=true&starting_after=2")).text)
        assert streamed[-1]["response"]["usage"]["output_tokens"] == 40
        assert (await client.get(path)).json() == streamed[-1]["response"]
        assert simulator.truth.records()[0].tokens_generated == 40


async def test_a_replay_breaks_as_told_for_its_call() -> None:
    async with simulated() as simulator, web(simulator) as client:
        asked = question("tokens=40", background=True, stream=True)
        response_id = events((await client.post("/responses", json=asked)).text)[0]["response"][
            "id"
        ]
        simulator.behave("responses.get", "fault=eof cut_after=4")
        cut = events((await client.get(f"/responses/{response_id}?stream=true")).text)
        assert [event["type"] for event in cut].count("response.output_text.delta") == 4
        simulator.behave("responses.get", "status=503")
        assert (await client.get(f"/responses/{response_id}")).status_code == 503


async def test_shapes_are_those_of_the_recordings() -> None:
    async with simulated() as simulator, web(simulator) as client:
        made = (await client.post("/responses", json=question("tokens=3", background=True))).json()
        known = recorded(f"{GET}/pydantic-ai--openai-responses-test-background-mode-vcr--1.json")
        assert lacks(made, known) == {"frequency_penalty", "presence_penalty"}
        listed = (await client.get(f"/responses/{made['id']}/input_items")).json()
        items = recorded("openai-responses-input_items/ruby-openai--responses-input-items.json")
        assert lacks(listed, items) == set() == lacks(listed["data"][0], items["data"][0])
        gone = (await client.delete(f"/responses/{made['id']}")).json()
        assert gone | {"id": ""} == {"id": "", "object": "response.deleted", "deleted": True}


async def test_the_oldest_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(responses, "RESPONSES_MAX", 2)
    async with simulated(defaults=Directives(tokens=1)) as simulator, web(simulator) as client:
        made = [(await client.post("/responses", json=question())).json()["id"] for _ in range(3)]
        found = [(await client.get(f"/responses/{one}")).status_code for one in made]
        assert found == [404, 200, 200]


async def test_tools_of_openai_are_told_of_before_the_text() -> None:
    async with simulated() as simulator, web(simulator) as client:
        uploaded = await client.post(
            "/files", data={"purpose": "assistants"}, files={"file": ("rivers.txt", b"Rivers.")}
        )
        file_id = uploaded.json()["id"]
        made = await client.post("/vector_stores", json={"file_ids": [file_id]})
        tools = [
            {"type": "file_search", "vector_store_ids": [made.json()["id"]]},
            {"type": "code_interpreter", "container": {"type": "auto"}},
        ]
        told = "tokens=3 searches=1 codes=2 pictures=1"
        answer = (await client.post("/responses", json=question(told, tools=tools))).json()
        kinds = [item["type"] for item in answer["output"]]
        assert kinds == ["file_search_call", *["code_interpreter_call"] * 2, "message"]
        found, drawn = answer["output"][-1]["content"][0]["annotations"]
        assert (found["file_id"], found["filename"]) == (file_id, "rivers.txt")
        path = f"/containers/{drawn['container_id']}/files/{drawn['file_id']}/content"
        assert (await client.get(path)).content.startswith(b"\x89PNG")
        assert {item.get("container_id") for item in answer["output"]} == {
            None, drawn["container_id"],
        }  # fmt: skip
        streamed = await client.post("/responses", json=question(told, tools=tools, stream=True))
        done = events(streamed.text)
        kinds = [event["type"].removeprefix("response.") for event in done]
        assert kinds.count("output_text.annotation.added") == 2
        assert kinds[2:7] == [
            "output_item.added", "file_search_call.in_progress", "file_search_call.searching",
            "file_search_call.completed", "output_item.done",
        ]  # fmt: skip
        items = [event["item"] for event in done if event["type"].endswith("item.done")]
        assert items == done[-1]["response"]["output"]
        name = "pydantic-ai--openai-responses-test-openai-responses-model-file-search-tool--4.json"
        [search, _] = recorded(f"openai-responses/{name}")["output"]
        assert lacks(search, answer["output"][0]) == set() == lacks(answer["output"][0], search)


@pytest.mark.parametrize(
    "tool",
    [
        {"type": "file_search", "vector_store_ids": ["vs_x"]},
        {"type": "code_interpreter", "container": "cntr_x"},
        {"type": "code_interpreter", "container": {"type": "auto", "file_ids": ["file-x"]}},
    ],
)
async def test_tools_name_what_is_there(tool: Any) -> None:
    async with simulated() as simulator, web(simulator) as client:
        answer = await client.post("/responses", json=question(tools=[tool]))
        assert answer.status_code == 404
