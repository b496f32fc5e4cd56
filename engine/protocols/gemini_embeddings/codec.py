"""The codec of Gemini's embeddings: both sides, and what goes to OpenAI's and comes from them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final
from urllib.parse import quote

import orjson

from engine.conversation import Conversation, EmbeddingOptions, Part, Text, Turn, Unexpressed
from engine.demand import Demand
from engine.errors import GatewayError, InvalidRequestError, UpstreamRejectedError
from engine.events import (
    Begin,
    Call,
    Event,
    Finish,
    FinishReason,
    Operation,
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
from engine.protocols.costs import ShownCost, add_cost, find_object
from engine.protocols.fields import load_object, load_request, write_json
from engine.protocols.gemini import errors
from engine.protocols.gemini.held_ids import refuse_held_ids
from engine.protocols.gemini.requests import TOKENS_PER_MEDIA, media_kind, model_path
from engine.protocols.gemini.spelling import get, get_dict, get_dicts, get_text, key_of, said_twice
from engine.protocols.gemini.usage import read_usage
from engine.protocols.openai_embeddings.inputs import INPUTS_MAX
from engine.protocols.openai_embeddings.vectors import in_order, values_of
from engine.protocols.operation import OperationCodec
from engine.protocols.quirks import PLAIN, Quirks
from engine.protocols.skim import around_list, members_beside, skim

_METHODS: Final[Mapping[str, str]] = {"embed": "embedContent", "embed_batch": "batchEmbedContents"}
_MEDIA_TOKENS: Final = 32_768
"""Of a piece of media, at most, beside the bytes of the body: as chats have it."""
_BYTES_A_TOKEN: Final = 4
_DROPPED: Final = ("taskType", "title", "autoTruncate")
"""What only Gemini's models are told: what the vectors are for."""


