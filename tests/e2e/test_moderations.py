"""Moderations: OpenAI's SDK over real sockets."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import openai
import pytest
from openai import AsyncOpenAI

from tests.e2e.sdks import one_truth
from tests.gateways import HTTP2
from tests.served import Served, open_served

MODERATION = f"""
[providers.judge]
protocol = "openai"
base_url = "$SIM/v1"
http2 = "{HTTP2}"
[models.omni-moderation-latest]
deployments = [{{ provider = "judge", model = "omni-moderation-latest" }}]
free = true
"""


@asynccontextmanager
async def open_sdk(tmp_path: Path) -> AsyncIterator[tuple[Served, AsyncOpenAI]]:
    async with (
        open_served(tmp_path, models=MODERATION) as served,
        AsyncOpenAI(base_url=served.url, api_key=served.setup.key, max_retries=0) as client,
    ):
        yield served, client


async def test_texts_are_judged_for_nothing_and_receipted(tmp_path: Path) -> None:
    async with open_sdk(tmp_path) as (served, client):
        answer = await client.moderations.with_raw_response.create(input=["hello", "bye"])
        assert len(answer.parse().results) == 2
        assert answer.headers["x-model-used"] == "omni-moderation-latest"
        receipt = await served.receipt(answer.headers["x-request-id"])
        assert (receipt["operation"], receipt["outcome"]) == ("moderate", "completed")
        assert receipt["price"]["nanodollars"] == 0
        assert one_truth(served).api == "openai-moderations"


async def test_who_has_no_key_is_not_served(tmp_path: Path) -> None:
    async with (
        open_sdk(tmp_path) as (served, _),
        AsyncOpenAI(base_url=served.url, api_key="sk-nobody", max_retries=0) as stranger,
    ):
        with pytest.raises(openai.AuthenticationError):
            await stranger.moderations.create(input="hello")
        assert not served.setup.sim.truth.records()


async def test_a_provider_that_has_none_is_named(tmp_path: Path) -> None:
    async with open_sdk(tmp_path) as (served, client):
        with pytest.raises(openai.BadRequestError, match="does 'moderate'") as refused:
            await client.moderations.create(input="hello", model="sim-anthropic")
        assert refused.value.code == "not_supported_by_model"
        with pytest.raises(openai.BadRequestError, match="'input' must be"):
            await client.moderations.create(input=[])
        assert not served.setup.sim.truth.records()
