"""What agents know: indexed once, found by what is asked, gone with its file."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine import Gateway, open_gateway, parse_config
from engine.agent import Agent
from engine.agents.extracting import UnreadableFileError, passages_of
from engine.agents.index import Index
from engine.errors import InvalidRequestError, StoredFileNotFoundError
from engine.ledger.agent_rows import AgentQuery
from tests.gateways import Setup, config_text, open_setup

FOXES = "The fox sleeps in a den. Foxes hunt at night and eat voles.\n"
TIDES = "The tide follows the moon. Spring tides come at full moon.\n"


async def store(gateway: Gateway, account_id: str, name: str, data: bytes) -> str:
    """A file of an account's; its bare id."""
    async with gateway.files.open_upload(account_id, 10**9, len(data)) as upload:
        await upload.append(data)
        row = await upload.finish(filename=name, purpose="user_data", mime_type="text/plain")
    return row.file_id


async def made(setup: Setup, *file_ids: str, name: str = "keeper", **knowledge: int) -> Agent:
    document = {
        "name": name,
        "model": "sim-openai",
        "knowledge": {"file_ids": list(file_ids), **knowledge},
    }
    return await setup.gateway.agents.create(setup.account_id, document, lambda _: None)


async def found(setup: Setup, agent: Agent, question: str) -> list[str]:
    return [each.filename for each in await setup.gateway.agents.look_up(agent, question)]


async def test_passages_are_found_by_what_is_asked(tmp_path: Path) -> None:
    async with open_setup(tmp_path) as setup:
        ids = [
            await store(setup.gateway, setup.account_id, name, text.encode())
            for name, text in (("foxes.txt", FOXES), ("tides.txt", TIDES))
        ]
        agent = await made(setup, *ids)

        assert await found(setup, agent, "When do foxes hunt?") == ["foxes.txt"]
        assert await found(setup, agent, "Does the MOON make tides?") == ["tides.txt"]
        assert await found(setup, agent, "Was ist das?") == []
        assert await found(setup, agent, '"; DROP TABLE x -- NEAR( * fox') == ["foxes.txt"]
        (source,) = await setup.gateway.agents.look_up(agent, "fox")
        assert source.text == FOXES[source.start : source.end]


async def test_what_goes_into_a_prompt_is_bounded(tmp_path: Path) -> None:
    async with open_setup(tmp_path) as setup:
        text = "".join(f"Fox number {n} lives in den {n}.\n\n" for n in range(2_000))
        file_id = await store(setup.gateway, setup.account_id, "foxes.txt", text.encode())
        few = await made(setup, file_id, sources_max=2, context_tokens=30_000)
        short = await made(setup, file_id, name="short", sources_max=30, context_tokens=1_000)
        none = await made(setup, file_id, name="none", context_tokens=10)

        assert len(await found(setup, few, "fox den")) == 2
        sources = await setup.gateway.agents.look_up(short, "fox den")
        assert 0 < sum(len(each.text) for each in sources) <= 3_000
        assert await found(setup, none, "fox den") == []


async def test_a_change_is_found_at_once_and_what_was_left_out_no_more(tmp_path: Path) -> None:
    async with open_setup(tmp_path) as setup:
        agents, account_id = setup.gateway.agents, setup.account_id
        foxes = await store(setup.gateway, account_id, "foxes.txt", FOXES.encode())
        tides = await store(setup.gateway, account_id, "tides.txt", TIDES.encode())
        before = await made(setup, foxes)
        change = {"knowledge": {"file_ids": [tides]}}
        after = await agents.change(account_id, "keeper", change, lambda _: None)

        assert await found(setup, after, "fox moon") == ["tides.txt"]
        assert await found(setup, before, "fox moon") == ["foxes.txt"]  # a call that is under way


async def test_a_file_that_is_removed_is_found_no_more(tmp_path: Path) -> None:
    async with open_setup(tmp_path) as setup:
        foxes = await store(setup.gateway, setup.account_id, "foxes.txt", FOXES.encode())
        agent = await made(setup, foxes)
        await setup.gateway.files.delete(setup.account_id, foxes)

        assert await found(setup, agent, "fox") == []


async def test_nobody_knows_files_of_another_account(tmp_path: Path) -> None:
    async with open_setup(tmp_path) as setup:
        other = await setup.gateway.ledger.create_account("other")
        theirs = await store(setup.gateway, other.account_id, "foxes.txt", FOXES.encode())
        with pytest.raises(StoredFileNotFoundError) as refused:
            await made(setup, theirs)

        assert refused.value.param == "knowledge.file_ids"
        assert (await setup.gateway.agents.page(setup.account_id, AgentQuery())).agents == ()


async def test_files_that_no_agent_can_know(tmp_path: Path) -> None:
    models = "[agents]\nknowledge_file_max_bytes = 100\nknowledge_max_bytes = 150"
    async with open_setup(tmp_path, models=models) as setup:
        gateway, account_id = setup.gateway, setup.account_id
        pdf = await store(gateway, account_id, "a.pdf", b"%PDF-1.7")
        large = await store(gateway, account_id, "large.txt", b"x" * 101)
        many = [await store(gateway, account_id, "a.txt", b"x" * 80) for _ in range(2)]

        with pytest.raises(UnreadableFileError, match="PDF"):
            await made(setup, pdf)
        for ids in ([large], many):
            with pytest.raises(InvalidRequestError, match="more than"):
                await made(setup, *ids)
        await made(setup, many[0])


async def test_an_index_that_is_lost_or_broken_is_made_again(tmp_path: Path) -> None:
    async with open_setup(tmp_path) as setup:
        foxes = await store(setup.gateway, setup.account_id, "foxes.txt", FOXES.encode())
        agent = await made(setup, foxes)
        path = setup.gateway.config.knowledge_path
    config = parse_config(config_text(tmp_path / "ledger.db", "http://127.0.0.1:9"), "test", {})
    for damage in (lambda: None, path.unlink, lambda: path.write_bytes(b"no database" * 500)):
        damage()
        async with open_gateway(config) as gateway:
            (source,) = await gateway.agents.look_up(agent, "fox")
            assert source.filename == "foxes.txt"
            assert path.stat().st_mode & 0o777 == 0o600


async def test_what_is_of_no_agent_any_more_goes_with_the_next_start(tmp_path: Path) -> None:
    async with open_setup(tmp_path) as setup:
        foxes = await store(setup.gateway, setup.account_id, "foxes.txt", FOXES.encode())
        agent = await made(setup, foxes)
        path = setup.gateway.config.knowledge_path
    index = Index(path)
    index.add("agent_00112233445566", foxes, passages_of(FOXES))
    index.close()
    config = parse_config(config_text(tmp_path / "ledger.db", "http://127.0.0.1:9"), "test", {})
    async with open_gateway(config):
        index = Index(path)
        assert index.agents() == [agent.agent_id]
        index.close()


async def test_an_agent_that_is_removed_leaves_nothing(tmp_path: Path) -> None:
    async with open_setup(tmp_path) as setup:
        foxes = await store(setup.gateway, setup.account_id, "foxes.txt", FOXES.encode())
        await made(setup, foxes)
        await setup.gateway.agents.remove(setup.account_id, "keeper")
        index = Index(setup.gateway.config.knowledge_path)
        assert index.agents() == []
        index.close()
