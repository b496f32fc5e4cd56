"""The codec of OpenAI's embeddings: both sides, and what goes to Gemini and comes from it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import orjson

from engine.conversation import Conversation, EmbeddingOptions, Text, Turn, Unexpressed
from engine.demand import Demand
from engine.errors import InvalidRequestError
from engine.events import (
    Begin,
    Call,
    Event,
    Finish,
    FinishReason,
    Operation,
    Usage,
    UsageReport,
    Vector,
)
from engine.protocols.codec import (
    ClientRequest,
    Encoded,
    Identity,
    InexpressibleError,
    UpstreamTarget,
)
from engine.protocols.costs import find_object
from engine.protocols.fields import dict_of, load_object, load_request, text_of, write_json
from engine.protocols.openai_embeddings.inputs import inputs_of
from engine.protocols.openai_embeddings.vectors import in_order, of_length_one, pack, values_of
from engine.protocols.openai_shared import read_error
from engine.protocols.operation import OperationCodec, model_of
from engine.protocols.quirks import PLAIN, Quirks
from engine.protocols.skim import around_list, members_beside, skim
from engine.usage import is_count, read_count

_DIMENSIONS_MAX: Final = 65_536
_BYTES_A_TOKEN: Final = 4
_KNOWN: Final = frozenset({"input", "model", "dimensions", "encoding_format", "user"})
_INDEX: Final = b'"index"'
_NUMBER: Final = re.compile(rb"\s*:\s*(\d{1,9})")
_ENCODINGS: Final = frozenset({"float", "base64"})


class OpenAIEmbeddingsCodec(OperationCodec):
    """See `engine.protocols.codec.RequestCodec`."""

    name = "openai_embeddings"
    field_names: Mapping[str, str] = {
        "turns": "input",
        "embedding.dimensions": "dimensions",
        "end_user": "user",
    }
    paths: Mapping[Operation, str] = {"embed": "/embeddings"}

    # requests

    def parse_request(self, call: Call) -> ClientRequest:
        """Its model and inputs. Raises InvalidRequestError."""
        document = load_request(call.body)
        inputs = inputs_of(document.get("input"))
        dimensions = document.get("dimensions")
        if dimensions is not None and not _is_size(dimensions):
            raise InvalidRequestError(
                f"'dimensions' must be a whole number from 1 to {_DIMENSIONS_MAX}.",
                param="dimensions",
            )
        encoding = document.get("encoding_format")
        if encoding is not None and not isinstance(encoding, str):
            raise InvalidRequestError(
                "'encoding_format' must be 'float' or 'base64'.", param="encoding_format"
            )
        characters = sum(len(item) for item in inputs if isinstance(item, str))
        tokens = sum(len(item) for item in inputs if not isinstance(item, str))
        return ClientRequest(
            protocol=self.name,
            model=model_of(document),
            stream=False,
            include_usage=False,
            max_output_tokens=0,
            choices=1,
            operation=call.operation,
            document=document,
            demand=Demand(
                input_tokens=len(call.body),
                expected_input_tokens=tokens + characters // _BYTES_A_TOKEN,
            ),
        )

    def prompt_texts(self, request: ClientRequest) -> Iterator[str]:
        """What is embedded, as far as it is text."""
        for item in inputs_of(request.document.get("input")):
            if isinstance(item, str):
                yield item

    def prompt_overhead_tokens(self, request: ClientRequest) -> int:
        """What is given as tokens."""
        given = inputs_of(request.document.get("input"))
        return sum(len(item) for item in given if not isinstance(item, str))

    def decode_request(self, request: ClientRequest) -> Conversation:
        """A turn an input. Raises InexpressibleError: tokens, which every model has its own of."""
        document = request.document
        turns = []
        for item in inputs_of(document.get("input")):
            if not isinstance(item, str):
                raise InexpressibleError(
                    "input",
                    "The provider of this model does not take tokens in the place of text; send "
                    "text, or choose another model.",
                )
            turns.append(Turn("user", (Text(item),)))
        encoding = document.get("encoding_format")
        if encoding is not None and encoding not in _ENCODINGS:
            raise InexpressibleError(
                "encoding_format", "'encoding_format' must be 'float' or 'base64' for this model."
            )
        return Conversation(
            turns=tuple(turns),
            end_user=text_of(document.get("user")) or None,
            embedding=EmbeddingOptions(dimensions=document.get("dimensions")),
            unexpressed=tuple(
                [Unexpressed(name, harmless=True) for name in document if name not in _KNOWN]
            ),
        )

    def split(self, request: ClientRequest, inputs_max: int) -> Sequence[ClientRequest]:
        """Of one input or few, itself."""
        inputs = inputs_of(request.document.get("input"))
        if len(inputs) <= inputs_max:
            return (request,)
        return [
            replace(
                request,
                document=request.document | {"input": list(some)},
                inputs=len(some),
            )
            for at in range(0, len(inputs), inputs_max)
            if (some := inputs[at : at + inputs_max])
        ]

    def answered(self, request: ClientRequest) -> ClientRequest:
        """How the vectors are wanted, and how many."""
        document = request.document
        kept: dict[str, Any] = {
            name: document[name] for name in ("dimensions", "encoding_format") if name in document
        }
        return replace(request, document=kept)

    def encode_request(self, conversation: Conversation, target: UpstreamTarget) -> Encoded:
        """The body for a provider of this shape: numbers as its JSON writes them are the shortest
        that say the same."""
        options = conversation.embedding or EmbeddingOptions()
        document: dict[str, Any] = {
            "model": target.model,
            "input": [_text(turn, place) for place, turn in enumerate(conversation.turns)],
            "encoding_format": "float",
        }
        if options.dimensions is not None:
            document["dimensions"] = options.dimensions
        if conversation.end_user is not None:
            document["user"] = conversation.end_user
        return Encoded(write_json(document), operation="embed")

    # answers

    def decode_response(self, body: bytes, quirks: Quirks = PLAIN) -> Sequence[Event]:
        """Raises ValueError, UpstreamRejectedError."""
        document = load_object(body)
        if document.get("error"):
            raise read_error(200, body)
        data = document.get("data")
        if not isinstance(data, list):
            raise ValueError("no data")
        vectors = [_vector(item, place) for place, item in enumerate(data)]
        return [*_beginning(document), *vectors, *_ending(document)]

    def skim_response(self, body: bytes, quirks: Quirks = PLAIN) -> Sequence[Event]:
        """Its usage. Raises ValueError, UpstreamRejectedError."""
        document = skim(body, "usage", "data")
        if document is None:
            document = load_object(body)
            if document.get("error"):
                raise read_error(200, body)
            if not isinstance(document.get("data"), list):
                raise ValueError("no data")
        return [*_beginning(document), *_ending(document)]

    def encode_response(
        self, events: Sequence[Event], request: ClientRequest, identity: Identity
    ) -> bytes:
        """Raises UpstreamError.

        Whoever asks OpenAI for fewer dimensions gets a vector of length one again; Gemini's are
        that only in full (its page of embeddings, 'Ensuring quality for smaller dimensions').
        """
        wanted = request.document
        vectors = in_order([(each.index, each.values) for each in events if type(each) is Vector])
        if wanted.get("dimensions") is not None:
            vectors = [of_length_one(values) for values in vectors]
        shape = pack if wanted.get("encoding_format") == "base64" else list
        document: dict[str, Any] = {
            "object": "list",
            "data": [
                {"object": "embedding", "index": index, "embedding": shape(values)}
                for index, values in enumerate(vectors)
            ],
            "model": identity.model,
        }
        for event in events:
            if isinstance(event, UsageReport):
                document["usage"] = _usage(event.usage.input_tokens)
        return orjson.dumps(document)

    def items_of(self, body: bytes, inputs: int, before: int) -> bytes:
        """The objects of `data`, each with its own index."""
        start, end = around_list(body, "data")

        pieces: list[bytes | memoryview] = []
        count, copied = 0, start
        view, at = memoryview(body), body.find(_INDEX, start, end)
        while at >= 0:  # text inside of strings has no quotes: it is base64
            match = _NUMBER.match(body, at + len(_INDEX))
            if match is None:
                raise ValueError("an index that is none")
            pieces += [view[copied : match.start(1)], b"%d" % (int(match[1]) + before)]
            copied, count = match.end(), count + 1
            at = body.find(_INDEX, copied, end)
        if count != inputs:
            raise ValueError(f"{count} vectors for {inputs} inputs")
        return b"".join([*pieces, view[copied:end]])

    def joined(self, items: Sequence[bytes], last: bytes) -> bytes:
        """What stands beside `data` is of the last one."""
        document = members_beside(last, "data")
        document.pop("usage", None)
        del document["data"]
        more = b"," + orjson.dumps(document)[1:] if document else b"}"
        return b'{"data":[%b]%b' % (b",".join(items), more)

    def add_usage(self, body: bytes, usage: Mapping[str, int]) -> bytes:
        """`usage` at the end."""
        if not body or find_object(body, b"usage") is not None:
            return body
        return body[:-1] + b',"usage":%b}' % orjson.dumps(_usage(usage.get("input_tokens", 0)))


def _is_size(value: object) -> bool:
    return type(value) is int and 0 < value <= _DIMENSIONS_MAX


def _text(turn: Turn, place: int) -> str:
    match turn.parts:
        case (Text(text=text),):
            return text
        case _:
            raise InexpressibleError(
                f"turns[{place}]",
                "This model's provider embeds texts, each of one part; send every input as one "
                "text, or choose another model.",
            )


def _vector(item: object, place: int) -> Vector:
    given = dict_of(item)
    index = given.get("index")
    return Vector(index if is_count(index) else place, values_of(given.get("embedding")))


def _beginning(document: Mapping[str, Any]) -> list[Event]:
    return [Begin(text_of(document.get("id")) or None, text_of(document.get("model")) or None)]


def _ending(document: Mapping[str, Any]) -> list[Event]:
    ending: list[Event] = [Finish(FinishReason.STOP)]
    usage = dict_of(document.get("usage"))
    said = usage.get("prompt_tokens")
    if said is None:
        said = usage.get("total_tokens")
    if said is not None and is_count(said):
        ending.append(UsageReport(Usage(input_tokens=read_count(said))))
    return ending


def _usage(tokens: int) -> dict[str, int]:
    return {"prompt_tokens": tokens, "total_tokens": tokens}


CODEC = OpenAIEmbeddingsCodec()
