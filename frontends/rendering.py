"""Answers that are not an exchange's: JSON, and errors in the shape of the client's protocol."""

from __future__ import annotations

import math
from typing import Any

import orjson
from quart import Response

from engine.conclusion import route_headers
from engine.errors import (
    AuthenticationError,
    ClientError,
    DeadlineError,
    GatewayError,
    IdempotencyError,
    UpstreamRejectedError,
)
from engine.events import Operation, Protocol
from engine.ledger.receipts import Receipt
from engine.protocols.registry import client_codec
from frontends.bodies import BodyTimeoutError

_TOO_MANY = 429
_RETRIED_BY_SDKS = frozenset({408, 409, 429, *range(500, 600)})
_USELESS_TO_RETRY = frozenset(
    {"upstream_credentials_refused", "upstream_account_exhausted", "ended_by_operator"}
)
"""The operator has to act, or has acted: the same request would fail again."""
_WAITED_FOR_MAX_S = 60
"""SDKs wait no longer: of a longer `retry-after` they send again after a moment of their own."""


def json_response(value: Any, status: int = 200) -> Response:
    """A JSON answer."""
    return Response(orjson.dumps(value), status=status, content_type="application/json")


def render_error(
    protocol: Protocol,
    error: GatewayError,
    request_id: str,
    receipt: Receipt | None = None,
    operation: Operation = "chat",
) -> Response:
    """An error as the SDKs of a protocol read it, with the names that fields have in requests for
    the operation; the receipt of the exchange that has failed with it tells where it was tried."""
    codec = client_codec(protocol, operation)
    status = codec.error_status(error)
    body = codec.encode_error(error, request_id)
    response = Response(body, status=status, content_type="application/json")
    if error.retry_after_s is not None:
        wait_ms = math.ceil(round(error.retry_after_s * 1_000, 3))
        response.headers["retry-after"] = str(-(-wait_ms // 1_000))
        if status == _TOO_MANY:
            response.headers["retry-after-ms"] = str(wait_ms)
    tried = () if receipt is None else receipt.attempts
    if status in _RETRIED_BY_SDKS and (len(tried) > 1 or _is_useless_to_retry(error)):
        response.headers["x-should-retry"] = "false"
    if isinstance(error, AuthenticationError) and status == error.status:
        response.headers["www-authenticate"] = "Bearer"
    if isinstance(error, IdempotencyError):
        response.headers["x-parshall-receipt"] = error.request_id
    if isinstance(error, UpstreamRejectedError) and error.provider_request_id is not None:
        response.headers["x-provider-request-id"] = error.provider_request_id
    if receipt is not None and tried:
        response.headers.extend(
            (name.decode(), value.decode()) for name, value in route_headers(receipt)
        )
    return response


def _is_useless_to_retry(error: GatewayError) -> bool:
    """OpenAI's and Anthropic's SDKs send again what fails with some statuses, unless told not to.

    They need not be told of a 4xx that they would not send again anyway.
    """
    if error.retry_after_s is not None:
        of_ours = not isinstance(error, UpstreamRejectedError)
        return of_ours and error.retry_after_s > _WAITED_FOR_MAX_S
    if isinstance(error, BodyTimeoutError):
        return False
    return isinstance(error, ClientError | DeadlineError) or error.code in _USELESS_TO_RETRY
