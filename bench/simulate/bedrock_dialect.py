"""Bedrock as a dialect of the provider: Anthropic's messages, signed, in AWS's event stream."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import unquote

import orjson

from bench.simulate.answer import Finish, Segment
from bench.simulate.anthropic_dialect import AnthropicDialect
from bench.simulate.anthropic_messages import AnthropicGrammar
from bench.simulate.anthropic_request import parse_messages_request
from bench.simulate.aws_signature import AwsKey, check_signature, is_signed
from bench.simulate.chat import ChatRequest, Counts
from bench.simulate.errors import ApiError, retry_headers
from bench.simulate.event_stream import encode_chunk, encode_exception, encode_message
from bench.simulate.plan import ChatPlan
from bench.simulate.replies import Request
from bench.simulate.signatures import Signer
from engine.wire.http import Headers

REGION: Final = "us-east-1"
_VERSION: Final = "bedrock-2023-05-31"
_STREAM: Final = "/invoke-with-response-stream"
_UNARY: Final = "/invoke"
_EXCEPTIONS: Final[Mapping[int, tuple[str, str]]] = {
    400: ("ValidationException", "The provided request is not valid."),
    403: ("AccessDeniedException", "User: arn:aws:iam::123456789012:user/me is not authorized."),
    404: ("ResourceNotFoundException", "Could not resolve the foundation model."),
    408: ("ModelTimeoutException", "The model took too long to process the request."),
    424: ("ModelErrorException", "The request failed due to an error while processing the model."),
    429: ("ThrottlingException", "Too many requests, please wait before trying again."),
    500: ("InternalServerException", "The system encountered an unexpected error."),
    503: ("ServiceUnavailableException", "Bedrock is unable to process your request."),
}
_OVERSIZED_BYTES: Final = 32 * 1024 * 1024


def is_bedrock(path: str) -> bool:
    """Whether a path is one of Bedrock's."""
    return path.startswith("/model/") and path.endswith((_STREAM, _UNARY))


class BedrockDialect(AnthropicDialect):
    """Bedrock. An access key that has signed is a key like any other."""

    name = "bedrock"

    def __init__(self, signer: Signer, aws_keys: Mapping[str, AwsKey]) -> None:
        super().__init__(signer)
        self._aws_keys = aws_keys

    def parse(self, request: Request) -> ChatRequest:
        """What goes on to the model has the model's name in it again."""
        name, _, operation = request.path.removeprefix("/model/").rpartition("/")
        try:
            document: Any = orjson.loads(request.body)
        except orjson.JSONDecodeError:
            document = None
        if not isinstance(document, dict):
            raise ApiError("Malformed input request, please reformat your input and try again.")
        for key in ("model", "stream"):
            if key in document:
                raise ApiError(
                    f"Malformed input request: extraneous key [{key}] is not permitted, please "
                    "reformat your input and try again."
                )
        if document.pop("anthropic_version", None) != _VERSION:
            raise ApiError(f"anthropic_version: must be {_VERSION}")
        if document.pop("service_tier", None) is not None:
            raise ApiError("service_tier: Extra inputs are not permitted")
        betas = document.pop("anthropic_beta", [])
        if not isinstance(betas, list) or not all(isinstance(beta, str) for beta in betas):
            raise ApiError("anthropic_beta: Input should be a valid list")
        document |= {"model": unquote(name), "stream": f"/{operation}" == _STREAM}
        headers = {b"anthropic-version": b"2023-06-01"}
        body = orjson.dumps(document)
        return parse_messages_request(body, headers, self._signer, beta=bool(betas))

    def key_of(self, request: Request) -> bytes | None:
        """An API key, or the access key of a signature that holds."""
        if is_signed(request):
            now = datetime.now(UTC)
            return check_signature(request, self._aws_keys, REGION, "bedrock", now).encode()
        scheme, _, token = request.headers.get(b"authorization", b"").partition(b" ")
        return token if scheme.lower() == b"bearer" and token else None

    def no_key(self) -> ApiError:
        return ApiError(
            "Missing Authentication Token", status=403, kind="MissingAuthenticationTokenException"
        )

    def wrong_key(self, key: bytes) -> ApiError:
        return ApiError("Invalid API Key format or key.", status=403)

    def unknown_model(self, model: str) -> ApiError:
        return ApiError("The provided model identifier is invalid.")

    def status_error(self, status: int, retry_after_s: float | None) -> ApiError:
        kind, message = _exception(status)
        headers = () if retry_after_s is None else retry_headers(status, retry_after_s)
        return ApiError(message, status=status, kind=kind, headers=headers)

    def write_error(
        self, error: ApiError, request: Request, request_id: str
    ) -> tuple[Headers, bytes]:
        kind = error.kind or _exception(error.status)[0]
        origin = "http://internal.amazon.com/coral/com.amazon.bedrock/"
        headers = [
            (b"content-type", b"application/json"),
            (b"x-amzn-errortype", f"{kind}:{origin}".encode()),
            *error.headers,
        ]
        return headers, orjson.dumps({"message": error.message})

    def headers(self, request_id: str) -> Headers:
        return [(b"x-amzn-requestid", request_id.encode())]

    def answer_id(self, instance: str, number: int) -> str:
        return f"msg_bdrk_01{instance}{number:010x}"

    def stream_type(self, request: ChatRequest) -> bytes:
        return b"application/vnd.amazon.eventstream"

    def grammar(self, plan: ChatPlan) -> BedrockGrammar:  # type: ignore[override]
        return BedrockGrammar(plan, super().grammar(plan))


