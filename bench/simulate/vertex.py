"""Vertex AI as a provider: Gemini and Anthropic behind Google's paths, tokens and errors.

Gemini's differences from AI Studio are those between `_GenerateContentParameters_to_vertex` and
`…_to_mldev` of Google's SDK; Anthropic's are those of its own SDK's client for Vertex.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import unquote

import orjson

from bench.simulate.anthropic_dialect import AnthropicDialect
from bench.simulate.chat import ChatRequest, Counts
from bench.simulate.errors import ApiError
from bench.simulate.gemini_content import GeminiGrammar, error_object
from bench.simulate.gemini_dialect import GeminiDialect, method_of
from bench.simulate.gemini_fields import camel
from bench.simulate.plan import ChatPlan
from bench.simulate.replies import Request
from engine.wire.http import Headers

VERSION: Final = "vertex-2023-10-16"
_PLACE: Final = r"/v1(?:beta1)?/projects/[^/]+/locations/[^/]+/publishers"
_GOOGLE: Final = re.compile(rf"{_PLACE}/google/models/[^/]+:\w+")
_ANTHROPIC: Final = re.compile(rf"{_PLACE}/anthropic/models/([^/:]+):(rawPredict|streamRawPredict)")
_COUNTER: Final = "count-tokens"
_OWN_FIELDS: Final = frozenset({"labels", "modelArmorConfig"})
_OWN_CONFIG: Final = frozenset({"audioTimestamp", "routingConfig", "modelConfig"})
_COUNTED: Final = frozenset({"contents", "systemInstruction", "tools", "generationConfig"})
_UNKNOWN: Final = frozenset(
    {
        "enableEnhancedCivicAnswers",
        "fileSearch",
        "generateContentRequest",
        "includeServerSideToolInvocations",
        "partMetadata",
        "store",
        "toolCall",
        "toolResponse",
    }
)
"""What AI Studio knows and Vertex does not, wherever it stands."""
_CLIENTS_OWN: Final = frozenset({"args", "response", "labels"}) | {
    f"{name}{kind}" for name in ("parameters", "response") for kind in ("", "Schema", "JsonSchema")
}


def vertex_publisher(path: str) -> str | None:
    """`google` or `anthropic`, whose models a path names; None for a path that is not Vertex's."""
    if _GOOGLE.fullmatch(path):
        return "google"
    return "anthropic" if _ANTHROPIC.fullmatch(path) else None


def counts_only(path: str) -> bool:
    """Whether a path of Anthropic's counts tokens."""
    found = _ANTHROPIC.fullmatch(path)
    return found is not None and found[1] == _COUNTER


def bearer_of(request: Request) -> bytes | None:
    """The token of a request: Vertex takes no keys here."""
    scheme, _, token = request.headers.get(b"authorization", b"").partition(b" ")
    return token if scheme.lower() == b"bearer" and token else None


class CloudError(ApiError):
    """An error of Google's own, before any model was asked."""


def _missing() -> CloudError:
    return CloudError(
        "Request is missing required authentication credential. Expected OAuth 2 access token, "
        "login cookie or other valid authentication credential. See "
        "https://developers.google.com/identity/sign-in/web/devconsole-project.",
        status=401,
        reason="CREDENTIALS_MISSING",
    )


def _invalid() -> CloudError:
    return CloudError(
        "Request had invalid authentication credentials. Expected OAuth 2 access token, login "
        "cookie or other valid authentication credential. See "
        "https://developers.google.com/identity/sign-in/web/devconsole-project.",
        status=401,
        reason="ACCESS_TOKEN_EXPIRED",
    )


def _no_model(model: str) -> CloudError:
    return CloudError(
        f"Publisher Model `projects/sim-project/locations/global/publishers/x/models/{model}` was "
        "not found or your project does not have access to it.",
        status=404,
    )


def _write(error: ApiError, *, listed: bool) -> tuple[Headers, bytes]:
    document = error_object(error)
    body = orjson.dumps([document] if listed else document, option=orjson.OPT_INDENT_2)
    return [(b"content-type", b"application/json; charset=UTF-8"), *error.headers], body + b"\n"


