"""Runs of assistants: OpenAI's `GET /v1/threads/{thread}/runs/{run}` until they have ended, and
then their steps, which say what tools of the provider's were used."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final
from urllib.parse import quote, urlencode

from engine.errors import UpstreamError
from engine.job import JobReport, JobSpec
from engine.jobs.asking import Answer
from engine.jobs.follows import Ask, accepted
from engine.ledger.job_rows import JobView
from engine.protocols.fields import dicts, load_object, text_of
from engine.protocols.openai_runs.reading import report_of, units_of
from engine.upstream.providers import Provider

_PAGE: Final = 100
_PAGES_MAX: Final = 10
"""Of steps; what is behind them is not charged."""


class RunFollow:
    """See `engine.jobs.follows.Follow`."""

    expires = False

    def knows(self, provider: Provider) -> bool:
        """It keeps threads."""
        return provider.state == "openai"

    def spec(self, provider: Provider) -> JobSpec | None:
        """No list tells of them but that of their thread."""
        return None

    def poll(self, provider: Provider, view: JobView) -> str:
        """Of the run."""
        return _path_of(view)

    def read(self, provider: Provider, view: JobView, answer: Answer) -> JobReport | None:
        """Its state, and once it has ended what it has consumed."""
        return report_of(load_object(answer.body)) if answer.ok else None

    async def collect(self, view: JobView, report: JobReport, ask: Ask) -> JobReport:
        """With what its steps have used beside tokens."""
        usage = report.usage
        if usage is None or not _priced(view):
            return report
        steps: list[dict[str, Any]] = []
        after: str | None = None
        for _ in range(_PAGES_MAX):
            query = {"limit": str(_PAGE), "order": "asc"} | ({"after": after} if after else {})
            answer = await ask("GET", f"{_path_of(view)}/steps?{urlencode(query)}")
            if answer.status == 404:  # its thread is gone
                break
            if not answer.ok:
                raise UpstreamError("The provider does not tell the steps of a run now.")
            try:
                page = load_object(answer.body)
            except ValueError as error:
                raise UpstreamError("The provider's answer cannot be read.") from error
            steps += dicts(page.get("data"))
            after = text_of(page.get("last_id"))
            if not page.get("has_more") or not after:
                break
        units = units_of(steps)
        return replace(report, usage=replace(usage, more={**usage.more, **units}))


def _path_of(view: JobView) -> str:
    thread_id, _, run_id = accepted(view).provider_job_id.partition("/")
    return f"/threads/{quote(thread_id, safe='')}/runs/{quote(run_id, safe='')}"


def _priced(view: JobView) -> bool:
    """Somebody pays for what its tools do, or it costs the house."""
    terms = accepted(view).terms
    priced = {unit for rates in (terms.price, terms.cost) for unit in (rates or {}).get("more", {})}
    return "code_sessions" in priced


RUN: Final = RunFollow()
