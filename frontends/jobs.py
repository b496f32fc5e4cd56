"""Videos and music over HTTP: the gateway's own endpoints, OpenAI's of videos, and Gemini's
operations. They are faces of the same jobs: what one has asked for, another can look at."""

from __future__ import annotations

from functools import partial
from typing import Any, Final, Literal, cast

from quart import Blueprint, Response

from engine import Gateway
from engine.admission.keys import Principal
from engine.errors import InvalidRequestError, no_such_job
from engine.job import MadeKind
from engine.ledger.job_rows import JobPage, JobQuery, JobView
from engine.protocols.jobs.views import (
    GEMINI_VIDEOS,
    GENERATIONS,
    OPENAI_VIDEOS,
    job_object,
    openai_id,
)
from frontends.ingress import Ingress, asked_origin, query_value
from frontends.job_content import answer_result
from frontends.protocols import GEMINI_VERSIONS
from frontends.rendering import json_response

KINDS: Final[dict[str, MadeKind]] = {
    "/v1/videos/generations": "video",
    "/v1/music/generations": "music",
}
"""What is made at the gateway's own endpoints."""
_POLL_AFTER: Final = "openai-poll-after-ms"
_LIMIT: Final = 20
_LIMIT_MAX: Final = 100
_ORDERS: Final = ("asc", "desc")


