"""What tools of OpenAI's do in answers, by its SDK over sockets: files are called as the account
calls them, containers are the account's, and each search and session is charged."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import openai
import pytest

from tests.passed import Kept, open_kept

RIVERS: Final = b"Rivers flow to the sea."
TOLD: Final = "#sim tokens=3 searches=2 codes=2 pictures=1\nWhere do rivers flow?"


async def tools_of(kept: Kept) -> tuple[str, Any]:
    """A file of the account, and tools that search it and run code."""
    file = await kept.ours.files.create(file=("rivers.txt", RIVERS), purpose="assistants")
    store = await kept.ours.vector_stores.create(file_ids=[file.id])
    return file.id, [
        {"type": "file_search", "vector_store_ids": [store.id]},
        {"type": "code_interpreter", "container": {"type": "auto"}},
    ]


@pytest.mark.parametrize("stream", [False, True])
async def test_citations_name_files_that_the_account_can_read(tmp_path: Path, stream: bool) -> None:
    async with open_kept(tmp_path) as kept:
        file_id, tools = await tools_of(kept)
        if stream:
            answer = None
            annotations: list[Any] = []
            async for event in await kept.ours.responses.create(
                model="kept", input=TOLD, tools=tools, stream=True
            ):
                if event.type == "response.output_text.annotation.added":
                    annotations.append(event.annotation)
                elif event.type == "response.completed":
                    answer = event.response
            assert answer is not None
            assert [one.type for one in annotations] == [
                "file_citation",
                "container_file_citation",
            ]
            assert annotations[0].file_id == file_id
        else:
            answer = await kept.ours.responses.create(model="kept", input=TOLD, tools=tools)
        message = answer.output[-1]
        assert message.type == "message"
        part = message.content[0]
        assert part.type == "output_text"
        found, drawn = part.annotations
        assert found.type == "file_citation"
        assert found.file_id == file_id
        assert (await kept.ours.files.content(found.file_id)).content == RIVERS
        assert drawn.type == "container_file_citation"
        files = kept.ours.containers.files
        picture = await files.content.retrieve(drawn.file_id, container_id=drawn.container_id)
        assert picture.content.startswith(b"\x89PNG")
        with pytest.raises(openai.NotFoundError):
            await kept.theirs.containers.files.content.retrieve(
                drawn.file_id, container_id=drawn.container_id
            )
        with pytest.raises(openai.NotFoundError):
            await kept.theirs.containers.retrieve(drawn.container_id)


async def test_a_container_is_used_again_by_who_has_it(tmp_path: Path) -> None:
    async with open_kept(tmp_path) as kept:
        made = await kept.ours.containers.create(name="Lab")
        tools: Any = [{"type": "code_interpreter", "container": made.id}]
        answer = await kept.ours.responses.create(
            model="kept", input="#sim tokens=2 codes=1\nGo on.", tools=tools
        )
        call = answer.output[0]
        assert call.type == "code_interpreter_call"
        assert call.container_id == made.id
        with pytest.raises(openai.NotFoundError):
            await kept.theirs.responses.create(model="kept", input="Go on.", tools=tools)
        shown = await kept.ours.responses.retrieve(answer.id)
        assert shown.output[0] == call


async def test_an_answer_comes_back_as_a_part_of_the_next_prompt(tmp_path: Path) -> None:
    """As clients do that keep their conversations themselves."""
    async with open_kept(tmp_path) as kept:
        _, tools = await tools_of(kept)
        said: list[Any] = [{"role": "user", "content": TOLD}]
        answer = await kept.ours.responses.create(model="kept", input=said, tools=tools)
        said += [item.model_dump(exclude_none=True) for item in answer.output]
        said.append({"role": "user", "content": "#sim tokens=2\nAnd then?"})
        again = await kept.ours.responses.create(model="kept", input=said, tools=tools)
        assert answer.usage is not None
        assert again.usage is not None
        assert again.usage.input_tokens > answer.usage.input_tokens
