"""Jobs of the simulated provider: four APIs, by the SDKs where they have the calls, and faults."""

from __future__ import annotations

import io
import wave
from base64 import b64encode
from collections.abc import Callable
from typing import Any, TypeVar

import av
import httpx
import openai
import pytest
import trio
from google import genai
from google.genai import types

from bench.simulate import Directives
from bench.simulate.films import mp4
from bench.simulate.jobs import JOBS_MAX, JobBook, Order
from bench.simulate.pictures import png
from tests.bench.test_files import PNG, of_gemini, of_openai, simulated, upload_openai, web

T = TypeVar("T")
GENERIC = "/jobs/v1"
VEO = "/v1beta/models/veo-3.1-generate-preview"


async def in_thread(work: Callable[[], T]) -> T:
    return await trio.to_thread.run_sync(work)


def film_of(data: bytes) -> tuple[int, int, int, int]:
    """Width, height, seconds by the header, and how many pictures can be decoded."""
    with av.open(io.BytesIO(data)) as opened:
        assert isinstance(opened, av.container.InputContainer)
        [stream] = opened.streams.video
        assert stream.duration is not None
        assert stream.time_base is not None
        seconds = stream.duration * stream.time_base
        return stream.width, stream.height, int(seconds), len(list(opened.decode(stream)))


def picture_of(data: bytes) -> tuple[str, int, int]:
    """The format and the size of a picture that can be decoded."""
    with av.open(io.BytesIO(data)) as opened:
        assert isinstance(opened, av.container.InputContainer)
        [stream] = opened.streams.video
        [frame] = opened.decode(stream)
        assert isinstance(frame, av.VideoFrame)
        return stream.codec_context.name, frame.width, frame.height


def said(directives: str = "") -> str:
    return f"#sim {directives}\nA river at dawn."


async def openai_job(client: httpx.AsyncClient, directives: str = "", **more: Any) -> str:
    answer = await client.post("/v1/videos", json={"prompt": said(directives), **more})
    return str(answer.raise_for_status().json()["id"])


async def generic_job(client: httpx.AsyncClient, directives: str = "", **task: Any) -> str:
    body = {"engine": "sim-music", "task": {"kind": "music", "text": said(directives), **task}}
    answer = await client.post(f"{GENERIC}/submit", json=body)
    return str(answer.raise_for_status().json()["ticket"]["no"])


def test_films_are_valid_and_as_long_and_large_as_asked() -> None:
    made = mp4(1_280, 720, 8, bytes(16))
    assert film_of(made) == (1_280, 720, 8, 8)
    assert len(made) < 2_000
    assert made == mp4(1_280, 720, 8, bytes(16)) != mp4(1_280, 720, 8, bytes(range(16)))


@pytest.mark.filterwarnings("ignore:The Sora API:DeprecationWarning")
async def test_openai_sdk_creates_polls_downloads_lists_and_deletes() -> None:
    def work(client: openai.OpenAI) -> bytes:
        videos = client.videos
        made = videos.create(
            prompt=said("run_polls=1 end_polls=2 progress=40"), seconds="8", size="1280x720"
        )
        assert (made.status, made.progress, made.seconds, made.size) == (
            "queued",
            0,
            "8",
            "1280x720",
        )
        with pytest.raises(openai.NotFoundError, match="not ready yet"):
            videos.download_content(made.id)
        polled = [videos.retrieve(made.id) for _ in range(3)]
        assert [video.status for video in polled] == ["queued", "in_progress", "completed"]
        assert [video.progress for video in polled] == [0, 40, 100]
        assert polled[2].completed_at is not None
        data = videos.download_content(made.id).read()
        shown = [
            picture_of(videos.download_content(made.id, variant=variant).read())
            for variant in ("thumbnail", "spritesheet")
        ]
        assert shown == [("webp", 320, 180), ("mjpeg", 640, 90)]
        remix = videos.remix(made.id, prompt=said("end_polls=0"))
        assert (remix.remixed_from_video_id, remix.seconds) == (made.id, "8")
        reference = videos.create(prompt=said(), input_reference=("a.png", PNG))
        listed = [video.id for video in videos.list(limit=1)]
        assert listed == [reference.id, remix.id, made.id]
        assert videos.delete(made.id).deleted
        with pytest.raises(openai.NotFoundError, match=f"Video with id '{made.id}' not found"):
            videos.retrieve(made.id)
        return data

    async with simulated() as simulator:
        data = await in_thread(lambda: work(of_openai(simulator)))
        records = simulator.truth.records()
        jobs = list(simulator.jobs)
    assert film_of(data) == (1_280, 720, 8, 8)
    assert [record.api for record in records] == ["openai-videos"] * 3
    assert records[0].model == "sora-2"
    assert [job.state() for job in jobs] == ["succeeded", "running"]
    assert jobs[1].order.inputs[0]["bytes"] == len(PNG)


