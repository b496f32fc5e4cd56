"""OpenAI responses as a dialect of the provider; keys, models and errors are those of chat."""

from __future__ import annotations

from typing import Any

from bench.simulate.chat import ChatRequest, Counts
from bench.simulate.errors import ApiError
from bench.simulate.kept.responses import ResponseStore
from bench.simulate.openai_dialect import OpenAIDialect
from bench.simulate.plan import ChatPlan
from bench.simulate.replies import Request
from bench.simulate.responses_grammar import ResponsesGrammar
from bench.simulate.responses_objects import response_body, usage_object
from bench.simulate.responses_request import parse_responses_request
from bench.simulate.signatures import REASONING


class ResponsesDialect(OpenAIDialect):
    """OpenAI responses."""

    name = "openai-responses"

    def __init__(self, store: ResponseStore) -> None:
        self._signer = store.signer
        self._store = store

    def parse(self, request: Request) -> ChatRequest:
        counting = request.path.endswith("/input_tokens")
        key = (self.key_of(request) or b"").decode("latin-1")
        return parse_responses_request(request.body, self._store, key, counting=counting)

    def unknown_model(self, model: str) -> ApiError:
        return ApiError(
            f"The requested model '{model}' does not exist.", param="model", code="model_not_found"
        )

    def sign_reasoning(self, text: str, nonce: bytes) -> str | None:
        return self._signer.sign(nonce, REASONING, text.encode())

    def answer_id(self, instance: str, number: int) -> str:
        return f"resp_{instance}{number:038x}"

    def usage(self, counts: Counts) -> dict[str, Any]:
        return usage_object(counts)

    def grammar(self, plan: ChatPlan) -> ResponsesGrammar:
        return ResponsesGrammar(plan, self._signer, self._store.conclude)

    def unary(self, plan: ChatPlan, position: int, counts: Counts | None) -> bytes:
        self._store.conclude(plan, position, counts)
        return response_body(plan, self._signer, position, counts)
