"""Routes match, and build, as those of the web framework do."""

from __future__ import annotations

import pytest
from quart.routing import QuartMap, QuartRule
from werkzeug.exceptions import NotFound
from werkzeug.routing import MapAdapter

from frontends.routes import Route

PATHS = ("/", "/files/<file_id>", "/models/<path:model>:<operation>", "/pages/<int:page>")


def bound(kind: type[QuartRule]) -> MapAdapter:
    rules = [kind(path, endpoint=path, methods=["GET"]) for path in PATHS]
    return QuartMap(rules, merge_slashes=False).bind("localhost")


@pytest.mark.parametrize(
    "path", ["/", "/files/a%20b", "/files/a b", "/models/a/b:count", "/pages/7", "/pages/x", "/no"]
)
def test_a_url_is_matched(path: str) -> None:
    def found(adapter: MapAdapter) -> object:
        try:
            return adapter.match(path)
        except NotFound:
            return None

    assert found(bound(Route)) == found(bound(QuartRule))


@pytest.mark.parametrize(
    ("endpoint", "values"),
    [
        ("/", {}),
        ("/", {"after": "x y"}),
        ("/files/<file_id>", {"file_id": "a/b c"}),
        ("/models/<path:model>:<operation>", {"model": "a/b", "operation": "count", "n": 3}),
        ("/pages/<int:page>", {"page": 7}),
    ],
)
@pytest.mark.parametrize("append_unknown", [True, False])
def test_a_url_is_built(endpoint: str, values: dict[str, object], append_unknown: bool) -> None:
    ours, theirs = (
        bound(kind).build(endpoint, values, append_unknown=append_unknown)
        for kind in (Route, QuartRule)
    )

    assert ours == theirs
