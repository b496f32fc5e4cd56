"""`POST /v1/rerank`, as Cohere has it and Jina, Voyage and others after it: documents in the order
in which they answer a query.

Sources: Cohere's API reference of rerank (its search units: a query with up to 100 documents, of
which those of more than 500 tokens, the query's among them, count once for every 500); Jina's of
its reranker. Nobody else's protocol has it.

Where a provider reports search units they are what it is paid by, and billed as `requests`; where
it reports tokens, those are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import orjson

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
)
from engine.protocols.codec import ClientRequest
from engine.protocols.fields import dict_of, load_object, load_request, text_of
from engine.protocols.openai_shared import read_error
from engine.protocols.operation import OperationCodec, model_of
from engine.protocols.quirks import PLAIN, Quirks
from engine.usage import is_count

_DOCUMENTS_MAX: Final = 10_000
_SEARCH_CHUNKS: Final = 100
_CHUNK_TOKENS: Final = 500
_BYTES_A_TOKEN: Final = 4


class RerankCodec(OperationCodec):
    """See `engine.protocols.codec.ClientCodec`."""

    name = "rerank"
    paths: Mapping[Operation, str] = {"rerank": "/rerank"}

    def parse_request(self, call: Call) -> ClientRequest:
        """Its model, query and documents. Raises InvalidRequestError."""
        document = load_request(call.body)
        query, documents = document.get("query"), document.get("documents")
        if not isinstance(query, str | dict) or not query:
            raise InvalidRequestError("'query' must be a string, and not empty.", param="query")
        if not isinstance(documents, list) or not 0 < len(documents) <= _DOCUMENTS_MAX:
            raise InvalidRequestError(
                f"'documents' must be an array of 1 to {_DOCUMENTS_MAX}.", param="documents"
            )
        # Every document is read beside the query.
        tokens = len(call.body) + len(documents) * len(orjson.dumps(query))
        chunks = len(documents) + tokens // _CHUNK_TOKENS
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
                input_tokens=tokens,
                expected_input_tokens=tokens // _BYTES_A_TOKEN,
                pieces={"requests": -(-chunks // _SEARCH_CHUNKS)},
            ),
        )

    def prompt_texts(self, request: ClientRequest) -> Iterator[str]:
        """The query, once, and the documents."""
        yield _text(request.document.get("query"))
        for document in request.document.get("documents") or ():
            yield _text(document)

    def decode_response(self, body: bytes, quirks: Quirks = PLAIN) -> Sequence[Event]:
        """Raises ValueError, UpstreamRejectedError."""
        document = load_object(body)
        if document.get("error"):
            raise read_error(200, body)
        results = document.get("results")
        if not isinstance(results if results is not None else document.get("data"), list):
            raise ValueError("no results")  # Voyage's are called `data`
        begin = Begin(text_of(document.get("id")) or None, text_of(document.get("model")) or None)
        usage = _usage(document)
        reported = [] if usage is None else [UsageReport(usage)]
        return [begin, Finish(FinishReason.STOP), *reported]


def _text(value: object) -> str:
    return value if isinstance(value, str) else text_of(dict_of(value).get("text"))


def _usage(document: Mapping[str, Any]) -> Usage | None:
    billed = dict_of(dict_of(document.get("meta")).get("billed_units"))
    searches, tokens = billed.get("search_units"), billed.get("input_tokens")
    if tokens is None:
        tokens = dict_of(document.get("usage")).get("total_tokens")
    if isinstance(searches, float) and searches.is_integer():
        searches = int(searches)  # a double in Cohere's API
    if not is_count(searches):
        return Usage(input_tokens=tokens) if is_count(tokens) else None
    return Usage(input_tokens=tokens if is_count(tokens) else 0, more={"requests": searches})


CODEC = RerankCodec()