class GeminiEmbeddingsCodec(OperationCodec):
    """See `engine.protocols.codec.RequestCodec`."""

    name = "gemini_embeddings"
    request_id_headers: tuple[bytes, ...] = ()
    """Gemini says none."""
    field_names: Mapping[str, str] = {
        **errors.FIELD_NAMES,
        "turns": "content",
        "embedding.dimensions": "outputDimensionality",
    }

    # requests

    def parse_request(self, call: Call) -> ClientRequest:
        """Its model and contents. Raises InvalidRequestError."""
        document = load_request(call.body)
        if not isinstance(call.model, str) or not call.model:
            raise InvalidRequestError("You must name a model in the path.", param="model")
        if (twice := said_twice(document)) is not None:
            raise InvalidRequestError(f"'{twice}' is given in both of its spellings.", param=twice)
        wanted = _wanted(document, call.operation)
        for place, one in enumerate(wanted):
            at = f"requests[{place}]." if call.operation == "embed_batch" else ""
            _check(one, at)
        kinds = Counter(
            media_kind(get_text(blob, "mimeType"), get_text(blob, "fileUri"))
            for one in wanted
            for blob in _blobs(one)
        )
        return ClientRequest(
            protocol=self.name,
            model=call.model.removeprefix("models/"),
            stream=False,
            include_usage=False,
            max_output_tokens=0,
            choices=1,
            media=kinds,
            operation=call.operation,
            document=document,
            demand=Demand(
                input_tokens=len(call.body) + _MEDIA_TOKENS * sum(kinds.values()),
                expected_input_tokens=sum(map(_characters, wanted)) // _BYTES_A_TOKEN
                + TOKENS_PER_MEDIA * sum(kinds.values()),
            ),
        )

    def prompt_texts(self, request: ClientRequest) -> Iterator[str]:
        """What is embedded, as far as it is text."""
        for one in _wanted(request.document, request.operation):
            yield from _texts(one)

    def prompt_overhead_tokens(self, request: ClientRequest) -> int:
        """Of media."""
        return TOKENS_PER_MEDIA * sum(request.media.values())

    def encode_verbatim(
        self,
        request: ClientRequest,
        upstream_model: str,
        output_limit: int | None,
        quirks: Quirks = PLAIN,
    ) -> bytes:
        """The client's document; each request of a batch says the model of the path."""
        named = {"model": model_path(upstream_model)}
        document = {name: value for name, value in request.document.items() if name != "model"}
        if request.operation == "embed_batch":
            document["requests"] = [one | named for one in get_dicts(document, "requests")]
        return write_json(document)

    def split(self, request: ClientRequest, inputs_max: int) -> Sequence[ClientRequest]:
        """A batch that is too large, as several."""
        wanted = _wanted(request.document, request.operation)
        if len(wanted) <= inputs_max:
            return (request,)
        key = key_of(request.document, "requests") or "requests"
        return [
            replace(request, document=request.document | {key: some}, inputs=len(some))
            for at in range(0, len(wanted), inputs_max)
            if (some := wanted[at : at + inputs_max])
        ]

    def decode_request(self, request: ClientRequest) -> Conversation:
        """A turn a content. Raises InexpressibleError: contents are not wanted alike."""
        wanted = _wanted(request.document, request.operation)
        lengths = {get(one, "outputDimensionality") for one in wanted}
        if len(lengths) > 1:
            raise InexpressibleError(
                "requests",
                "This model's provider makes all vectors of a request as long as one another; ask "
                "for others by themselves.",
            )
        lost = [key for one in wanted for name in _DROPPED if (key := key_of(one, name))]
        return Conversation(
            turns=tuple(Turn("user", _parts(one)) for one in wanted),
            embedding=EmbeddingOptions(dimensions=lengths.pop()),
            unexpressed=tuple(Unexpressed(name, harmless=True) for name in dict.fromkeys(lost)),
        )

    def encode_request(self, conversation: Conversation, target: UpstreamTarget) -> Encoded:
        """A batch, however few there are."""
        options = conversation.embedding or EmbeddingOptions()
        more: dict[str, Any] = {"model": model_path(target.model)}
        if options.dimensions is not None:
            more["outputDimensionality"] = options.dimensions
        requests = [
            {"content": {"parts": list(map(_part, turn.parts))}, **more}
            for turn in conversation.turns
        ]
        dropped = () if conversation.end_user is None else ("end_user",)
        return Encoded(write_json({"requests": requests}), dropped, operation="embed_batch")

    def path(
        self,
        upstream_model: str,
        operation: Operation,
        *,
        stream: bool,
        array: bool,
        quirks: Quirks = PLAIN,
    ) -> str | None:
        """Method and model."""
        collection, _, name = model_path(upstream_model).partition("/")
        return f"/{collection}/{quote(name, safe='')}:{_METHODS[operation]}"

    # answers

    def decode_response(self, body: bytes, quirks: Quirks = PLAIN) -> Sequence[Event]:
        """Raises ValueError, UpstreamRejectedError."""
        document = _answer(body)
        found = document.get("embeddings") or [document.get("embedding")]
        if not isinstance(found, list):
            raise ValueError("no embeddings")
        vectors = [
            Vector(place, values_of(one.get("values") if isinstance(one, dict) else None))
            for place, one in enumerate(found)
        ]
        return [Begin(None, None), *vectors, *_ending(document)]

    def skim_response(self, body: bytes, quirks: Quirks = PLAIN) -> Sequence[Event]:
        """Its usage. Raises ValueError, UpstreamRejectedError."""
        document = skim(body, "usageMetadata", "values")
        if document is None:
            document = _answer(body)
            if not (document.get("embeddings") or document.get("embedding")):
                raise ValueError("no embeddings")
        return [Begin(None, None), *_ending(document)]

    def encode_response(
        self, events: Sequence[Event], request: ClientRequest, identity: Identity
    ) -> bytes:
        """Raises UpstreamError."""
        vectors = in_order([(each.index, each.values) for each in events if type(each) is Vector])
        found = [{"values": list(values)} for values in vectors]
        document: dict[str, Any] = {"embeddings": found}
        if request.operation == "embed":
            document = {"embedding": found[0]}
        for event in events:
            if isinstance(event, UsageReport):
                document["usageMetadata"] = _usage(event.usage.input_tokens)
        return orjson.dumps(document)

    def items_of(self, body: bytes, inputs: int, before: int) -> bytes:
        """The objects of `embeddings`."""
        start, end = around_list(body, "embeddings")
        if (count := body.count(b'"values"', start, end)) != inputs:
            raise ValueError(f"{count} vectors for {inputs} inputs")
        return body[start:end]

    def joined(self, items: Sequence[bytes], last: bytes) -> bytes:
        """What stands beside them is of the last one."""
        document = members_beside(last, "embeddings")
        document.pop("usageMetadata", None)
        del document["embeddings"]
        more = b"," + orjson.dumps(document)[1:] if document else b"}"
        return b'{"embeddings":[%b]%b' % (b",".join(items), more)

    def add_usage(self, body: bytes, usage: Mapping[str, int]) -> bytes:
        """`usageMetadata` at the end."""
        if not body or find_object(body, b"usageMetadata") is not None:
            return body
        told = orjson.dumps(_usage(usage.get("input_tokens", 0)))
        return body[:-1] + b',"usageMetadata":%b}' % told

    def add_cost(self, ending: bytes, cost: ShownCost, request: ClientRequest) -> bytes:
        """In `usageMetadata`, where the answer has one."""
        return add_cost(ending, cost, b"usageMetadata")

    # errors

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


