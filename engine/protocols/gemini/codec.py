"""The codec: one object that delegates to the modules beside it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from urllib.parse import quote

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
from engine.protocols.fields import load_exact, load_json
from engine.protocols.gemini import (
    decode_request,
    encode_request,
    encoders,
    errors,
    requests,
)
from engine.protocols.gemini.answers import AnswerReader
from engine.protocols.gemini.decoders import GeminiDecoder, GeminiVerbatim
from engine.protocols.gemini.encoders import GeminiEncoder
from engine.protocols.gemini.signatures import PROTOCOL
from engine.protocols.quirks import PLAIN, Quirks

_METHODS = {"chat": "generateContent", "count_tokens": "countTokens"}


class GeminiCodec:
    """Implements `engine.protocols.codec.Codec`."""

    name: str = PROTOCOL
    heartbeat: bytes = b""
    request_id_headers: tuple[bytes, ...] = ()
    """Gemini says none."""
    field_names: Mapping[str, str] = errors.FIELD_NAMES

    def parse_request(self, call: Call) -> ClientRequest:
        """See `requests.parse_request`."""
        return requests.parse_request(call)

    def prompt_texts(self, request: ClientRequest) -> Iterator[str]:
        """All text of the prompt that becomes input tokens."""
        return requests.prompt_texts(request)

    def prompt_overhead_tokens(self, request: ClientRequest) -> int:
        """Input tokens beside the text."""
        return requests.prompt_overhead_tokens(request)

    def encode_verbatim(
        self,
        request: ClientRequest,
        upstream_model: str,
        output_limit: int | None,
        quirks: Quirks = PLAIN,
    ) -> bytes:
        """See `requests.encode_verbatim`."""
        return requests.encode_verbatim(request, upstream_model, output_limit, quirks)

    def decode_request(self, request: ClientRequest) -> Conversation:
        """The canonical form."""
        return decode_request.decode_request(request)

    def answered(self, request: ClientRequest) -> ClientRequest:
        """Nothing of the document."""
        return replace(request, document={})

    def encode_request(self, conversation: Conversation, target: UpstreamTarget) -> Encoded:
        """The body for Gemini."""
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
        """Method and model; `?alt=sse` asks for events, without it a stream is one array."""
        method = _METHODS.get(operation)
        if method is None:
            return None
        if stream and operation == "chat":
            method = "streamGenerateContent" + ("" if array else "?alt=sse")
        collection, _, name = requests.model_path(upstream_model).partition("/")
        return f"/{collection}/{quote(name, safe='')}:{method}"

    def provider_headers(
        self, sent: Sequence[tuple[bytes, bytes]] = (), quirks: Quirks = PLAIN
    ) -> list[tuple[bytes, bytes]]:
        """None: Gemini has no versions or betas in headers."""
        return []

    def open_decoder(self, *, end_marker: bool, quirks: Quirks = PLAIN) -> StreamDecoder:
        """For a stream to be translated."""
        return GeminiDecoder(end_marker=end_marker)

    def open_verbatim(
        self, request: ClientRequest, *, end_marker: bool, quirks: Quirks = PLAIN
    ) -> VerbatimDecoder:
        """For a stream that goes to a Gemini client."""
        return GeminiVerbatim(request, end_marker=end_marker)

    def open_encoder(self, request: ClientRequest, identity: Identity) -> StreamEncoder:
        """For a Gemini client."""
        return GeminiEncoder(request, identity)

    def stream_type(self, request: ClientRequest) -> bytes:
        """Of an event stream, or of one array."""
        return b"application/json" if request.array else b"text/event-stream"

    def decode_response(self, body: bytes, quirks: Quirks = PLAIN) -> Sequence[Event]:
        """A whole answer as its events."""
        document = load_exact(body) if b"functionCall" in body else load_json(body)
        if isinstance(document, list) and document:
            document = document[0]
        if not isinstance(document, dict):
            raise ValueError("the answer is not a JSON object")
        if document.get("error"):
            raise errors.read_error(200, body)
        return AnswerReader(whole=True).read(document)

    def encode_response(
        self, events: Sequence[Event], request: ClientRequest, identity: Identity
    ) -> bytes:
        """A whole answer for a Gemini client."""
        return encoders.encode_response(events, request, identity)

    def add_cost(self, ending: bytes, cost: ShownCost, request: ClientRequest) -> bytes:
        """In `usageMetadata`."""
        return add_cost(ending, cost, b"usageMetadata", depth=2 if request.array else 1)

    def encode_token_count(self, tokens: int) -> bytes:
        """The answer to `countTokens`."""
        return orjson.dumps({"totalTokens": tokens})

    def read_error(
        self, status: int, body: bytes, retry_after_s: float | None = None
    ) -> UpstreamRejectedError:
        """A provider's error answer, as any client may see it."""
        return errors.read_error(status, body, retry_after_s)

    def error_status(self, error: GatewayError) -> int:
        """The HTTP status that Gemini's clients expect of an error."""
        return errors.error_status(error)

    def encode_error(self, error: GatewayError, request_id: str | None = None) -> bytes:
        """An error in Gemini's shape."""
        return errors.encode_error(error, request_id)

    def encode_stream_error(self, error: GatewayError, *, array: bool = False) -> bytes:
        """The ending of a stream that has failed."""
        return errors.encode_stream_error(error, array=array)
