"""The codec of `POST /v1/fine_tuning/jobs`: a job that trains a model on files sent before.

What is trained is paid by the token, all epochs of it: a model without such a price, or a method
that is paid by the hour, is not trained here. Nothing goes to others by the operator's accounts
there (`integrations`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from engine.demand import Demand
from engine.errors import InvalidRequestError
from engine.events import Call, Event, Finish, FinishReason, JobAccepted, Operation
from engine.job import JobAsk, JobReport
from engine.protocols.codec import ClientRequest
from engine.protocols.fields import dict_of, load_object, load_request, text_of, write_json
from engine.protocols.fine_tuning.objects import FILES, shown_tuning, tuning_id
from engine.protocols.openai_shared import read_error
from engine.protocols.operation import OperationCodec, model_of
from engine.protocols.quirks import PLAIN, Quirks

TIMEOUT_S: Final = 30 * 86_400.0
"""A job may be paused, and is not waited for any longer."""
METHODS: Final = ("supervised", "dpo")
"""Those that are paid by the token."""
BYTES_A_TOKEN: Final = 2
"""A file has fewer tokens than this says: it is JSON, of which a part is not trained. Were there
more, they are the house's."""
AUTO_EPOCHS: Final = 6
"""That are held for where the provider chooses: mostly three, more of a file that is small."""
EPOCHS_MAX: Final = 50
_MEMBERS: Final = frozenset(
    {
        "model", "training_file", "validation_file", "hyperparameters", "method", "suffix", "seed",
        "metadata",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class TuningRequest:
    """What a client says of a job.

    Attributes:
        files: as written, by the member that names them.
        epochs: at most, as far as anybody knows.
    """

    model: str
    files: Mapping[str, str]
    epochs: int


def read_tuning(document: Mapping[str, Any]) -> TuningRequest:
    """Raises InvalidRequestError."""
    if document.get("integrations"):
        raise InvalidRequestError(
            "'integrations' are not offered here: they go by the operator's accounts.",
            param="integrations",
        )
    if unknown := sorted(document.keys() - _MEMBERS - {"integrations"}):
        raise InvalidRequestError(f"Unknown parameter: '{unknown[0][:64]}'.", param=unknown[0][:64])
    files = {}
    for name in FILES:
        written = document.get(name)
        if written is None and name != "training_file":
            continue
        if not isinstance(written, str) or not written:
            raise InvalidRequestError(f"'{name}' must be the id of a file.", param=name)
        files[name] = written
    return TuningRequest(model_of(document), files, _epochs(document))


def _epochs(document: Mapping[str, Any]) -> int:
    method = dict_of(document.get("method"))
    kind = text_of(method.get("type")) or METHODS[0]
    if kind not in METHODS:
        known = ", ".join(f"'{each}'" for each in METHODS)
        raise InvalidRequestError(f"'method.type' must be one of {known}.", param="method.type")
    inner = dict_of(dict_of(method.get(kind)).get("hyperparameters"))
    found = AUTO_EPOCHS
    for each in (dict_of(document.get("hyperparameters")), inner):
        epochs = each.get("n_epochs")
        if epochs in (None, "auto"):
            continue
        if type(epochs) is not int or not 1 <= epochs <= EPOCHS_MAX:
            raise InvalidRequestError(
                f"'n_epochs' must be 'auto' or a number from 1 to {EPOCHS_MAX}.", param="n_epochs"
            )
        found = epochs
    return found


class FineTuningCodec(OperationCodec):
    """See `engine.protocols.codec.ClientCodec`. A call's `tuning` says what its files are."""

    name = "openai_fine_tuning"
    paths: Mapping[Operation, str] = {"fine_tune": "/fine_tuning/jobs"}

    def parse_request(self, call: Call) -> ClientRequest:
        """Raises InvalidRequestError."""
        document = load_request(call.body)
        asked, facts = read_tuning(document), call.tuning
        assert facts is not None, "its files have been looked up"
        document.pop("integrations", None)
        document |= {
            name: facts.held.get(written, written) for name, written in asked.files.items()
        }
        tokens = -(-facts.training_bytes // BYTES_A_TOKEN) * asked.epochs
        return ClientRequest(
            protocol=self.name,
            model=asked.model,
            stream=False,
            include_usage=False,
            max_output_tokens=0,
            choices=1,
            operation=call.operation,
            document=document,
            demand=Demand(pieces={"trained_tokens": tokens}),
            job=JobAsk("fine_tune", dict(asked.files), timeout_s=TIMEOUT_S),
        )

    def encode_verbatim(
        self,
        request: ClientRequest,
        upstream_model: str,
        output_limit: int | None,
        quirks: Quirks = PLAIN,
    ) -> bytes:
        """The client's document with the provider's names of the model and the files."""
        return write_json({**request.document, "model": upstream_model})

    def decode_response(self, body: bytes, quirks: Quirks = PLAIN) -> Sequence[Event]:
        """Raises ValueError, UpstreamRejectedError."""
        document = load_object(body)
        error = document.get("error")
        if isinstance(error, dict) and error.get("message") and "status" not in document:
            raise read_error(200, body)
        return [
            JobAccepted(tuning_id(document), JobReport("submitted")),
            Finish(FinishReason.STOP),
        ]

    def edit(self, body: bytes, events: Sequence[Event], request: ClientRequest) -> bytes:
        """The job, with the client's names of its model and its files."""
        assert request.job is not None, "it asks for one"
        return write_json(shown_tuning(load_object(body), request.model, request.job.params))


CODEC: Final = FineTuningCodec()
