"""What operators have switched off: providers, deployments, models."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Literal, get_args

SwitchKind = Literal["provider", "deployment", "model", "key", "account"]
SWITCH_KINDS: Final[tuple[SwitchKind, ...]] = get_args(SwitchKind)

Place = tuple[str, str]
"""(kind, subject): a provider's or a model's name, a deployment's `PROVIDER/UPSTREAM_MODEL`, the
id of a key or an account."""


class Switches:
    """Whatever is off, in memory; `in` is one look-up.

    >>> switches = Switches()
    >>> switches.turn("provider", "openai", off=True, reason="an outage")
    >>> ("provider", "openai") in switches, ("model", "gpt-5") in switches
    (True, False)
    """

    def __init__(self) -> None:
        self._reasons: dict[Place, str] = {}
        self.version = 0
        """Another one after each change: what is derived from the switches is as good as this."""

    def turn(self, kind: str, subject: str, *, off: bool, reason: str = "") -> None:
        """Off, or on again."""
        self.version += 1
        if off:
            self._reasons[kind, subject] = reason
        else:
            self._reasons.pop((kind, subject), None)

    def reason(self, kind: str, subject: str) -> str | None:
        """Why something is off, in the operator's words; None where it is on."""
        return self._reasons.get((kind, subject))

    def __contains__(self, place: object) -> bool:
        return place in self._reasons

    def __iter__(self) -> Iterator[Place]:
        return iter(self._reasons)

    def __len__(self) -> int:
        return len(self._reasons)
