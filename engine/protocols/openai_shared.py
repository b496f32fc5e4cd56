"""What OpenAI's protocols share: errors, logprobs, levels of effort, `data:` URLs, ids of calls."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, get_args

import orjson

from engine.capabilities import Capabilities
from engine.conversation import (
    Conversation,
    Effort,
    MediaKind,
    NativeTool,
    ReasoningRequest,
    Tool,
    ToolChoice,
)
from engine.errors import (
    PARAM_MAX_CHARS,
    GatewayError,
    InvalidRequestError,
    UpstreamRejectedError,
)
from engine.events import TokenLogprob
from engine.protocols.codec import InexpressibleError, spell
from engine.protocols.error_shapes import read_shape
from engine.protocols.fields import dicts
from engine.protocols.scrub import is_bad_key, is_out_of_funds, scrub

# Errors go into receipts, and receipts into the database.
_MESSAGE_MAX_CHARS = 4_096

_OVERLOADED = 529
"""Anthropic's own status, which clients of other protocols do not know."""


def read_error(
    status: int, body: bytes, retry_after_s: float | None = None
) -> UpstreamRejectedError:
    """A provider's error answer as the client may see it, whatever shape it has.

    The provider's judgement of the operator's own credentials (401, 403, and what others say in a
    400) and account is not the client's business: it becomes a 502 or 503 without the provider's
    words. An error inside a 200 has the status of its numeric code (OpenRouter, Groq), or 502.
    """
    shape = read_shape(body)
    message, code = shape.message, shape.code
    if status < 400:
        status = shape.status or 502
    if status == 403 and shape.is_filtered:
        status, code = 400, "content_filter"
    if status in (401, 403) or code == "invalid_api_key" or is_bad_key(message):
        return UpstreamRejectedError(
            "The provider refused the gateway's credentials; tell the operator.",
            status=502,
            code="upstream_credentials_refused",
        )
    if status == 402 or is_out_of_funds(code, message) or is_out_of_funds(shape.kind, None):
        return UpstreamRejectedError(
            "The gateway's account at the provider is used up; tell the operator.",
            status=503,
            code="upstream_account_exhausted",
            retry_after_s=retry_after_s,
        )
    return UpstreamRejectedError(
        scrub(message)[:_MESSAGE_MAX_CHARS] if message else f"The provider answered {status}.",
        status=status if 400 <= status <= 599 else 502,
        kind=shape.kind or ("invalid_request_error" if status < 500 else "server_error"),
        code=code,
        param=shape.param,
        retry_after_s=retry_after_s,
    )


def error_status(error: GatewayError) -> int:
    """The HTTP status that these protocols' clients expect of an error."""
    return 503 if error.status == _OVERLOADED else error.status


def error_object(error: GatewayError, field_names: Mapping[str, str]) -> dict[str, Any]:
    """An error in OpenAI's shape, which has no place for the id of a request."""
    param = (
        spell(error.field, field_names) if isinstance(error, InexpressibleError) else error.param
    )
    param = param and param[:PARAM_MAX_CHARS]
    return {"message": error.message, "type": error.kind, "param": param, "code": error.code}


def encode_error(error: GatewayError, field_names: Mapping[str, str]) -> bytes:
    """The body of an error answer."""
    return orjson.dumps({"error": error_object(error, field_names)})


def read_logprobs(value: object) -> tuple[TokenLogprob, ...]:
    """Tokens with their alternatives; what is none is passed over."""
    return tuple(
        TokenLogprob(
            item["token"],
            float(item["logprob"]),
            _bytes(item.get("bytes")),
            read_logprobs(item.get("top_logprobs")),
        )
        for item in dicts(value)
        if isinstance(item.get("token"), str) and isinstance(item.get("logprob"), (int, float))
    )


def _bytes(value: object) -> tuple[int, ...] | None:
    if not isinstance(value, list) or not all(isinstance(item, int) for item in value):
        return None
    return tuple(value)


def encode_logprob(token: TokenLogprob, *, top: bool = True) -> dict[str, Any]:
    """A token with its alternatives."""
    fields: dict[str, Any] = {
        "token": token.token,
        "logprob": token.logprob,
        "bytes": None if token.bytes_ is None else list(token.bytes_),
    }
    if top:
        fields["top_logprobs"] = [encode_logprob(other, top=False) for other in token.top]
    return fields


# Budgets of thinking by Google's own map of effort to budget for Gemini 2.5.
_BUDGETS: dict[Effort, int] = {"low": 1_024, "medium": 8_192, "high": 24_576}
_LADDER: tuple[Effort, ...] = get_args(Effort)


def effort_of(request: ReasoningRequest) -> Effort | None:
    """The level that is asked for; None leaves it to the model."""
    budget = request.budget_tokens
    if request.effort is not None or budget is None or budget < 0:
        return request.effort
    return min(_BUDGETS, key=lambda level: abs(_BUDGETS[level] - budget))


def nearest_effort(effort: Effort, known: tuple[Effort, ...] | None) -> Effort:
    """The level itself, or the nearest one that the model knows, the lower of two."""
    if not known or effort in known or effort == "none":
        return effort
    at = _LADDER.index(effort)
    levels: Sequence[Effort] = [level for level in known if level != "none"] or known
    return min(levels, key=lambda level: (abs(_LADDER.index(level) - at), _LADDER.index(level)))


def read_effort(value: object, path: str) -> Effort | None:
    """A level by its name; raises InvalidRequestError for what is none."""
    if value is None:
        return None
    for effort in _LADDER:
        if effort == value:
            return effort
    raise InvalidRequestError(f"'{path}' must be one of {', '.join(_LADDER)}.", param=path)


def split_data_url(url: str, path: str) -> tuple[str, str]:
    """Media type and base64 of a `data:` URL; raises InvalidRequestError for what is none."""
    head, comma, data = url.partition(",")
    mime_type, _, encoding = head.removeprefix("data:").rpartition(";")
    if not comma or encoding.strip() != "base64":
        raise InvalidRequestError(
            f"'{path}' must hold base64: data:<media type>;base64,<data>.", param=path
        )
    return mime_type.partition(";")[0].strip().lower() or "text/plain", data


def kind_of(mime_type: str) -> MediaKind:
    """What a file is by its type."""
    match mime_type.partition("/")[0].strip().lower():
        case "image":
            return "image"
        case "audio":
            return "audio"
        case "video":
            return "video"
        case _:
            return "document"


def call_id_of(call_id: str, max_chars: int) -> str:
    """The id of a call within the provider's bound; the same for a call and its result."""
    if len(call_id) <= max_chars:
        return call_id
    return f"call_{hashlib.blake2s(call_id.encode(), digest_size=16).hexdigest()}"


def checked_tools(
    conversation: Conversation, capabilities: Capabilities
) -> tuple[Tool | NativeTool, ...]:
    """The conversation's tools; raises InexpressibleError when the model can call none."""
    if conversation.tools and capabilities.tools is False:
        raise InexpressibleError("tools", "This model cannot call tools.")
    return conversation.tools


def tool_fields(
    conversation: Conversation,
    tools: list[dict[str, Any]],
    encode_choice: Callable[[ToolChoice], str | dict[str, Any]],
) -> dict[str, Any]:
    """The fields of a request that are about tools; none without tools."""
    if not tools:
        return {}
    document: dict[str, Any] = {"tools": tools}
    if conversation.tool_choice is not None:
        document["tool_choice"] = encode_choice(conversation.tool_choice)
    if conversation.parallel_tool_calls is not None:
        document["parallel_tool_calls"] = conversation.parallel_tool_calls
    return document
