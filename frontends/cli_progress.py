"""How long a command of minutes still takes: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from click._termui_impl import ProgressBar

_CLEAR = "\r\033[2K"


class Bars:
    """One bar a scenario, on standard error; see `bench.suite.run.Progress`."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._bar: ProgressBar[int] | None = None
        self._done_s = 0.0

    def begin(self, scenario: str, expected_s: float) -> None:
        """The next bar; `expected_s` is its length."""
        self.end()
        minutes = max(1, round(expected_s / 60))
        if not self._terminal:
            click.echo(f"{scenario}: up to {minutes} min", err=True)
            return
        self._done_s = 0.0
        self._bar = click.progressbar(
            length=max(1, int(expected_s)),
            label=f"{scenario:14}",
            file=sys.stderr,
            item_show_func=lambda what: str(what or ""),
            show_percent=False,
        )
        self._bar.render_progress()

    def advance(self, seconds: float, what: str) -> None:
        """So much of its length."""
        if self._bar is None:
            return
        whole = int(self._done_s + seconds) - int(self._done_s)
        self._done_s += seconds
        self._bar.update(whole, what)  # type: ignore[arg-type]  # whatever item_show_func takes

    def end(self) -> None:
        """Finish the bar, if there is one. Idempotent."""
        if self._bar is not None:
            self._bar.render_finish()
            click.echo(err=True)
            self._bar = None

    def say(self, line: str) -> None:
        """A line above the bar."""
        click.echo(f"{_CLEAR if self._bar is not None else ''}{line}", err=True)
        if self._bar is not None:
            self._bar.render_progress()
