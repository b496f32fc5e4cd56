"""Files that chats name by id: from each protocol to each provider, inline and by upload."""

from __future__ import annotations

import base64
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import orjson
import pytest
import trio

from engine import Call
from engine.errors import (
    GatewayError,
    InvalidRequestError,
    NotFoundError,
    UnavailableError,
    UpstreamRejectedError,
)
from engine.events import Protocol
from engine.file_ids import new_file_id
from engine.protocols.file_refs import TAKES
from tests.engine.protocols.test_file_refs import FILES as SHORT
from tests.engine.protocols.test_file_refs import INLINE as WORDED
from tests.filed import FILES, PDF, PNG, WORDS, Filed, add_file, again, open_filed, part_of
from tests.gateways import DOLLAR, PAIRS, PROTOCOLS, run, settled

SMALL = "inline_max_bytes = 100\ninline_total_max_bytes = 100"
"""Of `[files]`: whatever is tested here is too large to go inline."""


async def asked(filed: Filed, call: Call) -> Any:
    """What the provider was asked for a call that has been answered."""
    _, receipt, error = await run(filed.setup, call)
    assert error is None, error
    assert receipt.outcome == "completed"
    return filed.last().request


@pytest.mark.parametrize("name", FILES)
async def test_a_file_goes_inline_from_each_protocol_to_each(tmp_path: Path, name: str) -> None:
    short = SHORT[name]
    async with open_filed(tmp_path) as filed:
        file_id = await filed.add(short.data, name=short.name)
        for client, provider in PAIRS:
            model = f"by-{provider}"
            by_id = await asked(filed, filed.call(client, model, part_of(client, file_id)))
            inline = filed.call(client, model, WORDED[client, name])
            assert by_id == await asked(filed, inline), (client, provider)
            assert file_id not in orjson.dumps(by_id).decode()
        assert filed.setup.sim.files.uploads == 0
        assert filed.gateway.referring.held_bytes == 0


def is_held(provider: Protocol, name: str) -> bool:
    mime_type = {"pdf": "application/pdf", "png": "image/png", "words": "text/plain"}[name]
    return mime_type.startswith(TAKES[provider].held)


@pytest.mark.parametrize("name", FILES)
async def test_a_large_file_is_sent_once(tmp_path: Path, name: str) -> None:
    data, mime_type = FILES[name]
    async with open_filed(tmp_path, SMALL) as filed:
        file_id = await filed.add(data, mime_type)
        for number, provider in enumerate(p for p in PROTOCOLS if is_held(p, name)):
            for client in PROTOCOLS:
                call = filed.call(client, f"by-{provider}", part_of(client, file_id))
                await asked(filed, call)
                (named,) = filed.last().files
                assert (named["bytes"], named["key"]) == (len(data), "key-1"), (client, provider)
                assert filed.setup.sim.files.uploads == number + 1
        kept = {file.data for file in filed.setup.sim.files}
        assert kept == {data}
        assert filed.gateway.referring.held_bytes == 0


@pytest.mark.parametrize("provider", PROTOCOLS)
async def test_a_file_that_a_provider_takes_in_neither_way(
    tmp_path: Path, provider: Protocol
) -> None:
    """Too large for what has no files API, and nothing that could be named by id there."""
    async with open_filed(tmp_path, SMALL, apis=False) as filed:
        file_id = await filed.add(PDF)
        for client in PROTOCOLS:
            call = filed.call(client, f"by-{provider}", part_of(client, file_id))
            with pytest.raises(InvalidRequestError, match="up to 100 bytes") as refused:
                await run(filed.setup, call)
            assert refused.value.code == "file_not_supported_by_model"
            assert refused.value.param
        assert filed.gateway.ledger.statistics().open_holds == 0
        assert filed.setup.sim.truth.records() == []


