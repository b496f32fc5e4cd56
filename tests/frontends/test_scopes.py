"""Every route says who may use it, and a key without the scope may not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from engine.admission.keys import SCOPES, Scope
from frontends.app import GatewayApp, create_app
from frontends.protocols import protocol_of
from frontends.scopes import ROUTES, access_of
from tests.frontends.apps import open_front
from tests.gateways import add_key, open_setup

CODE = "insufficient_scope"


def routes_of(app: GatewayApp) -> set[tuple[str, str]]:
    """Methods and rules of an app; HEAD comes with GET."""
    return {
        (method, rule.rule)
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD"}
    }


async def test_every_route_has_a_row_and_every_row_a_route(tmp_path: Path) -> None:
    async with open_setup(tmp_path) as setup:
        routes = routes_of(create_app(setup.gateway))

    known = {route: access_of(*route) for route in routes}
    assert set(ROUTES) <= routes
    assert {rule for (_, rule), access in known.items() if access == "open"} == {
        "/healthz",
        "/readyz",
        "/metrics",
        "/openapi.json",
        "/docs",
        "/docs/<name>",
        "/v1/media/<media_id>",
    }
    assert all(rule.startswith("/admin/") for (_, rule), a in known.items() if a == "admin")


def test_what_has_no_row_is_nobodys() -> None:
    with pytest.raises(KeyError):
        access_of("GET", "/v1/secrets")


async def test_a_key_without_the_scope_is_refused_everywhere(tmp_path: Path) -> None:
    async with open_front(tmp_path) as front:
        setup = front.setup
        keys: dict[Scope, str] = {}
        for scope in SCOPES:
            others = tuple(other for other in SCOPES if other != scope)
            _, keys[scope] = await add_key(setup.gateway, setup.account_id, scopes=others)
        for (method, rule), access in ROUTES.items():
            if access not in SCOPES:
                continue
            path = re.sub(r"<any\(.*?\):of>", "models", rule)
            path = path.replace("<path:target>", "sim-gemini:generateContent")
            path = re.sub(r"<.*?>", "some", path)
            bearer = {"authorization": f"Bearer {keys[access]}"}
            answer = await front.client.request(method, path, headers=bearer, content=b"{}")
            assert answer.status_code == 403, (method, rule)
            error = answer.json()["error"]
            match protocol_of(path, {}):
                case "anthropic":
                    assert (error["type"], error["code"]) == ("permission_error", CODE)
                case "gemini":
                    assert error["status"] == "PERMISSION_DENIED"
                    assert error["details"][0]["reason"] == CODE.upper()
                case _:
                    assert (error["type"], error["code"]) == ("permission_error", CODE)
        assert setup.sim.truth.records() == []


async def test_any_key_sees_its_account_and_its_models(tmp_path: Path) -> None:
    async with open_front(tmp_path) as front:
        setup = front.setup
        for scope in SCOPES:
            _, key = await add_key(setup.gateway, setup.account_id, scopes=(scope,))
            bearer = {"authorization": f"Bearer {key}"}
            for path in ("/v1/models", "/v1/models/sim-openai", "/v1beta/models", "/v1/account"):
                answer = await front.client.get(path, headers=bearer)
                assert answer.status_code == 200, (scope, path)
