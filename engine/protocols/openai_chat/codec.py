"""OpenAI chat completions as one codec; each direction in a module of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import orjson

from engine.conversation import Conversation
from engine.errors import GatewayError, UpstreamRejectedError
from engine.events import Call, Event, Operation
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
from engine.protocols.openai_chat import (
    counting,
    decode_request,
    decoders,
    encode_request,
    encoders,
    encoding,
    errors,
    parsing,
    unary,
)
from engine.protocols.openai_chat.calls import NAME
from engine.protocols.quirks import PLAIN, Quirks


class OpenAIChatCodec:
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
        """Delimiters a message and the primer of the answer."""
        return counting.prompt_overhead_tokens(request)

    def encode_verbatim(
        self,
        request: ClientRequest,
        upstream_model: str,
        output_limit: int | None,
        quirks: Quirks = PLAIN,
    ) -> bytes:
        """The client's document for a provider of this protocol."""
        return parsing.encode_verbatim(request, upstream_model, output_limit, quirks)

    def decode_request(self, request: ClientRequest) -> Conversation:
        """The canonical form."""
        return decode_request.decode_request(request)

    def answered(self, request: ClientRequest) -> ClientRequest:
        """Only whether calls are told in the old way."""
        legacy = {"functions": True} if encoding.wants_legacy(request) else {}
        return replace(request, document=legacy)

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
        """One path for all; tokens cannot be counted by request."""
        return "/chat/completions" if operation == "chat" else None

    def provider_headers(
        self, sent: Sequence[tuple[bytes, bytes]] = (), quirks: Quirks = PLAIN
    ) -> list[tuple[bytes, bytes]]:
        """None: no header of a client's means anything to the operator's account."""
        return []

    # answers

    def open_decoder(self, *, end_marker: bool, quirks: Quirks = PLAIN) -> StreamDecoder:
        """For a stream to be translated."""
        return decoders.ChatDecoder(end_marker=end_marker, quirks=quirks)

    def open_encoder(self, request: ClientRequest, identity: Identity) -> StreamEncoder:
        """For a client of this protocol."""
        return encoders.ChatEncoder(request, identity)

    def open_verbatim(
        self, request: ClientRequest, *, end_marker: bool, quirks: Quirks = PLAIN
    ) -> VerbatimDecoder:
        """For a stream that goes to a client of this protocol."""
        return decoders.ChatVerbatimDecoder(
            end_marker=end_marker,
            include_usage=request.include_usage,
            choices=request.choices,
            quirks=quirks,
        )

    def stream_type(self, request: ClientRequest) -> bytes:
        """Server-sent events."""
        return b"text/event-stream"

    def decode_response(self, body: bytes, quirks: Quirks = PLAIN) -> Sequence[Event]:
        """A whole answer as its events."""
        return unary.decode_response(body, quirks)

    def encode_response(
        self, events: Sequence[Event], request: ClientRequest, identity: Identity
    ) -> bytes:
        """A whole answer for a client of this protocol."""
        return unary.encode_response(events, request, identity)

    def add_cost(self, ending: bytes, cost: ShownCost, request: ClientRequest) -> bytes:
        """In `usage`."""
        return add_cost(ending, cost, b"usage")

    def encode_token_count(self, tokens: int) -> bytes:
        """This protocol has no such operation; the shape is that of its sibling, `responses`."""
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
        """An event with the error object, which the SDKs raise; no `[DONE]` follows."""
        return b"data: " + errors.encode_error(error) + b"\n\n"


CODEC = OpenAIChatCodec()
