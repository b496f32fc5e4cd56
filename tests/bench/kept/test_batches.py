"""Batches that are kept: lines answered one by one, and every way for one to end."""

from __future__ import annotations

from typing import Any

import httpx
import openai
import orjson
import pytest

from tests.bench.kept.knocking import by_sdk, lacks, recorded, simulated, web

CHAT = "/v1/chat/completions"


def line(custom_id: str, directives: str = "tokens=3", *, url: str = CHAT, **more: Any) -> bytes:
    text = f"#sim {directives}\nTell me about rivers."
    body = {"model": "sim-openai", "messages": [{"role": "user", "content": text}]}
    if url == "/v1/responses":
        body = {"model": "sim-openai", "input": text}
    asked = {"custom_id": custom_id, "method": "POST", "url": url, "body": body | more}
    return orjson.dumps(asked) + b"\n"


async def begin(client: httpx.AsyncClient, *lines: bytes, endpoint: str = CHAT) -> dict[str, Any]:
    """A batch of these lines, as it is shown first."""
    form = {"file": ("in.jsonl", b"".join(lines))}
    file = await client.post("/files", data={"purpose": "batch"}, files=form)
    asked = {
        "input_file_id": file.json()["id"],
        "endpoint": endpoint,
        "completion_window": "24h",
    }
    answer = await client.post("/batches", json=asked)
    return dict(answer.raise_for_status().json())


async def look(client: httpx.AsyncClient, batch: dict[str, Any], times: int = 1) -> dict[str, Any]:
    for _ in range(times):
        answer = await client.get(f"/batches/{batch['id']}")
    return dict(answer.json())


async def lines_of(client: httpx.AsyncClient, file_id: str) -> list[Any]:
    text = (await client.get(f"/files/{file_id}/content")).text
    return [orjson.loads(one) for one in text.splitlines()]


async def test_sdk_runs_a_batch() -> None:
    def work(client: openai.OpenAI) -> None:
        file = client.files.create(file=("in.jsonl", line("a") + line("b")), purpose="batch")
        made = client.batches.create(
            input_file_id=file.id,
            endpoint="/v1/chat/completions",
            completion_window="24h",
            metadata={"a": "b"},
        )
        assert (made.status, client.batches.retrieve(made.id).status) == (
            "validating",
            "in_progress",
        )
        done = client.batches.retrieve(made.id)
        assert (done.status, done.error_file_id) == ("completed", None)
        assert done.request_counts is not None
        assert done.request_counts.completed == 2
        assert done.output_file_id is not None
        output = client.files.content(done.output_file_id).text.splitlines()
        assert [orjson.loads(one)["custom_id"] for one in output] == ["b", "a"]
        assert client.files.retrieve(done.output_file_id).purpose == "batch_output"
        assert [one.id for one in client.batches.list(limit=1)] == [made.id]
        with pytest.raises(openai.NotFoundError, match="No batch found with id 'batch_x'"):
            client.batches.retrieve("batch_x")

    async with simulated() as simulator:
        await by_sdk(simulator, work)


async def test_lines_are_answered_as_each_is_told_and_their_usage_is_summed() -> None:
    async with simulated() as simulator, web(simulator) as client:
        lines = [
            line("a", "tokens=3"), line("b", "tokens=4"), line("c", "status=500"),
            line("d", model="sim-openai", n=500), line("e", "usage=none"),
        ]  # fmt: skip
        done = await look(client, await begin(client, *lines), 2)
        assert done["request_counts"] == {"total": 5, "completed": 3, "failed": 2}
        good = await lines_of(client, done["output_file_id"])
        bad = await lines_of(client, done["error_file_id"])
        assert [one["response"]["status_code"] for one in bad] == [500, 400]
        usages = [one["response"]["body"]["usage"] for one in good if one["custom_id"] != "e"]
        assert done["usage"]["output_tokens"] == 7 == sum(u["completion_tokens"] for u in usages)
        assert done["usage"]["input_tokens"] == sum(u["prompt_tokens"] for u in usages)


