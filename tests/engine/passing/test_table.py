"""The table of routes holds what OpenAI's SDK asks for, and says of each what it needs to."""

from __future__ import annotations

import re
from importlib.resources import files
from itertools import chain
from pathlib import Path

from engine.config_state import FAMILIES
from engine.passing.table import PARAMETERS, ROUTES, Route

SDK_FAMILIES = {
    "beta/assistants.py",
    "beta/threads",
    "vector_stores",
    "batches.py",
    "conversations",
    "fine_tuning/jobs",
    "containers",
}
"""Of the SDK's resources; `responses` is the gateway's own in part."""

ALL = list(ROUTES.values())


def _name(route: Route) -> str:
    return f"{route.method} {route.path}"


def _bare(path: str) -> str:
    """A path with its parameters unnamed: the SDK calls some of them otherwise."""
    return re.sub(r"<\w+>|\{\w+\}", "{}", path)


def _sdk_paths() -> set[str]:
    resources = Path(str(files("openai"))) / "resources"
    sources = chain.from_iterable(
        (where,) if (where := resources / name).is_file() else where.rglob("*.py")
        for name in SDK_FAMILIES
    )
    found: set[str] = set()
    for source in sources:
        text = source.read_text()
        found |= set(re.findall(r'path_template\(\s*"([^"]+)"', text))
        found |= set(re.findall(r'(?:_post|_get_api_list|_get)\(\s*"([^"]+)"', text))
    return {f"/v1{_bare(path)}" for path in found}


def test_all_paths_of_the_sdks_families_are_routes() -> None:
    ours = {_bare(route.path) for route in ALL}

    assert len(_sdk_paths()) > 25
    assert _sdk_paths() <= ours


def test_parameters_of_paths_say_what_they_name() -> None:
    for route in ALL:
        assert set(route.parameters) <= set(PARAMETERS), _name(route)
        assert route.path.startswith(f"/v1/{route.family}"), _name(route)


def test_reading_needs_less_than_changing() -> None:
    for route in ALL:
        assert route.access == ("read" if route.method == "GET" else "inference"), _name(route)
        changes = (route.creates, route.removes, route.operation)
        assert route.method != "GET" or not any(changes), _name(route)


def test_whatever_lists_has_cursors() -> None:
    for route in ALL:
        if route.lists is not None:
            assert {"after", "before"} <= set(route.query)


def test_lists_without_a_parent_are_the_accounts() -> None:
    assert {route.path for route in ALL if route.lists_account} == {
        "/v1/assistants",
        "/v1/vector_stores",
        "/v1/batches",
        "/v1/fine_tuning/jobs",
        "/v1/containers",
    }


def test_only_what_costs_is_left_to_exchanges() -> None:
    assert {_name(route): route.operation for route in ALL if route.operation} == {
        "POST /v1/threads/runs": "run",
        "POST /v1/threads/<thread_id>/runs": "run",
        "POST /v1/batches": "batch",
        "POST /v1/fine_tuning/jobs": "fine_tune",
    }


def test_every_family_that_can_be_switched_on_has_routes() -> None:
    assert tuple(dict.fromkeys(route.family for route in ALL)) == FAMILIES


def test_a_path_is_filled_with_ids() -> None:
    route = ROUTES["GET", "/v1/threads/<thread_id>/runs/<run_id>"]

    assert (
        route.fill({"thread_id": "thread_1", "run_id": "run_2"})
        == "/v1/threads/thread_1/runs/run_2"
    )