class JobRoutes:
    """The routes of one ingress and its gateway."""

    def __init__(self, ingress: Ingress, gateway: Gateway) -> None:
        self._ingress = ingress
        self._gateway = gateway

    def blueprint(self) -> Blueprint:
        """What an app registers."""
        routes = Blueprint("jobs", __name__)
        for path, kind in KINDS.items():
            name = protocol = GENERATIONS[kind]
            one = f"{path}/<job_id>"
            routes.post(path, endpoint=name)(partial(self.create, kind))
            routes.get(path, endpoint=f"{name}_list")(partial(self.list, kind, protocol))
            routes.get(one, endpoint=f"{name}_show")(partial(self.show, kind, protocol))
            routes.delete(one, endpoint=f"{name}_delete")(partial(self.delete, kind, protocol))
            routes.get(f"{one}/content", endpoint=f"{name}_content")(partial(self.content, kind))
            routes.post(f"{one}/cancel", endpoint=f"{name}_cancel")(
                partial(self.cancel, kind, protocol)
            )
        routes.post("/v1/videos")(self.create_video)
        routes.get("/v1/videos", endpoint="videos_list")(partial(self.list, "video", OPENAI_VIDEOS))
        routes.get("/v1/videos/<job_id>", endpoint="videos_show")(
            partial(self.show, "video", OPENAI_VIDEOS)
        )
        routes.delete("/v1/videos/<job_id>", endpoint="videos_delete")(
            partial(self.delete, "video", OPENAI_VIDEOS)
        )
        routes.get("/v1/videos/<job_id>/content", endpoint="videos_content")(
            partial(self.content, "video")
        )
        routes.post("/v1/videos/<job_id>/cancel", endpoint="videos_cancel")(
            partial(self.cancel, "video", OPENAI_VIDEOS)
        )
        routes.post("/v1/videos/<job_id>/remix")(self.remix)
        for version in GEMINI_VERSIONS:
            rule = f"/{version}/models/<path:model>/operations/<job_id>"
            routes.get(rule, endpoint=f"{version}_operation")(self.show_operation)
        return routes

    async def create(self, kind: MadeKind) -> Response:
        """Ask for a video, or for music."""
        return await self._ingress.relay("openai", kind)

    async def create_video(self) -> Response:
        """Ask for a video, as OpenAI's clients do."""
        return await self._ingress.relay("openai_videos", "video")

    async def remix(self, job_id: str) -> Response:
        """Ask for a video that is made of another one. Raises as `Gateway.job_source`, `relay`."""
        return await self._ingress.relay("openai_videos", "video", remix_of=job_id)

    async def list(self, kind: MadeKind, protocol: str) -> Response:
        """A page of the account's jobs of a kind. Raises InvalidRequestError: there is no such
        page."""
        principal = (await self._ingress.admit()).entry.principal
        page = await self._gateway.jobs(principal, _query(kind))
        return json_response(_page(page, protocol))

    async def show(self, kind: MadeKind, protocol: str, job_id: str) -> Response:
        """How a job is doing. Raises NotFoundError: this account has none of that id."""
        return self._shown(await self._find(kind, job_id), protocol)

    async def delete(self, kind: MadeKind, protocol: str, job_id: str) -> Response:
        """Show a job no more; one that runs is cancelled first.

        Raises:
            NotFoundError: this account has none of that id.
            JobNotCancellableError: it still runs, and its provider cannot cancel it.
        """
        principal, view = await self._found(kind, job_id)
        if not view.ended:
            await self._gateway.cancel_job(principal, job_id)
        await self._gateway.delete_job(principal, job_id)
        if protocol == OPENAI_VIDEOS:
            gone = {"id": openai_id(view), "object": "video.deleted", "deleted": True}
        else:
            gone = {
                "job_id": view.row.job_id,
                "object": f"{kind}.generation.deleted",
                "deleted": True,
            }
        return json_response(gone)

    async def cancel(self, kind: MadeKind, protocol: str, job_id: str) -> Response:
        """End a job early, for nothing.

        Raises:
            NotFoundError: this account has none of that id.
            JobNotCancellableError: it has ended, or its provider cannot cancel it.
        """
        principal, _ = await self._found(kind, job_id)
        return self._shown(await self._gateway.cancel_job(principal, job_id), protocol)

    async def content(self, kind: MadeKind, job_id: str) -> Response:
        """What a job has made.

        Raises:
            NotFoundError: this account has no such job, or that has made nothing of the kind.
            JobNotEndedError: it still runs.
            UpstreamError: where it is kept does not give it.
        """
        principal, view = await self._found(kind, job_id)
        return await answer_result(self._gateway, principal, view)

    async def show_operation(self, model: str, job_id: str) -> Response:
        """How a job is doing, as a long-running operation of Gemini's. Raises NotFoundError."""
        return self._shown(await self._find("video", job_id), GEMINI_VIDEOS)

    async def _find(self, kind: MadeKind, job_id: str) -> JobView:
        return (await self._found(kind, job_id))[1]

    async def _found(self, kind: MadeKind, job_id: str) -> tuple[Principal, JobView]:
        principal = (await self._ingress.admit()).entry.principal
        view = await self._gateway.job(principal, job_id)
        if view.row.kind != kind:
            raise no_such_job(job_id)
        return principal, view

    def _shown(self, view: JobView, protocol: str) -> Response:
        response = json_response(job_object(view, protocol, self._origin()))
        if protocol == OPENAI_VIDEOS and not view.ended:
            wait_ms = round(self._gateway.config.jobs.poll_min_s * 1_000)
            response.headers[_POLL_AFTER] = str(wait_ms)
        return response

    def _origin(self) -> str:
        return (self._gateway.config.media.base_url or asked_origin()).rstrip("/")


def _page(page: JobPage, protocol: str) -> dict[str, Any]:
    data = [job_object(view, protocol) for view in page.jobs]
    name = "id" if protocol == OPENAI_VIDEOS else "job_id"
    return {
        "object": "list",
        "data": data,
        "first_id": data[0][name] if data else None,
        "last_id": data[-1][name] if data else None,
        "has_more": page.more,
    }


def _query(kind: MadeKind) -> JobQuery:
    """`after`, `limit`, `order`. Raises InvalidRequestError: one of them is wrong."""
    order = query_value("order") or "desc"
    if order not in _ORDERS:
        raise InvalidRequestError("'order' is 'asc' or 'desc'.", param="order")
    text = query_value("limit") or str(_LIMIT)
    number = int(text) if text.isascii() and text.isdecimal() and len(text) <= 3 else 0
    if not 1 <= number <= _LIMIT_MAX:
        raise InvalidRequestError(f"'limit' is a number from 1 to {_LIMIT_MAX}.", param="limit")
    return JobQuery(
        kind,
        after=query_value("after") or None,
        limit=number,
        order=cast(Literal["asc", "desc"], order),
    )