async def test_what_goes_inline_is_bounded_for_a_request(tmp_path: Path) -> None:
    async with open_filed(
        tmp_path, "inline_total_max_bytes = 5_000\ninline_max_bytes = 3_000"
    ) as f:
        file_id = await f.add(PDF)
        part = part_of("anthropic", file_id)
        sent = await asked(f, f.call("anthropic", "by-anthropic", part, part))
        assert orjson.dumps(sent).count(b'"base64"') == 2
        assert f.setup.sim.files.uploads == 0
        await asked(f, f.call("anthropic", "by-anthropic", part, part, part))
        assert f.setup.sim.files.uploads == 1
        too_many = f.call("anthropic", "by-anthropic", *[part] * 21)
        with pytest.raises(InvalidRequestError, match="20 places"):
            await run(f.setup, too_many)


@pytest.mark.parametrize("client", PROTOCOLS)
async def test_files_of_nobody_and_of_others_are_not_there(
    tmp_path: Path, client: Protocol
) -> None:
    async with open_filed(tmp_path) as filed:
        other = await filed.gateway.ledger.create_account("other")
        theirs = await add_file(filed.gateway, other.account_id, PDF)
        gone = await filed.add(PDF)
        await filed.gateway.files.delete(filed.setup.account_id, gone)
        told = set()
        for file_id in (theirs.file_id, gone, new_file_id(), "abc"):
            part = part_of(client, file_id)
            for model in ("by-openai_chat", "by-gemini"):
                with pytest.raises(NotFoundError) as refused:
                    await run(filed.setup, filed.call(client, model, part))
                assert refused.value.status == 404
                told.add(refused.value.message.replace(file_id, "X"))
        assert len(told) == 1, "nobody can tell them apart"
        assert filed.setup.sim.truth.records() == []
        assert filed.gateway.ledger.statistics().open_holds == 0


async def test_each_key_of_a_provider_has_a_copy_of_its_own(tmp_path: Path) -> None:
    async with open_filed(tmp_path, SMALL, keys=("key-1", "key-2")) as filed:
        call = filed.call("anthropic", "by-anthropic", part_of("anthropic", await filed.add(PDF)))
        for _ in range(6):
            await asked(filed, again(call))
        assert sorted(file.key for file in filed.setup.sim.files) == ["key-1", "key-2"]
        assert filed.setup.sim.files.uploads == 2


async def test_a_retry_by_another_key_names_that_ones_copy(tmp_path: Path) -> None:
    async with open_filed(tmp_path, SMALL, keys=("key-1", "key-2")) as filed:
        call = filed.call("gemini", "by-gemini", part_of("gemini", await filed.add(PDF)))
        filed.setup.sim.behave("sim-gemini", "status=429 times=1")
        _, receipt, error = await run(filed.setup, call)
        assert error is None, error
        assert [attempt.role for attempt in receipt.attempts] == ["first", "retry"]
        assert sorted(file.key for file in filed.setup.sim.files) == ["key-1", "key-2"]


@pytest.mark.parametrize("provider", PROTOCOLS)
async def test_what_a_provider_has_no_more_is_sent_again(
    tmp_path: Path, provider: Protocol
) -> None:
    async with open_filed(tmp_path, SMALL) as filed:
        part = part_of("anthropic", await filed.add(PDF))
        call = filed.call("anthropic", f"by-{provider}", part)
        await asked(filed, call)
        filed.setup.sim.files.expire()
        _, receipt, error = await run(filed.setup, again(call))
        assert error is None, error
        assert [attempt.role for attempt in receipt.attempts] == ["first", "retry"]
        assert receipt.outcome == "completed"
        assert filed.setup.sim.files.uploads == 2
        await asked(filed, again(call))
        assert filed.setup.sim.files.uploads == 2, "the new one is remembered"


