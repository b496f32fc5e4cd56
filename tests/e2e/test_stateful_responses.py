"""OpenAI's Python SDK on responses that their provider keeps: chains, conversations, items; by the
account that has them, and by another."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
import trio
from openai import AsyncOpenAI
from openai.types.responses import Response

from bench.simulate import SimulatorSettings, open_simulator
from engine import Gateway, open_gateway, parse_config
from engine.ledger.owned_rows import OwnedQuery, OwnedRow
from engine.upstream.providers import Provider
from frontends.app import create_app
from frontends.server import open_server
from tests.gateways import HTTP2, add_key, config_text, settled
from tests.served import Served, open_served

pytestmark = [
    pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

KEEPER = f"""
[providers.keeper]
protocol = "openai"
responses = true
state = "openai"
files = "openai"
base_url = "$SIM/v1"
api_keys = ["file:$FOLDER/one", "file:$FOLDER/two"]
http2 = "{HTTP2}"
[models.kept]
deployments = [{{ provider = "keeper", model = "sim-openai" }}]
price = {{ input = 1, output = 2 }}
[models.either]
deployments = [
    {{ provider = "sim-responses", model = "sim-openai" }},
    {{ provider = "keeper", model = "sim-openai" }},
]
price = {{ input = 1, output = 2 }}
"""


def keeper(folder: Path) -> str:
    """With the provider's two keys, in files."""
    for number in ("one", "two"):
        (folder / number).write_text(f"k-{number}")
    return KEEPER.replace("$FOLDER", str(folder))


def ask(directives: str, more: str = "Tell me more.") -> str:
    return f"#sim {directives}\n{more}"


@asynccontextmanager
async def open_keeping(folder: Path, **options: Any) -> AsyncIterator[Served]:
    async with open_served(folder, models=keeper(folder), **options) as served:
        yield served


@asynccontextmanager
async def open_sdk(served: Served, key: str | None = None) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(
        base_url=served.url, api_key=key or served.setup.key, max_retries=0
    ) as client:
        yield client


async def anothers_key(served: Served) -> str:
    """Of a second account, with funds."""
    ledger = served.setup.gateway.ledger
    account = await ledger.create_account("other")
    await ledger.fund(account.account_id, 1_000_000_000, "second")
    return (await add_key(served.setup.gateway, account.account_id))[1]


async def row_of(served: Served, object_id: str) -> OwnedRow:
    found = await served.setup.gateway.ledger.find_owned(served.setup.account_id, [object_id])
    return found[object_id]


def asked_of(served: Served) -> int:
    """How many answers the provider was asked for."""
    return len(served.setup.sim.truth)


async def whole(client: AsyncOpenAI, stream: bool, **fields: Any) -> Response:
    """An answer, however it comes."""
    if not stream:
        answer: Response = await client.responses.create(**fields)
        return answer
    events = [event async for event in await client.responses.create(stream=True, **fields)]
    assert events[-1].type == "response.completed"
    ended: Response = events[-1].response
    return ended


@pytest.mark.parametrize("stream", [False, True])
async def test_a_chain(tmp_path: Path, stream: bool) -> None:
    async with open_keeping(tmp_path) as served, open_sdk(served) as client:
        first = await whole(client, stream, model="kept", input=ask("tokens=30"))
        second = await whole(
            client, stream, model="kept", input=ask("tokens=5"), previous_response_id=first.id
        )
        assert second.previous_response_id == first.id
        assert first.usage is not None
        assert second.usage is not None
        assert second.usage.input_tokens > first.usage.input_tokens + 30

        kept = await row_of(served, first.id)
        assert (kept.kind, kept.model, kept.context_tokens) == (
            "response",
            "kept",
            first.usage.input_tokens + 30,
        )
        item = await row_of(served, first.output[0].id or "")
        assert (item.kind, item.parent_id) == ("item", first.id)
        refers: Any = [
            {"type": "item_reference", "id": item.object_id},
            {"role": "user", "content": "x"},
        ]
        third = await client.responses.create(model="kept", input=refers)
        assert third.status == "completed"


@pytest.mark.parametrize("stream", [False, True])
async def test_a_conversation(tmp_path: Path, stream: bool) -> None:
    async with open_keeping(tmp_path) as served, open_sdk(served) as client:
        made = await make_conversation(served)
        for more in (False, True):
            answer = await whole(
                client, stream, model="kept", input=ask("tokens=30"), conversation=made
            )
            assert answer.conversation is not None
            assert answer.conversation.id == made
            assert (await row_of(served, answer.id)).parent_id == made
            assert (await row_of(served, answer.output[0].id or "")).parent_id == made
            assert answer.usage is not None
            assert (answer.usage.input_tokens > 40) is more
            context = (await row_of(served, made)).context_tokens
            assert context == answer.usage.input_tokens + 30


