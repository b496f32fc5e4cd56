"""The provider's side as a codec: what is sent to ask for a job, and what is said to that.

There is one for each kind of job. Whatever protocol a provider speaks else, its `Quirks.jobs` say
how it is spoken to here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from engine.conversation import Conversation
from engine.events import Call, Event, Finish, FinishReason, JobAccepted, Operation
from engine.job import MadeKind
from engine.protocols.codec import ClientRequest, Encoded, StreamDecoder, UpstreamTarget
from engine.protocols.fields import load_object
from engine.protocols.jobs.paths import submit_path
from engine.protocols.jobs.places import value_at
from engine.protocols.jobs.reports import id_of, report_of
from engine.protocols.jobs.submits import encode_submit
from engine.protocols.openai_shared import read_error
from engine.protocols.operation import OperationCodec
from engine.protocols.quirks import PLAIN, Quirks


class MediaJobsCodec(OperationCodec):
    """See `engine.protocols.codec.RequestCodec`; nobody is its client."""

    def __init__(self, kind: MadeKind) -> None:
        self.kind: MadeKind = kind
        self.name = f"{kind}_jobs"

    def parse_request(self, call: Call) -> ClientRequest:
        """Nobody's requests come so."""
        raise AssertionError(f"{self.name} has no clients")

    def path(
        self,
        upstream_model: str,
        operation: Operation,
        *,
        stream: bool,
        array: bool,
        quirks: Quirks = PLAIN,
    ) -> str | None:
        """Of the submit; None: the provider makes no such thing."""
        spec = quirks.jobs.get(self.kind)
        return None if spec is None else submit_path(spec, upstream_model)

    def encode_request(self, conversation: Conversation, target: UpstreamTarget) -> Encoded:
        """See `submits.encode_submit`. Raises InexpressibleError, InvalidRequestError."""
        return encode_submit(self.kind, conversation, target)

    def open_decoder(self, *, end_marker: bool, quirks: Quirks = PLAIN) -> StreamDecoder:
        """None asks for a stream."""
        raise AssertionError(f"{self.name} has no streams")

    def decode_response(self, body: bytes, quirks: Quirks = PLAIN) -> Sequence[Event]:
        """The ticket.

        Raises:
            ValueError: it names no job.
            UpstreamRejectedError: it is an error all the same.
        """
        spec = quirks.jobs[self.kind]
        document = load_object(body)
        if document.get("error") and value_at(document, spec.id) is None:
            raise read_error(200, body)
        provider_job_id = id_of(spec, document)
        report = report_of(spec, document, provider_job_id)
        return [JobAccepted(provider_job_id, report), Finish(FinishReason.STOP)]


VIDEO: Final = MediaJobsCodec("video")
MUSIC: Final = MediaJobsCodec("music")