async def test_responses_of_a_batch_are_kept() -> None:
    async with simulated() as simulator, web(simulator) as client:
        asked = line("a", url="/v1/responses")
        done = await look(client, await begin(client, asked, endpoint="/v1/responses"), 2)
        [one] = await lines_of(client, done["output_file_id"])
        body = one["response"]["body"]
        assert (await client.get(f"/responses/{body['id']}")).json() == body


@pytest.mark.parametrize(
    ("told", "status", "done"),
    [
        ("end_polls=0 job=expired progress=50", "expired", 2),
        ("end_polls=0 job=failed", "failed", 0),
        ("job=never progress=25", "in_progress", 1),
    ],
)
async def test_batches_end_as_told(told: str, status: str, done: int) -> None:
    async with simulated() as simulator, web(simulator) as client:
        simulator.behave("batches.create", told)
        seen = await look(client, await begin(client, *(line(own) for own in "abcd")))
        assert (seen["status"], seen["request_counts"]["completed"]) == (status, done)
        if status == "expired":
            assert len(await lines_of(client, seen["output_file_id"])) == 2
            errors = await lines_of(client, seen["error_file_id"])
            assert {one["error"]["code"] for one in errors} == {"batch_expired"}


async def test_what_was_done_before_a_cancel_stays_done() -> None:
    async with simulated() as simulator, web(simulator) as client:
        simulator.behave("batches.create", "job=never progress=50")
        batch = await begin(client, line("a"), line("b"))
        cancelling = (await client.post(f"/batches/{batch['id']}/cancel")).json()
        assert (cancelling["status"], cancelling["output_file_id"]) == ("cancelling", None)
        seen = await look(client, batch)
        assert seen["status"] == "cancelled"
        assert len(await lines_of(client, seen["output_file_id"])) == 1
        assert (await client.post(f"/batches/{batch['id']}/cancel")).status_code == 400


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        ([b"{\n"], "invalid_json_line"),
        ([line("a"), line("a")], "duplicate_custom_id"),
        ([line("a", url="/v1/responses")], "mismatched_endpoint"),
        ([line("a"), line("b", model="sim-other")], "mismatched_model"),
        ([b"\n"], "empty_file"),
    ],
)
async def test_files_that_are_no_batch_fail(lines: list[bytes], code: str) -> None:
    async with simulated() as simulator, web(simulator) as client:
        seen = await look(client, await begin(client, *lines))
        assert (seen["status"], seen["errors"]["data"][0]["code"]) == ("failed", code)
        assert seen["output_file_id"] is None


async def test_what_is_refused_at_once() -> None:
    async with simulated() as simulator, web(simulator) as client, web(simulator, "k-two") as other:
        batch = await begin(client, line("a"))
        asked = {name: batch[name] for name in ("input_file_id", "endpoint", "completion_window")}
        for more in (
            {"endpoint": "/v1/x"},
            {"completion_window": "1h"},
            {"input_file_id": "file-x"},
        ):
            assert (await client.post("/batches", json=asked | more)).status_code == 400
        assert (await other.post("/batches", json=asked)).status_code == 400
        assert (await other.get(f"/batches/{batch['id']}")).status_code == 404
        assert (await other.get("/batches")).json()["data"] == []


async def test_shapes_are_those_of_the_recordings() -> None:
    async with simulated() as simulator, web(simulator) as client:
        batch = await begin(client, line("a"))
        known = recorded("openai-batches/ruby-openai--batches-create.json")
        assert lacks(batch, known) == set() == lacks(known, batch)
        assert {name for name in known if known[name] is None} == {
            name for name in batch if batch[name] is None
        }
        cancelled = (await client.post(f"/batches/{batch['id']}/cancel")).json()
        known = recorded("openai-batches/ruby-openai--batches-cancel.json")
        assert cancelled["status"] == known["status"]
        listed = (await client.get("/batches?limit=10")).json()
        known = recorded("openai-batches/ruby-openai--batches-list--2.json")
        assert lacks(listed, known) == set()
        completed = [one for one in known["data"] if one["status"] == "completed"]
        done = await look(client, await begin(client, line("a")), 2)
        assert {name for name in done if done[name] is None} == {
            name for name in completed[0] if completed[0][name] is None
        }
