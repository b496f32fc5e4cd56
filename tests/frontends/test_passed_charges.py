"""What costs something of what is passed through, and is no answer of a model: a receipt each."""

from __future__ import annotations

from pathlib import Path

import openai
import pytest

from tests.gateways import DOLLAR
from tests.passed import Kept, open_kept

PRICES = "[state]\nprices = { file_searches = 20, code_sessions = 0.05 }\n"
SEARCH = DOLLAR // 50
SESSION = DOLLAR // 20


async def balance(kept: Kept) -> int:
    return await kept.served.setup.balance()


async def test_searches_of_vector_stores_are_charged_apiece(tmp_path: Path) -> None:
    async with open_kept(tmp_path, PRICES) as kept:
        store = await kept.ours.vector_stores.create(name="notes")
        assert await balance(kept) == DOLLAR, "a store is paid by the day"
        search = kept.ours.vector_stores.with_raw_response.search
        found = await search(store.id, query="rain")
        receipt = await kept.served.receipt(found.headers["x-request-id"])
        assert receipt["operation"] == "vector_store_search"
        assert receipt["client_request_id"] == store.id
        assert receipt["usage"] == {"file_searches": 1}
        assert receipt["price"]["nanodollars"] == SEARCH
        assert await balance(kept) == DOLLAR - SEARCH


async def test_what_a_provider_refuses_is_not_charged(tmp_path: Path) -> None:
    async with open_kept(tmp_path, PRICES) as kept:
        store = await kept.ours.vector_stores.create()
        with pytest.raises(openai.BadRequestError):
            await kept.ours.vector_stores.search(store.id, query="x", max_num_results=99)
        with pytest.raises(openai.NotFoundError):
            await kept.theirs.vector_stores.search(store.id, query="x")
        assert await balance(kept) == DOLLAR


async def test_a_container_is_a_session_for_each_gigabyte(tmp_path: Path) -> None:
    async with open_kept(tmp_path, PRICES) as kept:
        await kept.ours.containers.create(name="small")
        assert await balance(kept) == DOLLAR - SESSION
        await kept.ours.containers.create(name="large", memory_limit="4g")
        assert await balance(kept) == DOLLAR - 5 * SESSION


async def test_who_cannot_pay_is_told_so_before_anything_is_asked(tmp_path: Path) -> None:
    async with open_kept(tmp_path, PRICES, funds_nanodollars=SEARCH // 2) as kept:
        store = await kept.ours.vector_stores.create()
        asked_before = len(kept.calls)
        with pytest.raises(openai.APIStatusError) as refused:
            await kept.ours.vector_stores.search(store.id, query="rain")
        assert refused.value.status_code == 402
        with pytest.raises(openai.APIStatusError):
            await kept.ours.containers.create(name="small")
        assert len(kept.calls) == asked_before


async def test_the_list_has_containers_and_no_searches(tmp_path: Path) -> None:
    async with open_kept(tmp_path) as kept:
        store = await kept.ours.vector_stores.create()
        await kept.ours.vector_stores.search(store.id, query="rain")
        assert await balance(kept) == DOLLAR
        await kept.ours.containers.create(name="small")
        assert await balance(kept) == DOLLAR - 3 * DOLLAR // 100
