"""What a background answer comes to by what its provider says of it in the end."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from engine.events import Call
from engine.jobs.asking import Answer
from engine.jobs.responses import RESPONSE
from engine.ledger.job_rows import JobRow, JobView
from engine.protocols.openai_responses.codec import CODEC
from engine.upstream.providers import Provider

ASKED: dict[str, Any] = {
    "model": "m",
    "background": True,
    "input": [{"type": "code_interpreter_call", "container_id": "cntr_1", "code": "1"}],
}


@pytest.mark.parametrize(
    ("asked", "sessions"), [(ASKED, 0), ({**ASKED, "input": "Run some code."}, 1)]
)
def test_a_container_that_was_named_is_not_charged_at_the_end(
    asked: dict[str, Any], sessions: int
) -> None:
    """Whichever process reads it."""
    call = Call(orjson.dumps(asked), None, "openai_responses", "chat")
    job = CODEC.parse_request(call).job
    assert job is not None
    params = orjson.loads(orjson.dumps(dict(job.params)))
    row = JobRow(
        "job_1", "req_1", "acct_1", None, "response", "openai_responses", "m", 1, 2, params
    )
    said = {
        "id": "resp_1",
        "status": "completed",
        "output": [{"type": "code_interpreter_call", "container_id": "cntr_1"}],
        "usage": {"input_tokens": 1, "output_tokens": 2},
    }
    answer = Answer(200, [], orjson.dumps(said))
    keeps = Provider("keeps", "openai", "https://keeps.invalid/v1", api_key="sk")
    report = RESPONSE.read(keeps, JobView(row, None, "running", 1), answer)
    assert report is not None
    assert report.usage is not None
    assert report.usage.more.get("code_sessions", 0) == sessions
