"""The input file of one batch: read once its batch is asked for, given to whoever is asked for it.

Its lines are checked and written for a deployment before funds are held, which is what tells how
much; nobody is sent them before that.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from engine.admitting import Choice
from engine.batch import BatchFacts
from engine.batches.turns import turns
from engine.batches.writing import BatchInput, PinnedError, WrittenBatch, model_of, write_batch
from engine.errors import (
    GatewayError,
    InvalidRequestError,
    ModelNotFoundError,
    StoredFileNotFoundError,
    UpstreamError,
)
from engine.events import Call
from engine.ledger.file_rows import FileRow
from engine.metering.pricing import Rates
from engine.parsing.jobs import Prepared
from engine.parts import Parts
from engine.protocols.batches.codec import read_batch
from engine.protocols.batches.requests import BatchLineError
from engine.protocols.fields import load_request
from engine.protocols.registry import provider_codec
from engine.routing.values import Candidate
from engine.spool import SpoolFile
from engine.upstream.bodies import SPOOL_PIECE_BYTES, close_body
from engine.upstream.provider_files import OutgoingFile, ProviderFiles

PURPOSE: Final = "batch"
_DOCUMENT_MAX_BYTES: Final = 64 * 1024
_NAME: Final = "batch.jsonl"
_TYPE: Final = "application/jsonl"


class RequestBatch:
    """Of one exchange; see `engine.request_files.RequestFiles`, whose place it takes."""

    late: Final = True

    def __init__(
        self, parts: Parts, batch: BatchInput, model: str, candidate: Candidate[Rates]
    ) -> None:
        self._parts = parts
        self._batch = batch
        self._model = model
        self._written_for = candidate
        self._written: WrittenBatch | None = None
        self._held: tuple[Candidate[Rates], str] | None = None

    async def write(self) -> WrittenBatch:
        """The file for the deployment that it is for now. Raises as `write_batch`."""
        self.drop()
        async with turns().take(self._batch.account_id):
            written = await write_batch(self._parts, self._batch, self._model, self._written_for)
        self._written = written
        return written

    async def put_in(self, call: Call, candidate: Candidate[Rates], *, translated: bool) -> Call:
        """The call for the deployment of a candidate, which has its file then.

        Raises:
            GatewayError: as `write_batch`, or the provider does not take it.
        """
        facts = call.batch
        assert facts is not None, "its file has been read"
        if self._held is None or not _is_same(self._held[0], candidate):
            self._held = None
            written = self._written
            if written is None or not _is_same(self._written_for, candidate):
                self._written_for = candidate
                written = await self.write()
            self._held = candidate, await self._send(written.file, candidate)
        return replace(call, batch=replace(facts, held=self._held[1]))

    async def _send(self, file: SpoolFile, candidate: Candidate[Rates]) -> str:
        provider = self._parts.providers[candidate.deployment.provider]
        codec = provider_codec(provider.protocol)
        files = ProviderFiles(self._parts.pool, provider, candidate.key, codec.read_error)
        outgoing = OutgoingFile(_NAME, _TYPE, file.size_bytes, lambda: _SpoolPieces(file), PURPOSE)
        return (await files.send(outgoing)).file_id

    def are_gone(self, held: Iterable[str], error: UpstreamError) -> bool:
        """It was sent for this request."""
        return False

    def fit(self, held: Iterable[str], before: Candidate[Rates], now: Candidate[Rates]) -> bool:
        """What one key was sent, others do not see."""
        return before.key == now.key

    def drop(self) -> None:
        """It is not needed any more, or will be written anew."""
        written, self._written = self._written, None
        if written is not None:
            written.close()


async def prepare_batch(
    parts: Parts, call: Call, choose: Choice, account_id: str
) -> tuple[Prepared, Call, RequestBatch]:
    """A batch for the first planned deployment that can be asked for it; nobody has been sent
    anything but files that its lines name.

    Raises:
        StoredFileNotFoundError: the account has no such file.
        BatchLineError: a line of it cannot be served.
        InvalidRequestError: it is no input file of a batch, or too large.
        OwnedLimitError: the account has as many things at providers as it may have.
        GatewayError: as `Choice`, `write_batch`.
    """
    if call.spooled is not None or len(call.body) > _DOCUMENT_MAX_BYTES:
        raise InvalidRequestError("The body of a batch is too large.")
    await parts.owners.check_room(account_id)
    asked = read_batch(load_request(call.body))
    row = await _file(parts, account_id, asked.input_file_id)
    batch = BatchInput(replace(call, body=b""), account_id, row, asked.endpoint)
    with parts.preliminaries.refused_at_end():
        model = await model_of(parts, batch)
        choose.for_batch()
        call = replace(call, batch=BatchFacts(model))
        try:
            return await _prepare_first(parts, call, choose, batch)
        except ModelNotFoundError as error:
            said = f"{error.message} The lines of the input file name it."
            raise ModelNotFoundError(said, param="input_file_id") from None
        except PinnedError as error:
            pin = error.pin
        choose.keep_to(pin)
        return await _prepare_first(parts, call, choose, batch)


async def _prepare_first(
    parts: Parts, call: Call, choose: Choice, batch: BatchInput
) -> tuple[Prepared, Call, RequestBatch]:
    assert call.batch is not None
    sketch = await parts.prepare(call, choose)
    close_body(sketch.body)
    unsaid = list(sketch.unsaid)
    refusals: list[GatewayError] = []
    for number, candidate in enumerate(choose.plan.candidates[sketch.target :], sketch.target):
        given = RequestBatch(parts, batch, call.batch.model, candidate)
        try:
            written = await given.write()
        except (BatchLineError, PinnedError):
            raise
        except (InvalidRequestError, UpstreamError) as error:
            refusals.append(error.with_traceback(None))
            unsaid.append(error.message)
            continue
        figures = written.figures
        choose.for_batch(figures.longest_input_tokens)
        facts = replace(
            call.batch,
            lines=figures.lines,
            input_tokens=figures.input_tokens,
            output_tokens=figures.output_tokens,
            pieces=dict(figures.pieces),
        )
        call = replace(call, batch=facts)
        try:
            prepared = await parts.prepare(call, choose, None, choose.plan.candidates[number])
        except BaseException:
            given.drop()
            raise
        named = (batch.row.file_id,)  # so the call is kept: another key is sent a file of its own
        return prepared._replace(target=number, unsaid=tuple(unsaid), held=named), call, given
    try:
        raise refusals[0]
    finally:
        del refusals  # which would hold this frame


async def _file(parts: Parts, account_id: str, file_id: str) -> FileRow:
    try:
        row = await parts.files.find(account_id, file_id)
    except StoredFileNotFoundError as error:
        error.param = "input_file_id"
        raise
    if row.purpose != PURPOSE:
        raise InvalidRequestError(
            f"The file was sent for the purpose '{row.purpose}'; send it for '{PURPOSE}'.",
            param="input_file_id",
        )
    return row


def _is_same(one: Candidate[Rates], other: Candidate[Rates]) -> bool:
    return (one.deployment.path, one.key) == (other.deployment.path, other.key)


class _SpoolPieces:
    """See `engine.upstream.provider_files.Pieces`."""

    def __init__(self, file: SpoolFile) -> None:
        self._file = file
        self._offset = 0

    def __aiter__(self) -> _SpoolPieces:
        return self

    async def __anext__(self) -> bytes:
        piece = await self._file.read(self._offset, SPOOL_PIECE_BYTES)
        if not piece:
            raise StopAsyncIteration
        self._offset += len(piece)
        return piece

    async def aclose(self) -> None:
        """Whoever it was made for closes the file."""
