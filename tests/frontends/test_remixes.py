"""`POST /v1/videos/{id}/remix`, with OpenAI's SDK and by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import openai
import pytest
import trio

from tests.films import CONFIG, ended, said
from tests.frontends.apps import Front, open_front
from tests.gateways import add_key

pytestmark = pytest.mark.filterwarnings("ignore:The Sora API:DeprecationWarning")

SECOND = 50_000_000
"""Nanodollars one of a wide film costs."""
WIDE = """
[models.wide]
deployments = [{ provider = "films", model = "sora-2-pro" }]
price = { seconds = 0.01, by_image = [{ size = "1792x1024", seconds = 0.05 }] }
"""


def sdk(front: Front, key: str | None = None) -> openai.OpenAI:
    base_url = f"http://{front.server.addresses[0]}/v1"
    return openai.OpenAI(api_key=key or front.setup.key, base_url=base_url, max_retries=0)


async def remix(front: Front, video: str, key: str | None = None) -> None:
    """Ask for another one, of which nothing is expected but a refusal."""

    def work() -> None:
        with sdk(front, key) as client:
            client.videos.remix(video, prompt="a cat")

    await trio.to_thread.run_sync(work)


async def film(front: Front, directives: str = "", model: str = "sora") -> str:
    """One that has ended; its id, as OpenAI's clients know it."""
    body = {"model": model, "prompt": said(directives), "seconds": 4}
    made = (await front.client.post("/v1/videos/generations", json=body)).raise_for_status().json()
    await ended(front.client, f"/v1/videos/generations/{made['job_id']}")
    return str(made["job_id"]).replace("job_", "video_")


async def test_another_one_is_made_with_the_sdk_and_paid_as_the_first(tmp_path: Path) -> None:
    def work(sdk: openai.OpenAI) -> tuple[Any, Any, Any]:
        with sdk as client:
            first = client.videos.create(model="wide", prompt=said(), seconds="8", size="1792x1024")
            client.videos.poll(first.id, poll_interval_ms=10)
            asked = client.videos.remix(first.id, prompt=said("run_polls=1"))
            return first, asked, client.videos.poll(asked.id, poll_interval_ms=10)

    async with open_front(tmp_path, models=CONFIG + WIDE) as front:
        first, asked, made = await trio.to_thread.run_sync(work, sdk(front))
        assert (asked.object, asked.status, asked.model) == ("video", "queued", "wide")
        assert asked.remixed_from_video_id == made.remixed_from_video_id == first.id
        assert (asked.seconds, asked.size) == (made.seconds, made.size) == ("8", "1792x1024")
        assert made.status == "completed"
        assert made.id != first.id
        assert await front.setup.balance() == 10**9 - 2 * 8 * SECOND

        one = f"/v1/videos/generations/{made.id.replace('video_', 'job_')}"
        job = (await front.client.get(one)).json()
        assert job["cost"]["nanodollars"] == 8 * SECOND
        assert job["remixed_from_video_id"] == first.id
        content = await front.client.get(f"/v1/videos/{made.id}/content")
        assert content.content[4:8] == b"ftyp"


async def test_what_cannot_be_remixed_is_said_and_costs_nothing(tmp_path: Path) -> None:
    async with open_front(tmp_path, models=CONFIG) as front:
        body = {"model": "sora", "prompt": said("end_s=0.5"), "seconds": 4}
        running = (await front.client.post("/v1/videos", json=body)).json()["id"]
        song = {"model": "song", "prompt": said()}
        music = (await front.client.post("/v1/music/generations", json=song)).json()["job_id"]
        cases = [
            (running, 409, "job_not_ended"),
            (await film(front, "job=failed"), 409, "job_not_remixable"),
            (await film(front, model="veo"), 400, "not_supported_by_model"),
            (music.replace("job_", "video_"), 404, "not_found"),
            ("video_0123", 404, "not_found"),
        ]
        await ended(front.client, f"/v1/music/generations/{music}")
        before = len(front.setup.sim.jobs)
        for video, status, code in cases:
            with pytest.raises(openai.APIStatusError) as refused:
                await remix(front, video)
            assert (refused.value.status_code, refused.value.code) == (status, code)
        assert len(front.setup.sim.jobs) == before
        await ended(front.client, f"/v1/videos/{running}")


async def test_a_film_of_another_account_is_nobodys(tmp_path: Path) -> None:
    async with open_front(tmp_path, models=CONFIG) as front:
        video = await film(front)
        other = await front.setup.gateway.ledger.create_account("other")
        _, key = await add_key(front.setup.gateway, other.account_id)
        with pytest.raises(openai.NotFoundError):
            await remix(front, video, key)
        assert len(front.setup.sim.jobs) == 1


async def test_who_may_only_read_makes_none(tmp_path: Path) -> None:
    async with open_front(tmp_path, models=CONFIG) as front:
        video = await film(front)
        _, key = await add_key(
            front.setup.gateway, front.setup.account_id, scopes=frozenset({"read"})
        )
        with pytest.raises(openai.PermissionDeniedError):
            await remix(front, video, key)


NAMES_ONE = ("remixed_from_video_id", "source.provider_job_id")
"""An id, in a body: nobody has a film of that."""
REFUSED: list[tuple[dict[str, Any], str]] = [
    ({}, "prompt"),
    ({"prompt": ""}, "prompt"),
    ({"prompt": "a", "model": "veo"}, "model"),
    ({"prompt": "a", "seconds": "12"}, "seconds"),
    ({"prompt": "a", "size": "1792x1024"}, "size"),
    ({"prompt": "a", "input_reference": "https://pictures.example/a.png"}, "input_reference"),
    ({"prompt": "a", "remixed_from_video_id": "video_1"}, "remixed_from_video_id"),
    ({"prompt": "a", "source": {"provider_job_id": "video_1"}}, "source.provider_job_id"),
]


async def test_all_but_the_prompt_is_that_of_the_first(tmp_path: Path) -> None:
    async with open_front(tmp_path, models=CONFIG) as front:
        path = f"/v1/videos/{await film(front)}/remix"
        before = await front.setup.balance()
        for body, param in REFUSED:
            answer = await front.client.post(path, json=body)
            status = 404 if param in NAMES_ONE else 400
            assert (answer.status_code, answer.json()["error"]["param"]) == (status, param)
        new = {"prompt": "a", "model": "sora", "remixed_from_video_id": "video_1"}
        assert (await front.client.post("/v1/videos", json=new)).status_code == 404
        assert await front.setup.balance() == before
        form = await front.client.post(path, files={"prompt": (None, said())})
        assert form.status_code == 200
        await ended(front.client, f"/v1/videos/{form.json()['id']}")
