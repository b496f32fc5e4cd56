"""Anthropic's HTTP API: messages, and how many tokens they would be."""

from __future__ import annotations

from quart import Blueprint, Response

from frontends.ingress import Ingress


class AnthropicRoutes:
    """The routes of one ingress. Models are listed by `frontends.models`."""

    def __init__(self, ingress: Ingress) -> None:
        self._ingress = ingress

    def blueprint(self) -> Blueprint:
        """What an app registers."""
        routes = Blueprint("anthropic", __name__)
        routes.post("/v1/messages")(self.create_message)
        routes.post("/v1/messages/count_tokens")(self.count_tokens)
        return routes

    async def create_message(self) -> Response:
        """A message, streamed or not."""
        return await self._ingress.relay("anthropic")

    async def count_tokens(self) -> Response:
        """The input tokens of a message that is not sent."""
        return await self._ingress.count_tokens("anthropic")
