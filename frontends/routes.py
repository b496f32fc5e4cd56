"""Routes that cost little to make."""

from __future__ import annotations

from collections.abc import Callable

from quart.routing import QuartRule


class Route(QuartRule):
    """A route that URLs are matched with, and hardly ever built of.

    Werkzeug writes and compiles two functions for each route that build its URL: of this many
    routes that takes most of an application's start. Here they are compiled where one is called.
    """

    def _compile_builder(self, append_unknown: bool = True) -> Callable[..., tuple[str, str]]:
        compiled = super()._compile_builder

        def build(route: Route, /, **values: object) -> tuple[str, str]:
            return compiled(append_unknown)(route, **values)

        return build
