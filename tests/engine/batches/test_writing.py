"""Input files on their way to a provider: every line in its words, and what all come to at most."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from engine import Call
from engine.batches.writing import BatchInput, WrittenBatch, model_of, write_batch
from engine.errors import InvalidRequestError, UnavailableError
from engine.file_ids import new_file_id, shown_file_id
from engine.metering.pricing import Rates
from engine.protocols.batches.endpoints import ENDPOINTS
from engine.protocols.batches.requests import BatchLineError
from engine.routing.values import Candidate
from tests.batched import CHAT, MODEL, file_of, open_batched, request
from tests.filed import PDF, Filed, add_file


async def batch_of(filed: Filed, data: bytes, path: str = CHAT) -> BatchInput:
    """The input file of a batch, as its account has stored it."""
    setup = filed.setup
    row = await add_file(filed.gateway, setup.account_id, data, "application/jsonl")
    return BatchInput(Call(b"", setup.key), setup.account_id, row, ENDPOINTS[path])


def candidate(filed: Filed, model: str = MODEL) -> Candidate[Rates]:
    found = filed.gateway._parts.catalogue[model]
    return Candidate(found, found.deployments[0], 0, "")


async def written(
    filed: Filed, batch: BatchInput, model: str = MODEL
) -> tuple[WrittenBatch, list[Any]]:
    """What goes to the provider, line by line."""
    batched = await write_batch(filed.gateway._parts, batch, model, candidate(filed, model))
    data = b"".join(batched.file.pieces())
    batched.close()
    return batched, [orjson.loads(line) for line in data.splitlines()]


async def test_each_line_is_for_the_providers_model(tmp_path: Path) -> None:
    async with open_batched(tmp_path) as filed:
        lines = [request(n, max_tokens=10 + n, n=2) for n in range(3)]
        batch = await batch_of(filed, file_of(*lines) + b"\n")

        assert await model_of(filed.gateway._parts, batch) == MODEL
        batched, sent = await written(filed, batch)

        assert sent == [{**line, "body": {**line["body"], "model": "sim-openai"}} for line in lines]
        figures = batched.figures
        bodies = [len(orjson.dumps(line["body"])) for line in lines]
        assert figures.lines == 3
        assert figures.input_tokens == sum(bodies), "by bytes"
        assert figures.longest_input_tokens == max(bodies)
        assert figures.output_tokens == 2 * (10 + 11 + 12)
        assert dict(figures.pieces) == {"requests": 3}


async def test_a_line_without_a_limit_is_held_for_as_any_answer_in_one_piece(
    tmp_path: Path,
) -> None:
    async with open_batched(tmp_path, billing="output_unary_tokens = 300") as filed:
        batched, _ = await written(filed, await batch_of(filed, file_of(request(), request(1))))

    assert batched.figures.output_tokens == 2 * 300


BODIES: list[tuple[str, dict[str, Any]]] = [
    ("/v1/responses", {"input": "Hi", "max_output_tokens": 5}),
    ("/v1/embeddings", {"input": ["a", "b"]}),
    ("/v1/completions", {"prompt": "a", "max_tokens": 5}),
    ("/v1/moderations", {"input": "a"}),
]


@pytest.mark.parametrize(("path", "body"), BODIES)
async def test_every_endpoint_has_its_own_words(
    tmp_path: Path, path: str, body: dict[str, Any]
) -> None:
    async with open_batched(tmp_path) as filed:
        line = {"custom_id": "a", "method": "POST", "url": path, "body": {"model": MODEL, **body}}
        batched, sent = await written(filed, await batch_of(filed, file_of(line), path))

    assert sent == [{**line, "body": {"model": "sim-openai", **body}}]
    outputs = body.get("max_output_tokens", body.get("max_tokens", 0))
    assert batched.figures.output_tokens == outputs


async def test_a_moderation_needs_no_model(tmp_path: Path) -> None:
    line = {"custom_id": "a", "method": "POST", "url": "/v1/moderations", "body": {"input": "a"}}
    async with open_batched(tmp_path) as filed:
        batch = await batch_of(filed, file_of(line), "/v1/moderations")

        assert await model_of(filed.gateway._parts, batch) == "omni-moderation-latest"


async def test_files_that_lines_name_are_sent_once_and_named_by_the_provider(
    tmp_path: Path,
) -> None:
    async with open_batched(tmp_path) as filed:
        file_id = await filed.add(PDF, "application/pdf")
        part = {"type": "file", "file": {"file_id": shown_file_id(file_id, "openai")}}
        lines = [request(n, messages=[{"role": "user", "content": [part]}]) for n in range(3)]
        batched, sent = await written(filed, await batch_of(filed, file_of(*lines)))

        (held,) = filed.setup.sim.files
        assert filed.setup.sim.files.uploads == 1
        for line in sent:
            (named,) = line["body"]["messages"][0]["content"]
            assert named["file"]["file_id"] == held.file_id
        assert [copy.file_id for copy in batched.copies.values()] == [file_id]
        assert filed.gateway.referring.held_bytes == 0


def _naming(file_id: str) -> dict[str, Any]:
    part = {"type": "file", "file": {"file_id": file_id}}
    return request(1, messages=[{"role": "user", "content": [part]}])


@pytest.mark.parametrize(
    ("second", "code", "says"),
    [
        ({**request(1), "custom_id": "id-0"}, "duplicate_custom_id", "'custom_id'"),
        (request(1, model="dear"), "mismatched_model", MODEL),
        (request(1, messages="x"), "invalid_request", "messages"),
        (request(1, url="/v1/embeddings"), "invalid_url", CHAT),
        (_naming(shown_file_id(new_file_id(), "openai")), "file_not_found", "No such file"),
        (request(1, messages=[{"role": "user", "content": "x" * 5_000_000}]), "line_too_large", ""),
    ],
)
async def test_a_line_that_cannot_be_served_is_named(
    tmp_path: Path, second: dict[str, Any], code: str, says: str
) -> None:
    async with open_batched(tmp_path) as filed:
        batch = await batch_of(filed, file_of(request(), second))

        with pytest.raises(BatchLineError) as caught:
            await written(filed, batch)

        assert (caught.value.code, caught.value.number) == (code, 2)
        assert says in caught.value.message
        assert filed.gateway._parts.spool.used_bytes == 0, "nothing of it is left"


async def test_a_line_without_a_model_is_told(tmp_path: Path) -> None:
    async with open_batched(tmp_path) as filed:
        batch = await batch_of(filed, b"\n" + file_of(request(model=None)))

        with pytest.raises(BatchLineError, match=r"Line 2 .*'body.model' is missing"):
            await model_of(filed.gateway._parts, batch)


async def test_there_are_no_more_requests_than_a_batch_may_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.batches.writing.LINES_MAX", 2)
    async with open_batched(tmp_path) as filed:
        batch = await batch_of(filed, file_of(*map(request, range(3))))

        with pytest.raises(BatchLineError, match=r"Line 3 .*2 requests at most"):
            await written(filed, batch)


@pytest.mark.parametrize("data", [b"\n", b"\n \n\n"])
async def test_a_file_without_requests_is_no_batch(tmp_path: Path, data: bytes) -> None:
    async with open_batched(tmp_path) as filed:
        batch = await batch_of(filed, data)

        with pytest.raises(InvalidRequestError, match="no requests"):
            await model_of(filed.gateway._parts, batch)
        with pytest.raises(InvalidRequestError, match="no requests"):
            await written(filed, batch)


async def test_who_has_nothing_at_the_endpoint_is_not_asked(tmp_path: Path) -> None:
    model = "by-anthropic"
    async with open_batched(tmp_path) as filed:
        batch = await batch_of(filed, file_of(request(model=model)))

        with pytest.raises(InvalidRequestError, match="takes no batches for"):
            await written(filed, batch, model)


async def test_a_spool_that_is_full_refuses_for_now(tmp_path: Path) -> None:
    async with open_batched(tmp_path, server="spool_max_bytes = 1000") as filed:
        batch = await batch_of(filed, file_of(*map(request, range(20))))

        with pytest.raises(UnavailableError, match="cannot store the batch now"):
            await written(filed, batch)
        assert filed.gateway._parts.spool.used_bytes == 0
