"""Responses in the background: OpenAI's `GET /v1/responses/{id}` until they have ended."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from urllib.parse import quote

from engine.events import UsageReport
from engine.job import JobError, JobReport, JobSpec, JobState
from engine.jobs.asking import Answer
from engine.jobs.follows import Ask, accepted
from engine.ledger.job_rows import JobView
from engine.protocols.fields import dict_of, load_object, text_of
from engine.protocols.openai_responses.kept import kept_of
from engine.protocols.openai_responses.parsing import REPEATED
from engine.protocols.openai_responses.reading import AnswerReader
from engine.protocols.scrub import scrub
from engine.upstream.providers import Provider

STATES: Final[Mapping[str, JobState]] = {
    "queued": "submitted",
    "in_progress": "running",
    "completed": "succeeded",
    "incomplete": "succeeded",
    "failed": "failed",
    "cancelled": "cancelled",
}
_CODE_MAX_CHARS: Final = 64
_MESSAGE_MAX_CHARS: Final = 500
_NO_WORDS: Final = "The provider has failed to answer, and does not say why."


class ResponseFollow:
    """See `engine.jobs.follows.Follow`."""

    expires = False

    def knows(self, provider: Provider) -> bool:
        """It keeps what it has answered."""
        return provider.state == "openai"

    def spec(self, provider: Provider) -> JobSpec | None:
        """No list tells of them."""
        return None

    def poll(self, provider: Provider, view: JobView) -> str:
        """Of the response."""
        return f"/responses/{quote(accepted(view).provider_job_id, safe='')}"

    def read(self, provider: Provider, view: JobView, answer: Answer) -> JobReport | None:
        """Its state, and once it has ended what it has consumed."""
        if not answer.ok:
            return None
        document = load_object(answer.body)
        state = STATES.get(text_of(document.get("status")))
        if state is None:
            return None
        if state in ("submitted", "running"):
            return JobReport(state)
        repeated = frozenset(view.row.params.get(REPEATED, ()))
        events = AnswerReader(natives=False, repeated=repeated).read_response(document)
        report = next((each for each in events if isinstance(each, UsageReport)), None)
        return JobReport(
            state,
            error=failure_of(document.get("error")) if state == "failed" else None,
            usage=None if report is None else report.usage,
            service_tier=None if report is None else report.service_tier,
            kept=kept_of(document),
        )

    async def collect(self, view: JobView, report: JobReport, ask: Ask) -> JobReport:
        """The response says all of it."""
        return report


def failure_of(error: object) -> JobError:
    """Why it has failed, in words that a client may see."""
    said = dict_of(error)
    code, message = text_of(said.get("code")), text_of(said.get("message"))
    return JobError(
        scrub(code[:_CODE_MAX_CHARS]) or "failed", scrub(message[:_MESSAGE_MAX_CHARS]) or _NO_WORDS
    )


RESPONSE: Final = ResponseFollow()
