"""OpenAI chat as bytes: stream events, unary answers, usage, error answers.

Shapes and key order are those of recorded traffic: the first event of each choice carries the role,
`"usage":null` is on every event of a stream that asked for usage, the usage event has no choices.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import orjson

from bench.simulate.openai_fields import ApiError

DONE: Final = b"data: [DONE]\n\n"
FINGERPRINT: Final = "fp_simulated"
CREATED_MODELS: Final = 1_735_689_600

_SERVER_ERROR: Final = "The server had an error while processing your request. Sorry about that!"
_STATUS_ERRORS: Final[dict[int, tuple[str, str, str | None]]] = {
    401: ("Incorrect API key provided.", "invalid_request_error", "invalid_api_key"),
    403: ("You are not allowed to sample from this model.", "invalid_request_error", None),
    404: ("The model does not exist.", "invalid_request_error", "model_not_found"),
    429: (
        "Rate limit reached on requests per min (RPM): Limit 500, Used 500, Requested 1.",
        "requests",
        "rate_limit_exceeded",
    ),
    500: (_SERVER_ERROR, "server_error", None),
    503: (
        "The engine is currently overloaded, please try again later.",
        "server_error",
        "service_unavailable",
    ),
    529: ("Overloaded", "overloaded_error", "overloaded"),
}
_RETRY_STATUSES: Final = frozenset({429, 503, 529})


def usage_object(input_tokens: int, output_tokens: int) -> dict[str, Any]:
    """OpenAI's usage object, with its details."""
    return {
        "prompt_tokens": input_tokens,
        "completion_tokens": output_tokens,
        "total_tokens": input_tokens + output_tokens,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 0,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


class EventEncoder:
    """Stream events of one completion. Text must need no JSON escapes."""

    __slots__ = ("_after", "_before", "_head", "_tail")

    def __init__(
        self, completion_id: str, created: int, model: str, *, choices: int, with_usage: bool
    ) -> None:
        head = {
            "id": completion_id,
            "object": "chat.completion.chunk",
            "created": created,
            "model": model,
            "service_tier": "default",
            "system_fingerprint": FINGERPRINT,
        }
        self._head = b"data: " + orjson.dumps(head)[:-1]
        self._tail = b',"usage":null}\n\n' if with_usage else b"}\n\n"
        self._before = [
            self._head + b',"choices":[{"index":%d,"delta":{"content":"' % index
            for index in range(choices)
        ]
        self._after = b'"},"logprobs":null,"finish_reason":null}]' + self._tail

    def role(self) -> bytes:
        """The first event of each choice."""
        return b"".join(
            self._head
            + b',"choices":[{"index":%d,"delta":{"role":"assistant","content":"","refusal":null},'
            b'"logprobs":null,"finish_reason":null}]' % index + self._tail
            for index in range(len(self._before))
        )

    def text(self, choice: int, text: str) -> bytes:
        """One event with a piece of text."""
        return self._before[choice] + text.encode() + self._after

    def finish(self, reason: str) -> bytes:
        """The last event of each choice."""
        return b"".join(
            self._head
            + b',"choices":[{"index":%d,"delta":{},"logprobs":null,"finish_reason":"%s"}]'
            % (index, reason.encode())
            + self._tail
            for index in range(len(self._before))
        )

    def usage(self, usage: dict[str, Any]) -> bytes:
        """The event without choices that reports usage."""
        return self._head + b',"choices":[],"usage":' + orjson.dumps(usage) + b"}\n\n"


def error_event() -> bytes:
    """The error OpenAI sends in a stream that has begun."""
    error = ApiError(_SERVER_ERROR, kind="server_error")
    return b"data: " + orjson.dumps(error.to_json()) + b"\n\n"


def unary_body(
    completion_id: str,
    created: int,
    model: str,
    texts: Sequence[str],
    reason: str,
    usage: dict[str, Any] | None,
) -> bytes:
    """A whole completion."""
    completion: dict[str, Any] = {
        "id": completion_id,
        "object": "chat.completion",
        "created": created,
        "model": model,
        "choices": [
            {
                "index": index,
                "message": {
                    "role": "assistant",
                    "content": text,
                    "refusal": None,
                    "annotations": [],
                },
                "logprobs": None,
                "finish_reason": reason,
            }
            for index, text in enumerate(texts)
        ],
    }
    if usage is not None:
        completion["usage"] = usage
    completion["service_tier"] = "default"
    completion["system_fingerprint"] = FINGERPRINT
    return orjson.dumps(completion, option=orjson.OPT_INDENT_2) + b"\n"


def status_error(status: int, retry_after_s: float | None) -> ApiError:
    """The error answer of a status, with Retry-After where a retry may help or where told."""
    message, kind, code = _STATUS_ERRORS.get(
        status,
        (_SERVER_ERROR, "server_error", None)
        if status >= 500
        else ("The request was refused.", "invalid_request_error", None),
    )
    if retry_after_s is None and status in _RETRY_STATUSES:
        retry_after_s = 1.0
    headers: tuple[tuple[bytes, bytes], ...] = ()
    if retry_after_s is not None:
        headers = ((b"retry-after", f"{retry_after_s:g}".encode()),)
    return ApiError(message, status=status, kind=kind, code=code, headers=headers)


def model_object(model: str) -> dict[str, Any]:
    """One entry of the model list."""
    return {
        "id": model,
        "object": "model",
        "created": CREATED_MODELS,
        "owned_by": "parshall-simulator",
    }
