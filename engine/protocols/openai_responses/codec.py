"""OpenAI's responses as one codec; each direction in a module of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import orjson

from engine.conversation import Conversation
from engine.errors import GatewayError, UpstreamRejectedError
from engine.events import Call, Event, Operation
from engine.owned import Kept
from engine.protocols.codec import (
    ClientRequest,
    Encoded,
    Identity,
    StreamDecoder,
    StreamEncoder,
    UpstreamTarget,
    VerbatimDecoder,
)
from engine.protocols.costs import ShownCost, add_cost
from engine.protocols.fields import load_object
from engine.protocols.openai_responses import (
    counting,
    decode_request,
    decoders,
    encode_request,
    encoders,
    errors,
    parsing,
    response,
    unary,
)
from engine.protocols.openai_responses.kept import kept_of
from engine.protocols.openai_responses.marks import NAME
from engine.protocols.openai_responses.output import Output
from engine.protocols.openai_responses.tools import repeated_code
from engine.protocols.quirks import PLAIN, Quirks

_PATHS = {"chat": "/responses", "count_tokens": "/responses/input_tokens"}


class OpenAIResponsesCodec:
    """See `engine.protocols.codec.Codec`."""

    name = NAME
    heartbeat = b": keep-alive\n\n"
    request_id_headers: tuple[bytes, ...] = (b"x-request-id",)
    field_names: Mapping[str, str] = errors.FIELD_NAMES

    # requests

    def parse_request(self, call: Call) -> ClientRequest:
        """Parse and validate what the gateway relies on."""
        return parsing.parse_request(call)

    def prompt_texts(self, request: ClientRequest) -> Iterator[str]:
        """All text of the prompt that becomes input tokens."""
        return counting.prompt_texts(request)

    def prompt_overhead_tokens(self, request: ClientRequest) -> int:
        """Delimiters an item and the primer of the answer."""
        return counting.prompt_overhead_tokens(request)

    def encode_verbatim(
        self,
        request: ClientRequest,
        upstream_model: str,
        output_limit: int | None,
        quirks: Quirks = PLAIN,
    ) -> bytes:
        """The client's document for a provider of this protocol."""
        return parsing.encode_verbatim(request, upstream_model, output_limit)

    def decode_request(self, request: ClientRequest) -> Conversation:
        """The canonical form."""
        return decode_request.decode_request(request)

    def answered(self, request: ClientRequest) -> ClientRequest:
        """What an answer repeats."""
        return replace(request, document=response.repeated(request.document))

    def encode_request(self, conversation: Conversation, target: UpstreamTarget) -> Encoded:
        """The body for a provider of this protocol."""
        return encode_request.encode_request(conversation, target)

    def path(
        self,
        upstream_model: str,
        operation: Operation,
        *,
        stream: bool,
        array: bool,
        quirks: Quirks = PLAIN,
    ) -> str | None:
        """The model is in the body."""
        return _PATHS.get(operation)

    def provider_headers(
        self, sent: Sequence[tuple[bytes, bytes]] = (), quirks: Quirks = PLAIN
    ) -> list[tuple[bytes, bytes]]:
        """None: no header of a client's means anything to the operator's account."""
        return []

    # answers

    def open_decoder(self, *, end_marker: bool, quirks: Quirks = PLAIN) -> StreamDecoder:
        """For a stream to be translated."""
        return decoders.ResponsesDecoder(end_marker=end_marker)

    def open_encoder(self, request: ClientRequest, identity: Identity) -> StreamEncoder:
        """For a client of this protocol."""
        return encoders.ResponsesEncoder(request, identity)

    def open_verbatim(
        self, request: ClientRequest, *, end_marker: bool, quirks: Quirks = PLAIN
    ) -> VerbatimDecoder:
        """For a stream that goes to a client of this protocol."""
        repeated = repeated_code(request.refs)
        return decoders.ResponsesVerbatimDecoder(end_marker=end_marker, repeated=repeated)

    def stream_type(self, request: ClientRequest) -> bytes:
        """Server-sent events, as OpenAI says it here."""
        return b"text/event-stream; charset=utf-8"

    def decode_response(self, body: bytes, quirks: Quirks = PLAIN) -> Sequence[Event]:
        """A whole answer as its events."""
        return unary.decode_response(body)

    def decode_answer(self, body: bytes, request: ClientRequest) -> Sequence[Event]:
        """See `codec.ReadsByRequest`: code that goes on in a container is not charged again."""
        return unary.decode_response(body, repeated_code(request.refs))

    def kept_in(self, body: bytes) -> tuple[Kept, ...]:
        """What its provider keeps of a whole answer."""
        return kept_of(load_object(body))

    def encode_response(
        self, events: Sequence[Event], request: ClientRequest, identity: Identity
    ) -> bytes:
        """A whole answer for a client of this protocol."""
        return encoders.encode_response(events, request, identity)

    def add_cost(self, ending: bytes, cost: ShownCost, request: ClientRequest) -> bytes:
        """In `usage` of the response."""
        return add_cost(ending, cost, b"usage", depth=2 if request.stream else 1)

    def encode_token_count(self, tokens: int) -> bytes:
        """The answer to `count_tokens`."""
        return orjson.dumps({"object": "response.input_tokens", "input_tokens": tokens})

    # errors

    def read_error(
        self, status: int, body: bytes, retry_after_s: float | None = None
    ) -> UpstreamRejectedError:
        """A provider's error answer, as any client may see it."""
        return errors.read_error(status, body, retry_after_s)

    def error_status(self, error: GatewayError) -> int:
        """503 for Anthropic's 529, else its own."""
        return errors.error_status(error)

    def encode_error(self, error: GatewayError, request_id: str | None = None) -> bytes:
        """OpenAI's error object."""
        return errors.encode_error(error, request_id)

    def encode_stream_error(self, error: GatewayError, *, array: bool = False) -> bytes:
        """The ending of a stream of which nothing has gone out; else that of `FailsInPlace`."""
        return Output().fail(error)


CODEC = OpenAIResponsesCodec()
