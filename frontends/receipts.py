"""Receipts over HTTP, of the account that asks."""

from __future__ import annotations

from quart import Blueprint, Response

from frontends.ingress import Ingress
from frontends.rendering import json_response


class ReceiptRoutes:
    """The routes of one ingress."""

    def __init__(self, ingress: Ingress) -> None:
        self._ingress = ingress

    def blueprint(self) -> Blueprint:
        """What an app registers."""
        routes = Blueprint("receipts", __name__)
        routes.get("/v1/receipts")(self.list)
        routes.get("/v1/receipts/<request_id>")(self.show)
        routes.post("/v1/receipts/<request_id>/cancel")(self.cancel)
        return routes

    async def list(self) -> Response:
        """Receipts of this account, the newest first, a page at a time."""
        return json_response(await self._ingress.receipts())

    async def show(self, request_id: str) -> Response:
        """What became of a request of this account: usage, price, attempts, timings."""
        return json_response(await self._ingress.receipt(request_id))

    async def cancel(self, request_id: str) -> Response:
        """End a stream of this account here; its receipt, as it is settled now."""
        return json_response(await self._ingress.cancel(request_id))
