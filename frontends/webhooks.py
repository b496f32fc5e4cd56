"""The secret by which an account knows that its webhooks are ours."""

from __future__ import annotations

from typing import Any

from quart import Blueprint, Response

from engine import Gateway
from engine.errors import UnavailableError
from engine.ledger.admin_log import Order, ordered_by
from engine.ledger.receipts import format_time
from engine.ledger.webhook_jobs import WebhookSecrets
from frontends.connection import current_entry
from frontends.ingress import Ingress
from frontends.rendering import json_response

_UNWRITTEN = "Nothing was changed: the ledger cannot write now."


class WebhookRoutes:
    """The routes of one ingress and its gateway."""

    def __init__(self, ingress: Ingress, gateway: Gateway) -> None:
        self._ingress = ingress
        self._gateway = gateway

    def blueprint(self) -> Blueprint:
        """What an app registers."""
        routes = Blueprint("webhooks", __name__)
        routes.get("/v1/account/webhook_secret")(self.show)
        routes.post("/v1/account/webhook_secret/rotate")(self.rotate)
        return routes

    async def show(self) -> Response:
        """What the account's webhooks are signed by; made when it is asked for first."""
        principal = self._ingress.authenticate().entry.principal
        try:
            secrets = await self._gateway.ledger.webhook_secrets(
                principal.account_id, self._overlap_ms
            )
        except UnavailableError as error:  # why is for the operator
            raise UnavailableError("The ledger cannot be read now.", retry_after_s=1) from error
        return json_response(self._json(principal.account_id, secrets))

    async def rotate(self) -> Response:
        """Another secret from now on; the one before signs too for a while."""
        admitted = await self._ingress.admit()
        principal = admitted.entry.principal
        order = Order(
            actor=f"key:{principal.key_id}",
            peer=current_entry().peer,
            action="webhook_secret.rotate",
            subject=principal.account_id,
        )
        try:
            with ordered_by(order):
                secrets = await self._gateway.ledger.rotate_webhook_secret(
                    principal.account_id, self._overlap_ms
                )
        except UnavailableError as error:
            raise UnavailableError(_UNWRITTEN, retry_after_s=1) from error
        return json_response(self._json(principal.account_id, secrets), 201)

    @property
    def _overlap_ms(self) -> int:
        return int(self._gateway.config.webhooks.secret_overlap_s * 1_000)

    def _json(self, account_id: str, secrets: WebhookSecrets) -> dict[str, Any]:
        ends = None
        if secrets.former is not None:
            ends = format_time(secrets.changed_at_ms + self._overlap_ms)
        return {
            "account_id": account_id,
            "secret": secrets.secret,
            "created_at": format_time(secrets.changed_at_ms),
            "former_secret_signs_until": ends,
        }
