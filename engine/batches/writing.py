"""An input file as its provider is sent it: every line read, checked, and written anew.

One pass over the file, into one of the spool; no more of it is in memory than a line.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Final

from engine.batches.figures import BatchFigures
from engine.batches.lines import Lines
from engine.conversation import FileStandIn, FileUse
from engine.errors import (
    InvalidRequestError,
    NotFoundError,
    UnavailableError,
)
from engine.events import Call
from engine.file_choices import Recipient, UnsendableFileError
from engine.ledger.file_rows import FileRow, ProviderFile
from engine.metering.pricing import Rates
from engine.owned import HeldRef, Pin
from engine.owning import ElsewhereError
from engine.parsing.jobs import (
    Encode,
    FilesNamedError,
    HeldNamedError,
    Prepared,
    Target,
    target_of,
)
from engine.parts import Parts
from engine.protocols.batches.endpoints import Endpoint
from engine.protocols.batches.requests import (
    FILE_MAX_BYTES,
    LINE_MAX_BYTES,
    LINES_MAX,
    BatchLine,
    BatchLineError,
    read_line,
    write_line,
)
from engine.protocols.registry import client_codec
from engine.referring import Room
from engine.routing.values import Asked, Candidate
from engine.spool import SpoolError, SpoolFile
from engine.wire.lines import Line

_PART_BYTES: Final = 256 * 1024
"""Written to the spool at a time."""
_FILES_MAX: Final = 200
"""That all lines together may name."""
_DIGEST_BYTES: Final = 16
_RETRY_AFTER_S: Final = 5.0


class PinnedError(ElsewhereError):
    """A line names what another provider, or another key of it, has: that one is to be asked, for
    all of the batch."""

    def __init__(self, pin: Pin) -> None:
        super().__init__(
            "What lines of the input file name by id is not in one place, or is with a provider "
            "that does not serve the model. Make it anew, together.",
            param="input_file_id",
        )
        self.pin = pin


@dataclass(frozen=True, slots=True)
class BatchInput:
    """The input file of a batch.

    Attributes:
        call: whose it is; its lines are calls of the same client.
    """

    call: Call
    account_id: str
    row: FileRow
    endpoint: Endpoint


async def model_of(parts: Parts, batch: BatchInput) -> str:
    """The model that the first line names, as all others have to.

    Raises:
        BatchLineError: it cannot be read.
        InvalidRequestError: there is none.
        GatewayError: as `FileStore.pieces`.
    """
    if batch.row.size_bytes > FILE_MAX_BYTES:
        raise _too_large()
    number = 0
    async with aclosing(parts.files.pieces(batch.row)) as pieces:
        async for line in Lines(pieces, LINE_MAX_BYTES):
            number += 1
            if (request := _request(line, number, batch.endpoint)) is not None:
                return request.model
    raise _empty()


class WrittenBatch:
    """An input file as it goes to one deployment; made by `write_batch`, and closed by whoever it
    was made for.

    Attributes:
        copies: of the files that its lines name.
    """

    def __init__(self, file: SpoolFile, figures: BatchFigures) -> None:
        self.file = file
        self.figures = figures
        self.copies: dict[str, ProviderFile] = {}

    def close(self) -> None:
        """Nobody sends it any more. Again and again, if need be."""
        self.file.close()


async def write_batch(
    parts: Parts, batch: BatchInput, model: str, candidate: Candidate[Rates]
) -> WrittenBatch:
    """The file for the deployment of a candidate, which serves `model`.

    Raises:
        BatchLineError: a line cannot be served.
        PinnedError: a line has to be served by somebody else.
        InvalidRequestError: the file is too large, or empty.
        UnavailableError: there is no room now.
        GatewayError: as `FileStore.pieces`, `ParsingPool.do`, `Referring.give`.
    """
    writer = _Writer(parts, batch, model, candidate)
    try:
        await writer.write()
    except SpoolError as error:
        writer.written.close()
        raise _no_room() from error
    except BaseException:
        writer.written.close()
        raise
    return writer.written


class _Writer:
    def __init__(
        self, parts: Parts, batch: BatchInput, model: str, candidate: Candidate[Rates]
    ) -> None:
        deployment, endpoint = candidate.deployment, batch.endpoint
        provider = parts.providers[deployment.provider]
        client = client_codec(endpoint.protocol, endpoint.operation).name
        self._parts = parts
        self._batch = batch
        self._model = model
        self._target = _verbatim(target_of(client, deployment, provider), client, endpoint)
        self._recipient = Recipient(provider, candidate.key, client)
        self._files: dict[str, FileStandIn] = {}
        self._seen: set[bytes] = set()
        try:
            file = parts.spool.open()
        except SpoolError as error:
            raise _no_room() from error
        self.written = WrittenBatch(file, BatchFigures(parts.config.billing.output_unary_tokens))

    async def write(self) -> None:
        """All of it."""
        endpoint, number = self._batch.endpoint, 0
        waiting: list[bytes] = []
        waiting_bytes = 0
        async with aclosing(self._parts.files.pieces(self._batch.row)) as pieces:
            async for line in Lines(pieces, LINE_MAX_BYTES):
                number += 1
                if (request := _request(line, number, endpoint)) is None:
                    continue
                data = await self._line(request)
                waiting.append(data)
                waiting_bytes += len(data)
                if waiting_bytes >= _PART_BYTES:
                    await self._append(waiting)
                    waiting, waiting_bytes = [], 0
        if not self.written.figures.lines:
            raise _empty()
        await self._append(waiting)

    async def _append(self, parts: list[bytes]) -> None:
        await self.written.file.append(parts)
        if self.written.file.size_bytes > FILE_MAX_BYTES:
            raise _too_large()

    async def _line(self, line: BatchLine) -> bytes:
        if self.written.figures.lines >= LINES_MAX:
            raise BatchLineError(
                line.number, f"a batch has {LINES_MAX:,} requests at most.", "too_many_requests"
            )
        digest = blake2b(line.custom_id.encode(), digest_size=_DIGEST_BYTES).digest()
        if digest in self._seen:
            raise BatchLineError(
                line.number, "its 'custom_id' is that of another line.", "duplicate_custom_id"
            )
        self._seen.add(digest)
        if line.model != self._model:
            raise BatchLineError(
                line.number,
                f"it names another model than the first line, '{self._model}'.",
                "mismatched_model",
            )
        try:
            prepared = await self._prepare(line)
        except (BatchLineError, PinnedError):
            raise
        except (InvalidRequestError, NotFoundError) as error:
            where = "" if error.param is None else f" ('body.{error.param}')"
            raise BatchLineError(line.number, f"{error.message}{where}", error.code) from None
        assert isinstance(prepared.body, bytes), "it is wanted in memory"
        self.written.figures.add(prepared)
        return write_line(line, self._batch.endpoint.path, prepared.body)

    async def _prepare(self, line: BatchLine) -> Prepared:
        """Raises FilesNamedError where a file has gone meanwhile; and as `ParsingPool.do`."""
        endpoint, request_id = self._batch.endpoint, self._batch.call.request_id
        call = Call(line.body, None, endpoint.protocol, endpoint.operation, request_id=request_id)
        room = Room(self._parts.referring)
        try:
            for _ in range(2):
                try:
                    return await self._encode(call)
                except HeldNamedError as error:
                    call = await self._admitted(call, error.refs)
                except FilesNamedError as error:
                    files = await self._given(line, error.uses, room)
                    call = replace(call, files=files)
            return await self._encode(call)
        finally:
            room.close()

    async def _admitted(self, call: Call, refs: Sequence[HeldRef]) -> Call:
        """The call of a line that may name what it does. Raises NotFoundError, PinnedError."""
        call, pin, _ = await self._parts.owners.admit(self._batch.account_id, call, refs)
        provider, key, _ = self._recipient
        if pin is not None and pin != Pin(provider.name, provider.credential_id(key)):
            raise PinnedError(pin)
        return call

    async def _encode(self, call: Call) -> Prepared:
        def ask(_: Asked) -> Encode:
            return Encode((self._target,), in_memory=True)

        prepared = await self._parts.parsing.do(call, ask)
        assert isinstance(prepared, Prepared), "it was asked for"
        if prepared.request.thoughts:
            await self._parts.owners.find(self._batch.account_id, prepared.request.thoughts)
        return prepared

    async def _given(
        self, line: BatchLine, uses: Sequence[FileUse], room: Room
    ) -> Mapping[str, FileStandIn]:
        """What stands for the files of a line: copies at the provider, where it takes them so, for
        they may stand in many lines."""
        found = {
            use.written: self._files[use.written] for use in uses if use.written in self._files
        }
        missing = [use for use in uses if use.written not in found]
        if not missing:
            return found
        if len(self._files) + len(missing) > _FILES_MAX:
            raise BatchLineError(
                line.number, f"all lines can name {_FILES_MAX} files.", "too_many_files"
            )
        referring, config = self._parts.referring, self._parts.config.files
        named = await referring.look_up(missing, self._batch.account_id)
        copied = replace(config, inline_max_bytes=0, inline_total_max_bytes=0)
        try:
            given = await referring.give(named, self._recipient, copied, room)
        except UnsendableFileError:
            given = await referring.give(named, self._recipient, config, room)
        self._files |= {each: file for each, file in given.files.items() if file.held is not None}
        self.written.copies |= {copy.file_id: copy for copy in given.copies}
        return {**found, **given.files}


def _request(line: Line, number: int, endpoint: Endpoint) -> BatchLine | None:
    """What a line asks for; None: it is blank. Raises BatchLineError."""
    if not line.whole:
        raise BatchLineError(
            number, f"it has more than {LINE_MAX_BYTES:,} bytes.", "line_too_large"
        )
    if not line.data.strip():
        return None
    request = read_line(line.data, number, endpoint.path)
    model = request.model or endpoint.model
    if not model:
        raise BatchLineError(number, "'body.model' is missing.", "missing_model")
    return replace(request, model=model)


def _verbatim(target: Target, client: str, endpoint: Endpoint) -> Target:
    """Raises InvalidRequestError: the provider has nothing at the endpoint."""
    if target.spoken != client:
        raise InvalidRequestError(
            f"The provider of this model takes no batches for '{endpoint.path}'.", param="endpoint"
        )
    return target


def _empty() -> InvalidRequestError:
    return InvalidRequestError("The input file has no requests.", param="input_file_id")


def _too_large() -> InvalidRequestError:
    return InvalidRequestError(
        f"The input file of a batch can have {FILE_MAX_BYTES:,} bytes.", param="input_file_id"
    )


def _no_room() -> UnavailableError:
    return UnavailableError("The gateway cannot store the batch now.", retry_after_s=_RETRY_AFTER_S)
