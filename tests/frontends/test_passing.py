"""What only OpenAI has, by its SDK and over real sockets: each account's own, and nobody else's."""

from __future__ import annotations

from pathlib import Path

import openai
import pytest

from tests.passed import open_kept


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
