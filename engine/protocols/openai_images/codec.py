"""The codec: one object that delegates to the modules beside it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

from engine.conversation import Conversation
from engine.errors import UpstreamError
from engine.events import Call, Event, Operation, UsageReport
from engine.media_params import check_params, media_params_schema
from engine.protocols.codec import (
    ClientRequest,
    Encoded,
    Identity,
    StreamDecoder,
    StreamEncoder,
    UpstreamTarget,
    VerbatimDecoder,
)
from engine.protocols.openai_images import answers, conversing, drawing, encoders, requests
from engine.protocols.openai_images.streams import ImagesDecoder
from engine.protocols.operation import OperationCodec
from engine.protocols.quirks import PLAIN, Quirks

_ANSWERED: Final = frozenset({"response_format", "stream"})
"""What of a document its answer is made with."""


class OpenAIImagesCodec(OperationCodec):
    """See `engine.protocols.codec.ClientCodec`."""

    name = requests.NAME
    heartbeat = b": keep-alive\n\n"
    field_names: Mapping[str, str] = conversing.FIELD_NAMES
    paths: Mapping[Operation, str] = {
        "image": "/images/generations",
        "image_edit": "/images/edits",
        "image_variation": "/images/variations",
    }

    def parse_request(self, call: Call) -> ClientRequest:
        """See `requests.parse_request`."""
        return requests.parse_request(call)

    def prompt_texts(self, request: ClientRequest) -> Iterator[str]:
        """The description."""
        yield requests.prompt_of(request.document)

    def encode_verbatim(
        self,
        request: ClientRequest,
        upstream_model: str,
        output_limit: int | None,
        quirks: Quirks = PLAIN,
    ) -> bytes:
        """The client's document, or form, with the provider's name of the model, and without the
        form of the answer where the model knows but one. Raises InvalidRequestError: the model has
        no such parameter."""
        if requests.always_base64(upstream_model):
            kept = {k: v for k, v in request.document.items() if k != "response_format"}
            request = replace(request, document=kept)
        if (schema := media_params_schema("openai", upstream_model)) is not None:
            check_params(schema, request.document)
        return super().encode_verbatim(request, upstream_model, output_limit, quirks)

    def decode_request(self, request: ClientRequest) -> Conversation:
        """The canonical form."""
        return conversing.decode_request(request)

    def encode_request(self, conversation: Conversation, target: UpstreamTarget) -> Encoded:
        """For a client that chats."""
        return drawing.encode_request(conversation, target)

    def answered(self, request: ClientRequest) -> ClientRequest:
        """The form of the answer."""
        kept = {name: value for name, value in request.document.items() if name in _ANSWERED}
        return replace(request, document=kept, form=None)

    # answers

    def open_verbatim(
        self, request: ClientRequest, *, end_marker: bool, quirks: Quirks = PLAIN
    ) -> VerbatimDecoder:
        """For a stream that goes to a client of this protocol."""
        return ImagesDecoder(request)

    def open_decoder(self, *, end_marker: bool, quirks: Quirks = PLAIN) -> StreamDecoder:
        """For a stream to be translated."""
        return ImagesDecoder()

    def open_encoder(self, request: ClientRequest, identity: Identity) -> StreamEncoder:
        """For a client of this protocol."""
        return encoders.ImagesEncoder(request, identity)

    def encode_response(
        self, events: Sequence[Event], request: ClientRequest, identity: Identity
    ) -> bytes:
        """A whole answer for a client of this protocol."""
        return encoders.encode_response(events, request, identity)

    def decode_response(self, body: bytes, quirks: Quirks = PLAIN) -> Sequence[Event]:
        """See `answers.read_answer`."""
        return answers.read_answer(body)

    def edit(self, body: bytes, events: Sequence[Event], request: ClientRequest) -> bytes:
        """The answer as it is, if it has no more pictures than were asked for; with URLs in their
        place, where the client wants those and the provider has none."""
        assert request.demand is not None, "it asks for pictures"
        came = sum(event.usage.more["images"] for event in events if isinstance(event, UsageReport))
        if came > request.demand.pieces["images"]:
            raise UpstreamError("The provider answered with more than was asked for.")
        return answers.with_urls(body, events, request)


CODEC = OpenAIImagesCodec()
