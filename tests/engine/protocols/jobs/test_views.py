"""How a job is shown as it moves on, in each of its clients' protocols."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from engine.job import JobError, JobResult, JobState
from engine.ledger.job_rows import JobAcceptance, JobRow, JobTerms, JobView
from engine.protocols.jobs.views import job_object

ROW = JobRow(
    job_id="job_0123",
    request_id="req_0123",
    account_id="acct",
    key_id=None,
    kind="video",
    protocol="video_generations",
    model="film",
    created_at_ms=1_000_000,
    expires_at_ms=4_600_000,
    params={"prompt": "a cat", "seconds": 8},
)
TERMS = JobTerms({"milliseconds": 8_000, "clips": 1}, {}, {}, "1280x720")
TAKEN = JobAcceptance("job_0123", 1, "films", "sora-2", "0" * 16, "video_x", TERMS, 1_001_000)
VIEW = JobView(ROW, TAKEN, "running", 1_002_000, progress=40)
KEPT = JobResult("/videos/video_x/content", needs_key=True)
OPEN = JobResult("https://cdn.example/a.mp4")
STILL = JobResult("/videos/video_x/content?variant=thumbnail", "image/webp", True, "thumbnail")
DONE = replace(
    VIEW,
    state="succeeded",
    results=(KEPT, STILL),
    closed=True,
    price_nanodollars=800_000_000,
    changed_at_ms=1_009_000,
)
ORIGIN = "https://gate.example"


def test_one_that_runs_has_no_cost_and_no_results_yet() -> None:
    shown = job_object(VIEW)
    assert (shown["status"], shown["progress"]) == ("running", 40)
    assert not {"results", "cost", "error", "prompt"} & shown.keys()


def test_what_needs_a_key_is_fetched_from_here() -> None:
    assert [result["url"] for result in job_object(DONE, origin=ORIGIN)["results"]] == [
        f"{ORIGIN}/v1/videos/job_0123/content",
        f"{ORIGIN}/v1/videos/job_0123/content?variant=thumbnail",
    ]


def test_what_needs_none_is_fetched_from_where_it_is() -> None:
    shown = job_object(replace(DONE, results=(OPEN,)), origin=ORIGIN)
    assert shown["results"] == [{"url": OPEN.url, "content_type": "video/mp4", "variant": "video"}]


def test_several_have_a_number_each() -> None:
    shown = job_object(replace(DONE, results=(KEPT, KEPT)), origin="")
    assert [result["url"] for result in shown["results"]] == [
        "/v1/videos/job_0123/content",
        "/v1/videos/job_0123/content?index=1",
    ]


def test_a_result_that_is_a_file_says_so() -> None:
    done = replace(DONE, files=("a" * 26,))
    assert job_object(done)["results"][0]["file_id"] == f"file-{'a' * 26}"
    operation = job_object(done, "gemini_videos", ORIGIN)
    (sample,) = operation["response"]["generateVideoResponse"]["generatedSamples"]
    uri = f"{ORIGIN}/v1beta/files/{'a' * 26}:download?alt=media"
    assert sample["video"]["uri"] == uri


def test_a_success_says_what_it_took_and_cost() -> None:
    shown = job_object(DONE)
    assert shown["usage"] == {"clips": 1, "seconds": 8.0}
    assert shown["cost"]["nanodollars"] == 800_000_000


@pytest.mark.parametrize(
    ("state", "status", "code"),
    [
        ("failed", "failed", "moderation"),
        ("expired", "failed", "expired"),
        ("cancelled", "failed", "cancelled"),
    ],
)
def test_openai_knows_one_bad_end(state: JobState, status: str, code: str) -> None:
    error = JobError("moderation", "Refused.") if state == "failed" else None
    shown = job_object(replace(VIEW, state=state, error=error), "openai_videos")
    assert (shown["status"], shown["error"]["code"]) == (status, code)
    assert job_object(replace(VIEW, state=state))["status"] == state


@pytest.mark.parametrize(("state", "code"), [("failed", 13), ("expired", 4), ("cancelled", 1)])
def test_an_operation_that_ends_badly_has_a_code(state: JobState, code: int) -> None:
    shown = job_object(replace(VIEW, state=state), "gemini_videos")
    assert (shown["done"], shown["error"]["code"]) == (True, code)
    assert "response" not in shown


def test_a_song_is_fetched_where_songs_are() -> None:
    song: Any = replace(ROW, kind="music", protocol="music_generations")
    sound = JobResult("/songs/1", "audio/mpeg", True, "audio")
    shown = job_object(replace(DONE, row=song, results=(sound,)))
    assert shown["object"] == "music.generation"
    assert shown["results"][0]["url"] == "/v1/music/generations/job_0123/content"
