"""The HTTP application: the routes of three protocols, operations, and an answer to every error.

It is an ASGI app on Trio. `frontends.server` serves it; any other such server may, too.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Final

from quart import Response, request
from quart_trio import QuartTrio
from werkzeug.exceptions import HTTPException

from engine import Gateway
from engine.errors import (
    BodyTooLargeError,
    ClientError,
    GatewayError,
    InvalidRequestError,
    MethodNotAllowedError,
    NotFoundError,
    UnavailableError,
)
from engine.events import new_request_id
from engine.protocols.registry import codec_of
from frontends.access import AccessEntry
from frontends.accounts import AccountRoutes
from frontends.admin import AdminRoutes
from frontends.agents import AgentRoutes
from frontends.anthropic import AnthropicRoutes
from frontends.auth import AuthRoutes
from frontends.bodies import BodyTimeoutError, LazyRequest, ParseBudget
from frontends.connection import GatewayConnection, current_entry
from frontends.direct import direct_routes
from frontends.documentation import DocumentationRoutes
from frontends.files import FileRoutes
from frontends.gemini import GeminiRoutes
from frontends.headers import SECURITY
from frontends.ingress import Ingress
from frontends.jobs import JobRoutes
from frontends.media import MediaRoutes
from frontends.models import ModelRoutes
from frontends.net import Net
from frontends.openai import OpenAIRoutes
from frontends.passing import PassRoutes
from frontends.receipts import ReceiptRoutes
from frontends.rendering import json_response, render_error
from frontends.routes import Route
from frontends.server import ErrorBody
from frontends.server.forwarded import PEER
from frontends.server.interfaces import Peer
from frontends.shedding import LoadShedder
from frontends.uploads import UploadRoutes
from frontends.webhooks import WebhookRoutes

log = logging.getLogger("parshall.app")

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_ERRORS_BY_STATUS: dict[int, type[ClientError]] = {
    400: InvalidRequestError,
    404: NotFoundError,
    405: MethodNotAllowedError,
    408: BodyTimeoutError,
    413: BodyTooLargeError,
    431: InvalidRequestError,
}


class GatewayApp(QuartTrio):
    """A Quart-Trio app in front of one gateway."""

    asgi_http_class = GatewayConnection
    request_class = LazyRequest
    url_rule_class = Route  # type: ignore[assignment]  # as in Quart

    def __init__(self, gateway: Gateway) -> None:
        super().__init__(__name__, static_folder=None, template_folder=None)
        self.gateway = gateway
        self.net = Net(gateway)
        self.url_map.merge_slashes = False
        self.config.update(
            # These would cut long streams and large bodies; `bodies.py` and the engine have bounds.
            RESPONSE_TIMEOUT=None,
            BODY_TIMEOUT=None,
            MAX_CONTENT_LENGTH=None,
            PROVIDE_AUTOMATIC_OPTIONS=False,
        )
        shedder = LoadShedder(gateway)
        ingress = Ingress(gateway, shedder)
        self._budget = ParseBudget(
            max(gateway.config.server.parsing_max_bytes, gateway.config.server.body_max_bytes),
            gateway.spool,
            lambda: shedder.refused("bodies", "Too many large requests at once."),
        )
        gateway.telemetry.gauge(
            "parshall_body_bytes",
            "Request bodies that arrive or are not answered yet.",
            lambda: self._budget.held_bytes,
        )
        for routes in (OpenAIRoutes, AnthropicRoutes, GeminiRoutes, ModelRoutes, ReceiptRoutes):
            self.register_blueprint(routes(ingress).blueprint())
        self.register_blueprint(AccountRoutes(ingress, gateway).blueprint())
        self.register_blueprint(AuthRoutes(ingress, gateway).blueprint())
        self.register_blueprint(WebhookRoutes(ingress, gateway).blueprint())
        self.register_blueprint(AdminRoutes(gateway).blueprint())
        self.register_blueprint(MediaRoutes(gateway).blueprint())
        self.register_blueprint(JobRoutes(ingress, gateway).blueprint())
        self.register_blueprint(AgentRoutes(ingress, gateway).blueprint())
        self.register_blueprint(PassRoutes(ingress, gateway).blueprint())
        self.register_blueprint(FileRoutes(ingress, gateway, self.render_fault).blueprint())
        self.register_blueprint(UploadRoutes(ingress, gateway).blueprint())
        self.register_blueprint(DocumentationRoutes(self).blueprint())
        self.register_error_handler(Exception, self._answer_error)
        self.get("/healthz")(self.healthz)
        self.get("/readyz")(self.readyz)
        self.get("/metrics")(self.metrics)
        self.direct = direct_routes(self)

    async def asgi_app(self, scope: Any, receive: Any, send: Any) -> None:
        """One request (or what else a scope is of), and the end of what its body takes."""
        if scope["type"] == "websocket":
            await _refuse_websocket(scope, send)
            return
        with self._budget.taking(scope):
            await super().asgi_app(scope, receive, send)

    async def healthz(self) -> Response:
        """200 while the process serves."""
        return json_response({"status": "ok"})

    async def readyz(self) -> Response:
        """200 while requests are taken, else 503. Why not is said to this machine only."""
        problem = self.gateway.not_ready
        if problem is None:
            return json_response({"status": "ready"})
        reason = problem if _asked_here() else None
        return json_response({"status": "unavailable", "reason": reason}, 503)

    async def metrics(self) -> Response:
        """Prometheus' exposition, for this machine only: it tells what the business does.

        Raises:
            NotFoundError: for everybody else.
        """
        if not _asked_here():
            raise _unknown_url(current_entry())
        return Response(self.gateway.telemetry.exposition(), content_type=METRICS_TYPE)

    def render_fault(self, entry: AccessEntry, error: Exception) -> Response:
        """The answer to an exception; one that nobody foresaw is logged, and tells nothing."""
        known = _gateway_error(entry, error)
        if known is None:
            log.error("%s: a request failed", entry.request_id, exc_info=error)
            known = GatewayError("The gateway failed.")
        entry.error_code = known.code
        self.gateway.telemetry.refused(known.code)
        response = render_error(entry.protocol, known, entry.request_id)
        if isinstance(error, HTTPException):
            response.headers.update({k: v for k, v in error.get_headers() if k == "Allow"})
        return response

    async def _answer_error(self, error: Exception) -> Response:
        return self.render_fault(current_entry(), error)


def create_app(gateway: Gateway) -> GatewayApp:
    """The application in front of `gateway`."""
    return GatewayApp(gateway)


_WORDS: Final[Mapping[int, str]] = {
    400: "The request is not valid HTTP.",
    404: "There is no WebSocket here.",
    408: "The request arrived too slowly.",
    413: "The request body is too large.",
    414: "The URL is too long.",
    417: "Only 'Expect: 100-continue' is known here.",
    431: "The request headers are too large.",
    500: "The gateway failed.",
    501: "This method or transfer coding is not served here.",
    503: "There are too many connections.",
    505: "This version of HTTP is not served here.",
}


def render_server_error(status: int) -> ErrorBody:
    """What the connection boundary answers without the app: not HTTP, or too many connections.

    Nobody knows which protocol would have been spoken; it is worded in OpenAI's.
    """
    words = _WORDS.get(status, _WORDS[400])
    error: GatewayError = InvalidRequestError(words)
    if status == UnavailableError.status:
        error = UnavailableError(words, retry_after_s=1)
    elif status == GatewayError.status:
        error = GatewayError(words)
    elif status in _ERRORS_BY_STATUS:
        error = _ERRORS_BY_STATUS[status](words)
    headers = [
        (b"content-type", b"application/json"),
        (b"x-request-id", new_request_id().encode()),
        *SECURITY,
    ]
    if error.retry_after_s is not None:
        headers.append((b"retry-after", b"%d" % error.retry_after_s))
    return ErrorBody(headers, codec_of("openai_chat").encode_error(error))


async def _refuse_websocket(scope: Any, send: Any) -> None:
    """No route is one. Quart would render this refusal as of a request, which there is none of."""
    if "websocket.http.response" not in (scope.get("extensions") or {}):
        await send({"type": "websocket.close"})
        return
    error = render_server_error(404)
    headers = [*error.headers, (b"content-length", b"%d" % len(error.body))]
    await send({"type": "websocket.http.response.start", "status": 404, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": error.body})


def _asked_here() -> bool:
    """Whether who asks is on this machine, and no proxy asks for somebody else."""
    scope: Any = request.scope
    peer: Peer | None = (scope.get("extensions") or {}).get(PEER)
    return peer is not None and peer.local  # a server that does not say who asks tells nobody


def _gateway_error(entry: AccessEntry, error: Exception) -> GatewayError | None:
    match error:
        case GatewayError():
            return error
        case HTTPException(code=404):
            return _unknown_url(entry)
        case HTTPException(code=405):
            return MethodNotAllowedError(f"{entry.method} is not allowed here.")
        case HTTPException(code=int(code)) if 400 <= code < 500:
            kind = _ERRORS_BY_STATUS.get(code, InvalidRequestError)
            return kind("The request cannot be understood.")
        case _:
            return None


def _unknown_url(entry: AccessEntry) -> NotFoundError:
    return NotFoundError(f"There is nothing at {entry.method} {entry.path[:100]}.")