async def test_what_is_put_into_a_conversation_is_held_for(tmp_path: Path) -> None:
    async with open_keeping(tmp_path) as served, open_sdk(served) as client:
        item: Any = {"type": "message", "role": "user", "content": "cats " * 400}
        made = await client.conversations.create(items=[item])
        assert (await row_of(served, made.id)).context_tokens in range(500, 600)
        await client.conversations.items.create(made.id, items=[item, item])
        assert (await row_of(served, made.id)).context_tokens in range(1_500, 1_700)
        answer = await client.responses.create(
            model="kept", input=ask("tokens=30"), conversation=made.id
        )
        assert answer.usage is not None
        context = (await row_of(served, made.id)).context_tokens
        assert context == answer.usage.input_tokens + 30


async def make_conversation(served: Served) -> str:
    """At the provider, by its second key, and recorded as the first account's."""
    sim, setup = served.setup.sim, served.setup
    headers = {"authorization": "Bearer k-two"}
    async with httpx.AsyncClient(base_url=f"{sim.base_url}/v1", headers=headers) as web:
        made: str = (await web.post("/conversations", json={})).json()["id"]
    keeper = Provider("keeper", "openai", f"{sim.base_url}/v1", api_keys=("k-one", "k-two"))
    row = OwnedRow(
        made, "conversation", setup.account_id, None, "keeper", keeper.credential_id(1), 0
    )
    await setup.gateway.ledger.own([row])
    return made


async def test_what_another_account_has_is_not_there(tmp_path: Path) -> None:
    async with open_keeping(tmp_path) as served, open_sdk(served) as mine:
        answer = await mine.responses.create(model="kept", input=ask("tokens=5"))
        conversation = await make_conversation(served)
        names: list[tuple[str, dict[str, Any]]] = [
            ("previous_response_id", {"previous_response_id": answer.id}),
            ("conversation", {"conversation": conversation}),
            ("conversation.id", {"conversation": {"id": conversation}}),
            ("input[0].id", {"input": [{"type": "item_reference", "id": answer.output[0].id}]}),
        ]
        before, messages = asked_of(served), set()
        async with open_sdk(served, await anothers_key(served)) as others:
            for param, fields in names:
                for stream in (False, True):
                    body = {"model": "kept", "input": "x", "stream": stream} | fields
                    with pytest.raises(openai.NotFoundError) as refused:
                        await others.responses.create(**body)
                    assert refused.value.param == param
                    messages.add(refused.value.message.replace(answer.id, "resp_none"))
            with pytest.raises(openai.NotFoundError) as refused:
                await others.responses.create(
                    model="kept", input="x", previous_response_id="resp_none"
                )
            assert refused.value.message in messages  # as of what never was
            with pytest.raises(openai.NotFoundError):
                await others.responses.input_tokens.count(
                    model="kept", input="x", previous_response_id=answer.id
                )
        assert asked_of(served) == before
        assert (await mine.responses.create(model="kept", input="x", conversation=conversation)).id


async def test_thoughts_that_are_kept_are_read_for_their_account_alone(tmp_path: Path) -> None:
    both = "breaker = { failures = 0 }"
    async with open_keeping(tmp_path, routing=both) as served, open_sdk(served) as mine:
        answer = await mine.responses.create(model="kept", input=ask("tokens=9 reasoning=4"))
        thought: Any = {"type": "reasoning", "id": answer.output[0].id, "summary": []}
        assert answer.output[0].type == "reasoning"
        spoke: Any = answer.output[1].model_dump(exclude_none=True)
        said: Any = [{"role": "user", "content": "x"}, thought, spoke]
        alone: Any = [said[0], {**spoke, "id": "msg_0123456789abcdef"}]
        assert (await mine.responses.create(model="kept", input=said)).id
        asked = asked_of(served)
        async with open_sdk(served, await anothers_key(served)) as others:
            for model in ("kept", "either"):
                with pytest.raises(openai.NotFoundError) as refused:
                    await others.responses.create(model=model, input=said)
                assert refused.value.param == "input[1].id"
            assert asked_of(served) == asked
            assert (await others.responses.create(model="sim-anthropic", input=said)).id
            assert (await others.responses.create(model="kept", input=alone)).id


