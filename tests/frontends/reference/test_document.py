"""/openapi.json says of every route what is to be said, validly."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from openapi_spec_validator import validate

from engine.errors import GatewayError
from frontends.reference import errors
from frontends.reference.build import NoRowError, all_routes, document, how_to_add
from frontends.reference.table import ROWS, SCHEMAS, TAGS
from tests.frontends.apps import open_front
from tests.frontends.test_scopes import routes_of


@pytest.fixture(scope="module")
def described() -> dict[str, Any]:
    return document(all_routes())


async def test_every_route_has_a_row_and_every_row_a_route(tmp_path: Path) -> None:
    async with open_front(tmp_path) as front:
        routes = routes_of(front.app)  # type: ignore[arg-type]
        rows = {(row.method, row.rule) for row in ROWS}
        missing = sorted(routes - rows)
        assert not missing, how_to_add(missing)
        assert rows == routes, "rows of routes that are no more"
        answer = await front.client.get("/openapi.json", headers={"authorization": ""})
        assert answer.json() == document(routes) == document(all_routes())


def test_a_route_without_a_row_is_told_of_with_what_to_write() -> None:
    with pytest.raises(NoRowError, match='"GET", "/v1/new"') as told:
        document({("GET", "/v1/new")})
    assert "frontends/reference" in str(told.value)


def test_the_document_is_valid(described: dict[str, Any]) -> None:
    validate(described)
    assert described["openapi"].startswith("3.1")


def test_operations_are_named_once_and_sorted_into_families(described: dict[str, Any]) -> None:
    assert [n for n, c in Counter(row.name for row in ROWS).items() if c > 1] == []
    assert {row.tag for row in ROWS} == set(TAGS)


def test_every_schema_is_used_and_every_one_that_is_used_is_there(
    described: dict[str, Any],
) -> None:
    used = set(_refs({"paths": described["paths"], "components": described["components"]}))
    assert used == {*SCHEMAS, *errors.SCHEMAS}


def test_examples_are_what_their_schemas_say(described: dict[str, Any]) -> None:
    for path, method, operation in _operations(described):
        for kind, content in operation.get("requestBody", {}).get("content", {}).items():
            for name, example in content.get("examples", {}).items():
                schema = {**content["schema"], "components": described["components"]}
                problems = list(
                    jsonschema_rs.Draft202012Validator(schema).iter_errors(example["value"])
                )
                assert problems == [], (method, path, kind, name)


def test_every_code_of_an_error_has_a_status_that_is_explained() -> None:
    assert {error.status for error in _kinds(GatewayError)} <= set(errors.STATUSES)


def _operations(described: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (path, method, operation)
        for path, methods in described["paths"].items()
        for method, operation in methods.items()
    ]


def _refs(value: Any) -> list[str]:
    if isinstance(value, list):
        return [name for each in value for name in _refs(each)]
    if not isinstance(value, dict):
        return []
    found = [name for each in value.values() for name in _refs(each)]
    place, _, name = str(value.get("$ref", "")).rpartition("/")
    return [*found, name] if place == "#/components/schemas" else found


def _kinds(kind: type[GatewayError]) -> list[type[GatewayError]]:
    return [kind, *(each for below in kind.__subclasses__() for each in _kinds(below))]
