"""The models that a key may use, as each protocol lists them, page by page where it has pages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from quart import Blueprint, Response

from engine.errors import InvalidRequestError, MethodNotAllowedError, ModelNotFoundError
from engine.events import Protocol
from engine.listing import ModelInfo
from frontends.connection import current_entry
from frontends.gemini import model_name
from frontends.ingress import Ingress, query_value
from frontends.model_shapes import SHAPES, anthropic_model, gemini_model, openai_model
from frontends.protocols import GEMINI_VERBS, GEMINI_VERSIONS
from frontends.rendering import json_response

_PAGE_MAX = 1_000
_ANTHROPIC_PAGE = 20
_GEMINI_PAGE = 50


class ModelRoutes:
    """The routes of one ingress. Whose shape an answer has is told by the path, or by a header
    where the protocols share it."""

    def __init__(self, ingress: Ingress) -> None:
        self._ingress = ingress

    def blueprint(self) -> Blueprint:
        """What an app registers."""
        routes = Blueprint("models", __name__)
        for version in GEMINI_VERSIONS:
            routes.get(f"/{version}/models")(self.list_models)
            routes.get(f"/{version}/models/<path:name>")(self.show_model)
        return routes

    async def list_models(self) -> Response:
        """The models that the key may use. Raises InvalidRequestError: no such page."""
        models = self._ingress.models()
        return json_response(_LISTS[current_entry().protocol](models))

    async def show_model(self, name: str) -> Response:
        """One of those models.

        Raises:
            ModelNotFoundError: no such model, or the key may not use it.
            MethodNotAllowedError: it is a verb of Gemini's.
        """
        protocol = current_entry().protocol
        if protocol == "gemini":
            if name.endswith(tuple(f":{verb}" for verb in GEMINI_VERBS)):
                raise MethodNotAllowedError("GET is not allowed here.")
            name = model_name(name)
        for model in self._ingress.models():
            if model.id == name:
                return json_response(SHAPES[protocol](model))
        raise ModelNotFoundError(f"The model '{name[:200]}' does not exist.", param="model")


def _openai_list(models: Sequence[ModelInfo]) -> dict[str, Any]:
    return {"object": "list", "data": [openai_model(model) for model in models]}


def _anthropic_list(models: Sequence[ModelInfo]) -> dict[str, Any]:
    limit = _page_size(("limit",), _ANTHROPIC_PAGE)
    after, before = query_value("after_id"), query_value("before_id")
    if before is not None:
        end = _position(models, before, "before_id")
        page, more = models[max(end - limit, 0) : end], end > limit
    else:
        start = 0 if after is None else _position(models, after, "after_id") + 1
        page, more = models[start : start + limit], len(models) > start + limit
    return {
        "data": [anthropic_model(model) for model in page],
        "has_more": more,
        "first_id": page[0].id if page else None,
        "last_id": page[-1].id if page else None,
    }


def _gemini_list(models: Sequence[ModelInfo]) -> dict[str, Any]:
    """The token of a page is the last model of the one before it."""
    size = _page_size(("pageSize", "page_size"), _GEMINI_PAGE)
    token = query_value("pageToken", "page_token")
    start = _position(models, token, "pageToken") + 1 if token else 0
    page = models[start : start + size]
    answer: dict[str, Any] = {"models": [gemini_model(model) for model in page]}
    if len(models) > start + size:
        answer["nextPageToken"] = page[-1].id
    return answer


def _page_size(names: tuple[str, ...], default: int) -> int:
    value = query_value(*names)
    if not value:
        return default
    if not value.isascii() or not value.isdecimal() or len(value) > 9 or int(value) < 1:
        raise InvalidRequestError(f"'{names[0]}' is a number from 1 on.", param=names[0])
    return min(int(value), _PAGE_MAX)


def _position(models: Sequence[ModelInfo], model_id: str, param: str) -> int:
    for position, model in enumerate(models):
        if model.id == model_id:
            return position
    raise InvalidRequestError(f"'{param}' names no model of this list.", param=param)


_LISTS: dict[Protocol, Callable[[Sequence[ModelInfo]], dict[str, Any]]] = {
    "openai_chat": _openai_list,
    "anthropic": _anthropic_list,
    "gemini": _gemini_list,
}
