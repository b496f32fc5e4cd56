"""OpenAI's HTTP API: chat completions, responses, completions, and what is no text."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Final

from quart import Blueprint, Response

from engine.events import Operation
from frontends.ingress import Ingress

OPERATIONS: Final[Mapping[str, Operation]] = {
    "/v1/audio/speech": "speech",
    "/v1/embeddings": "embed",
    "/v1/audio/transcriptions": "transcribe",
    "/v1/audio/translations": "translate",
    "/v1/moderations": "moderate",
    "/v1/images/generations": "image",
    "/v1/images/edits": "image_edit",
    "/v1/images/variations": "image_variation",
    "/v1/rerank": "rerank",
    "/v2/rerank": "rerank",
}
"""What is asked for at the paths that are no chat's."""


class OpenAIRoutes:
    """The routes of one ingress. Models are listed by `frontends.models`."""

    def __init__(self, ingress: Ingress) -> None:
        self._ingress = ingress

    def blueprint(self) -> Blueprint:
        """What an app registers."""
        routes = Blueprint("openai", __name__)
        routes.post("/v1/chat/completions")(self.create_chat_completion)
        routes.post("/v1/responses")(self.create_response)
        routes.post("/v1/responses/input_tokens")(self.count_tokens)
        routes.post("/v1/completions")(self.create_completion)
        for path, operation in OPERATIONS.items():
            endpoint = path.strip("/").replace("/", "_")
            routes.post(path, endpoint=endpoint)(partial(self.create, operation))
        return routes

    async def create_chat_completion(self) -> Response:
        """A chat completion, streamed or not."""
        return await self._ingress.relay("openai_chat")

    async def create_response(self) -> Response:
        """A response, streamed or not."""
        return await self._ingress.relay("openai_responses")

    async def count_tokens(self) -> Response:
        """The input tokens of a response that is not asked for."""
        return await self._ingress.count_tokens("openai_responses")

    async def create(self, operation: Operation) -> Response:
        """The answer to an operation that is no chat."""
        return await self._ingress.relay("openai", operation)

    async def create_completion(self) -> Response:
        """A legacy completion, streamed or not."""
        return await self._ingress.relay("openai_completions")