class VertexGeminiDialect(GeminiDialect):
    """Gemini."""

    name = "vertex"

    def parse(self, request: Request) -> ChatRequest:
        try:
            document = orjson.loads(request.body)
        except orjson.JSONDecodeError as error:
            raise ApiError(f"Invalid JSON payload received. {error.msg}") from None
        if not isinstance(document, dict):
            raise ApiError("Invalid JSON payload received.")
        for name in _names(document):
            if name in _UNKNOWN:
                raise _unknown(name)
        for content in _listed(document.get("contents")):
            if content.get("role") not in ("user", "model", "function"):
                raise ApiError("Please use a valid role: user, model.")
        document = {camel(name): value for name, value in document.items()}
        if method_of(request.path) == "countTokens":
            for name in document.keys() - _COUNTED:
                raise _unknown(name)
            document = {"generateContentRequest": document}
        kept = {name: value for name, value in document.items() if name not in _OWN_FIELDS}
        config = kept.get("generationConfig")
        if isinstance(config, dict):
            own = {name for name in config if camel(name) in _OWN_CONFIG}
            kept["generationConfig"] = {n: v for n, v in config.items() if n not in own}
        return super().parse(replace(request, body=orjson.dumps(kept)))

    def key_of(self, request: Request) -> bytes | None:
        return bearer_of(request)

    def no_key(self) -> ApiError:
        return _missing()

    def wrong_key(self, key: bytes) -> ApiError:
        return _invalid()

    def unknown_model(self, model: str) -> ApiError:
        return _no_model(model)

    def grammar(self, plan: ChatPlan) -> GeminiGrammar:
        return _VertexGrammar(plan)

    def unary(self, plan: ChatPlan, position: int, counts: Counts | None) -> bytes:
        answer = orjson.loads(super().unary(plan, position, counts))
        return orjson.dumps(_marked(answer, plan), option=orjson.OPT_INDENT_2) + b"\n"

    def count(self, tokens: int) -> dict[str, Any]:
        return super().count(tokens) | {"totalBillableCharacters": 4 * tokens}


class _VertexGrammar(GeminiGrammar):
    def _json(self, chunk: dict[str, Any]) -> bytes:
        return super()._json(_marked(chunk, self._plan))


def _marked(answer: dict[str, Any], plan: ChatPlan) -> dict[str, Any]:
    """With what only Vertex says."""
    usage = answer.get("usageMetadata", {}) | {"trafficType": "ON_DEMAND"}
    created = datetime.fromtimestamp(plan.created, UTC).isoformat().replace("+00:00", "Z")
    return answer | {"usageMetadata": usage, "createTime": created}


def _unknown(name: str) -> ApiError:
    return ApiError(
        f'Invalid JSON payload received. Unknown name "{name}": Cannot find field.', status=400
    )


def _listed(value: object) -> list[dict[str, Any]]:
    items = value if isinstance(value, list) else [value]
    return [item for item in items if isinstance(item, dict)]


def _names(value: object) -> Iterator[str]:
    """The camelCase names in a document, but for what is the client's own."""
    waiting = [value]
    while waiting:
        match waiting.pop():
            case list(items):
                waiting.extend(items)
            case dict(holder):
                for key, item in holder.items():
                    yield (name := camel(key))
                    if name not in _CLIENTS_OWN:
                        waiting.append(item)


class VertexAnthropicDialect(AnthropicDialect):
    """Anthropic messages."""

    name = "vertex-anthropic"

    def parse(self, request: Request) -> ChatRequest:
        found = _ANTHROPIC.fullmatch(request.path)
        assert found is not None
        model, method, path = unquote(found[1]), found[2], "/v1/messages"
        try:
            document = orjson.loads(request.body)
        except orjson.JSONDecodeError as error:
            raise ApiError(f"The request body is not valid JSON: {error.msg}") from None
        if not isinstance(document, dict) or "anthropic_version" not in document:
            raise ApiError("anthropic_version: Field required")
        if document.pop("anthropic_version") != VERSION:
            raise ApiError(f'anthropic_version: Input should be "{VERSION}"')
        if model == _COUNTER:
            path += "/count_tokens"
        elif "model" in document:
            raise ApiError("model: Extra inputs are not permitted")
        elif bool(document.get("stream")) != (method == "streamRawPredict"):
            raise ApiError("stream: it is said by the method of the path too, and otherwise")
        else:
            document["model"] = model
        headers = request.headers | {b"anthropic-version": b"2023-06-01"}
        asked = replace(request, path=path, headers=headers, body=orjson.dumps(document))
        return super().parse(asked)

    def key_of(self, request: Request) -> bytes | None:
        return bearer_of(request)

    def no_key(self) -> ApiError:
        return _missing()

    def wrong_key(self, key: bytes) -> ApiError:
        return _invalid()

    def unknown_model(self, model: str) -> ApiError:
        return _no_model(model)

    def write_error(
        self, error: ApiError, request: Request, request_id: str
    ) -> tuple[Headers, bytes]:
        """Google's in its own shape, in a list where a stream was asked for."""
        if isinstance(error, CloudError):
            return _write(error, listed=request.path.endswith(":streamRawPredict"))
        return super().write_error(error, request, request_id)

    def call_id(self, digest: str, *, given: bool) -> str:
        return f"toolu_vrtx_01{digest[:22]}"

    def answer_id(self, instance: str, number: int) -> str:
        return f"msg_vrtx_01{instance}{number:010x}"