@pytest.mark.parametrize("stream", [False, True])
async def test_a_fallback_never_leaves_who_has_it(tmp_path: Path, stream: bool) -> None:
    routing = "attempts_max = 5\nbreaker = { failures = 0 }"
    async with open_keeping(tmp_path, routing=routing) as served, open_sdk(served) as client:
        first = await client.responses.create(model="kept", input=ask("tokens=5"))
        on = await whole(
            client, stream, model="either", input=ask("tokens=5"), previous_response_id=first.id
        )
        receipt = await last_receipt(served)
        assert receipt["provider"] == "keeper"
        assert on.previous_response_id == first.id

        with pytest.raises(openai.APIStatusError):
            await whole(
                client, stream, model="either", input=ask("status=503"), previous_response_id=on.id
            )
        receipt = await last_receipt(served)
        assert {attempt["provider"] for attempt in receipt["attempts"]} == {"keeper"}

        with pytest.raises(openai.BadRequestError) as refused:
            await whole(
                client, stream, model="sim-openai", input="x", previous_response_id=first.id
            )
        assert refused.value.code == "held_elsewhere"


async def last_receipt(served: Served) -> dict[str, Any]:
    async with served.http() as web:
        listed = (await web.get("/receipts", params={"limit": 1})).json()
        return await served.receipt(listed["data"][0]["request_id"])


async def test_the_key_that_made_it_is_asked(tmp_path: Path) -> None:
    """The provider's own keys do not see what others have made."""
    async with open_keeping(tmp_path) as served, open_sdk(served) as client:
        before: list[str] = []
        for _ in range(4):  # the keys take turns
            answer = await client.responses.create(model="kept", input=ask("tokens=2"))
            before.append(answer.id)
        pins = {(await row_of(served, each)).credential for each in before}
        assert len(pins) == 2
        for each in before:
            on = await client.responses.create(
                model="kept", input=ask("tokens=2"), previous_response_id=each
            )
            assert (await row_of(served, on.id)).pin == (await row_of(served, each)).pin


async def test_what_a_large_request_names_is_looked_up_too(tmp_path: Path) -> None:
    """It is parsed in the helper process."""
    large = ask("tokens=5", "Tell me more. " * 25_000)
    funds = {"funds_nanodollars": 10_000_000_000}
    async with open_keeping(tmp_path, **funds) as served, open_sdk(served) as mine:
        first = await mine.responses.create(model="kept", input=ask("tokens=5"))
        on = await mine.responses.create(model="kept", input=large, previous_response_id=first.id)
        assert on.previous_response_id == first.id
        async with open_sdk(served, await anothers_key(served)) as others:
            for fields in ({"previous_response_id": first.id}, {"prompt": {"id": "pmpt_1"}}):
                body: Any = {"model": "kept", "input": large} | fields
                with pytest.raises(openai.NotFoundError) as refused:
                    await others.responses.create(**body)
                assert refused.value.param in fields


async def test_what_is_not_kept_is_not_recorded(tmp_path: Path) -> None:
    async with open_keeping(tmp_path) as served, open_sdk(served) as client:
        await client.responses.create(model="kept", input=ask("tokens=2"), store=False)
        await client.responses.create(model="sim-responses", input=ask("tokens=2"))
        page = await served.setup.gateway.ledger.page_owned(
            served.setup.account_id, OwnedQuery("response")
        )
        assert page.rows == ()


@asynccontextmanager
async def open_again(folder: Path, models: str, url: str) -> AsyncIterator[tuple[Gateway, str]]:
    """A gateway on the database in a folder, and where it listens."""
    text = config_text(folder / "ledger.db", url, models=models)
    async with (
        open_gateway(parse_config(text, "test.toml", {})) as gateway,
        open_server(create_app(gateway), ["127.0.0.1:0"]) as server,
    ):
        yield gateway, f"http://{server.addresses[0]}/v1"


async def test_over_a_restart(tmp_path: Path) -> None:
    keys = []
    async with open_simulator(SimulatorSettings()) as sim:
        models = keeper(tmp_path)
        async with open_again(tmp_path, models, sim.base_url) as (gateway, url):
            for name in ("mine", "other"):
                account = await gateway.ledger.create_account(name)
                await gateway.ledger.fund(account.account_id, 1_000_000_000, name)
                keys.append((await add_key(gateway, account.account_id))[1])
            async with AsyncOpenAI(base_url=url, api_key=keys[0]) as client:
                first = await client.responses.create(model="kept", input=ask("tokens=5"))
        async with (
            open_again(tmp_path, models, sim.base_url) as (_, url),
            AsyncOpenAI(base_url=url, api_key=keys[0]) as client,
            AsyncOpenAI(base_url=url, api_key=keys[1]) as others,
        ):
            on = await client.responses.create(
                model="kept", input=ask("tokens=5"), previous_response_id=first.id
            )
            assert on.previous_response_id == first.id
            with pytest.raises(openai.NotFoundError):
                await others.responses.create(
                    model="kept", input="x", previous_response_id=first.id
                )