async def test_google_sdk_waits_for_films_that_need_its_key() -> None:
    """Its own submit is of Google's cloud only."""
    image = {"bytesBase64Encoded": b64encode(PNG).decode(), "mimeType": "image/png"}
    body = {
        "instances": [{"prompt": said("end_polls=1"), "image": image}],
        "parameters": {
            "aspectRatio": "9:16",
            "durationSeconds": 6,
            "resolution": "1080p",
            "sampleCount": 2,
        },
    }

    def work(client: genai.Client, name: str) -> list[bytes]:
        operation = client.operations.get(
            types.GenerateVideosOperation.model_validate({"name": name})
        )
        assert not operation.done
        operation = client.operations.get(operation)
        assert operation.done
        assert operation.response is not None
        made = operation.response.generated_videos or []
        uris = [one.video.uri or "" for one in made if one.video]
        return [client.files.download(file=uri.replace("http:", "https:")) for uri in uris]

    async with simulated() as simulator:
        async with web(simulator, google=True) as client:
            answer = await client.post(f"{VEO}:predictLongRunning", json=body)
        name = answer.json()["name"]
        first, second = await in_thread(lambda: work(of_gemini(simulator), name))
        [job] = simulator.jobs
        async with web(simulator, "k-two", google=True) as other, web(simulator) as nobody:
            uri = f"/v1beta/files/{job.job_id}v0:download?alt=media"
            assert (await other.get(uri)).status_code == 403
            assert (await nobody.get(uri, headers={"authorization": ""})).status_code == 403
    assert film_of(first) == (1_080, 1_920, 6, 6)
    assert first != second
    assert job.to_json()["inputs"][0]["bytes"] == len(PNG)


@pytest.mark.parametrize(
    ("end", "error", "filtered"),
    [("failed", 13, None), ("expired", 4, None), ("blocked", None, 1)],
)
async def test_veo_fails_in_its_own_way(end: str, error: int | None, filtered: int | None) -> None:
    async with simulated() as simulator, web(simulator, google=True) as client:
        path = f"{VEO}:predictLongRunning"
        body = {"instances": [{"prompt": said(f"job={end} end_polls=0")}]}
        name = (await client.post(path, json=body)).json()["name"]
        shown = (await client.get(f"/v1beta/{name}")).json()
        made = shown.get("response", {}).get("generateVideoResponse", {})
        assert shown["done"]
        assert shown.get("error", {}).get("code") == error
        assert made.get("raiMediaFilteredCount") == filtered
        wrong = await client.post(path, json={"instances": [{"prompt": "x", "mood": "y"}]})
        assert (wrong.status_code, "mood" in wrong.text) == (400, True)
        assert (await client.get(f"/v1beta/{name}0")).status_code == 404


