"""The object that a batch is: how it does, and how its client sees it."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from engine.file_ids import shown_file_id
from engine.job import JobError, JobReport, JobResult
from engine.protocols.batches.objects import (
    SPEC,
    batch_id,
    provider_file_id,
    read_batch_report,
    with_files,
    without_files,
)
from engine.protocols.jobs.reports import report_of
from tests.recordings import load, names

OURS = shown_file_id("a" * 26, "openai")
PARAMS = {"input_file_id": OURS, "endpoint": "/v1/chat/completions"}
DONE: dict[str, Any] = {
    "id": "batch_1",
    "object": "batch",
    "status": "completed",
    "input_file_id": "file-in",
    "output_file_id": "file-out",
    "error_file_id": None,
    "completed_at": 5,
    "request_counts": {"total": 4, "completed": 3, "failed": 1},
}


def test_an_end_tells_of_the_files_that_were_made() -> None:
    report = read_batch_report(DONE)

    result = JobResult(
        "/files/file-out/content", "application/jsonl", needs_key=True, variant="output"
    )
    assert report == JobReport("succeeded", 75, None, (result,))
    assert provider_file_id(result) == "file-out"


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ("validating", "submitted"),
        ("in_progress", "running"),
        ("finalizing", "running"),
        ("cancelling", "running"),
        ("expired", "expired"),
        ("cancelled", "cancelled"),
    ],
)
def test_every_status_means_something(status: str, state: str) -> None:
    report = read_batch_report({**DONE, "status": status})

    assert report is not None
    assert report.state == state


def test_a_word_that_nobody_knows_says_nothing() -> None:
    assert read_batch_report({**DONE, "status": "resting"}) is None
    assert read_batch_report({}) is None


def test_why_it_failed_is_told_without_what_is_the_operators() -> None:
    message = "Enqueued token limit reached for gpt-4o in organization org-abc123DEF."
    document = {"status": "failed", "errors": {"data": [{"message": message}]}}

    report = read_batch_report(document)

    assert report is not None
    assert report.error is not None
    assert "org-abc123DEF" not in report.error.message
    assert "[organization]" in report.error.message
    silent = read_batch_report({"status": "failed"})
    assert silent is not None
    assert silent.error == JobError("failed", "The batch has failed.")


@pytest.mark.parametrize("odd", [{"a": 1}, "../secrets", "file out", "", 7, "x" * 300])
def test_what_is_no_id_of_a_file_is_none(odd: object) -> None:
    report = read_batch_report({**DONE, "output_file_id": odd})

    assert report is not None
    assert report.results == ()


@pytest.mark.parametrize("odd", [None, 7, "", "../x", "a b", "x" * 300])
def test_what_is_no_id_of_a_batch_is_none(odd: object) -> None:
    with pytest.raises(ValueError, match="no id"):
        batch_id({"id": odd})


def test_a_batch_that_is_found_again_is_under_way_whatever_it_says() -> None:
    """Its files tell what it has come to, and they have not been read."""
    assert report_of(SPEC, DONE, "batch_1").state == "running"


def test_its_client_sees_files_of_its_own() -> None:
    shown = with_files(DONE, PARAMS, {"output": "b" * 26})

    assert shown["input_file_id"] == OURS
    assert shown["output_file_id"] == shown_file_id("b" * 26, "openai")
    assert (shown["error_file_id"], shown["status"]) == (None, "completed")


@pytest.mark.parametrize(
    ("status", "seen"),
    [
        ("completed", "finalizing"),
        ("expired", "finalizing"),
        ("cancelled", "cancelling"),
        ("failed", "failed"),
        ("in_progress", "in_progress"),
    ],
)
def test_before_they_are_there_it_has_not_ended(status: str, seen: str) -> None:
    shown = with_files({**DONE, "status": status}, PARAMS)

    assert (shown["status"], shown["output_file_id"]) == (seen, None)
    assert (shown["completed_at"] is None) is (status != seen)


def test_no_name_of_the_providers_files_is_left() -> None:
    for shown in (with_files(DONE, PARAMS), without_files(DONE)):
        assert "file-in" not in str(shown)
        assert "file-out" not in str(shown)


@pytest.mark.parametrize("name", names("openai-batches"))
def test_every_recorded_batch_is_read(name: str) -> None:
    document = orjson.loads(load(name).body)
    for batch in document["data"] if document["object"] == "list" else [document]:
        report = read_batch_report(batch)
        assert report is not None
        assert batch_id(batch).startswith("batch_")
        files = [batch[each] for each in ("output_file_id", "error_file_id")]
        assert [provider_file_id(each) for each in report.results] == [f for f in files if f]
        assert with_files(batch, PARAMS, {}).keys() == batch.keys()
