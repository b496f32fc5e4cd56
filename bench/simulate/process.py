"""A simulated provider in a process of its own, and its truth and load as its parent asks for them.

Synchronous, as the rest of a benchmark's parent is: it sleeps while something is measured.
"""

from __future__ import annotations

import json
import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from typing import Any, Final
from urllib.parse import urlsplit

from bench.simulate.load import SimulatorLoad

START_S: Final = 60.0
ANSWER_S: Final = 30.0
STOP_S: Final = 5.0
PAGE_RECORDS: Final = 500


class SimulatorError(RuntimeError):
    """It did not start, or did not answer as it should."""


@dataclass(frozen=True, slots=True)
class RunningSimulator:
    """What was started: `base_url` is without `/v1`."""

    pid: int
    base_url: str

    @property
    def port(self) -> int:
        """Where it listens, on loopback."""
        port = urlsplit(self.base_url).port
        assert port is not None
        return port

    def load(self) -> SimulatorLoad:
        """What it has cost so far; the difference of two is of what was in between.

        Raises:
            OSError: it does not answer any more.
        """
        return SimulatorLoad.from_json(json.loads(self._get("/_load")))

    def truth(self, after: int = 0) -> list[dict[str, Any]]:
        """All records numbered above `after`, in order of arrival, without their texts.

        Raises:
            OSError: it does not answer any more.
        """
        records: list[dict[str, Any]] = []
        while page := self._page(after):
            records += page
            after = page[-1]["number"]
        return records

    def files(self) -> list[dict[str, Any]]:
        """What the files APIs keep, in the order it came.

        Raises:
            OSError: it does not answer any more.
        """
        return [json.loads(line) for line in self._get("/_files").splitlines()]

    def jobs(self) -> list[dict[str, Any]]:
        """What the APIs of videos and music have taken on, in the order it came.

        Raises:
            OSError: it does not answer any more.
        """
        return [json.loads(line) for line in self._get("/_jobs").splitlines()]

    def behave(self, model: str | None, directives: str = "") -> None:
        """Start requests for a model, or for all, from these words of `#sim`; none: as at first.

        Raises:
            OSError: it does not answer any more.
            SimulatorError: it does not understand them.
        """
        self._ask("POST", "/_behave", json.dumps({"model": model, "directives": directives}))

    def _page(self, after: int) -> list[dict[str, Any]]:
        path = f"/_truth?after={after}&limit={PAGE_RECORDS}&text=0"
        return [json.loads(line) for line in self._get(path).splitlines()]

    def _get(self, path: str) -> bytes:
        return self._ask("GET", path)

    def _ask(self, method: str, path: str, sent: str | None = None) -> bytes:
        with closing(HTTPConnection("127.0.0.1", self.port, timeout=ANSWER_S)) as connection:
            connection.request(method, path, sent)
            response = connection.getresponse()
            body = response.read()
        if response.status != 200:
            raise SimulatorError(f"{method} {path}: {response.status} {body[:200]!r}")
        return body


@contextmanager
def running_simulator(core: int | None, port: int = 0) -> Iterator[RunningSimulator]:
    """Start one, pinned to a core if one is given, and end it on leaving.

    Raises:
        SimulatorError: it did not start; what it said is on standard error.
    """
    command = [sys.executable, "-P", "-m", "bench.simulate", "--port", str(port)]
    command += [] if core is None else ["--core", str(core)]
    with subprocess.Popen(  # noqa: S603 - our own interpreter and module
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        process_group=0,  # a terminal's Ctrl-C is for its parent, which ends it
    ) as process:
        try:
            assert process.stdout is not None
            ready, _, _ = select.select([process.stdout], [], [], START_S)
            base_url = process.stdout.readline().strip() if ready else ""
            if not base_url:
                raise SimulatorError("the simulated provider did not start")
            yield RunningSimulator(process.pid, base_url)
        finally:
            assert process.stdin is not None
            process.stdin.close()
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