async def test_xai_says_202_until_there_is_a_film_without_a_key() -> None:
    async with simulated() as simulator, web(simulator) as client:
        body = {"model": "grok-imagine-video", "prompt": said("end_polls=1"), "duration": 5}
        made = (await client.post("/v1/videos/generations", json=body)).json()
        path = f"/v1/videos/{made['request_id']}"
        first, second = await client.get(path), await client.get(path)
        async with httpx.AsyncClient() as anyone:
            film = await anyone.get(second.json()["video"]["url"])
        unknown = await client.get("/v1/videos/other")
        blocked = body | {"prompt": said("end_polls=0 job=blocked")}
        made = (await client.post("/v1/videos/generations", json=blocked)).json()
        refused = (await client.get(f"/v1/videos/{made['request_id']}")).json()
    assert (first.status_code, first.json()) == (202, {"status": "pending", "progress": 50})
    assert (second.status_code, second.json()["status"]) == (200, "done")
    assert second.json()["video"]["duration"] == 5
    assert film_of(film.content)[2] == 5
    assert (unknown.status_code, set(unknown.json())) == (404, {"code", "error"})
    assert refused["video"] == {"duration": 5, "respect_moderation": False}


async def test_the_generic_provider_makes_music_and_cancels() -> None:
    async with simulated() as simulator, web(simulator) as client:
        no = await generic_job(client, "end_polls=1", len_s=6, takes=2)
        working = (await client.get(f"{GENERIC}/status/{no}")).json()
        done = (await client.get(f"{GENERIC}/status/{no}")).json()
        takes = done["output"]["takes"]
        async with httpx.AsyncClient() as anyone:
            sounds = [(await anyone.get(take["link"])).content for take in takes]
        late = await client.post(f"{GENERIC}/cancel/{no}")
        other = await generic_job(client)
        stopped = (await client.post(f"{GENERIC}/cancel/{other}")).json()
        after = (await client.get(f"{GENERIC}/status/{other}")).json()
        unknown = await client.get(f"{GENERIC}/status/J-0")
        wrong = await client.post(f"{GENERIC}/submit", json={"engine": "sim-music", "task": {}})
    assert (working["phase"], working["done_percent"]) == ("WORKING", 50)
    assert (done["phase"], done["bill"]) == ("FINISHED", {"takes": 2, "seconds": 12})
    with wave.open(io.BytesIO(sounds[0])) as sound:
        assert sound.getnframes() / sound.getframerate() == 6
    assert sounds[0] != sounds[1]
    assert (late.status_code, late.json()["trouble"]["reason"]) == (409, "too_late_to_stop")
    assert (stopped["phase"], after["phase"]) == ("STOPPED", "STOPPED")
    assert (unknown.status_code, wrong.status_code) == (404, 400)
    assert "task.kind: missing" in wrong.json()["trouble"]["text"]


@pytest.mark.parametrize(("cancel", "status"), [("ignored", 200), ("refused", 409)])
async def test_cancelling_may_come_to_nothing(cancel: str, status: int) -> None:
    async with simulated() as simulator, web(simulator) as client:
        no = await generic_job(client, f"cancel={cancel}")
        assert (await client.post(f"{GENERIC}/cancel/{no}")).status_code == status
        phases = [(await client.get(f"{GENERIC}/status/{no}")).json()["phase"] for _ in range(2)]
    assert phases == ["WORKING", "FINISHED"]


@pytest.mark.parametrize(
    ("end", "code"),
    [
        ("failed", "video_generation_failed"),
        ("failed job_code=too_dark", "too_dark"),
        ("blocked", "moderation_blocked"),
        ("expired", "video_expired"),
    ],
)
async def test_openai_fails_with_a_code(end: str, code: str) -> None:
    async with simulated() as simulator, web(simulator) as client:
        video = await openai_job(client, f"end_polls=0 job={end}")
        shown = (await client.get(f"/v1/videos/{video}")).json()
    assert (shown["status"], shown["error"]["code"]) == ("failed", code)


async def test_a_job_that_is_lost_is_not_found_and_one_never_ends() -> None:
    async with simulated() as simulator, web(simulator) as client:
        lost = await openai_job(client, "end_polls=0 job=lost")
        never = await openai_job(client, "end_polls=0 job=never")
        assert (await client.get(f"/v1/videos/{lost}")).status_code == 404
        assert (await client.get(f"/v1/videos/{never}")).json()["status"] == "in_progress"


