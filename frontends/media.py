"""Generated media by their signed URLs: the signature is the credential."""

from __future__ import annotations

from quart import Blueprint, Response, request

from engine import Gateway
from engine.errors import NotFoundError
from frontends.ingress import query_value


class MediaRoutes:
    """The route of one gateway."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def blueprint(self) -> Blueprint:
        """What an app registers."""
        routes = Blueprint("media", __name__)
        routes.get("/v1/media/<media_id>")(self.show)
        return routes

    async def show(self, media_id: str) -> Response:
        """The bytes. Raises NotFoundError: the URL is wrong or over, or what it names is gone."""
        medium = self._gateway.media.get(
            media_id, query_value("expires") or "", query_value("signature") or ""
        )
        if medium is None:
            raise NotFoundError("There is nothing at this URL, or no longer.")
        response = Response(
            b"" if request.method == "HEAD" else medium.pieces(),
            content_type=medium.content_type,
            headers={"content-disposition": "attachment"},
        )
        response.content_length = medium.size_bytes
        return response
