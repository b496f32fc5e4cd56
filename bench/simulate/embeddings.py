"""OpenAI's embeddings as a dialect of the provider; shapes and key order as recorded.

Texts may be given as tokens. Limits are those of the API: inputs of a request, tokens of an input
and of a request.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from bench.simulate import openai_fields as chat
from bench.simulate.answer import Answer
from bench.simulate.chat import ChatRequest, Counts
from bench.simulate.directives import Directives, find_directives
from bench.simulate.errors import ApiError
from bench.simulate.openai_fields import Check, integer, one_of, typed
from bench.simulate.operation import WHOLE, OperationDialect, check_fields, read_json
from bench.simulate.plan import ChatPlan
from bench.simulate.replies import Request
from bench.simulate.tokens import count_tokens
from bench.simulate.vectors import packed, vector

INPUTS_MAX: Final = 2_048
INPUT_TOKENS_MAX: Final = 8_192
REQUEST_TOKENS_MAX: Final = 300_000
DIMENSIONS: Final = 1_536
_FULL: Final[Mapping[str, int]] = {"text-embedding-3-large": 3_072}
_FIXED: Final = "text-embedding-ada-002"
"""The model that has no other length."""

FIELDS: Final[Mapping[str, Check]] = {
    "dimensions": integer(1),
    "encoding_format": one_of("float", "base64"),
    "input": typed("a string or an array", str, list),
    "model": chat.STRING,
    "user": chat.STRING,
}
_INVALID: Final = (
    "'$.input' is invalid. Please check the API reference: "
    "https://platform.openai.com/docs/api-reference."
)

Input = str | tuple[int, ...]


class EmbeddingsDialect(OperationDialect):
    """OpenAI's embeddings."""

    name = "openai-embeddings"

    def parse(self, request: Request) -> ChatRequest:
        document = read_json(request.body)
        if not document.get("model"):
            raise ApiError("you must provide a model parameter")
        check_fields(document, FIELDS, ("input",))
        inputs = inputs_of(document["input"])
        texts = tuple(item for item in inputs if isinstance(item, str))
        tokens = sum(len(item) for item in inputs if not isinstance(item, str))
        _check_dimensions(document)
        _check_tokens(inputs, texts, tokens)
        return ChatRequest(
            model=document["model"],
            texts=texts,
            framing_tokens=tokens,
            seed_material=request.body,
            directives=find_directives(texts[-1]) if texts else None,
            document=document,
            make=_make,
        )

    def usage(self, counts: Counts) -> dict[str, Any]:
        return {"prompt_tokens": counts.input_tokens, "total_tokens": counts.input_tokens}

    def document(self, plan: ChatPlan, position: int, counts: Counts | None) -> dict[str, Any]:
        request, model = plan.request.document, plan.request.model
        full = _FULL.get(model, DIMENSIONS)
        wanted = request.get("dimensions") or full
        shape = packed if request.get("encoding_format") == "base64" else list
        data = [
            {
                "object": "embedding",
                "index": index,
                "embedding": shape(vector(model, _key(item), full, wanted)),
            }
            for index, item in enumerate(inputs_of(request["input"]))
        ]
        answer = {"object": "list", "data": data, "model": model}
        return answer if counts is None else answer | {"usage": self.usage(counts)}


def inputs_of(given: str | list[Any]) -> Sequence[Input]:
    """What is embedded, each text or list of tokens by itself.

    Raises:
        ApiError: it is neither, or there are too many.
    """
    if isinstance(given, str):
        return [given]
    if not given:
        raise ApiError(_INVALID)
    if all(_is_token(item) for item in given):
        return [tuple(given)]
    if len(given) > INPUTS_MAX:
        raise ApiError(
            f"Invalid 'input': array too long. Expected an array with maximum length {INPUTS_MAX}, "
            f"but got an array with length {len(given)} instead.",
            param="input",
            code="array_above_max_length",
        )
    if all(isinstance(item, str) for item in given):
        return given
    if all(isinstance(item, list) and item and all(map(_is_token, item)) for item in given):
        return [tuple(item) for item in given]
    raise ApiError(_INVALID)


def _is_token(item: object) -> bool:
    return isinstance(item, int) and not isinstance(item, bool) and item >= 0


def _key(item: Input) -> str:
    return item if isinstance(item, str) else repr(item)


def _check_dimensions(document: Mapping[str, Any]) -> None:
    wanted = document.get("dimensions")
    if wanted is None:
        return
    if document["model"] == _FIXED:
        raise ApiError("This model does not support specifying dimensions.")
    full = _FULL.get(document["model"], DIMENSIONS)
    if wanted > full:
        raise ApiError(
            f"Invalid value for 'dimensions' = {wanted}. Must be less than or equal to {full}."
        )


def _check_tokens(inputs: Sequence[Input], texts: Sequence[str], tokens: int) -> None:
    """A token has a character at least, so most texts need no counting here."""
    for item in inputs:
        if len(item) <= INPUT_TOKENS_MAX:
            continue
        found = count_tokens([item]) if isinstance(item, str) else len(item)
        if found > INPUT_TOKENS_MAX:
            raise ApiError(
                f"This model's maximum context length is {INPUT_TOKENS_MAX} tokens, however you "
                f"requested {found} tokens ({found} in your prompt; 0 for the completion). Please "
                "reduce your prompt; or completion length."
            )
    if tokens + sum(map(len, texts)) <= REQUEST_TOKENS_MAX:
        return
    if tokens + count_tokens(texts) > REQUEST_TOKENS_MAX:
        raise ApiError(
            f"Requested {tokens + count_tokens(texts)} tokens, max {REQUEST_TOKENS_MAX} tokens per "
            "request",
            kind="max_tokens_per_request",
            code="max_tokens_per_request",
        )


def _make(_directives: Directives, _seed: bytes) -> Answer:
    return WHOLE
