"""Gemini generateContent as a dialect of the provider: paths, keys, models, error answers."""

from __future__ import annotations

import re
from typing import Any, Final
from urllib.parse import parse_qs, unquote

import orjson

from bench.simulate.chat import ChatRequest, Counts
from bench.simulate.errors import ApiError
from bench.simulate.gemini_content import (
    GeminiGrammar,
    error_object,
    generate_body,
    status_error,
    usage_metadata,
)
from bench.simulate.gemini_request import parse_generate_request
from bench.simulate.plan import ChatPlan
from bench.simulate.replies import Request
from bench.simulate.signatures import CALL, THOUGHT, Signer, call_content
from engine.wire.http import Headers

_VERTEX: Final = "projects/[^/]+/locations/[^/]+/publishers/google/models"
_PATH: Final = re.compile(
    rf"/v1(?:beta1?|alpha)?/(?:models|tunedModels|{_VERTEX})/(.+):([a-zA-Z]+)"
)
_LIST: Final = re.compile(r"/v1(?:beta|alpha)/models(?:/(.+))?")
METHODS: Final = frozenset({"generateContent", "streamGenerateContent", "countTokens"})


def is_gemini(path: str) -> bool:
    """Whether a path is one of Gemini's, by its version or its method."""
    return path.startswith(("/v1beta/", "/v1alpha/")) or _PATH.fullmatch(path) is not None


def method_of(path: str) -> str:
    """The word after the model; empty for another path."""
    found = _PATH.fullmatch(path)
    return found[2] if found else ""


def model_of(path: str) -> str:
    """The model before the method; empty for another path."""
    found = _PATH.fullmatch(path)
    return unquote(found[1]) if found else ""


def gemini_model(path: str) -> str | None:
    """The model of a path of the list, empty for all of it; None for another path."""
    found = _LIST.fullmatch(path)
    return unquote(found[1] or "") if found else None


class GeminiDialect:
    """Gemini generateContent."""

    name = "gemini"

    def __init__(self, signer: Signer) -> None:
        self._signer = signer

    def parse(self, request: Request) -> ChatRequest:
        found = _PATH.fullmatch(request.path)
        if found is None or found[2] not in METHODS:
            raise ApiError("Requested entity was not found.", status=404)
        query = parse_qs(request.query)
        return parse_generate_request(
            request.body,
            self._signer,
            model=unquote(found[1]),
            method=found[2],
            as_array=query.get("alt") != ["sse"],
        )

    def key_of(self, request: Request) -> bytes | None:
        key = request.headers.get(b"x-goog-api-key")
        if key:
            return key
        named = parse_qs(request.query).get("key")
        return named[0].encode() if named else None

    def no_key(self) -> ApiError:
        return ApiError(
            "Method doesn't allow unregistered callers (callers without established identity). "
            "Please use API Key or other form of API consumer identity to call this API.",
            status=403,
        )

    def wrong_key(self, key: bytes) -> ApiError:
        return ApiError("API key not valid. Please pass a valid API key.", reason="API_KEY_INVALID")

    def unknown_model(self, model: str) -> ApiError:
        return ApiError(
            f"models/{model} is not found for API version v1beta, or is not supported for "
            "generateContent. Call ModelService.ListModels to see the list of available models "
            "and their supported methods.",
            status=404,
        )

    def status_error(self, status: int, retry_after_s: float | None) -> ApiError:
        return status_error(status, retry_after_s)

    def write_error(
        self, error: ApiError, request: Request, request_id: str
    ) -> tuple[Headers, bytes]:
        """Unframed JSON, whatever was asked for; a list of one where an array was."""
        content_type = b"application/json; charset=UTF-8"
        document: object = error_object(error)
        if method_of(request.path) == "streamGenerateContent":
            if parse_qs(request.query).get("alt") == ["sse"]:
                content_type = b"text/event-stream"
            else:
                document = [document]
        body = orjson.dumps(document, option=orjson.OPT_INDENT_2) + b"\n"
        return [(b"content-type", content_type), *error.headers], body

    def headers(self, request_id: str) -> Headers:
        return [(b"server-timing", b"gfet4t7; dur=1"), (b"vary", b"Origin, X-Origin, Referer")]

    def call_id(self, digest: str, *, given: bool) -> str:
        return digest[:8] if given else ""

    def sign_reasoning(self, text: str, nonce: bytes) -> str | None:
        return self._signer.sign(nonce, THOUGHT, b"")

    def sign_call(self, name: str, arguments: dict[str, Any], nonce: bytes) -> str | None:
        return self._signer.sign(nonce, CALL, call_content(name, arguments))

    def prompt_refused(self) -> ApiError | None:
        return None

    def answer_id(self, instance: str, number: int) -> str:
        return f"{instance}{number:011x}"

    def stream_type(self, request: ChatRequest) -> bytes:
        return b"application/json; charset=UTF-8" if request.as_array else b"text/event-stream"

    def usage(self, counts: Counts) -> dict[str, Any]:
        return usage_metadata(counts)

    def grammar(self, plan: ChatPlan) -> GeminiGrammar:
        return GeminiGrammar(plan)

    def unary(self, plan: ChatPlan, position: int, counts: Counts | None) -> bytes:
        return generate_body(plan, position, counts)

    def count(self, tokens: int) -> dict[str, Any]:
        details = [{"modality": "TEXT", "tokenCount": tokens}]
        return {"totalTokens": tokens, "promptTokensDetails": details}

    def model_list(self, models: tuple[str, ...]) -> dict[str, Any]:
        return {"models": [self.model(model) for model in models]}

    def model(self, model: str) -> dict[str, Any]:
        return {
            "name": f"models/{model}",
            "version": "001",
            "displayName": model,
            "description": "The simulated provider's model.",
            "inputTokenLimit": 1_048_576,
            "outputTokenLimit": 65_536,
            "supportedGenerationMethods": ["generateContent", "countTokens"],
            "temperature": 1,
            "topP": 0.95,
            "topK": 64,
            "maxTemperature": 2,
            "thinking": True,
        }