async def test_a_success_may_come_after_the_end() -> None:
    async with simulated() as simulator, web(simulator) as client:
        no = await generic_job(client, "end_polls=0 job=expired late_polls=2")
        phases = [(await client.get(f"{GENERIC}/status/{no}")).json()["phase"] for _ in range(4)]
        [job] = simulator.jobs
    assert phases == ["TOO_LATE", "TOO_LATE", "FINISHED", "FINISHED"]
    assert job.ended_s is not None
    assert job.succeeded_s is not None
    assert job.succeeded_s > job.ended_s


async def test_polls_fail_first_and_say_when_to_come_again() -> None:
    async with simulated() as simulator, web(simulator) as client:
        told = "poll_errors=2 poll_status=429 poll_retry_after=7 end_polls=0"
        video = await openai_job(client, told)
        answers = [await client.get(f"/v1/videos/{video}") for _ in range(3)]
        assert [answer.status_code for answer in answers] == [429, 429, 200]
        assert [answer.headers["retry-after"] for answer in answers] == ["7"] * 3
        broken = await openai_job(client, "poll_errors=1 poll_fault=cut end_polls=0")
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get(f"/v1/videos/{broken}")
        assert (await client.get(f"/v1/videos/{broken}")).json()["status"] == "completed"
        silent = await openai_job(client, "poll_errors=1 poll_fault=stall end_polls=0")
        with pytest.raises(httpx.ReadTimeout):
            await client.get(f"/v1/videos/{silent}", timeout=httpx.Timeout(5, read=0.05))
        simulator.behave("jobs.poll", "status=503 times=1")
        assert (await client.get(f"/v1/videos/{silent}")).status_code == 503
        assert (await client.get(f"/v1/videos/{silent}")).status_code == 200
        polls = [(job.polls, job.failed_polls) for job in simulator.jobs]
    assert polls == [(1, 2), (1, 1), (1, 1)]


async def test_results_fail_first_or_are_none() -> None:
    async with simulated() as simulator, web(simulator) as client:
        video = await openai_job(client, "end_polls=0 result_errors=2 result_status=502")
        await client.get(f"/v1/videos/{video}")
        found = [(await client.get(f"/v1/videos/{video}/content")).status_code for _ in range(3)]
        assert found == [502, 502, 200]
        half = await openai_job(client, "end_polls=0 result_errors=1 result_fault=cut_body")
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get(f"/v1/videos/{half}/content")
        page = await openai_job(client, "end_polls=0 media=html")
        assert (await client.get(f"/v1/videos/{page}/content")).text.startswith("<!DOCTYPE")


async def test_a_submit_may_be_refused_or_its_answer_lost() -> None:
    async with simulated() as simulator, web(simulator) as client:
        for directives in ("status=500", "refuse=prompt"):
            with pytest.raises(httpx.HTTPStatusError):
                await openai_job(client, directives)
        with pytest.raises(httpx.RemoteProtocolError):
            await openai_job(client, "fault=refused")
        assert len(simulator.jobs) == 0
        with pytest.raises(httpx.RemoteProtocolError):
            await openai_job(client, "fault=cut tag=mine")
        [job] = simulator.jobs
        listed = (await client.get("/v1/videos")).json()["data"]
        *_, record = simulator.truth.records()
    assert [video["id"] for video in listed] == [job.job_id]
    assert (record.tag, record.completion_id, record.ended) == ("mine", job.job_id, "cut")


