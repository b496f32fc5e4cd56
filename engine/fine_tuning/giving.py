"""The files of one fine-tuning job: looked up once it is asked for, sent to whoever is to train,
once funds are held."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Final

from engine.admitting import Choice
from engine.errors import InvalidRequestError, StoredFileNotFoundError, UpstreamError
from engine.events import Call
from engine.ledger.file_rows import FileRow
from engine.metering.pricing import Rates
from engine.parsing.jobs import Prepared
from engine.parts import Parts
from engine.protocols.fields import load_request
from engine.protocols.fine_tuning.codec import read_tuning
from engine.routing.values import Candidate
from engine.tuning import TuningFacts

PURPOSE: Final = "fine-tune"
_DOCUMENT_MAX_BYTES: Final = 64 * 1024


class RequestTuning:
    """Of one exchange; see `engine.request_files.RequestFiles`, whose place it takes."""

    late: Final = True

    def __init__(self, parts: Parts, rows: Mapping[str, FileRow]) -> None:
        """`rows` by what is written."""
        self._parts = parts
        self._rows = rows

    async def put_in(self, call: Call, candidate: Candidate[Rates], *, translated: bool) -> Call:
        """The call for the deployment of a candidate, which has its files then.

        Raises:
            GatewayError: as `Referring.keep`.
        """
        facts, parts = call.tuning, self._parts
        assert facts is not None, "its files have been looked up"
        provider = parts.providers[candidate.deployment.provider]
        held = {}
        for written, row in self._rows.items():
            copy = await parts.referring.keep(row, provider, candidate.key)
            held[written] = copy.provider_file_id
        return replace(call, tuning=replace(facts, held=held))

    def are_gone(self, held: Iterable[str], error: UpstreamError) -> bool:
        """They are there for good."""
        return False

    def fit(self, held: Iterable[str], before: Candidate[Rates], now: Candidate[Rates]) -> bool:
        """What one key was sent, others do not see."""
        return before.key == now.key

    def drop(self) -> None:
        """Nothing of them is in memory."""


async def prepare_tuning(
    parts: Parts, call: Call, choose: Choice, account_id: str
) -> tuple[Prepared, Call, RequestTuning]:
    """A job for the first planned deployment that trains; nobody has been sent anything.

    Raises:
        StoredFileNotFoundError: the account has no such file.
        InvalidRequestError: it cannot be trained on, or nobody trains the model here.
        GatewayError: as `Choice`, `Parts.prepare`.
    """
    if call.spooled is not None or len(call.body) > _DOCUMENT_MAX_BYTES:
        raise InvalidRequestError("The body of a fine-tuning job is too large.")
    asked = read_tuning(load_request(call.body))
    rows: dict[str, FileRow] = {}
    with parts.preliminaries.refused_at_end():
        for name, written in asked.files.items():
            rows[written] = await _file(parts, account_id, name, written)
    training = rows[asked.files["training_file"]]
    choose.for_training()
    call = replace(call, tuning=TuningFacts(training.size_bytes))
    prepared = await parts.prepare(call, choose)
    named = tuple(row.file_id for row in rows.values())  # so the call is kept
    return prepared._replace(held=named), call, RequestTuning(parts, rows)


async def _file(parts: Parts, account_id: str, name: str, written: str) -> FileRow:
    try:
        row = await parts.files.find(account_id, written)
    except StoredFileNotFoundError as error:
        error.param = name
        raise
    if row.purpose != PURPOSE:
        raise InvalidRequestError(
            f"The file was sent for the purpose '{row.purpose}'; send it for '{PURPOSE}'.",
            param=name,
        )
    return row
