"""Fine-tuning jobs under way: asked after until they have ended, settled by what was trained."""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

from engine.errors import UpstreamError
from engine.job import JobReport, JobSpec
from engine.jobs.asking import Answer
from engine.jobs.follows import Ask, accepted
from engine.ledger.job_rows import JobView
from engine.ledger.ledger import Ledger
from engine.ledger.owned_rows import OwnedRow
from engine.owned import kind_of
from engine.protocols.fields import load_object, text_of
from engine.protocols.fine_tuning.objects import SPEC, read_tuning_report
from engine.upstream.providers import Provider

_MADE: Final = "fine_tuned_model"


class TuningFollow:
    """See `engine.jobs.follows.Follow`. Of one gateway."""

    expires = False

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def knows(self, provider: Provider) -> bool:
        """It keeps what it is sent."""
        return provider.state == "openai"

    def spec(self, provider: Provider) -> JobSpec | None:
        """See `engine.protocols.fine_tuning.objects.SPEC`."""
        return SPEC

    def poll(self, provider: Provider, view: JobView) -> str:
        """Of the job."""
        return f"/fine_tuning/jobs/{quote(accepted(view).provider_job_id, safe='')}"

    def read(self, provider: Provider, view: JobView, answer: Answer) -> JobReport | None:
        """Its state, and once it has ended what it has trained."""
        return read_tuning_report(load_object(answer.body)) if answer.ok else None

    async def collect(self, view: JobView, report: JobReport, ask: Ask) -> JobReport:
        """The model that it has made is the account's.

        Raises:
            UpstreamError, UnavailableError: not now.
        """
        if report.state != "succeeded":
            return report
        taken, row = accepted(view), view.row
        answer = await ask("GET", f"/fine_tuning/jobs/{quote(taken.provider_job_id, safe='')}")
        if not answer.ok:
            raise UpstreamError("The provider does not say what it has made.")
        made = text_of(load_object(answer.body).get(_MADE))
        if kind_of(made) == _MADE:
            owned = OwnedRow(
                made,
                _MADE,
                row.account_id,
                row.key_id,
                taken.provider,
                taken.credential,
                view.changed_at_ms,
                parent_id=taken.provider_job_id,
                model=row.model,
            )
            await self._ledger.own([owned])
        return report
