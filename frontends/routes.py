"""Routes that cost little to make."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache

from quart.routing import QuartMap, QuartRule
from werkzeug.routing import BaseConverter
from werkzeug.routing.rules import RulePart

_TEXTS_KEPT_MAX = 1_024


class Route(QuartRule):
    """A route that URLs are matched with, and hardly ever built of.

    Werkzeug writes and compiles two functions for each route that build its URL: of this many
    routes that takes most of an application's start. Here they are compiled where one is called.
    And a text that another application has had is not taken apart again.
    """

    def _parse_rule(self, rule: str) -> Iterable[RulePart]:
        taken = _taken_apart(rule, tuple(self.map.converters.items()))
        self._trace += taken._trace
        self._converters |= taken._converters
        self.arguments |= taken.arguments
        return taken._parts

    def _compile_builder(self, append_unknown: bool = True) -> Callable[..., tuple[str, str]]:
        compiled = super()._compile_builder

        def build(route: Route, /, **values: object) -> tuple[str, str]:
            return compiled(append_unknown)(route, **values)

        return build


@lru_cache(_TEXTS_KEPT_MAX)
def _taken_apart(text: str, converters: tuple[tuple[str, type[BaseConverter]], ...]) -> QuartRule:
    """A text, taken apart, in a rule of no application. No converter asks its map for anything."""
    rule = QuartRule("/")
    rule.map = QuartMap(converters=dict(converters))
    rule._parts = list(rule._parse_rule(text))
    return rule
