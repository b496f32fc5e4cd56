"""Google's HTTP API for Gemini: the verbs of a model, which stands in the URL."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from quart import Blueprint, Response

from engine.errors import InvalidRequestError, NotFoundError
from frontends.ingress import Ingress, query_value
from frontends.protocols import GEMINI_VERSIONS

_ARRAY = {"sse": False, "json": True, None: True}
"""`alt` to whether a stream is one JSON array; without it, it is."""


class GeminiRoutes:
    """The routes of one ingress. Models are listed by `frontends.models`."""

    def __init__(self, ingress: Ingress) -> None:
        self._ingress = ingress
        self._verbs: dict[str, Callable[[str], Awaitable[Response]]] = {
            "generateContent": self.generate_content,
            "streamGenerateContent": self.stream_generate_content,
            "countTokens": self.count_tokens,
            "embedContent": self.embed_content,
            "batchEmbedContents": self.embed_contents,
            "predictLongRunning": self.generate_video,
        }

    def blueprint(self) -> Blueprint:
        """What an app registers."""
        routes = Blueprint("gemini", __name__)
        for version in GEMINI_VERSIONS:
            routes.post(f"/{version}/<any(models, tunedModels):of>/<path:target>")(self.call_verb)
        return routes

    async def call_verb(self, of: str, target: str) -> Response:
        """`MODEL:VERB`; the model may hold colons and slashes itself.

        Raises:
            NotFoundError: there is no such verb.
        """
        model, _, verb = target.rpartition(":")
        handle = self._verbs.get(verb)
        if handle is None or not model:
            raise NotFoundError(f"Models have {', '.join(self._verbs)}; not '{verb[:100]}'.")
        return await handle(model_name(model) if of == "models" else f"{of}/{model}")

    async def generate_content(self, model: str) -> Response:
        """An answer in one piece."""
        return await self._ingress.relay("gemini", model=model, stream=False)

    async def stream_generate_content(self, model: str) -> Response:
        """A stream: server-sent events with `alt=sse`, else one JSON array. Raises as
        `wants_array`."""
        return await self._ingress.relay("gemini", model=model, stream=True, array=wants_array())

    async def count_tokens(self, model: str) -> Response:
        """The input tokens of a request that is not sent."""
        return await self._ingress.count_tokens("gemini", model=model)

    async def embed_content(self, model: str) -> Response:
        """The vector of a content."""
        return await self._ingress.relay("gemini", "embed", model=model, stream=False)

    async def embed_contents(self, model: str) -> Response:
        """The vectors of contents."""
        return await self._ingress.relay("gemini", "embed_batch", model=model, stream=False)

    async def generate_video(self, model: str) -> Response:
        """The operation that makes a video."""
        return await self._ingress.relay("gemini", "video", model=model, stream=False)


def wants_array() -> bool:
    """Whether a stream is to be one JSON array. Raises InvalidRequestError: an `alt` that is
    neither."""
    array = _ARRAY.get(query_value("alt", "$alt"))
    if array is None:
        raise InvalidRequestError("'alt' is 'sse' or 'json'.", param="alt")
    return array


def model_name(name: str) -> str:
    """The id of a model that Google's clients may call `models/ID`."""
    return name.removeprefix("models/")
