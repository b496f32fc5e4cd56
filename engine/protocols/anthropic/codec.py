"""The codec: its modules behind the interface of `engine.protocols.codec`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import orjson

from engine.conversation import Conversation
from engine.errors import GatewayError, UpstreamRejectedError
from engine.events import Call, Event, Operation
from engine.protocols.anthropic import decoding, encoders, encoding, errors, requests
from engine.protocols.anthropic.answers import read_message
from engine.protocols.anthropic.framing import framing_of
from engine.protocols.anthropic.hosting import ENVELOPES
from engine.protocols.anthropic.marks import PROTOCOL
from engine.protocols.anthropic.streams import AnthropicDecoder
from engine.protocols.anthropic.verbatim import VerbatimAnthropic
from engine.protocols.codec import ClientRequest, Encoded, Identity, UpstreamTarget
from engine.protocols.costs import ShownCost, add_cost
from engine.protocols.quirks import PLAIN, Quirks

_VERSION = b"2023-06-01"
_PATHS = {"chat": "/messages", "count_tokens": "/messages/count_tokens"}


class AnthropicCodec:
    """Anthropic's Messages API."""

    name = PROTOCOL
    heartbeat = b": keep-alive\n\n"
    request_id_headers: tuple[bytes, ...] = (b"request-id", b"x-amzn-requestid")
    field_names: Mapping[str, str] = encoding.FIELD_NAMES

    def parse_request(self, call: Call) -> ClientRequest:
        """A client's request."""
        return requests.parse_request(call)

    def prompt_texts(self, request: ClientRequest) -> Iterator[str]:
        """All text of the prompt."""
        return requests.prompt_texts(request.document)

    def prompt_overhead_tokens(self, request: ClientRequest) -> int:
        """Input tokens beside the text."""
        return requests.prompt_overhead_tokens(request.document)

    def encode_verbatim(
        self,
        request: ClientRequest,
        upstream_model: str,
        output_limit: int | None,
        quirks: Quirks = PLAIN,
    ) -> bytes:
        """The client's document for a provider of this protocol."""
        return requests.encode_verbatim(request, upstream_model, output_limit, quirks)

    def decode_request(self, request: ClientRequest) -> Conversation:
        """The canonical form of a client's request."""
        return decoding.decode_request(request.document)

    def answered(self, request: ClientRequest) -> ClientRequest:
        """Nothing of the document."""
        return replace(request, document={})

    def encode_request(self, conversation: Conversation, target: UpstreamTarget) -> Encoded:
        """The body for a provider of this protocol."""
        return encoding.encode_request(conversation, target)

    def path(
        self,
        upstream_model: str,
        operation: Operation,
        *,
        stream: bool,
        array: bool,
        quirks: Quirks = PLAIN,
    ) -> str | None:
        """Behind a base URL that ends in `/v1`, the model in the body; a cloud's own."""
        if quirks.hosting is not None:
            return ENVELOPES[quirks.hosting].path(upstream_model, operation, stream=stream)
        return _PATHS.get(operation)

    def provider_headers(
        self, sent: Sequence[tuple[bytes, bytes]] = (), quirks: Quirks = PLAIN
    ) -> list[tuple[bytes, bytes]]:
        """The version and the betas that the client asked for, where they stand in headers."""
        envelope = None if quirks.hosting is None else ENVELOPES[quirks.hosting]
        headers = []
        if envelope is None:
            versions = [value for name, value in sent if name == b"anthropic-version"]
            headers.append((b"anthropic-version", versions[-1] if versions else _VERSION))
        betas = [value for name, value in sent if name == b"anthropic-beta"]
        if betas and (envelope is None or envelope.betas == "header"):
            headers.append((b"anthropic-beta", b",".join(betas)))
        return headers

    def open_decoder(self, *, end_marker: bool, quirks: Quirks = PLAIN) -> AnthropicDecoder:
        """For a stream to be translated."""
        return AnthropicDecoder(framing_of(quirks), end_marker=end_marker)

    def open_verbatim(
        self, request: ClientRequest, *, end_marker: bool, quirks: Quirks = PLAIN
    ) -> VerbatimAnthropic:
        """For a stream to a client of this protocol."""
        return VerbatimAnthropic(request, framing_of(quirks), end_marker=end_marker)

    def open_encoder(self, request: ClientRequest, identity: Identity) -> encoders.AnthropicEncoder:
        """For a client of this protocol."""
        return encoders.AnthropicEncoder(identity)

    def stream_type(self, request: ClientRequest) -> bytes:
        """As Anthropic says it."""
        return b"text/event-stream; charset=utf-8"

    def decode_response(self, body: bytes, quirks: Quirks = PLAIN) -> Sequence[Event]:
        """A whole message as its events."""
        return read_message(body)

    def encode_response(
        self, events: Sequence[Event], request: ClientRequest, identity: Identity
    ) -> bytes:
        """A whole message for a client."""
        return encoders.encode_message(events, identity)

    def add_cost(self, ending: bytes, cost: ShownCost, request: ClientRequest) -> bytes:
        """In `usage` of the message, or of `message_delta`."""
        return add_cost(ending, cost, b"usage")

    def encode_token_count(self, tokens: int) -> bytes:
        """The answer to `count_tokens`."""
        return orjson.dumps({"input_tokens": tokens})

    def read_error(
        self, status: int, body: bytes, retry_after_s: float | None = None
    ) -> UpstreamRejectedError:
        """A provider's error answer."""
        return errors.read_error(status, body, retry_after_s)

    def error_status(self, error: GatewayError) -> int:
        """The HTTP status for this protocol's clients."""
        return errors.error_status(error)

    def encode_error(self, error: GatewayError, request_id: str | None = None) -> bytes:
        """An error answer."""
        return errors.encode_error(error, request_id)

    def encode_stream_error(self, error: GatewayError, *, array: bool = False) -> bytes:
        """The ending of a stream that failed."""
        return errors.encode_stream_error(error)


CODEC = AnthropicCodec()
