"""Videos and music over HTTP: every face, every provider, what they cost, and what goes wrong."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import openai
import pytest
import trio
from google import genai
from google.genai import types

from bench.simulate.pictures import png
from tests.films import CONFIG, ended, said
from tests.frontends.apps import Front, open_front
from tests.gateways import add_key

PICTURE = png(8, 8, bytes(16))
DATA_URL = f"data:image/png;base64,{b64encode(PICTURE).decode()}"
PRICE = 10_000_000
"""Nanodollars a second."""


@asynccontextmanager
async def films(folder: Path) -> AsyncIterator[Front]:
    async with open_front(folder, models=CONFIG) as front:
        yield front


async def ask(front: Front, path: str = "/v1/videos/generations", **body: Any) -> dict[str, Any]:
    answer = await front.client.post(path, json=body)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


@pytest.mark.parametrize(
    ("model", "options", "seconds"),
    [
        ("sora", {"seconds": 8, "size": "1280x720"}, 8),
        ("sora", {}, 4),
        ("veo", {"seconds": 6, "aspect_ratio": "9:16", "resolution": "720p"}, 6),
        ("veo", {"seconds": 4, "n": 2, "image": DATA_URL}, 8),
        ("grok", {"duration": 3, "resolution": "480p"}, 3),
    ],
)
async def test_a_film_is_asked_for_made_and_paid_by_the_second(
    tmp_path: Path, model: str, options: dict[str, Any], seconds: int
) -> None:
    async with films(tmp_path) as front:
        made = await ask(front, model=model, prompt=said("run_polls=1"), **options)
        assert made["object"] == "video.generation"
        assert (made["status"], made["model"]) == ("submitted", model)
        assert made["expires_at"] - made["created_at"] == 3_600
        assert made["job_id"].startswith("job_")

        job = await ended(front.client, f"/v1/videos/generations/{made['job_id']}")
        assert (job["status"], job["progress"]) == ("succeeded", 100)
        assert job["cost"]["nanodollars"] == seconds * PRICE
        assert job["usage"]["seconds"] == seconds
        assert all(result["content_type"] for result in job["results"])
        assert job["created_at"] == made["created_at"]
        assert job["expires_at"] == made["expires_at"]

        page = (await front.client.get("/v1/videos/generations")).json()
        assert [each["job_id"] for each in page["data"]] == [made["job_id"]]
        assert await front.setup.balance() == 10**9 - seconds * PRICE
        if model != "grok":  # whose films are elsewhere, and need no key
            made_film = await front.client.get(job["results"][0]["url"])
            assert made_film.content[4:8] == b"ftyp"
            assert made_film.headers["content-type"] == "video/mp4"
            assert made_film.headers["content-disposition"].startswith("attachment; ")
            told = await front.client.head(job["results"][0]["url"])
            assert (told.status_code, told.content) == (200, b"")


async def test_what_is_not_made_yet_cannot_be_fetched(tmp_path: Path) -> None:
    async with films(tmp_path) as front:
        made = await ask(front, model="sora", prompt=said("end_s=0.3"))
        one = f"/v1/videos/generations/{made['job_id']}"
        early = await front.client.get(f"{one}/content")
        assert (early.status_code, early.json()["error"]["code"]) == (409, "job_not_ended")
        for query in ("index=x", "index=64", f"variant={'v' * 33}"):
            assert (await front.client.get(f"{one}/content?{query}")).status_code == 400
        await ended(front.client, one)
        for query in ("variant=hologram", "index=1"):
            assert (await front.client.get(f"{one}/content?{query}")).status_code == 404


async def test_a_song_of_a_provider_of_ones_own_is_paid_by_the_clip(tmp_path: Path) -> None:
    async with films(tmp_path) as front:
        path = "/v1/music/generations"
        made = await ask(front, path, model="song", prompt=said(), lyrics="la", seconds=20, n=2)
        assert made["object"] == "music.generation"
        job = await ended(front.client, f"{path}/{made['job_id']}")
        assert job["usage"] == {"clips": 2, "seconds": 40}
        assert job["cost"]["nanodollars"] == 500_000_000
        urls = [result["url"] for result in job["results"]]
        assert len(urls) == 2
        assert (await front.client.get(urls[0])).content.startswith(b"RIFF")
        assert (await front.client.get(f"/v1/videos/{made['job_id']}")).status_code == 404


async def test_a_failure_costs_nothing_and_says_why(tmp_path: Path) -> None:
    async with films(tmp_path) as front:
        made = await ask(front, model="sora", prompt=said("job=blocked"), seconds=4)
        job = await ended(front.client, f"/v1/videos/generations/{made['job_id']}")
        assert job["status"] == "failed"
        assert job["error"]["message"]
        assert job["cost"]["nanodollars"] == 0
        assert await front.setup.balance() == 10**9


@pytest.mark.filterwarnings("ignore:The Sora API:DeprecationWarning")
async def test_openais_sdk(tmp_path: Path) -> None:
    def work(client: openai.OpenAI) -> None:
        videos = client.videos
        made = videos.create(model="sora", prompt=said("run_polls=1"), seconds="8", size="1280x720")
        assert (made.object, made.status, made.seconds, made.size) == (
            "video",
            "queued",
            "8",
            "1280x720",
        )
        again = videos.retrieve(made.id)
        assert (again.id, again.prompt, again.model) == (made.id, said("run_polls=1"), "sora")
        done = videos.create_and_poll(model="sora", prompt=said(), poll_interval_ms=20)
        assert (done.status, done.progress, done.seconds, done.size) == (
            "completed",
            100,
            "4",
            "720x1280",
        )
        assert done.completed_at is not None
        failed = videos.create_and_poll(
            model="sora", prompt=said("job=failed"), poll_interval_ms=20
        )
        assert failed.status == "failed"
        assert failed.error is not None
        assert failed.error.message
        videos.poll(made.id, poll_interval_ms=20)
        assert videos.download_content(made.id).read()[4:8] == b"ftyp"
        still = videos.download_content(made.id, variant="thumbnail")
        assert still.read()[8:12] == b"WEBP"
        with pytest.raises(openai.NotFoundError):
            videos.download_content(failed.id)

        assert [video.id for video in videos.list(limit=1)] == [failed.id, done.id, made.id]
        assert [video.id for video in videos.list(order="asc").data] == [
            made.id, done.id, failed.id,
        ]  # fmt: skip
        assert videos.delete(done.id).deleted
        with pytest.raises(openai.NotFoundError):
            videos.retrieve(done.id)
        with pytest.raises(openai.BadRequestError, match="'seconds' must be one of") as refused:
            videos.create(model="sora", prompt="a cat", seconds="7")  # type: ignore[arg-type]
        assert refused.value.param == "seconds"

    async with films(tmp_path) as front:
        await trio.to_thread.run_sync(work, sdk(front))


def sdk(front: Front) -> openai.OpenAI:
    url = f"http://{front.server.addresses[0]}/v1"
    return openai.OpenAI(api_key=front.setup.key, base_url=url, max_retries=0)


@pytest.mark.filterwarnings("ignore:The Sora API:DeprecationWarning")
async def test_openais_sdk_uploads_a_picture_to_begin_with(tmp_path: Path) -> None:
    picture = ("cat.png", PICTURE, "image/png")

    def work(client: openai.OpenAI) -> str:
        made = client.videos.create(
            model="sora", prompt=said(), seconds="4", input_reference=picture
        )
        client.videos.poll(made.id, poll_interval_ms=20)
        return made.id

    async with films(tmp_path) as front:
        made = await trio.to_thread.run_sync(work, sdk(front))
        assert made.startswith("video_")


async def test_a_film_begins_with_a_file_of_the_account(tmp_path: Path) -> None:
    async with films(tmp_path) as front:
        form = {"file": ("cat.png", PICTURE, "image/png")}
        purpose = {"purpose": "vision"}
        stored = await front.client.post("/v1/files", files=form, data=purpose)
        file_id = stored.json()["id"]
        image = {"file_id": file_id}
        made = [
            (await ask(front, model="sora", prompt=said(), image=image))["job_id"],
            (await ask(front, model="veo", prompt=said(), image=image))["job_id"],
            (await ask(front, "/v1/videos", model="grok", prompt=said(), input_reference=image))[
                "id"
            ],
        ]
        uri = f"files/{file_id.removeprefix('file-')}"
        instance = {"prompt": said(), "image": {"fileData": {"fileUri": uri}}}
        path = "/v1beta/models/sora:predictLongRunning"
        operation = await ask(front, path, instances=[instance])
        made.append(operation["name"].rpartition("/")[2])
        for job_id in made:
            await ended(front.client, f"/v1/videos/generations/{job_id}")

        missing = {"file_id": f"file-{'a' * 26}"}
        body = {"model": "sora", "prompt": "a cat", "image": missing}
        answer = await front.client.post("/v1/videos/generations", json=body)
        assert answer.status_code == 404
        assert answer.json()["error"]["code"] == "file_not_found"


async def test_geminis_clients_ask_for_an_operation(tmp_path: Path) -> None:
    def work(client: genai.Client, name: str) -> types.GenerateVideosOperation:
        operation = types.GenerateVideosOperation()
        operation.name = name
        for _ in range(200):
            operation = client.operations.get(operation)
            if operation.done:
                break
        return operation

    async with films(tmp_path) as front:
        body = {
            "instances": [{"prompt": said("run_polls=1")}],
            "parameters": {"durationSeconds": 4, "resolution": "1080p"},
        }
        path = "/v1beta/models/veo:predictLongRunning"
        made = (await front.client.post(path, json=body)).raise_for_status().json()
        assert made["name"].startswith("models/veo/operations/")
        url = f"http://{front.server.addresses[0]}"
        client = genai.Client(api_key=front.setup.key, http_options={"base_url": url})
        operation = await trio.to_thread.run_sync(work, client, made["name"])
        assert operation.error is None
        assert operation.response is not None
        assert operation.response.generated_videos
        assert await front.setup.balance() == 10**9 - 4 * 2 * PRICE


async def test_one_face_sees_what_another_has_asked_for(tmp_path: Path) -> None:
    async with films(tmp_path) as front:
        made = await ask(front, model="veo", prompt=said(), seconds=4)
        tail = made["job_id"].removeprefix("job_")
        await ended(front.client, f"/v1/videos/generations/{made['job_id']}")
        video = (await front.client.get(f"/v1/videos/video_{tail}")).json()
        assert (video["id"], video["status"], video["seconds"]) == (
            f"video_{tail}",
            "completed",
            "4",
        )
        operation = await front.client.get(f"/v1beta/models/veo/operations/{tail}")
        assert operation.json()["done"] is True


async def test_a_song_is_cancelled_for_nothing(tmp_path: Path) -> None:
    async with films(tmp_path) as front:
        path = "/v1/music/generations"
        made = await ask(front, path, model="song", prompt=said("job=never"))
        one = f"{path}/{made['job_id']}"
        assert (await front.client.post(f"{one}/cancel")).json()["status"] == "cancelled"
        assert (await front.client.post(f"{one}/cancel")).json()["status"] == "cancelled"
        assert (await front.client.get(one)).json()["cost"]["nanodollars"] == 0
        assert (await front.client.delete(one)).json()["deleted"] is True
        assert (await front.client.get(one)).status_code == 404


async def test_what_runs_is_cancelled_before_it_is_deleted(tmp_path: Path) -> None:
    async with films(tmp_path) as front:
        path = "/v1/music/generations"
        made = await ask(front, path, model="song", prompt=said("job=never"))
        assert (await front.client.delete(f"{path}/{made['job_id']}")).json()["deleted"] is True
        assert await front.setup.balance() == 10**9


async def test_a_provider_that_cannot_cancel_goes_on(tmp_path: Path) -> None:
    async with films(tmp_path) as front:
        made = await ask(front, model="sora", prompt=said("end_s=0.3"), seconds=4)
        one = f"/v1/videos/generations/{made['job_id']}"
        for refused in (
            await front.client.post(f"{one}/cancel"),
            await front.client.delete(one),
        ):
            assert refused.status_code == 409
            assert refused.json()["error"]["code"] == "job_not_cancellable"
        assert (await ended(front.client, one))["status"] == "succeeded"


ROUTES = [
    ("GET", "/v1/videos/generations/{job}"),
    ("DELETE", "/v1/videos/generations/{job}"),
    ("POST", "/v1/videos/generations/{job}/cancel"),
    ("POST", "/v1/videos/{video}/cancel"),
    ("POST", "/v1/videos/{video}/remix"),
    ("POST", "/v1/music/generations/{job}/cancel"),
    ("GET", "/v1/videos/{video}"),
    ("GET", "/v1/videos/{video}/content"),
    ("GET", "/v1/videos/generations/{job}/content"),
    ("GET", "/v1/music/generations/{job}/content"),
    ("DELETE", "/v1/videos/{video}"),
    ("GET", "/v1/music/generations/{job}"),
    ("DELETE", "/v1/music/generations/{job}"),
    ("GET", "/v1beta/models/sora/operations/{tail}"),
]


async def test_anothers_job_is_nobodys_on_every_route(tmp_path: Path) -> None:
    async with films(tmp_path) as front:
        made = await ask(front, model="sora", prompt=said())
        await ended(front.client, f"/v1/videos/generations/{made['job_id']}")
        other = await front.setup.gateway.ledger.create_account("other")
        _, key = await add_key(front.setup.gateway, other.account_id)
        bearer = {"authorization": f"Bearer {key}"}
        tail = made["job_id"].removeprefix("job_")
        for method, path in ROUTES:
            told = []
            for each in (tail, tail[:-4] + "0000"):
                named = path.format(job=f"job_{each}", video=f"video_{each}", tail=each)
                answer = await front.client.request(method, named, headers=bearer)
                assert answer.status_code == 404, (method, path)
                told.append(answer.text.replace(each, "ID").split("request")[0])
            assert told[0] == told[1]
        for path in ("/v1/videos", "/v1/videos/generations", "/v1/music/generations"):
            page = (await front.client.get(path, headers=bearer)).json()
            assert page["data"] == []
            after = await front.client.get(f"{path}?after={made['job_id']}", headers=bearer)
            assert after.status_code in (400, 404)
            assert made["job_id"] not in (await front.client.get(path, headers=bearer)).text
        mine = await front.client.get(f"/v1/videos/generations/{made['job_id']}")
        assert mine.status_code == 200


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("/v1/videos/generations", {"model": "sora", "prompt": "a", "seconds": 5}, "seconds"),
    ("/v1/videos/generations", {"model": "sora"}, "prompt"),
    ("/v1/videos/generations", {"model": "veo", "prompt": "a", "camera": 1}, "camera"),
    ("/v1/videos/generations", {"model": "song", "prompt": "a"}, "model"),
    ("/v1/videos/generations", {"model": "sim-openai", "prompt": "a"}, "model"),
    ("/v1/videos", {"model": "sora", "prompt": "a", "size": "1x1"}, "size"),
    ("/v1/music/generations", {"model": "sora", "prompt": "a"}, "model"),
]


async def test_what_is_refused_names_its_field_and_holds_nothing(tmp_path: Path) -> None:
    async with films(tmp_path) as front:
        for path, body, param in REFUSED:
            answer = await front.client.post(path, json=body)
            assert answer.status_code == 400, answer.text
            assert answer.json()["error"]["param"] == param
        assert await front.setup.balance() == 10**9


async def test_geminis_errors_are_geminis(tmp_path: Path) -> None:
    async with films(tmp_path) as front:
        body = {"instances": [{"prompt": "a"}], "parameters": {"durationSeconds": 5}}
        answer = await front.client.post("/v1beta/models/veo:predictLongRunning", json=body)
        error = answer.json()["error"]
        assert (answer.status_code, error["status"]) == (400, "INVALID_ARGUMENT")
        missing = await front.client.get("/v1beta/models/veo/operations/0123")
        assert missing.json()["error"]["status"] == "NOT_FOUND"


async def test_there_is_no_such_page(tmp_path: Path) -> None:
    async with films(tmp_path) as front:
        for query in ("limit=0", "limit=101", "limit=x", "order=up", "after=job_0"):
            answer = await front.client.get(f"/v1/videos?{query}")
            assert answer.status_code in (400, 404)
            assert answer.json()["error"]["param"] == query.partition("=")[0]
