"""How long large request bodies hold up everybody else: the gateway's longest turn of its loop.

    python -m bench.body_stall

Each body is sent to a gateway that parses it itself and to one that leaves it to its helper, over
the same provider, several times. Meanwhile a client asks for `/healthz` without a pause. In
milliseconds, median and largest: until a body is answered, the longest turn, the slowest probe.
"""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import orjson

from bench.processes import Target, running_gateway

_MEASURED: Final = """
import signal, sys, time, trio
from pathlib import Path

class Turns(trio.abc.Instrument):
    longest_s = began = 0.0

    def after_io_wait(self, timeout):
        self.began = time.perf_counter()

    def before_io_wait(self, timeout):
        self.longest_s = max(self.longest_s, time.perf_counter() - self.began)

    def tell(self, *_):
        Path(sys.argv[1], "longest").write_text(str(self.longest_s))
        self.longest_s = 0.0

turns = Turns()
signal.signal(signal.SIGUSR1, turns.tell)
run = trio.run
trio.run = lambda *arguments: run(*arguments, instruments=[turns])
"""
_HERE: Final = """
import engine, engine.config
parse = engine.config.parse_config
server = '[server]\\nparsed_here_max_bytes = 1000000000\\nspooled_min_bytes = 1000000000\\n'
engine.parse_config = lambda text, *rest: parse(text.replace('[server]\\n', server), *rest)
"""
_POST: Final = """
import http.client, sys
from pathlib import Path
port, key, body = sys.argv[1:]
client = http.client.HTTPConnection("127.0.0.1", int(port), timeout=60)
headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
client.request("POST", "/v1/chat/completions", Path(body).read_bytes(), headers)
answer = client.getresponse()
answer.read()
print(answer.status)
"""
_WORDS: Final = "All work and no play makes a dull day. " * 25


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one body at one gateway; milliseconds."""

    status: str
    answered_ms: float
    turn_ms: float
    probe_ms: float


def main(tries: int = 5, turns: int = 10_000, values: int = 3_300_000) -> None:
    """Print what each body does on either side; `turns` and `values` are of the large ones."""
    bodies = {
        "chat, a tenth": chat_of(turns // 10, "sim-openai"),
        "chat": chat_of(turns, "sim-openai"),
        "chat, translated": chat_of(turns, "sim-anthropic"),
        "empty objects": hostile_of(values),
    }
    _print(
        f"{'of ' + str(tries):>28}{'MB':>8}{'status':>8}{'answered':>12}{'turn':>16}{'probe':>16}"
    )
    with (
        running_gateway(_MEASURED) as apart,
        running_gateway(_MEASURED + _HERE, provider_port=apart.provider_port) as here,
    ):
        for name, body in bodies.items():
            for side, target in (("here", here), ("apart", apart)):
                figures = [measure(target, body) for _ in range(tries)]
                statuses = "/".join(sorted({each.status for each in figures}))
                _print(
                    f"{name:20}{side:>8}{len(body) / 1e6:8.1f}{statuses:>8}"
                    f"{_spread((each.answered_ms for each in figures), digits=0):>12}"
                    f"{_spread(each.turn_ms for each in figures):>16}"
                    f"{_spread(each.probe_ms for each in figures):>16}"
                )


def _spread(times_ms: Iterable[float], digits: int = 1) -> str:
    """The median and the largest."""
    known = sorted(times_ms)
    return f"{known[len(known) // 2]:.{digits}f} - {known[-1]:.{digits}f}"


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def chat_of(turns: int, model: str) -> bytes:
    """A conversation of about a kilobyte a turn."""
    messages = [
        {"role": "assistant" if number % 2 else "user", "content": _WORDS}
        for number in range(turns)
    ]
    messages.append({"role": "user", "content": "#sim tokens=3\nGo on."})
    return orjson.dumps({"model": model, "messages": messages})


def hostile_of(values: int) -> bytes:
    """So many empty objects, which the provider refuses."""
    asked = b'{"model":"sim-openai","messages":[{"role":"user","content":"x"}],"metadata":['
    return asked + b"{}," * values + b"{}]}"


def measure(target: Target, body: bytes) -> Figures:
    """Send a body, from a process of its own."""
    with tempfile.TemporaryDirectory() as folder, probing(target.port) as probes_ms:
        path = Path(folder) / "body"
        path.write_bytes(body)
        longest_ms(target)
        command = [sys.executable, "-c", _POST, str(target.port), target.key, str(path)]
        probes_ms.clear()
        started = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
        answered_ms = (time.perf_counter() - started) * 1e3
        return Figures(done.stdout.strip(), answered_ms, longest_ms(target), max(probes_ms))


def longest_ms(target: Target) -> float:
    """The longest turn of the gateway's loop since this was last asked."""
    path = target.folder / "longest"
    path.unlink(missing_ok=True)
    os.kill(target.pid, signal.SIGUSR1)
    while not (path.exists() and (told := path.read_text())):
        time.sleep(0.005)
    return float(told) * 1e3


@contextmanager
def probing(port: int) -> Iterator[list[float]]:
    """How long each of many small requests takes meanwhile, in milliseconds."""
    times_ms: list[float] = []
    ending = threading.Event()

    def probe() -> None:
        client = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        while not ending.is_set():
            started = time.perf_counter()
            client.request("GET", "/healthz")
            client.getresponse().read()
            times_ms.append((time.perf_counter() - started) * 1e3)
        client.close()

    thread = threading.Thread(target=probe)
    thread.start()
    try:
        yield times_ms
    finally:
        ending.set()
        thread.join()


if __name__ == "__main__":
    main()
