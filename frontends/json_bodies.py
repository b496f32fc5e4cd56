"""Requests of administration: small JSON objects, read whole."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import orjson

from engine import Gateway
from engine.errors import InvalidRequestError
from frontends.bodies import read_body, taking_of
from frontends.direct import asked

BODY_MAX_BYTES: Final = 64 * 1024


async def read_json(gateway: Gateway, max_bytes: int = BODY_MAX_BYTES) -> dict[str, Any]:
    """The JSON object that the body of the request being handled is; without a body, an empty one.

    Raises:
        InvalidRequestError: it is none.
        BodyTooLargeError: it is over `max_bytes`.
        GatewayError: as `read_body`.
    """
    server = gateway.config.server
    max_bytes = min(max_bytes, server.body_max_bytes)
    bounds = replace(server, body_max_bytes=max_bytes, spooled_min_bytes=max_bytes + 1)
    request = asked()
    body = await read_body(request, taking_of(request.scope), bounds, gateway.refused_at_end())
    assert isinstance(body, bytes), "too small for a file"
    if not body:
        return {}
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        document = None
    if not isinstance(document, dict):
        raise InvalidRequestError("The body must be a JSON object.")
    return document