async def test_a_provider_that_never_has_it_is_asked_twice(tmp_path: Path) -> None:
    async with open_filed(tmp_path, SMALL) as filed:
        shelf = filed.setup.sim.files
        call = filed.call("anthropic", "by-anthropic", part_of("anthropic", await filed.add(PDF)))

        async def lose() -> None:
            while True:
                await trio.lowlevel.checkpoint()
                shelf.expire()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(lose)
            _, receipt, error = await run(filed.setup, call)
            nursery.cancel_scope.cancel()
        assert isinstance(error, GatewayError)
        assert [attempt.role for attempt in receipt.attempts] == ["first", "retry"]
        assert shelf.uploads == 2


async def test_a_copy_that_is_about_to_end_is_not_relied_on(tmp_path: Path) -> None:
    async with open_filed(tmp_path, SMALL) as filed:
        ledger, file_id = filed.gateway.ledger, await filed.add(PDF)
        call = filed.call("gemini", "by-gemini", part_of("gemini", file_id))
        await asked(filed, call)
        credential = sha256(b"key-1").hexdigest()[:16]
        copy = await ledger.find_copy(file_id, "at-gemini", credential)
        assert copy is not None
        assert copy.expires_at_ms is not None, "Gemini's go after two days"
        await ledger.put_copy(replace(copy, expires_at_ms=ledger.clock() + 1_000))
        _, receipt, _ = await run(filed.setup, again(call))
        assert (len(receipt.attempts), filed.setup.sim.files.uploads) == (1, 2)


async def test_many_at_once_send_it_once(tmp_path: Path) -> None:
    async with open_filed(tmp_path, SMALL) as filed:
        part = part_of("gemini", await filed.add(PDF))
        call = filed.call("gemini", "by-gemini", part)
        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(asked, filed, again(call))
        assert filed.setup.sim.files.uploads == 1
        assert filed.gateway.referring.sending == 0


FALLBACK = """
[models.both]
deployments = [
    { provider = "at-openai_responses", model = "sim-openai", priority = 1 },
    { provider = "at-anthropic", model = "sim-anthropic", priority = 2 },
]
price = { input = 1, output = 2 }
"""


async def test_a_fallback_gets_the_file_in_its_own_way(tmp_path: Path) -> None:
    async with open_filed(tmp_path, SMALL, more=FALLBACK) as filed:
        part = part_of("openai_chat", await filed.add(PNG))
        call = filed.call("openai_chat", "both", part)
        filed.setup.sim.behave("sim-openai", "status=500")
        _, receipt, error = await run(filed.setup, call)
        assert error is None, error
        assert [attempt.role for attempt in receipt.attempts][-1] == "fallback"
        (named,) = filed.last().files
        assert named["api"] == "anthropic"
        assert sorted(file.face for file in filed.setup.sim.files) == ["anthropic", "openai"]


async def test_who_does_not_take_a_file_is_passed_over(tmp_path: Path) -> None:
    async with open_filed(tmp_path, SMALL, more=FALLBACK) as filed:
        sim, file_id = filed.setup.sim, await filed.add(PNG)
        call = filed.call("gemini", "both", part_of("gemini", file_id))
        sim.behave("files.upload", "status=500 times=1")
        _, receipt, error = await run(filed.setup, call)
        assert error is None, error
        assert [attempt.provider for attempt in receipt.attempts] == ["at-anthropic"]
        sim.behave("files.upload", "status=503 retry_after=7")
        with pytest.raises(UpstreamRejectedError) as refused:
            await run(filed.setup, filed.call("gemini", "by-gemini", part_of("gemini", file_id)))
        assert (refused.value.status, refused.value.retry_after_s) == (503, 7)
        assert filed.gateway.ledger.statistics().open_holds == 0


async def test_all_who_wait_for_a_file_are_told_that_it_fails(tmp_path: Path) -> None:
    async with open_filed(tmp_path, SMALL) as filed:
        call = filed.call("gemini", "by-gemini", part_of("gemini", await filed.add(PDF)))
        filed.setup.sim.behave("files.start", "status=429 head_ms=20")
        told = []

        async def ask() -> None:
            with pytest.raises(UpstreamRejectedError) as refused:
                await run(filed.setup, again(call))
            told.append(refused.value.status)

        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(ask)
        assert told == [429] * 5
        assert (filed.gateway.referring.sending, filed.gateway.referring.held_bytes) == (0, 0)


