"""What it costs to pass through what a provider keeps, beside the same requests sent directly.

    python -m bench.pass_cost [--requests 1000] [--repeats 5]

A simulated provider keeps conversations and responses. One client asks for them by one connection,
through the gateway and directly, in turns; a ratio or a difference is of neighbours. The gateway
looks up whose each id is, counts limits, and reads what answers tell of; what is made it records,
durably, before it answers; lists of an account it pages itself.

- `show`: a conversation. `items`: a page of its twenty items. `make`: another one.
- `list`: a page of twenty of the account's assistants, each asked of the provider by itself.
- `stream`: a kept response, streamed anew; figures are of one event.

CPU figures hold on a busy machine, within limits. Times do not: take them on a quiet one.
"""

from __future__ import annotations

import argparse
import re
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from http.client import HTTPConnection
from typing import Any, Final, NamedTuple

import orjson

from bench.processes import Target, cpu_s, running_gateway
from bench.rows import print_machine, print_row

_TIMEOUT_S: Final = 60.0
_ITEMS: Final = 20
_ANSWER: Final = {
    "model": "sim-openai",
    "input": "#sim tokens=400\nTell me more.",
    "background": True,
    "stream": True,
}
"""Only what was streamed in the background can be streamed anew."""
_ID: Final = re.compile(rb'"id":\s?"(resp_\w+)"')


class Run(NamedTuple):
    """Of one request, or one event: how long it took, and the gateway's CPU."""

    elapsed_us: float
    cpu_us: float


class Side:
    """Who is asked, by one connection."""

    def __init__(self, port: int, key: str | None) -> None:
        self.connection = HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT_S)
        self._headers = {"content-type": "application/json", "openai-beta": "assistants=v2"}
        if key is not None:
            self._headers["authorization"] = f"Bearer {key}"

    def ask(self, method: str, path: str, body: Any = None) -> bytes:
        """Raises RuntimeError: it is refused."""
        data = None if body is None else orjson.dumps(body)
        self.connection.request(method, path, data, self._headers)
        answer = self.connection.getresponse()
        whole = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{method} {path} fails: {answer.status} {whole[:300]!r}")
        return whole

    def made(self, path: str, body: Any) -> str:
        """The id of what is made."""
        return str(orjson.loads(self.ask("POST", path, body))["id"])


def works(side: Side) -> dict[str, Callable[[], int]]:
    """What is measured; each does it once, and says of how many parts that was."""
    said = [{"type": "message", "role": "user", "content": f"Word {n}"} for n in range(_ITEMS)]
    conversation = side.made("/v1/conversations", {"items": said})
    for number in range(_ITEMS):
        side.made("/v1/assistants", {"model": "sim-openai", "name": f"Assistant {number}"})
    told = side.ask("POST", "/v1/responses", _ANSWER)
    response = _ID.findall(told)[0].decode()

    def one(method: str, path: str, body: Any = None) -> Callable[[], int]:
        def work() -> int:
            side.ask(method, path, body)
            return 1

        return work

    return {
        "show": one("GET", f"/v1/conversations/{conversation}"),
        "items": one("GET", f"/v1/conversations/{conversation}/items?limit={_ITEMS}"),
        "make": one("POST", "/v1/conversations", {"metadata": {"of": "bench"}}),
        "list": one("GET", f"/v1/assistants?limit={_ITEMS}"),
        "stream": lambda: side.ask("GET", f"/v1/responses/{response}?stream=true").count(b"\n\n"),
    }


def _timed(work: Callable[[], int], times: int, pid: int) -> Run:
    cpu, started, parts = cpu_s(pid), time.monotonic(), 0
    for _ in range(times):
        parts += work()
    elapsed_s, used_s = time.monotonic() - started, cpu_s(pid) - cpu
    return Run(elapsed_s / parts * 1e6, used_s / parts * 1e6)


def measure(options: argparse.Namespace) -> None:
    """Print the rows."""
    with running_gateway() as gateway:
        _measure(gateway, options)


def _measure(gateway: Target, options: argparse.Namespace) -> None:
    through, direct = Side(gateway.port, gateway.key), Side(gateway.provider_port, None)
    with closing(through.connection), closing(direct.connection):
        ours, theirs = works(through), works(direct)
        for name, work in ours.items():
            times = max(1, options.requests // (20 if name in ("list", "stream") else 1))
            _timed(work, max(1, times // 10), gateway.pid)
            pairs = [
                (_timed(work, times, gateway.pid), _timed(theirs[name], times, gateway.pid))
                for _ in range(options.repeats)
            ]
            cpu = statistics.median([run.cpu_us for run, _ in pairs])
            added = statistics.median([run.elapsed_us - other.elapsed_us for run, other in pairs])
            ratio = statistics.median([run.elapsed_us / other.elapsed_us for run, other in pairs])
            print_row(name, f"CPU {cpu:.0f} µs", f"added {added:.0f} µs", f"time × {ratio:.2f}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    assert __doc__ is not None
    parser = argparse.ArgumentParser(
        prog="python -m bench.pass_cost",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--requests", type=int, default=1_000)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args(arguments)
    print_machine()
    measure(options)


if __name__ == "__main__":
    main()