async def test_who_leaves_early_pays_for_what_it_went_on_from(tmp_path: Path) -> None:
    async with open_keeping(tmp_path) as served, open_sdk(served) as client:
        first = await client.responses.create(model="kept", input=ask("tokens=400"))
        context = (await row_of(served, first.id)).context_tokens
        stream = await client.responses.create(
            model="kept",
            input=ask("tokens=500 tokens_per_second=20"),
            previous_response_id=first.id,
            stream=True,
        )
        left = ""
        async for event in stream:
            if event.type == "response.created":
                left = event.response.id
            if event.type == "response.output_text.delta":
                break
        await stream.close()
        await settled(lambda: served.setup.gateway.open_exchanges == 0)
        receipt = await last_receipt(served)
        assert receipt["outcome"] == "client_left"
        assert context is not None
        assert context >= 400
        assert receipt["usage"]["input_tokens"] > context
        assert (await row_of(served, left)).context_tokens == sum(
            receipt["usage"][unit] for unit in ("input_tokens", "output_tokens")
        )


async def test_an_account_keeps_so_much(tmp_path: Path) -> None:
    models = f"{keeper(tmp_path)}[state]\nids_per_account_max = 4\n"
    async with open_served(tmp_path, models=models) as served, open_sdk(served) as client:
        await client.responses.create(model="kept", input=ask("tokens=2"))
        await client.responses.create(model="kept", input=ask("tokens=2"))
        with pytest.raises(openai.RateLimitError) as refused:
            await client.responses.create(model="kept", input=ask("tokens=2"))
        assert refused.value.code == "owned_ids_limit_exceeded"
        await client.responses.create(model="kept", input=ask("tokens=2"), store=False)


async def test_a_count_goes_on_too(tmp_path: Path) -> None:
    async with open_keeping(tmp_path) as served, open_sdk(served) as client:
        first = await client.responses.create(model="kept", input=ask("tokens=300"))
        with trio.fail_after(30):
            alone = await client.responses.input_tokens.count(model="kept", input="hello")
            after = await client.responses.input_tokens.count(
                model="kept", input="hello", previous_response_id=first.id
            )
        assert after.input_tokens >= alone.input_tokens + 300


def code_with(file_id: str) -> Any:
    return [{"type": "code_interpreter", "container": {"type": "auto", "file_ids": [file_id]}}]


@pytest.mark.parametrize("stream", [False, True])
async def test_files_for_a_tool_are_the_gateways_both_ways(tmp_path: Path, stream: bool) -> None:
    async with open_keeping(tmp_path) as served, open_sdk(served) as client:
        file = await client.files.create(file=("a.csv", b"a,b\n1,2\n"), purpose="user_data")
        answer = await whole(
            client, stream, model="kept", input=ask("tokens=5"), tools=code_with(file.id)
        )
        told: Any = answer.model_dump()
        assert told["tools"][0]["container"]["file_ids"] == [file.id]
        sent = served.setup.sim.truth.records()[-1].request
        (theirs,) = sent["tools"][0]["container"]["file_ids"]
        assert theirs.startswith("file")
        assert theirs != file.id

        with pytest.raises(openai.BadRequestError) as refused:
            await client.responses.create(
                model="sim-anthropic", input="x", tools=code_with(file.id)
            )
        assert refused.value.code == "not_supported_by_model"
        async with open_sdk(served, await anothers_key(served)) as others:
            with pytest.raises(openai.NotFoundError) as unknown:
                await others.responses.create(model="kept", input="x", tools=code_with(file.id))
            assert unknown.value.param == "tools[0].container.file_ids[0]"


@pytest.mark.parametrize("stream", [False, True])
async def test_files_that_a_search_cites_are_the_gateways(tmp_path: Path, stream: bool) -> None:
    async with open_keeping(tmp_path) as served, open_sdk(served) as client:
        file = await client.files.create(file=("a.txt", b"cats"), purpose="assistants")
        store = await client.vector_stores.create(file_ids=[file.id])
        tool: Any = {"type": "file_search", "vector_store_ids": [store.id]}
        row = (await row_of(served, store.id)).pin
        called = await served.setup.gateway.ledger.names_at(served.setup.account_id, *row)
        (theirs,) = called
        answer = await whole(
            client,
            stream,
            model="kept",
            input=ask("tokens=5"),
            tools=[tool],
            metadata={"cites": theirs},  # which the provider repeats
        )
        assert answer.metadata == {"cites": file.id}
