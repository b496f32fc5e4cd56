"""The codec of `POST /v1/batches`: a job of many requests, in a file that was sent before.

Its provider gets a file that the gateway has made of its client's; the ids of files are the
gateway's for the one and the provider's for the other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from engine.demand import Demand
from engine.errors import InvalidRequestError
from engine.events import Call, Event, Finish, FinishReason, JobAccepted, Operation
from engine.file_ids import bare_file_id
from engine.job import JobAsk, JobReport
from engine.protocols.batches.endpoints import ENDPOINTS, Endpoint
from engine.protocols.batches.objects import batch_id, with_files
from engine.protocols.codec import ClientRequest
from engine.protocols.fields import load_object, load_request, write_json
from engine.protocols.openai_shared import read_error
from engine.protocols.operation import OperationCodec
from engine.protocols.quirks import PLAIN, Quirks

TIMEOUT_S: Final = 3 * 86_400.0
"""A batch is done within its window of a day, or has expired; nothing is known of it any more so
long after."""
_MEMBERS: Final = frozenset(
    {"input_file_id", "endpoint", "completion_window", "metadata", "output_expires_after"}
)


@dataclass(frozen=True, slots=True)
class BatchRequest:
    """What a client says of a batch.

    Attributes:
        input_file_id: bare.
    """

    input_file_id: str
    endpoint: Endpoint


def read_batch(document: Mapping[str, Any]) -> BatchRequest:
    """Raises InvalidRequestError."""
    if unknown := sorted(document.keys() - _MEMBERS):
        raise InvalidRequestError(f"Unknown parameter: '{unknown[0][:64]}'.", param=unknown[0][:64])
    written = document.get("input_file_id")
    if not isinstance(written, str) or not written:
        raise InvalidRequestError(
            "'input_file_id' must be the id of a file.", param="input_file_id"
        )
    endpoint = ENDPOINTS.get(str(document.get("endpoint")))
    if endpoint is None:
        known = ", ".join(f"'{path}'" for path in ENDPOINTS)
        raise InvalidRequestError(f"'endpoint' must be one of {known}.", param="endpoint")
    if not isinstance(document.get("completion_window"), str):
        raise InvalidRequestError("'completion_window' must be '24h'.", param="completion_window")
    return BatchRequest(bare_file_id(written) or written, endpoint)


class OpenAIBatchesCodec(OperationCodec):
    """See `engine.protocols.codec.ClientCodec`. A call's `batch` says what its file has in it."""

    name = "openai_batches"
    paths: Mapping[Operation, str] = {"batch": "/batches"}

    def parse_request(self, call: Call) -> ClientRequest:
        """Raises InvalidRequestError."""
        document = load_request(call.body)
        asked, facts = read_batch(document), call.batch
        assert facts is not None, "its file has been read"
        params = {
            "input_file_id": document["input_file_id"],
            "endpoint": asked.endpoint.path,
            "requests": facts.lines,
        }
        if facts.held is not None:
            document["input_file_id"] = facts.held
        return ClientRequest(
            protocol=self.name,
            model=facts.model,
            stream=False,
            include_usage=False,
            max_output_tokens=0,
            choices=1,
            operation=call.operation,
            document=document,
            demand=Demand(
                input_tokens=facts.input_tokens,
                output_tokens=facts.output_tokens,
                pieces=facts.pieces,
            ),
            job=JobAsk("batch", params, timeout_s=TIMEOUT_S),
            each=asked.endpoint.operation,
        )

    def encode_verbatim(
        self,
        request: ClientRequest,
        upstream_model: str,
        output_limit: int | None,
        quirks: Quirks = PLAIN,
    ) -> bytes:
        """The client's document with the provider's id of the file, which names the model."""
        return write_json(request.document)

    def decode_response(self, body: bytes, quirks: Quirks = PLAIN) -> Sequence[Event]:
        """Raises ValueError, UpstreamRejectedError."""
        document = load_object(body)
        if document.get("error"):
            raise read_error(200, body)
        return [
            JobAccepted(batch_id(document), JobReport("submitted")),
            Finish(FinishReason.STOP),
        ]

    def edit(self, body: bytes, events: Sequence[Event], request: ClientRequest) -> bytes:
        """The batch, with the client's id of its file."""
        assert request.job is not None, "it asks for one"
        return write_json(with_files(load_object(body), request.job.params))


CODEC: Final = OpenAIBatchesCodec()
