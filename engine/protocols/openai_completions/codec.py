"""OpenAI's legacy completions as one codec."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import orjson

from engine.conversation import Conversation
from engine.events import Call, Event, Operation
from engine.protocols.codec import ClientRequest, Identity, StreamEncoder, VerbatimDecoder
from engine.protocols.openai_completions import answers, requests, streams
from engine.protocols.operation import OperationCodec
from engine.protocols.quirks import PLAIN, Quirks


class OpenAICompletionsCodec(OperationCodec):
    """See `engine.protocols.codec.ClientCodec`."""

    name = requests.NAME
    heartbeat = b": keep-alive\n\n"
    field_names: Mapping[str, str] = {
        "turns": "prompt",
        "choices": "n",
        "max_output_tokens": "max_tokens",
        "top_logprobs": "logprobs",
        "end_user": "user",
    }

    # requests

    def parse_request(self, call: Call) -> ClientRequest:
        """Parse and validate what the gateway relies on."""
        return requests.parse_request(call)

    def prompt_texts(self, request: ClientRequest) -> Iterator[str]:
        """All text of the prompt that becomes input tokens."""
        return requests.prompt_texts(request)

    def prompt_overhead_tokens(self, request: ClientRequest) -> int:
        """Input that comes as tokens."""
        return requests.prompt_overhead_tokens(request)

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
        """The canonical form."""
        return requests.decode_request(request)

    def answered(self, request: ClientRequest) -> ClientRequest:
        """How many answers there are."""
        return requests.without_prompts(request)

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
        return "/completions" if operation == "chat" else None

    # answers

    def open_verbatim(
        self, request: ClientRequest, *, end_marker: bool, quirks: Quirks = PLAIN
    ) -> VerbatimDecoder:
        """For a stream that goes to a client of this protocol."""
        return streams.CompletionsVerbatimDecoder(request, end_marker=end_marker, quirks=quirks)

    def open_encoder(self, request: ClientRequest, identity: Identity) -> StreamEncoder:
        """For a client of this protocol."""
        return streams.CompletionsEncoder(request, identity)

    def decode_response(self, body: bytes, quirks: Quirks = PLAIN) -> Sequence[Event]:
        """A whole answer as its events."""
        return answers.decode_response(body, quirks)

    def encode_response(
        self, events: Sequence[Event], request: ClientRequest, identity: Identity
    ) -> bytes:
        """A whole answer for a client of this protocol."""
        return answers.encode_response(events, request, identity)

    def encode_token_count(self, tokens: int) -> bytes:
        """As OpenAI's newer endpoint has it: this protocol has none of its own."""
        return orjson.dumps({"object": "response.input_tokens", "input_tokens": tokens})


CODEC = OpenAICompletionsCodec()