def _wanted(document: dict[str, Any], operation: str) -> list[dict[str, Any]]:
    """What is wanted of each content; raises InvalidRequestError."""
    if operation != "embed_batch":
        return [document]
    given = get(document, "requests")
    if not isinstance(given, list) or not 0 < len(given) <= INPUTS_MAX:
        raise InvalidRequestError(
            f"'requests' must be an array of 1 to {INPUTS_MAX}.", param="requests"
        )
    wanted = [one for one in given if isinstance(one, dict)]
    if len(wanted) < len(given):
        raise InvalidRequestError("'requests' must hold objects.", param="requests")
    return wanted


def _check(one: dict[str, Any], at: str) -> None:
    content = get(one, "content")
    parts = get(content, "parts") if isinstance(content, dict) else None
    listed = parts if isinstance(parts, list) else [parts]
    if not listed or not all(isinstance(part, dict) for part in listed):
        raise InvalidRequestError(
            f"'{at}content' must be an object with a list of parts.", param=f"{at}content"
        )
    refuse_held_ids({"contents": [content]}, at)
    length = get(one, "outputDimensionality")
    if length is not None and (type(length) is not int or length < 1):
        raise InvalidRequestError(
            f"'{at}outputDimensionality' must be a whole number of 1 or more.",
            param=f"{at}outputDimensionality",
        )


def _blobs(one: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for part in get_dicts(get_dict(one, "content"), "parts"):
        for name in ("inlineData", "fileData"):
            if blob := get_dict(part, name):
                yield blob


def _texts(one: dict[str, Any]) -> Iterator[str]:
    if (title := get_text(one, "title")) is not None:
        yield title
    for part in get_dicts(get_dict(one, "content"), "parts"):
        if (text := get_text(part, "text")) is not None:
            yield text


def _characters(one: dict[str, Any]) -> int:
    return sum(map(len, _texts(one)))


def _parts(one: dict[str, Any]) -> tuple[Part, ...]:
    """Raises InexpressibleError: not all of it is text."""
    found = []
    for part in get_dicts(get_dict(one, "content"), "parts"):
        text = get_text(part, "text")
        if text is None:
            raise InexpressibleError(
                "content", "This model's provider embeds text only; choose another model."
            )
        found.append(Text(text))
    return tuple(found)


def _part(part: Part) -> dict[str, str]:
    assert isinstance(part, Text), "of a protocol that embeds texts"
    return {"text": part.text}


def _answer(body: bytes) -> dict[str, Any]:
    document = load_object(body)
    if document.get("error"):
        raise errors.read_error(200, body)
    return document


def _ending(document: dict[str, Any]) -> list[Event]:
    report = read_usage(document)
    finish: list[Event] = [Finish(FinishReason.STOP)]
    return finish if report is None else [*finish, replace(report, native=None)]


def _usage(tokens: int) -> dict[str, Any]:
    details = [{"modality": "TEXT", "tokenCount": tokens}]
    return {"promptTokenCount": tokens, "promptTokenDetails": details}


CODEC = GeminiEmbeddingsCodec()