async def test_much_of_files_goes_out_from_the_spool(tmp_path: Path) -> None:
    data = PDF + b"z" * 2_000_000
    async with open_filed(tmp_path, funds_nanodollars=10 * DOLLAR) as filed:
        call = filed.call("openai_chat", "by-gemini", part_of("openai_chat", await filed.add(data)))
        async with filed.gateway.open_exchange(call) as exchange:
            assert filed.gateway.spool.used_bytes > len(data)
            await exchange.head()
        sent = filed.last().request["contents"][0]["parts"][1]["inlineData"]["data"]
        assert base64.b64decode(sent) == data
        assert filed.gateway.spool.used_bytes == 0


async def test_a_file_in_a_large_body_is_put_in_by_the_helper(tmp_path: Path) -> None:
    async with open_filed(tmp_path, server="parsed_here_max_bytes = 1_000") as filed:
        file_id = await filed.add(PNG)
        for client in PROTOCOLS:
            call = filed.call(client, "by-anthropic", part_of(client, file_id))
            sent = await asked(filed, call)
            assert sent["messages"][0]["content"][1]["source"]["media_type"] == "image/png"
            missing = filed.call(client, "by-anthropic", part_of(client, new_file_id()))
            long = missing.body.replace(b"What is this?", b"What is this? " * 200)
            with pytest.raises(NotFoundError):
                await run(filed.setup, replace(missing, body=long))
        assert filed.gateway.statistics()["parsing"]["apart"] >= 2 * len(PROTOCOLS)


async def test_words_of_a_file_are_counted(tmp_path: Path) -> None:
    async with open_filed(tmp_path) as filed:
        known, file_id = [], await filed.add(WORDS, "text/csv")
        for part in (part_of("anthropic", file_id), {"type": "text", "text": WORDS.decode()}):
            call = filed.call("anthropic", "by-openai_chat", part)
            call = replace(call, operation="count_tokens")
            _, answer = await filed.gateway.count_tokens(call)
            known.append(orjson.loads(answer)["input_tokens"])
        assert known[0] == known[1] > 100
        call = filed.call("anthropic", "by-anthropic", part_of("anthropic", new_file_id()))
        with pytest.raises(NotFoundError):
            await filed.gateway.count_tokens(replace(call, operation="count_tokens"))


async def test_copies_of_a_deleted_file_are_removed(tmp_path: Path) -> None:
    async with open_filed(tmp_path, f"{SMALL}\nsweep_s = 0.05") as filed:
        file_id = await filed.add(PDF)
        for provider in PROTOCOLS:
            await asked(filed, filed.call("gemini", f"by-{provider}", part_of("gemini", file_id)))
        assert len(filed.setup.sim.files) == 4
        await filed.gateway.files.delete(filed.setup.account_id, file_id)
        await settled(lambda: len(filed.setup.sim.files) == 0)


async def test_memory_for_files_is_bounded(tmp_path: Path) -> None:
    async with open_filed(tmp_path) as filed:
        call = filed.call("gemini", "by-gemini", part_of("gemini", await filed.add(PDF)))
        referring = filed.gateway.referring
        referring.take(128 * 1024 * 1024 - len(PDF) + 1, 0)
        with pytest.raises(UnavailableError, match="large files"):
            await run(filed.setup, call)
        referring.give_back(1)
        await asked(filed, again(call))
        referring.give_back(128 * 1024 * 1024 - len(PDF))
        assert referring.held_bytes == 0


async def test_a_plan_is_explained_without_looking_at_files(tmp_path: Path) -> None:
    async with open_filed(tmp_path) as filed:
        call = filed.call("anthropic", "by-gemini", part_of("anthropic", new_file_id()))
        explained = await filed.gateway.running.explain(call, None)
        assert (explained["refused"], explained["asked"]["media"]) == (None, ["document"])