@pytest.mark.parametrize("path", ["/v1/videos", f"{GENERIC}/submit"])
async def test_the_same_key_of_idempotency_is_the_same_job(path: str) -> None:
    task = {"kind": "music", "text": said("fault=cut")}
    body: dict[str, Any] = {"prompt": said("fault=cut")}
    if path != "/v1/videos":
        body = {"engine": "sim-music", "task": task}
    async with simulated() as simulator, web(simulator) as client:
        headers = {"idempotency-key": "once"}
        with pytest.raises(httpx.RemoteProtocolError):
            await client.post(path, json=body, headers=headers)
        again = await client.post(path, json=body, headers=headers)
        [job] = simulator.jobs
        assert again.status_code < 300
        assert job.job_id in again.text
        assert (job.submits, simulator.jobs.taken) == (2, 1)
        other: dict[str, Any] = {"prompt": "Another."}
        if path != "/v1/videos":
            other = {"engine": "sim-music", "task": {"kind": "music", "text": "Another."}}
        assert (await client.post(path, json=other, headers=headers)).status_code == 409
        async with web(simulator, "k-two") as stranger:
            with pytest.raises(httpx.RemoteProtocolError):
                await stranger.post(path, json=body, headers=headers)
    assert simulator.jobs.taken == 2


async def test_what_is_reported_may_differ_from_what_was_asked() -> None:
    async with simulated() as simulator, web(simulator) as client:
        video = await openai_job(
            client, "end_polls=0 told_seconds=5 told_size=640x480", seconds="8"
        )
        shown = (await client.get(f"/v1/videos/{video}")).json()
        film = (await client.get(f"/v1/videos/{video}/content")).content
    assert (shown["seconds"], shown["size"]) == ("5", "640x480")
    assert film_of(film) == (640, 480, 5, 5)


async def test_ids_are_those_of_a_key() -> None:
    async with simulated() as simulator, web(simulator) as client:
        video, no = await openai_job(client), await generic_job(client)
        async with web(simulator, "k-two") as other:
            for path in (f"/v1/videos/{video}", f"{GENERIC}/status/{no}"):
                assert (await other.get(path)).status_code == 404
            assert (await other.get("/v1/videos")).json()["data"] == []


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "missing_required_parameter"),
        ({"prompt": ""}, "empty_string"),
        ({"prompt": "x", "seconds": "5"}, "invalid_value"),
        ({"prompt": "x", "seconds": 4}, "invalid_type"),
        ({"prompt": "x", "size": "1x1"}, "invalid_value"),
        ({"prompt": "x", "model": "sora-9"}, "model_not_found"),
        ({"prompt": "x", "quality": "high"}, "unknown_parameter"),
        ({"prompt": "x", "input_reference": {"image_url": "ftp://a"}}, "invalid_value"),
        ({"prompt": "x", "input_reference": {"file_id": "file-0"}}, None),
        ({"prompt": "#sim jbo=failed"}, "invalid_directive"),
    ],
)
async def test_openai_checks_what_is_asked_for(body: dict[str, Any], code: str | None) -> None:
    async with simulated() as simulator, web(simulator) as client:
        answer = await client.post("/v1/videos", json=body)
        assert (answer.status_code // 100, answer.json()["error"]["code"]) == (4, code)
        assert len(simulator.jobs) == 0


async def test_a_film_may_begin_with_a_file_that_was_uploaded() -> None:
    async with simulated() as simulator, web(simulator) as client:
        file_id = await upload_openai(client, png(9, 9, bytes(16)))
        await openai_job(client, input_reference={"file_id": file_id})
        [job] = simulator.jobs
        shown = (await client.get("/_jobs")).json()
    assert job.order.inputs[0]["bytes"] == shown["inputs"][0]["bytes"]


def test_time_alone_ends_a_job_when_no_polls_are_asked_for() -> None:
    book = JobBook("x")
    order = Order("sim-video", "x", 4)
    job = book.take("openai", "k", order, Directives(end_polls=0, end_s=30.0))
    assert job.state() == "running"
    job.created_s -= 31
    assert job.state() == "succeeded"
    assert job.succeeded_s == job.created_s + 30


def test_the_book_is_bounded() -> None:
    book = JobBook("x")
    order, directives = Order("sim-video", "x", 4), Directives()
    first = book.take("generic", "k", order, directives, "once")
    for _ in range(JOBS_MAX):
        book.take("generic", "k", order, directives)
    assert len(book) == JOBS_MAX
    assert book.find("generic", "k", first.job_id) is None
    assert book.asked_before("generic", "k", "once") is None
