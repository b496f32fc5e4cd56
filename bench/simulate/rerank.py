"""Rerank as Cohere and Jina offer it: documents by how much they have of a query's words.

Cohere reports searches, Jina tokens. Which of them answers is said by the name of the model, or by
`metered=searches` and `metered=tokens`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson

from bench.simulate import openai_fields as chat
from bench.simulate.answer import Answer
from bench.simulate.chat import ChatRequest, Counts
from bench.simulate.directives import Directives, find_directives
from bench.simulate.errors import ApiError
from bench.simulate.openai_fields import Check, integer
from bench.simulate.operation import WHOLE, OperationDialect, read_json
from bench.simulate.plan import ChatPlan
from bench.simulate.replies import Request
from bench.simulate.text import seed_of
from bench.simulate.tokens import count_tokens
from engine.wire.http import Headers

SEARCH_DOCUMENTS: Final = 100
"""Documents of a search unit."""
CHUNK_TOKENS: Final = 500
"""A document that is longer counts as several."""
FIELDS: Final[Mapping[str, Check]] = {
    "documents": chat.OBJECTS,
    "max_chunks_per_doc": integer(1),
    "max_tokens_per_doc": integer(1),
    "model": chat.STRING,
    "priority": integer(0),
    "query": chat.STRING,
    "rank_fields": chat.OBJECTS,
    "return_documents": chat.BOOLEAN,
    "top_n": integer(1),
    "truncation": chat.BOOLEAN,
}


class RerankDialect(OperationDialect):
    """Rerank."""

    name = "openai-rerank"

    def parse(self, request: Request) -> ChatRequest:
        document = read_json(request.body)
        for name in ("model", "query", "documents"):
            if not document.get(name):
                raise ApiError(f"invalid request: {name} is required and must not be empty")
        for name, value in document.items():
            if name not in FIELDS:
                raise ApiError(f"invalid request: unknown field {name}", status=422)
            if value is not None:
                FIELDS[name](name, value)
        query, texts = document["query"], _texts(document["documents"])
        own = count_tokens([query])
        tokens = [own + count_tokens([text]) for text in texts]
        chunks = sum(math.ceil(count / CHUNK_TOKENS) for count in tokens)
        return ChatRequest(
            model=document["model"],
            texts=(),
            framing_tokens=sum(tokens),
            seed_material=request.body,
            directives=find_directives(query),
            document=document,
            units={"searches": math.ceil(chunks / SEARCH_DOCUMENTS)},
            metered="tokens" if document["model"].startswith("jina") else "searches",
            make=_make,
        )

    def answer_id(self, instance: str, number: int) -> str:
        digest = seed_of(instance.encode(), str(number).encode()).hex()
        return "-".join((digest[:8], digest[8:12], digest[12:16], digest[16:20], digest[20:]))

    def write_error(
        self, error: ApiError, request: Request, request_id: str
    ) -> tuple[Headers, bytes]:
        """Cohere's shape, or Jina's."""
        shape = {"detail": error.message}
        if b'"jina' not in request.body:
            shape = {"id": request_id, "message": error.message}
        return [(b"content-type", b"application/json"), *error.headers], orjson.dumps(shape)

    def usage(self, counts: Counts) -> dict[str, Any]:
        if counts.metered == "tokens":
            return {"total_tokens": counts.input_tokens}
        return {"search_units": counts.units["searches"]}

    def unary(self, plan: ChatPlan, position: int, counts: Counts | None) -> bytes:
        jina = plan.metered == "tokens"
        results = _results(plan.request.document, by_default=jina)
        answer: dict[str, Any]
        if jina:
            answer = {"model": plan.request.model, "object": "list", "results": results}
            if counts is not None:
                answer["usage"] = self.usage(counts)
        else:
            meta: dict[str, Any] = {"api_version": {"version": "2"}}
            if counts is not None:
                meta["billed_units"] = self.usage(counts)
            answer = {"id": plan.answer_id, "results": results, "meta": meta}
        return orjson.dumps(answer)


def _results(request: Mapping[str, Any], *, by_default: bool) -> list[dict[str, Any]]:
    """The best documents first, with their texts if that is asked for or usual."""
    texts = _texts(request["documents"])
    scored = [(_score(request["query"], text), place) for place, text in enumerate(texts)]
    scored.sort(key=lambda found: (-found[0], found[1]))
    shown = request.get("return_documents")
    if shown is None:
        shown = by_default
    results = []
    for score, place in scored[: request.get("top_n")]:
        result: dict[str, Any] = {"index": place, "relevance_score": score}
        results.append(result | {"document": {"text": texts[place]}} if shown else result)
    return results


def _texts(documents: Sequence[Any]) -> list[str]:
    texts = []
    for place, document in enumerate(documents):
        text = document.get("text") if isinstance(document, dict) else document
        if not isinstance(text, str):
            raise ApiError(f"invalid request: documents[{place}] must be a string or have a text")
        texts.append(text)
    return texts


def _score(query: str, text: str) -> float:
    """The share of the query's words that it has, a little less by a digest of the text."""
    wanted = set(query.casefold().split())
    share = len(wanted & set(text.casefold().split())) / max(1, len(wanted))
    own = int.from_bytes(seed_of(text.encode())[:4]) / (1 << 32)
    return round(0.99 * share + 0.01 * own, 8)


def _make(_directives: Directives, _seed: bytes) -> Answer:
    return WHOLE