def _exception(status: int) -> tuple[str, str]:
    return _EXCEPTIONS.get(status) or _EXCEPTIONS[500 if status >= 500 else 400]


class BedrockGrammar:
    """Anthropic's events, each in a message; without pings, and with the call's metrics."""

    def __init__(self, plan: ChatPlan, events: AnthropicGrammar) -> None:
        self._plan = plan
        self._events = events

    def begin(self) -> bytes:
        """`message_start`."""
        return _framed(self._events.begin())

    def piece(self, segment: Segment, choice: int, start: int, end: int) -> bytes:
        """Deltas of a block."""
        return _framed(self._events.piece(segment, choice, start, end))

    def finish(self, reason: Finish, counts: Counts | None) -> bytes:
        """The end; `message_stop` tells the caller what it will pay."""
        return _framed(self._events.finish(reason, counts), _metrics(counts))

    def error(self, kind: str) -> bytes:
        """An exception, or a message that cannot be read."""
        name = self._plan.directives.exception
        whole = encode_exception(name, f"The simulated provider failed: {name}.")
        match kind:
            case "error_bare":
                headers = {
                    ":message-type": "error",
                    ":error-code": "InternalError",
                    ":error-message": "An internal server error occurred.",
                }
                return encode_message(headers, b"")
            case "corrupt":
                chunk = encode_chunk(b'{"type":"ping"}')
                return chunk[:-5] + bytes([chunk[-5] ^ 1]) + chunk[-4:]
            case "oversized":
                return encode_message({}, bytes(_OVERSIZED_BYTES))[:1_024]
            case "truncated":
                return whole[: len(whole) // 2]
            case _:
                return whole


def _framed(events: bytes, metrics: dict[str, Any] | None = None) -> bytes:
    messages = []
    for event in events.split(b"\n\n"):
        name, _, data = event.partition(b"\ndata: ")
        if name == b"event: message_stop" and metrics is not None:
            data = orjson.dumps({"type": "message_stop"} | metrics)
        if data and name != b"event: ping":
            messages.append(encode_chunk(data))
    return b"".join(messages)


def _metrics(counts: Counts | None) -> dict[str, Any] | None:
    if counts is None:
        return None
    return {
        "amazon-bedrock-invocationMetrics": {
            "inputTokenCount": counts.input_tokens,
            "outputTokenCount": counts.output_tokens,
            "invocationLatency": 640,
            "firstByteLatency": 120,
        }
    }
