"""Output as it is received: text counted, usage reported, and what of it reached the client."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from engine.events import Usage
from engine.metering.tokens import Count, TextCounter

# Nearer to a limit than this, every event is counted before it is let through.
_NEAR_TOKENS = 1_024


class OutputMeter:
    """Meters the output of one attempt.

    Text comes by channel (choice 0's content, its tool call 1, …), since what interleaves on the
    wire is not one text. `client_bytes` is the position in the client's stream behind which a piece
    is delivered.
    """

    __slots__ = ("_count", "_counters", "_undelivered", "known_tokens", "reported")

    def __init__(self, count: Count) -> None:
        self._count = count
        self._counters: dict[str, TextCounter] = {}
        self._undelivered: deque[tuple[int, str, str]] = deque()
        self.known_tokens = 0
        """Output tokens as last counted; at most 200 characters a channel behind."""
        self.reported: Usage | None = None
        """The provider's own figures, the latest; None while it has sent none."""

    def add(self, channel: str, text: str, client_bytes: int) -> None:
        """Count a piece of text that ends at `client_bytes` of the client's stream."""
        counter = self._counters.get(channel)
        if counter is None:
            counter = self._counters[channel] = TextCounter(self._count)
        if counter.add(text):
            self.known_tokens = sum(c.known_tokens for c in self._counters.values())
        self._undelivered.append((client_bytes, channel, text))

    def delivered_to(self, client_bytes: int) -> None:
        """The client's stream has been handed to the client up to `client_bytes`."""
        undelivered = self._undelivered
        while undelivered and undelivered[0][0] <= client_bytes:
            undelivered.popleft()

    def fits(self, texts: Iterable[tuple[str, str]], limit_tokens: int) -> bool:
        """Whether these further texts stay within a limit; exact where it is near."""
        if self.known_tokens + _NEAR_TOKENS < limit_tokens:
            return True
        self.known_tokens = sum(counter.total() for counter in self._counters.values())
        return self.known_tokens + sum(self._count(text) for _, text in texts) <= limit_tokens

    def received_tokens(self) -> int:
        """Output tokens received: the provider's figure if there is one, else counted exactly."""
        if self.reported is not None:
            return self.reported.output_tokens
        return sum(counter.total() for counter in self._counters.values())

    def delivered_tokens(self) -> int:
        """Output tokens that were handed to the client, counted as the received ones are."""
        waiting: dict[str, list[str]] = {}
        for _, channel, text in self._undelivered:
            waiting.setdefault(channel, []).append(text)
        held_back = sum(self._count("".join(texts)) for texts in waiting.values())
        return max(0, self.received_tokens() - held_back)

    @property
    def has_output(self) -> bool:
        """Whether anything was generated."""
        return bool(self._counters) or (
            self.reported is not None and self.reported.output_tokens > 0
        )
