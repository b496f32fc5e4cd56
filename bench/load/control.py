"""The load generator from outside: a process of its own, and what is said to it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import orjson

from bench.load.plan import Plan
from bench.load.protocols import Target
from bench.load.tally import Tally
from bench.suite.model import Peer
from bench.suite.records import to_json
from bench.suite.scenario import Http


class LoadError(RuntimeError):
    """The load process refused what it was asked, or has died."""


class Client:
    """A load process. All methods wait for its reply, which comes at once.

    A caller starts a plan, sleeps until a window begins, calls `window` to throw away what was
    before, sleeps until the window ends and calls `window` for its tally; `finish` in the end.
    """

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def start(self, plan: Plan, target: Target) -> float:
        """Begin a plan, beside those that are under way: steps of one scenario add up.

        Returns:
            The moment of the monotonic clock from which the plan's times are counted: soon.

        Raises:
            LoadError: the target cannot be asked this.
        """
        reply = self._ask({"start": to_json(plan), "target": to_json(target)})
        start_s: float = reply["start_s"]
        return start_s

    def window(self) -> Tally:
        """What was counted since the last call, or since the first start; begins the next window.

        Raises:
            LoadError: the process has died.
        """
        return Tally.from_json(self._ask({"window": None})["tally"])

    def finish(self) -> Tally:
        """As `window`; then everything is closed, and the process is ready for another sample.

        Raises:
            LoadError: the process has died.
        """
        return Tally.from_json(self._ask({"finish": None})["tally"])

    def _ask(self, command: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(orjson.dumps(command) + b"\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = b""
        if not line:
            raise LoadError("the load process has died")
        reply: dict[str, Any] = orjson.loads(line)
        if "error" in reply:
            raise LoadError(f"the load process refused: {reply['error']}")
        return reply


def target_of(peer: Peer, http: Http, run: str) -> Target:
    """A peer as the load sees it; `run` begins the tags, see `Target`."""
    return Target(
        base_url=peer.base_url, headers=peer.headers, models=peer.models, http=http, run=run
    )


@contextmanager
def running_client(core: int | None = None) -> Iterator[Client]:
    """A load process, pinned to a core if told; it ends with the context."""
    command = [sys.executable, "-m", "bench.load.client", *([] if core is None else [str(core)])]
    with subprocess.Popen(  # noqa: S603 - our own interpreter and program
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        process_group=0,  # a terminal's Ctrl-C is for its parent, which ends it
    ) as process:
        try:
            yield Client(process)
        finally:
            process.kill()
            assert process.stdin is not None
            with suppress(BrokenPipeError):  # of a command that it did not live to read
                process.stdin.close()
