"""What providers say of a job, as their SDKs and references have it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from engine.job import JobError, JobReport, JobResult, JobSpec
from engine.protocols.jobs.paths import cancel_path, checked_id, content_path, poll_path
from engine.protocols.jobs.reports import read_report
from engine.protocols.jobs.specs import OPENAI, VEO, XAI

FILE = "https://generativelanguage.googleapis.com/v1beta/files/f1:download?alt=media"
SAMPLES = {"generateVideoResponse": {"generatedSamples": [{"video": {"uri": FILE}}]}}
VIDEO = {"id": "video_1", "object": "video", "seconds": "8", "error": None}


def report(spec: JobSpec, document: Any, status: int = 200, **more: Any) -> JobReport | None:
    return read_report(spec, status, json.dumps(document).encode(), "video_1", **more)


@pytest.mark.parametrize(
    ("word", "state"),
    [("queued", "submitted"), ("in_progress", "running"), ("failed", "failed")],
)
def test_openai_says_its_state_in_a_word(word: str, state: str) -> None:
    found = report(OPENAI, {**VIDEO, "status": word, "progress": 33})
    assert found is not None
    assert (found.state, found.progress) == (state, 33)


def test_openais_films_are_fetched_by_their_id() -> None:
    found = report(OPENAI, {**VIDEO, "status": "completed", "progress": 100})
    assert found == JobReport(
        "succeeded",
        100,
        results=(
            JobResult("/videos/video_1/content?variant=video", needs_key=True),
            JobResult("/videos/video_1/content?variant=thumbnail", "image/webp", True, "thumbnail"),
            JobResult(
                "/videos/video_1/content?variant=spritesheet", "image/jpeg", True, "spritesheet"
            ),
        ),
        units={"milliseconds": 8_000},
    )


def test_a_failure_has_the_providers_words_without_its_operators_account() -> None:
    error = {"code": "moderation_blocked", "message": "Refused for org-abcdefgh12345678."}
    found = report(OPENAI, {**VIDEO, "status": "failed", "error": error})
    assert found is not None
    assert found.error == JobError("moderation_blocked", "Refused for [organization].")


@pytest.mark.parametrize("document", [{"name": "models/veo/operations/1"}, {"done": False}])
def test_veo_says_only_that_it_is_done(document: dict[str, Any]) -> None:
    found = report(VEO, document, before="running")
    assert found == JobReport("running")


def test_veos_films_are_fetched_with_the_key() -> None:
    found = report(VEO, {"done": True, "response": SAMPLES})
    assert found is not None
    assert (found.state, found.results) == ("succeeded", (JobResult(FILE, needs_key=True),))


def test_veo_is_done_and_has_failed() -> None:
    error = {"code": 3, "message": "The prompt was refused.", "status": "INVALID_ARGUMENT"}
    found = report(VEO, {"done": True, "error": error})
    assert found is not None
    assert found.state == "failed"
    assert found.error == JobError("INVALID_ARGUMENT", "The prompt was refused.")


def test_veo_is_done_and_has_filtered_all_that_it_made() -> None:
    filtered = {"raiMediaFilteredCount": 1, "raiMediaFilteredReasons": ["It shows a celebrity."]}
    found = report(VEO, {"done": True, "response": {"generateVideoResponse": filtered}})
    assert found == JobReport("failed", error=JobError("no_result", "It shows a celebrity."))


def test_xai_answers_with_another_status_until_it_is_done() -> None:
    assert report(XAI, {"status": "pending", "progress": 40}, 202) == JobReport("running", 40)
    assert read_report(XAI, 202, b"", "1", before="running") == JobReport("running")


def test_xai_names_its_film_and_how_long_it_has_become() -> None:
    url = "https://vidgen.x.ai/1.mp4"
    found = report(XAI, {"status": "done", "video": {"url": url, "duration": 6.5}})
    assert found is not None
    assert found.results == (JobResult(url),)
    assert found.units == {"milliseconds": 6_500}


def test_what_xai_blocks_is_no_success() -> None:
    blocked = {"url": "", "duration": 8, "respect_moderation": False}
    found = report(XAI, {"status": "done", "video": blocked})
    assert found is not None
    assert (found.state, found.error and found.error.code) == ("failed", "no_result")


@pytest.mark.parametrize("status", [301, 404, 429, 500, 503])
def test_an_answer_of_another_status_says_nothing_of_the_job(status: int) -> None:
    assert report(OPENAI, {"status": "failed"}, status) is None


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'"completed"'])
def test_what_is_no_object_says_nothing(body: bytes) -> None:
    assert read_report(OPENAI, 200, body, "video_1") is None


def test_a_word_that_nobody_knows_leaves_the_state_as_it_was() -> None:
    assert report(OPENAI, {**VIDEO, "status": "polishing"}, before="running") == JobReport(
        "running", units={"milliseconds": 8_000}
    )


@pytest.mark.parametrize("progress", ["50", None, True, []])
def test_a_progress_that_is_no_number_is_none(progress: object) -> None:
    found = report(XAI, {"status": "pending", "progress": progress})
    assert found is not None
    assert found.progress is None


@pytest.mark.parametrize("url", ["//evil.example/x", "file:///etc/passwd", "javascript:1", 7, None])
def test_what_is_no_address_is_no_result(url: object) -> None:
    found = report(XAI, {"status": "done", "video": {"url": url}})
    assert found is not None
    assert found.state == "failed"


def test_paths_hold_what_they_are_filled_with() -> None:
    assert poll_path(OPENAI, "sora-2", "video/../1") == "/videos/video%2F..%2F1"
    assert poll_path(VEO, "veo", "models/veo/operations/1") == "/models/veo/operations/1"
    assert content_path(OPENAI, "sora-2", "1", "a&b") == "/videos/1/content?variant=a%26b"
    assert content_path(VEO, "veo", "1", "video") is None
    assert cancel_path(OPENAI, "sora-2", "1") is None


@pytest.mark.parametrize("name", ["", "a b", "models/../../keys", "/x", "a//b", "é", None, True])
def test_an_id_that_could_lead_elsewhere_is_none(name: object) -> None:
    with pytest.raises(ValueError, match="id of the job"):
        checked_id(VEO, name)
