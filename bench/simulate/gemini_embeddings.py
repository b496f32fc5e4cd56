"""Gemini's embedContent and batchEmbedContents as a dialect of the provider.

They report no usage, unless told by `usage=always`, as only the newest models do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson

from bench.simulate.answer import Answer
from bench.simulate.chat import ChatRequest, Counts
from bench.simulate.directives import Directives, find_directives
from bench.simulate.errors import ApiError
from bench.simulate.gemini_dialect import GeminiDialect, method_of, model_of
from bench.simulate.gemini_fields import CONTENT, camel
from bench.simulate.gemini_request import refusal_of
from bench.simulate.operation import WHOLE
from bench.simulate.plan import ChatPlan
from bench.simulate.replies import Request
from bench.simulate.shapes import BOOLEAN, TEXT, Shape, Violation, array, integer, literal, record
from bench.simulate.vectors import vector

METHODS: Final = frozenset({"embedContent", "batchEmbedContents"})
REQUESTS_MAX: Final = 100
DIMENSIONS: Final = 3_072
_FIELDS: Final[dict[str, Shape]] = {
    "model": TEXT,
    "content": CONTENT,
    "taskType": literal(
        "TASK_TYPE_UNSPECIFIED",
        "RETRIEVAL_QUERY",
        "RETRIEVAL_DOCUMENT",
        "SEMANTIC_SIMILARITY",
        "CLASSIFICATION",
        "CLUSTERING",
        "QUESTION_ANSWERING",
        "FACT_VERIFICATION",
        "CODE_RETRIEVAL_QUERY",
    ),
    "title": TEXT,
    "outputDimensionality": integer(1, DIMENSIONS),
    "autoTruncate": BOOLEAN,
}
_ONE: Final = record(_FIELDS, "content", spelled=camel)
_BATCH: Final = record({"model": TEXT, "requests": array(_ONE)}, "requests", spelled=camel)


class GeminiEmbeddingsDialect(GeminiDialect):
    """Gemini's embeddings."""

    name = "gemini-embeddings"

    def parse(self, request: Request) -> ChatRequest:
        model, batch = model_of(request.path), method_of(request.path) == "batchEmbedContents"
        wanted = _read(request.body, model, batch=batch)
        texts = tuple(_text(one) for one in wanted)
        return ChatRequest(
            model=model,
            texts=texts,
            framing_tokens=0,
            seed_material=request.body,
            directives=find_directives(texts[-1]),
            document={"requests": wanted, "batch": batch},
            reports=False,
            make=_make,
        )

    def unknown_model(self, model: str) -> ApiError:
        return ApiError(
            f"models/{model} is not found for API version v1beta, or is not supported for "
            "embedContent. Call ListModels to see the list of available models and their supported "
            "methods.",
            status=404,
        )

    def usage(self, counts: Counts) -> dict[str, Any]:
        tokens = counts.input_tokens
        details = [{"modality": "TEXT", "tokenCount": tokens}]
        return {"promptTokenCount": tokens, "promptTokenDetails": details}

    def unary(self, plan: ChatPlan, position: int, counts: Counts | None) -> bytes:
        wanted, model = plan.request.document["requests"], plan.request.model
        found = [
            {
                "values": list(
                    vector(
                        model,
                        text,
                        DIMENSIONS,
                        one.get("outputDimensionality") or DIMENSIONS,
                        unit=False,
                    )
                )
            }
            for text, one in zip(plan.request.texts, wanted, strict=True)
        ]
        batch = plan.request.document["batch"]
        answer: dict[str, Any] = {"embeddings": found} if batch else {"embedding": found[0]}
        if counts is not None:
            answer["usageMetadata"] = self.usage(counts)
        return orjson.dumps(answer, option=orjson.OPT_INDENT_2) + b"\n"


def _read(body: bytes, model: str, *, batch: bool) -> Sequence[Mapping[str, Any]]:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise ApiError(f"Invalid JSON payload received. {error.msg}") from None
    kind = "BatchEmbedContentsRequest" if batch else "EmbedContentRequest"
    try:
        wanted = _BATCH((), document)["requests"] if batch else [_ONE((), document)]
    except Violation as violation:
        raise refusal_of(violation, kind) from None
    if not wanted:
        raise ApiError(f"* {kind}.requests: requests is not specified\n")
    if len(wanted) > REQUESTS_MAX:
        raise ApiError(f"* {kind}.requests: at most {REQUESTS_MAX} requests can be in one batch\n")
    for place, one in enumerate(wanted):
        where = f"{kind}.requests[{place}]" if batch else kind
        if batch and one.get("model") != f"models/{model}":
            raise ApiError(
                f"* {where}.model: the model of each of these requests must match the model "
                "specified BatchEmbedContentsRequest.model\n"
            )
        if not one["content"].get("parts"):
            raise ApiError(f"* {where}.content: contents is not specified\n")
    return wanted


def _text(one: Mapping[str, Any]) -> str:
    return "\n".join(part["text"] for part in one["content"]["parts"] if "text" in part)


def _make(_directives: Directives, _seed: bytes) -> Answer:
    return WHOLE
