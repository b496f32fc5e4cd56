"""Runs of assistants: OpenAI's `GET /v1/threads/{thread}/runs/{run}` until they have ended, and
then their steps, which say what tools of the provider's were used.

Code has a session for each thread and hour (OpenAI's page on its code interpreter: it is paid once
while a thread goes on with it for an hour). The run that pays for one is written down, before it is
settled, as the parent of THREAD/code-HOUR; another run that used it in that hour, or in those
beside it, does not pay again.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final
from urllib.parse import quote, urlencode

import trio

from engine.errors import UpstreamError
from engine.job import JobReport, JobSpec
from engine.jobs.asking import Answer
from engine.jobs.follows import Ask, accepted
from engine.ledger.job_rows import JobView
from engine.ledger.ledger import Ledger
from engine.ledger.owned_rows import OwnedRow
from engine.protocols.fields import dicts, load_object, text_of
from engine.protocols.openai_runs.reading import code_begun_s, report_of
from engine.upstream.providers import Provider

_PAGE: Final = 100
_PAGES_MAX: Final = 10
"""Of steps; what is behind them is not charged."""


_HOUR_S: Final = 3_600
_MS: Final = 1_000


class RunFollow:
    """See `engine.jobs.follows.Follow`. Of one gateway."""

    expires = False

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._paying = trio.Lock()
        """From what is known of sessions to what is."""

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
        begun_s = code_begun_s(steps)
        if begun_s is None or not await self._pays(view, begun_s or accepted(view).at_ms // _MS):
            return report
        return replace(report, usage=replace(usage, more={**usage.more, "code_sessions": 1}))

    async def _pays(self, view: JobView, begun_s: int) -> bool:
        """Whether this run pays for the session that it used then: the same each time it is asked.
        Raises UnavailableError."""
        taken, row = accepted(view), view.row
        thread_id, _, run_id = taken.provider_job_id.partition("/")
        names = [f"{thread_id}/code-{begun_s // _HOUR_S + beside}" for beside in (0, -1, 1)]
        async with self._paying:
            paid = await self._ledger.find_owned(row.account_id, names)
            if not paid:
                session = OwnedRow(
                    names[0],
                    "code_session",
                    row.account_id,
                    row.key_id,
                    taken.provider,
                    taken.credential,
                    row.created_at_ms,
                    parent_id=run_id,
                )
                await self._ledger.own([session])
                paid = await self._ledger.find_owned(row.account_id, names[:1])
        return any(session.parent_id == run_id for session in paid.values())


def _path_of(view: JobView) -> str:
    thread_id, _, run_id = accepted(view).provider_job_id.partition("/")
    return f"/threads/{quote(thread_id, safe='')}/runs/{quote(run_id, safe='')}"


def _priced(view: JobView) -> bool:
    """Somebody pays for what its tools do, or it costs the house."""
    terms = accepted(view).terms
    priced = {unit for rates in (terms.price, terms.cost) for unit in (rates or {}).get("more", {})}
    return "code_sessions" in priced
