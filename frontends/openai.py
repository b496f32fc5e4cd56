"""OpenAI's HTTP API: routes, and errors in its shape."""

from __future__ import annotations

import math
from typing import Any, cast

import orjson
from quart import Blueprint, Response, request

from engine import Call, Gateway
from engine.admission.keys import Principal
from engine.errors import AuthenticationError, GatewayError, ModelNotFoundError
from engine.gateway import ModelInfo
from engine.protocols.openai_chat import encode_error
from frontends.bodies import BodyRoom, LazyRequest, read_body
from frontends.connection import RelayResponse, current_entry


class OpenAIRoutes:
    """The routes in front of one gateway."""

    def __init__(self, gateway: Gateway, body_room: BodyRoom) -> None:
        self._gateway = gateway
        self._body_room = body_room

    def blueprint(self) -> Blueprint:
        """What an app registers."""
        routes = Blueprint("openai", __name__)
        routes.post("/v1/chat/completions")(self.create_chat_completion)
        routes.get("/v1/models")(self.list_models)
        routes.get("/v1/models/<path:name>")(self.show_model)
        routes.get("/v1/receipts/<request_id>")(self.show_receipt)
        return routes

    async def create_chat_completion(self) -> Response:
        """A chat completion, streamed or not. The key is checked before the body is read."""
        self._authenticate()
        entry = current_entry()
        body = await read_body(
            cast(LazyRequest, request),
            self._body_room,
            max_bytes=self._gateway.config.server.body_max_bytes,
        )
        call = Call(
            body=body,
            key=_bearer_key(),
            protocol="openai_chat",
            operation="chat",
            peer=entry.peer,
            client_request_id=entry.client_request_id,
            request_id=entry.request_id,
        )
        return RelayResponse(call, render_error)

    async def list_models(self) -> Response:
        """The models that the key may use."""
        models = self._gateway.models(self._authenticate())
        return json_response({"object": "list", "data": [_model_json(model) for model in models]})

    async def show_model(self, name: str) -> Response:
        """One of those models. Raises ModelNotFoundError."""
        for model in self._gateway.models(self._authenticate()):
            if model.id == name:
                return json_response(_model_json(model))
        raise ModelNotFoundError(f"The model '{name}' does not exist.", param="model")

    async def show_receipt(self, request_id: str) -> Response:
        """What became of a request of this account: usage, price, attempts, timings.

        Raises:
            NotFoundError: this account has none of that id.
        """
        return json_response(await self._gateway.receipt(self._authenticate(), request_id))

    def _authenticate(self) -> Principal:
        """Who asks, noted in the access log. Raises AuthenticationError."""
        principal = self._gateway.authenticate(_bearer_key())
        entry = current_entry()
        entry.account_id, entry.key_id = principal.account_id, principal.key_id
        return principal


def render_error(error: GatewayError) -> Response:
    """An error as OpenAI's SDKs read it."""
    response = Response(encode_error(error), status=error.status, content_type="application/json")
    if error.retry_after_s is not None:
        response.headers["retry-after"] = str(math.ceil(error.retry_after_s))
    if isinstance(error, AuthenticationError):
        response.headers["www-authenticate"] = "Bearer"
    return response


def json_response(value: Any, status: int = 200) -> Response:
    """A JSON answer."""
    return Response(orjson.dumps(value), status=status, content_type="application/json")


def _model_json(model: ModelInfo) -> dict[str, Any]:
    return {
        "id": model.id,
        "object": "model",
        "created": model.created,
        "owned_by": model.owned_by,
    }


def _bearer_key() -> str | None:
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else None
