"""Routes match, and build, as those of the web framework do."""

from __future__ import annotations

import pytest
from quart.routing import QuartMap, QuartRule
from werkzeug.exceptions import MethodNotAllowed, NotFound
from werkzeug.routing import BaseConverter, IntegerConverter, MapAdapter

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


def test_a_text_means_what_the_converters_of_its_map_say() -> None:
    def found(converters: dict[str, type[BaseConverter]]) -> object:
        rule = Route("/pages/<page>", endpoint="page")
        return QuartMap([rule], converters=converters).bind("localhost").match("/pages/7")

    assert found({}) == ("page", {"page": "7"})
    assert found({"default": IntegerConverter}) == ("page", {"page": 7})
    assert found({}) == ("page", {"page": "7"})


def test_routes_of_one_text_are_told_apart() -> None:
    first, second = (Route(f"/<of>{path}", endpoint=path, methods=["GET"]) for path in ("/a", "/b"))
    of_both = QuartMap([first, second], merge_slashes=False).bind("localhost")

    assert of_both.match("/x/b") == ("/b", {"of": "x"})
    again = Route("/<of>/a", endpoint="again", methods=["POST"])
    of_one = QuartMap([again], merge_slashes=False).bind("localhost")
    assert of_one.match("/x/a", method="POST") == ("again", {"of": "x"})
    with pytest.raises(MethodNotAllowed):
        of_both.match("/x/a", method="POST")
    assert first.arguments == again.arguments == {"of"}
    assert first.arguments is not again.arguments
