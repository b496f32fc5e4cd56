"""When a deployment is left alone, and how it comes back: one small machine, `now` passed in.

    closed --(so many failures in a row, or too large a share of them)--> open
    open --(its time is over)--> half-open
    half-open --(two successes in a row)--> closed
    half-open --(a failure)--> open, for twice as long up to a bound

While it is half-open one attempt at a time is let through, a real one with other deployments
behind it. What began before the breaker opened says nothing of how it is now: outcomes name the
generation that `begin` gave them, and those of earlier ones are not counted.

A request that a deployment can never answer is no sign that it is broken, and who sends it again
and again takes it from nobody: failures of one account alone count twice at most, while others are
served.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal

from engine.routing.values import BreakerRules

State = Literal["closed", "open", "half-open"]

PROBE_S: Final = 30.0
"""A probe of which nothing is heard makes room for the next one."""
_BUCKETS: Final = 6
_SUCCESSES_TO_CLOSE: Final = 2
_FORGIVEN_S: Final = 60.0
"""After so long a time without opening, the next opening is as short as the first."""
_OF_ONE_MAX: Final = 2
"""So many failures of one account count, while others are served."""
_NEVER: Final = float("-inf")


@dataclass(slots=True)
class Breaker:
    """Of one deployment. Times are seconds of one clock that never goes back.

    >>> breaker = Breaker(BreakerRules(failures=2, open_s=5.0))
    >>> for at in (1.0, 2.0):
    ...     breaker.failed(at, breaker.begin(at))
    >>> breaker.state(6.9), breaker.state(7.0)
    ('open', 'half-open')
    """

    rules: BreakerRules
    generation: int = 0
    """How often it has opened."""
    until: float | None = None
    """None while it is closed, else when it is or was half-open."""
    _trips: int = 0
    """Openings one after another, which make the next one longer."""
    _closed_at: float = _NEVER
    _probe_at: float | None = None
    _passed: int = 0
    _in_a_row: int = 0
    _bucket: int = 0
    _good: list[int] = field(default_factory=lambda: [0] * _BUCKETS)
    _bad: list[int] = field(default_factory=lambda: [0] * _BUCKETS)
    _served: str = ""
    """The account that was served last, and when; and when any other was."""
    _served_at: float = _NEVER
    _other_served_at: float = _NEVER
    _failing: str = ""
    """The account whose request failed last, and how many did since another's."""
    _of_it: int = 0

    def state(self, now: float) -> State:
        """What it is now."""
        if self.until is None:
            return "closed"
        return "open" if now < self.until else "half-open"

    def admits(self, now: float) -> bool:
        """Whether an attempt may begin now."""
        return self.until is None or now >= self.opens_at(now)

    def opens_at(self, now: float) -> float:
        """From when on an attempt may begin, unless a probe ends before."""
        if self.until is None:
            return now
        if now < self.until:
            return self.until
        return now if self._probe_at is None else self._probe_at + PROBE_S

    def begin(self, now: float) -> int:
        """An attempt begins; the generation to name with its outcome."""
        if self.until is not None and now >= self.until:
            self._probe_at = now
        return self.generation

    def succeeded(self, now: float, generation: int, account: str = "") -> None:
        """It has brought something, to that account."""
        if generation != self.generation:
            return
        if account != self._served:
            self._served, self._other_served_at = account, self._served_at
        self._served_at = now
        if self.until is None:
            self._in_a_row = 0
            self._good[self._roll(now)] += 1
            return
        self._probe_at = None
        self._passed += 1
        if self._passed >= _SUCCESSES_TO_CLOSE:
            self._close(now)

    def failed(self, now: float, generation: int, draw: float = 0.5, account: str = "") -> None:
        """It has not; `draw`, from 0 to 1, spreads when several come back. Without an account it is
        the deployment's fault, whoever has asked."""
        if generation != self.generation or not self.rules.failures:
            return
        if account and self._is_of_one(now, account):
            return
        if self.until is not None:
            self._open(now, draw)
            return
        self._in_a_row += 1
        self._bad[self._roll(now)] += 1
        if self._in_a_row >= self.rules.failures or self._share_is_bad():
            self._open(now, draw)

    def _is_of_one(self, now: float, account: str) -> bool:
        """Whether only this account fails, again and again, while others are served."""
        self._of_it = self._of_it + 1 if account == self._failing else 1
        self._failing = account
        others_at = self._other_served_at if account == self._served else self._served_at
        return (
            self.until is None
            and self._of_it > _OF_ONE_MAX
            and now - others_at <= self.rules.window_s
        )

    def let_go(self, now: float, generation: int) -> None:
        """It has ended without saying anything of the deployment: the next one may probe."""
        if generation == self.generation and self.until is not None and now >= self.until:
            self._probe_at = None

    def probe_soon(self, now: float) -> None:
        """Somebody else found it well: an open one becomes half-open at once."""
        if self.until is not None and now < self.until:
            self.until = now

    def trip(self, now: float, draw: float = 0.5) -> None:
        """Somebody else found it broken: it opens, unless it is open."""
        if self.rules.failures and self.state(now) != "open":
            self._open(now, draw)

    def reset(self) -> None:
        """Whatever it was, it is closed."""
        self.until, self._probe_at = None, None
        self._trips = 0
        self._forget()

    def _open(self, now: float, draw: float) -> None:
        rules = self.rules
        if self.until is None and now - self._closed_at >= _FORGIVEN_S:
            self._trips = 0
        open_s = min(rules.open_max_s, rules.open_s * 2**self._trips)
        self.until = now + open_s * (0.8 + 0.4 * draw)
        self._trips = min(self._trips + 1, 16)
        self.generation += 1
        self._probe_at = None
        self._passed = 0

    def _close(self, now: float) -> None:
        self.until, self._closed_at = None, now
        self._forget()

    def _forget(self) -> None:
        self._passed = self._in_a_row = self._of_it = 0
        self._good[:] = self._bad[:] = [0] * _BUCKETS

    def _share_is_bad(self) -> bool:
        bad = sum(self._bad)
        outcomes = bad + sum(self._good)
        return outcomes >= self.rules.requests_min and bad >= self.rules.share * outcomes

    def _roll(self, now: float) -> int:
        """The bucket of this moment, with what is older than the window forgotten."""
        bucket = int(now * _BUCKETS / self.rules.window_s)
        passed = bucket - self._bucket
        if passed:  # backwards, where the window is another one now
            for step in range(min(abs(passed), _BUCKETS)):
                index = (bucket - step) % _BUCKETS
                self._good[index] = self._bad[index] = 0
            self._bucket = bucket
        return bucket % _BUCKETS
