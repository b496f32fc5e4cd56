"""How many attempts there may be beside the first ones: a share of these, never more.

Unlike a number of retries a request, a share bounds what an outage adds to the load of whoever is
down: a fifth, not a multiple.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

_WHOLE: Final = 1_000
"""Thousandths, so that five fifths are one."""
_SAVED_MAX: Final = 10 * _WHOLE


@dataclass(slots=True)
class Budget:
    """`spend` succeeds at most `share * earned + 1` times, and at most eleven times in a row.

    >>> budget = Budget(0.5)
    >>> budget.spend(), budget.spend()
    (True, False)
    >>> budget.earn(), budget.earn(), budget.spend()
    (None, None, True)
    """

    share: float
    _saved: int = _WHOLE

    def earn(self) -> None:
        """A first attempt begins."""
        self._saved = min(_SAVED_MAX, self._saved + round(self.share * _WHOLE))

    def spend(self) -> bool:
        """Whether there may be another one beside; if so, it is taken."""
        if self._saved < _WHOLE:
            return False
        self._saved -= _WHOLE
        return True
