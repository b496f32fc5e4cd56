"""A request for more inputs than its deployment takes at once: asked in several, answered in one.

They are sent one after another, each as an attempt of its own, and what they bring is joined in
order once all of it is there. Until then nobody owes anything: who gets nothing pays nothing. Where
another deployment follows one that has failed all is asked anew, so that no answer has vectors of
two models.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from engine.errors import UpstreamError
from engine.events import Event, Usage, UsageReport, Vector
from engine.leg import Leg
from engine.parsing.jobs import Prepared
from engine.parsing.prompts import InputShare
from engine.protocols.operation import OperationCodec
from engine.relay import UnaryRelay
from engine.upstream.bodies import part_of

_ANSWER_MAX_BYTES: Final = 64 * 1024 * 1024


class Splitting:
    """Of one exchange, at one deployment.

    Attributes:
        left: how many are yet to be answered.
    """

    __slots__ = ("_body", "_bytes", "_events", "_inputs", "_items", "_prepared", "left")

    def __init__(self, prepared: Prepared) -> None:
        assert prepared.shares, "it is several requests"
        self._prepared, self._body = prepared._replace(body=b""), prepared.body
        self._items: list[bytes] = []
        self._bytes = 0
        self._inputs = 0
        """Of those that have been answered."""
        self._events: list[Event] = []
        """Their vectors, for an embedder."""
        self.left = len(prepared.shares)

    def next(self) -> Prepared:
        """The one that comes next. Its bounds are those of all: that is what is held."""
        prepared = self._prepared
        shares = prepared.shares
        at, of = len(shares) - self.left, shares[-1].end_bytes
        start, end = (shares[at - 1].end_bytes if at else 0), shares[at].end_bytes
        bounds = prepared.bounds
        expected = bounds.expected_input_tokens * (end - start) // of
        return prepared._replace(
            body=part_of(self._body, start, end),
            bounds=replace(bounds, expected_input_tokens=expected),
            input=InputShare(prepared.input, start, end, of),
        )

    def take(self, leg: Leg) -> None:
        """Its answer is whole: keep what is in it, and make the last one's the answer to all. What
        is not of as many inputs as were asked for is a fault of its provider."""
        relay, client = leg.attempt.relay, leg.passage.client
        assert isinstance(relay, UnaryRelay)
        assert isinstance(client, OperationCodec)
        shares = self._prepared.shares
        inputs, body = shares[len(shares) - self.left].inputs, relay.finish()
        try:
            items = client.items_of(body, inputs, self._inputs)
            self._bytes += len(items)
            if self._bytes > _ANSWER_MAX_BYTES:
                raise ValueError("larger than the gateway accepts")
            self._items.append(items)
            if self.left == 1:
                relay.replace(client.joined(self._items, body))
        except ValueError as error:
            leg.attempt.error = UpstreamError(f"The provider's answer is broken: {error}.")
            return
        if leg.tap is not None:
            self._take_events(leg)
        self._inputs += inputs
        self.left -= 1

    def _take_events(self, leg: Leg) -> None:
        """An embedder is told of all vectors, and of the usage of all, with the last one."""
        tap = leg.tap
        assert tap is not None, "somebody wants them"
        other, usage = list[Event](), Usage()
        for event in (*self._events, *tap):
            match event:
                case UsageReport():
                    usage = usage.plus(event.usage)
                case Vector():
                    pass
                case _:
                    other.append(event)
        moved = [
            Vector(each.index + self._inputs, each.values)
            for each in tap
            if isinstance(each, Vector)
        ]
        kept = [each for each in self._events if isinstance(each, Vector)]
        self._events = [*kept, *moved, UsageReport(usage)]
        if self.left == 1:
            tap.clear()
            tap.extend([*other[:1], *self._events[:-1], *other[1:], UsageReport(usage)])
