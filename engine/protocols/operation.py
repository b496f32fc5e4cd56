"""What the codecs of OpenAI's endpoints beside its two chats share: one codec an endpoint.

Such a request names a model in a JSON document, or in a form, and is answered at once or in pieces;
its errors are OpenAI's. A codec says what is particular: what the gateway relies on, what a request
consumes, how an answer is read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from engine.conversation import Conversation
from engine.errors import GatewayError, InvalidRequestError, UpstreamRejectedError
from engine.events import Event, Operation
from engine.protocols import openai_shared
from engine.protocols.codec import (
    ClientRequest,
    Identity,
    InexpressibleError,
    StreamEncoder,
    VerbatimDecoder,
)
from engine.protocols.costs import ShownCost, add_cost
from engine.protocols.fields import write_json
from engine.protocols.quirks import PLAIN, Quirks
from engine.protocols.uploads import write_upload


def model_of(document: Mapping[str, Any]) -> str:
    """The model that a document names; raises InvalidRequestError."""
    model = document.get("model")
    if not isinstance(model, str) or not model:
        raise InvalidRequestError("You must provide a model parameter.", param="model")
    return model


class OperationCodec:
    """See `engine.protocols.codec.ClientCodec`; to be completed with `name`, `paths`,
    `parse_request` and `decode_response`.

    Attributes:
        paths: behind a provider's base URL, by operation.
    """

    name: str
    heartbeat = b""
    request_id_headers: tuple[bytes, ...] = (b"x-request-id",)
    field_names: Mapping[str, str] = {}
    paths: Mapping[Operation, str] = {}

    # requests

    def prompt_texts(self, request: ClientRequest) -> Iterator[str]:
        """None, where nothing is counted."""
        return iter(())

    def prompt_overhead_tokens(self, request: ClientRequest) -> int:
        """None."""
        return 0

    def encode_verbatim(
        self,
        request: ClientRequest,
        upstream_model: str,
        output_limit: int | None,
        quirks: Quirks = PLAIN,
    ) -> bytes:
        """The client's document, or form, with the provider's name of the model."""
        if request.form is not None:
            return write_upload(request, upstream_model)
        return write_json({**request.document, "model": upstream_model})

    def decode_request(self, request: ClientRequest) -> Conversation:
        """No other protocol has such an operation. Raises InexpressibleError."""
        raise InexpressibleError(
            "model", "The provider of this model has no such operation; choose another model."
        )

    def split(self, request: ClientRequest, inputs_max: int) -> Sequence[ClientRequest]:
        """As several requests, of so many inputs at most, in order; itself, where it has no
        inputs that can be asked for apart."""
        return (request,)

    def answered(self, request: ClientRequest) -> ClientRequest:
        """Nothing of the document matters to the answer."""
        return replace(request, document={}, form=None)

    def path(
        self,
        upstream_model: str,
        operation: Operation,
        *,
        stream: bool,
        array: bool,
        quirks: Quirks = PLAIN,
    ) -> str | None:
        """By the operation alone."""
        return self.paths.get(operation)

    def provider_headers(
        self, sent: Sequence[tuple[bytes, bytes]] = (), quirks: Quirks = PLAIN
    ) -> list[tuple[bytes, bytes]]:
        """None: no header of a client's means anything to the operator's account."""
        return []

    # answers

    def open_verbatim(
        self, request: ClientRequest, *, end_marker: bool, quirks: Quirks = PLAIN
    ) -> VerbatimDecoder:
        """For operations that are answered in pieces."""
        raise AssertionError(f"{self.name} has no streams")

    def open_encoder(self, request: ClientRequest, identity: Identity) -> StreamEncoder:
        """For operations that are answered in pieces."""
        raise AssertionError(f"{self.name} has no streams")

    def stream_type(self, request: ClientRequest) -> bytes:
        """Server-sent events."""
        return b"text/event-stream; charset=utf-8"

    def skim_response(self, body: bytes, quirks: Quirks = PLAIN) -> Sequence[Event]:
        """As `decode_response`, but for what is generated: for an answer that goes through
        verbatim, and may be tens of megabytes that the gateway wants a line of."""
        return self.decode_response(body, quirks)

    def encode_response(
        self, events: Sequence[Event], request: ClientRequest, identity: Identity
    ) -> bytes:
        """For operations that other protocols have too."""
        raise AssertionError(f"{self.name} is answered by its own kind only")

    def items_of(self, body: bytes, inputs: int, before: int) -> bytes:
        """Of an answer to one of the requests that `split` has made, for the client: what is there
        of its `inputs`, as the inside of a list, with `before` others in front. Raises ValueError:
        it is not of so many."""
        raise AssertionError(f"{self.name} has no requests that are split")

    def joined(self, items: Sequence[bytes], last: bytes) -> bytes:
        """The answer to all of them, without usage; `last` is that to the last one."""
        raise AssertionError(f"{self.name} has no requests that are split")

    def add_usage(self, body: bytes, usage: Mapping[str, int]) -> bytes:
        """A whole answer that was made of another protocol's, with the `usage` that is billed (its
        units by name), where it says none itself."""
        return body

    def add_cost(self, ending: bytes, cost: ShownCost, request: ClientRequest) -> bytes:
        """In `usage`, where the answer has one."""
        return ending if request.answer_type is not None else add_cost(ending, cost, b"usage")

    def decode_response(self, body: bytes, quirks: Quirks = PLAIN) -> Sequence[Event]:
        """Raises ValueError, UpstreamRejectedError."""
        raise AssertionError(f"{self.name} reads its own answers")

    # errors

    def read_error(
        self, status: int, body: bytes, retry_after_s: float | None = None
    ) -> UpstreamRejectedError:
        """A provider's error answer, as any client may see it."""
        return openai_shared.read_error(status, body, retry_after_s)

    def error_status(self, error: GatewayError) -> int:
        """503 for Anthropic's 529, else its own."""
        return openai_shared.error_status(error)

    def encode_error(self, error: GatewayError, request_id: str | None = None) -> bytes:
        """OpenAI's error object."""
        return openai_shared.encode_error(error, self.field_names)

    def encode_stream_error(self, error: GatewayError, *, array: bool = False) -> bytes:
        """An event with the error object, which the SDKs raise."""
        return b"data: " + self.encode_error(error) + b"\n\n"
