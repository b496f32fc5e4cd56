"""How long a command of minutes still takes: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from click._termui_impl import ProgressBar

_CLEAR = "\r\033[2K"


class Bars:
    """One bar a scenario, on standard error; see `bench.suite.run.Progress`."""

    def __init__(self, keep: Callable[[str], None]) -> None:
        """`keep` is given what is to be kept with the figures."""
        self._keep = keep
        self._terminal = sys.stderr.isatty()
        self._bar: ProgressBar[int] | None = None
        self._scenario = ""
        self._round = 0
        self._done_s = 0.0

    def begin(self, scenario: str, expected_s: float) -> None:
        """The next bar; `expected_s` is its length."""
        self.end()
        self._scenario, self._round, self._done_s = scenario, 0, 0.0
        if self._terminal:
            self._bar = click.progressbar(
                length=max(1, int(expected_s)),
                label=f"{scenario:14}",
                file=sys.stderr,
                item_show_func=lambda what: str(what or ""),
                show_percent=False,
            )
            self._bar.render_progress()
        else:
            click.echo(f"{scenario}: about {_minutes(expected_s)} min, or less", err=True)

    def round(self, number: int) -> None:
        """Said in a line of its own where there is no bar."""
        self._round = number
        if not self._terminal:
            click.echo(f"{self._scenario}: round {number}", err=True)

    def advance(self, seconds: float, peer: str) -> None:
        """So much of its length."""
        if self._bar is None:
            return
        whole = int(self._done_s + seconds) - int(self._done_s)
        self._done_s += seconds
        # Any text is an item to it.
        self._bar.update(whole, f"round {self._round}, {peer}")  # type: ignore[arg-type]

    def end(self) -> None:
        """Finish the bar, if there is one. Idempotent."""
        if self._bar is not None:
            self._bar.render_finish()
            self._bar = None

    def note(self, line: str) -> None:
        """Said, and kept."""
        self._keep(line)
        self.say(line)

    def say(self, line: str) -> None:
        """A line above the bar."""
        if self._bar is None:
            click.echo(line, err=True)
        else:
            click.echo(f"{_CLEAR}{line}", err=True)
            self._bar.render_progress()


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.1f}" if seconds < 600 else f"{seconds / 60:.0f}"
