"""What the gateway offers of routes that are passed through and cost nothing."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

from engine.parts import Parts
from engine.passing.answers import Ended
from engine.passing.asked import Asked
from engine.passing.files import PassedFiles
from engine.passing.forward import Forwarder, Passed, SettleFirst
from engine.passing.lists import Lister
from engine.passing.places import check_family, place_of
from engine.passing.table import ROUTES, Route
from engine.protocols.registry import knows_operation
from engine.rules import Admitted


class Passing:
    """Of one gateway."""

    def __init__(self, parts: Parts, settle_first: SettleFirst) -> None:
        self._parts = parts
        self._forwarder = Forwarder(parts, settle_first)
        self._lister = Lister(parts, self._forwarder)

    @property
    def files(self) -> PassedFiles:
        """What files are called on both sides."""
        return self._forwarder.files

    @property
    def under_way(self) -> int:
        """How many requests are forwarded now."""
        return self._forwarder.under_way

    def follow(self, listener: Ended) -> None:
        """Call this with each job that an answer says to have ended."""
        self._forwarder.follow(listener)

    def check(self, admitted: Admitted, route: Route) -> None:
        """Whether what a route leads to is there, for who was admitted. Raises as `check_family`,
        `place_of`."""
        check_family(self._parts, admitted, route.family)
        place_of(self._parts, None)

    def open(self, admitted: Admitted, asked: Asked) -> AbstractAsyncContextManager[Passed]:
        """The answer to a request of who was admitted, for the block. Raises as `Forwarder.open`,
        `Lister.open`."""
        if asked.route.lists_account:
            return self._lister.open(admitted, asked)
        return self._forwarder.open(admitted, asked)


def served_routes() -> list[Route]:
    """Those of the table that are answered: an exchange needs a codec for its operation."""
    return [
        route
        for route in ROUTES.values()
        if route.operation is None or knows_operation("openai", route.operation)
    ]
