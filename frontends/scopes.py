"""Who may use which route: the scope that a key needs, an operator's credential, or nothing.

Every route has a row: a handler that asks for a key finds out here which one it takes, and a test
walks the app's routes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

from quart import request

from engine.admission.keys import SCOPES, Scope
from engine.passing.service import served_routes
from frontends.protocols import GEMINI_VERSIONS

Access = Scope | Literal["any", "admin", "open"]
"""A scope; "any": every key that is valid; "admin": operators; "open": nobody has to say who asks,
or the route tells for itself."""

_GEMINI_VERBS = "/{version}/<any(models, tunedModels):of>/<path:target>"
_OPERATION = "/{version}/models/<path:model>/operations/<job_id>"
_GENERATIONS = ("/v1/videos/generations", "/v1/music/generations")
_ADMIN_PREFIX = "/admin/"

ROUTES: Final[Mapping[tuple[str, str], Access]] = {
    ("POST", "/v1/chat/completions"): "inference",
    ("POST", "/v1/responses"): "inference",
    ("POST", "/v1/responses/input_tokens"): "inference",
    ("POST", "/v1/completions"): "inference",
    ("POST", "/v1/embeddings"): "inference",
    ("POST", "/v1/moderations"): "inference",
    ("POST", "/v1/audio/speech"): "inference",
    ("POST", "/v1/images/generations"): "inference",
    ("POST", "/v1/images/edits"): "inference",
    ("POST", "/v1/images/variations"): "inference",
    ("POST", "/v1/rerank"): "inference",
    ("POST", "/v2/rerank"): "inference",
    ("POST", "/v1/audio/transcriptions"): "inference",
    ("POST", "/v1/audio/translations"): "inference",
    ("POST", "/v1/messages"): "inference",
    ("POST", "/v1/messages/count_tokens"): "inference",
    **{("POST", _GEMINI_VERBS.format(version=v)): "inference" for v in GEMINI_VERSIONS},
    **{("GET", f"/{version}/models"): "any" for version in GEMINI_VERSIONS},
    **{("GET", f"/{version}/models/<path:name>"): "any" for version in GEMINI_VERSIONS},
    ("POST", "/v1/videos"): "inference",
    ("GET", "/v1/videos"): "read",
    ("GET", "/v1/videos/<job_id>"): "read",
    ("DELETE", "/v1/videos/<job_id>"): "inference",
    **{("POST", path): "inference" for path in _GENERATIONS},
    **{("GET", path): "read" for path in _GENERATIONS},
    **{("GET", f"{path}/<job_id>"): "read" for path in _GENERATIONS},
    **{("DELETE", f"{path}/<job_id>"): "inference" for path in _GENERATIONS},
    ("GET", "/v1/videos/<job_id>/content"): "read",
    **{("GET", f"{path}/<job_id>/content"): "read" for path in _GENERATIONS},
    ("POST", "/v1/videos/<job_id>/cancel"): "inference",
    ("POST", "/v1/videos/<job_id>/remix"): "inference",
    **{("POST", f"{path}/<job_id>/cancel"): "inference" for path in _GENERATIONS},
    **{("GET", _OPERATION.format(version=v)): "read" for v in GEMINI_VERSIONS},
    ("POST", "/v1/files"): "inference",
    ("GET", "/v1/files"): "read",
    ("GET", "/v1/files/<file_id>"): "read",
    ("DELETE", "/v1/files/<file_id>"): "inference",
    ("GET", "/v1/files/<file_id>/content"): "read",
    ("POST", "/v1/uploads"): "inference",
    ("POST", "/v1/uploads/<upload_id>/parts"): "inference",
    ("POST", "/v1/uploads/<upload_id>/complete"): "inference",
    ("POST", "/v1/uploads/<upload_id>/cancel"): "inference",
    **{("POST", f"/upload/{version}/files"): "inference" for version in GEMINI_VERSIONS},
    **{("GET", f"/{version}/files"): "read" for version in GEMINI_VERSIONS},
    **{("GET", f"/{version}/files/<file_id>"): "read" for version in GEMINI_VERSIONS},
    **{("DELETE", f"/{version}/files/<file_id>"): "inference" for version in GEMINI_VERSIONS},
    ("POST", "/v1/agents"): "inference",
    ("GET", "/v1/agents"): "read",
    ("GET", "/v1/agents/<agent_id>"): "read",
    ("PATCH", "/v1/agents/<agent_id>"): "inference",
    ("DELETE", "/v1/agents/<agent_id>"): "inference",
    **{(route.method, route.path): route.access for route in served_routes()},
    ("POST", "/v1/agents/<agent_id>/chat/completions"): "inference",
    ("POST", "/v1/agents/<agent_id>/messages"): "inference",
    ("POST", "/v1/agents/<agent_id>/responses"): "inference",
    **{("POST", f"/{version}/agents/<target>"): "inference" for version in GEMINI_VERSIONS},
    ("GET", "/v1/receipts"): "read",
    ("GET", "/v1/receipts/<request_id>"): "read",
    ("POST", "/v1/receipts/<request_id>/cancel"): "inference",
    ("GET", "/v1/account"): "any",
    ("GET", "/v1/account/webhook_secret"): "keys",
    ("POST", "/v1/account/webhook_secret/rotate"): "keys",
    ("GET", "/v1/usage"): "read",
    ("GET", "/api/auth"): "keys",
    ("POST", "/api/auth"): "keys",
    ("DELETE", "/api/auth/<key_id>"): "keys",
    ("POST", "/api/auth/<key_id>/rotate"): "keys",
    ("GET", "/v1/media/<media_id>"): "open",  # the signature in the URL is the credential
    ("GET", "/healthz"): "open",
    ("GET", "/readyz"): "open",
    ("GET", "/metrics"): "open",
    ("GET", "/openapi.json"): "open",
    ("GET", "/docs"): "open",
    ("GET", "/docs/<name>"): "open",
}
"""By method and rule; HEAD is as GET. All that is under `/admin/` is for operators."""


def access_of(method: str, rule: str) -> Access:
    """Who may use a route. Raises KeyError: nobody has said."""
    if rule.startswith(_ADMIN_PREFIX):
        return "admin"
    return ROUTES["GET" if method == "HEAD" else method, rule]


def route_scope() -> Scope | None:
    """The scope that a key needs for the route of the request being handled; None: any key will do.

    Raises:
        KeyError: the route has no row, or is not one for keys.
    """
    rule = request.url_rule
    assert rule is not None, "asked by the handler of a route"
    access = access_of(request.method, rule.rule)
    for scope in SCOPES:
        if access == scope:
            return scope
    if access == "any":
        return None
    raise KeyError(rule.rule)
