"""What the gateway's front costs: a token, a request, an open stream, the first byte, a leaving.

    python -m bench.front_cost [--only tokens,unary,memory,first,leave] [--seconds 3] [--repeats 2]

The gateway, full billing on, is measured beside nginx as a proxy of the same simulated provider, in
turns, so that a change of the machine's mood meets both; a ratio is of neighbours. Provider, nginx,
gateway and the clients are processes of their own.

- `tokens`: CPU of the serving process a relayed token (one an event), user and system. Streams are
  paced by the provider; clients speak HTTP/1.1, HTTP/2 (100 streams a connection), and both by TLS.
- `unary`: requests a second and CPU a request; beside the same app on Hypercorn's HTTP.
- `memory`: growth of resident (RSS) and own (PSS) memory an open stream that has begun and is slow.
- `first`: what gateway and nginx add to the first token, while streams take half a core of the
  gateway; beside the same request sent to the provider itself.
- `leave`: from a client's leaving to the provider's note of it, while others' streams flow; beside
  an RST_STREAM sent to the provider itself.

CPU figures hold on a busy machine, within limits. Times do not: take them on a quiet one.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from bench.certificates import make_certificate
from bench.front_load import Front, Load, running_load
from bench.front_times import first_tokens, leavings
from bench.peers.nginx import Nginx, running_nginx
from bench.processes import Target, cpu_s, running_gateway

_OPEN_TIMEOUT_S: Final = 30.0
_OPENED_PER_S: Final = 50
"""So many streams open each second at least, also on a busy machine."""
_HALF_CORE_S: Final = 0.5
_PRESUMED_US: Final = 40.0
"""A token's CPU, for what half a core is, where tokens were not measured in the same run."""
_FRONTS: Final[dict[str, tuple[bool, Front]]] = {
    "http1": (False, "http1"),
    "http2": (False, "http2"),
    "https http1": (True, "http1"),
    "https http2": (True, "http2"),
}
"""What clients speak: whether by TLS, and which HTTP."""


@dataclass(slots=True)
class Bench:
    """What runs, and what was asked for."""

    options: argparse.Namespace
    gateway: Target
    secure: Target
    """The same by TLS."""
    nginx: Nginx
    authority: Path
    token_us: float = _PRESUMED_US

    def row(self, title: str, *cells: str) -> None:
        """One line of the report, at once."""
        _write(f"{title:<42}" + "  ".join(cells) + "\n")

    def load(self, side: str, front: str, clients: int, tokens: int, rate: float) -> Load:
        """Paced streams of one side, by what their clients speak; no two in step."""
        tls, protocol = _FRONTS[front]
        gateway = self.secure if tls else self.gateway
        port = gateway.port
        if side == "nginx":
            port = self.nginx.https if tls else getattr(self.nginx, protocol)
        authority = str(self.authority) if tls else ""
        return Load(
            port,
            gateway.key,
            clients,
            f"tokens={tokens} tokens_per_second={rate}",
            "streams",
            protocol,
            authority,
            spread_ms=1000 / rate,
        )

    def pid(self, side: str, front: str) -> int:
        """The serving process."""
        if side == "nginx":
            return self.nginx.pid
        return (self.secure if _FRONTS[front][0] else self.gateway).pid


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def middle(values: Sequence[float], digits: int = 1) -> str:
    """The median and the range it is from."""
    low, high = min(values), max(values)
    return f"{statistics.median(values):.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def machine_ms() -> float:
    """A fixed loop of Python: how fast this machine is now."""
    started, total = time.process_time(), 0
    for number in range(1_000_000):
        total += number & 7
    assert total == 3_500_000
    return (time.process_time() - started) * 1e3


# -- CPU a token ------------------------------------------------------------------------------


def cost_of_token(bench: Bench, side: str, front: str, streams: int) -> tuple[float, float]:
    """CPU microseconds a relayed token, and the tokens a second of each stream."""
    rate, seconds = bench.options.rate, bench.options.seconds
    tokens = int(rate * (seconds + _OPEN_TIMEOUT_S))
    load = bench.load(side, front, streams, tokens, rate)
    with running_load(load) as clients:
        before = _wait_flowing(clients.counts, streams)
        pid = bench.pid(side, front)
        used_s, started_s = cpu_s(pid), time.monotonic()
        before = clients.counts()[1]
        time.sleep(seconds)
        used_s = cpu_s(pid) - used_s
        events, elapsed_s = clients.counts()[1] - before, time.monotonic() - started_s
    _settle()
    return used_s / events * 1e6, events / elapsed_s / streams


def _wait_flowing(counts: Callable[[], tuple[int, int]], streams: int) -> int:
    """Until every stream has given a few tokens."""
    until_s = time.monotonic() + _OPEN_TIMEOUT_S
    while (events := counts()[1]) < 10 * streams:
        if time.monotonic() > until_s:
            raise RuntimeError(f"{streams} streams do not flow: {events} tokens")
        time.sleep(0.05)
    return events


def _settle() -> None:
    """Let the ends of what was cut pass by."""
    time.sleep(0.3)


def measure_tokens(bench: Bench) -> None:
    options = bench.options
    first = options.streams[0]
    cells = [("http1", streams) for streams in options.streams]
    for front, streams in cells + [(front, first) for front in list(_FRONTS)[1:]]:
        figures: dict[str, list[tuple[float, float]]] = {"nginx": [], "gateway": []}
        for _ in range(options.repeats):
            for side, values in figures.items():
                values.append(cost_of_token(bench, side, front, streams))
        nginx, gateway = ([us for us, _ in values] for values in figures.values())
        ratios = [ours / theirs for ours, theirs in zip(gateway, nginx, strict=True)]
        pace = min(rate for values in figures.values() for _, rate in values)
        bench.row(
            f"CPU a token, {front}, {streams} × {options.rate}/s",
            f"gateway {middle(gateway)} us",
            f"nginx {middle(nginx)} us",
            f"ratio {middle(ratios, 2)}",
            f"slowest pace {pace:.1f}/s",
        )
        if (front, streams) == ("http1", first):
            bench.token_us = statistics.median(gateway)


# -- unary requests ---------------------------------------------------------------------------


def rate_of_requests(bench: Bench, target: Target) -> tuple[float, float]:
    """Requests a second, and CPU microseconds a request."""
    options = bench.options
    load = Load(target.port, target.key, options.unary_clients, "tokens=16", "unary")
    with running_load(load) as clients:
        time.sleep(options.seconds / 3)
        used_s, started_s, before = target.cpu_s(), time.monotonic(), clients.counts()[1]
        time.sleep(options.seconds)
        used_s = target.cpu_s() - used_s
        answers, elapsed_s = clients.counts()[1] - before, time.monotonic() - started_s
    _settle()
    return answers / elapsed_s, used_s / answers * 1e6


def measure_unary(bench: Bench) -> None:
    provider_port = bench.gateway.provider_port
    with running_gateway(provider_port=provider_port, server="hypercorn") as hypercorn:
        targets = {"gateway": bench.gateway, "on Hypercorn": hypercorn}
        figures: dict[str, list[tuple[float, float]]] = {side: [] for side in targets}
        for _ in range(bench.options.repeats):
            for side, target in targets.items():
                figures[side].append(rate_of_requests(bench, target))
    for index, unit in enumerate(("requests/s", "us CPU a request")):
        values = {side: [figure[index] for figure in found] for side, found in figures.items()}
        ratios = [ours / theirs for ours, theirs in zip(*values.values(), strict=True)]
        cells = (f"{side} {middle(found, 0)}" for side, found in values.items())
        title = f"unary, {bench.options.unary_clients} clients, {unit}"
        bench.row(title, *cells, f"ratio {middle(ratios, 2)}")


# -- memory -----------------------------------------------------------------------------------


def measure_memory(bench: Bench) -> None:
    for streams in bench.options.slow_streams:
        # A fresh process: memory that was used once is not given back.
        with running_gateway(provider_port=bench.gateway.provider_port) as target:
            directives = "tokens=1000 tokens_per_second=0.2 first_token_ms=10"
            with running_load(Load(target.port, target.key, 50, "tokens=5")):
                time.sleep(1.0)  # whatever is made once is made
            before = target.memory()
            with running_load(Load(target.port, target.key, streams, directives)) as clients:
                until_s = time.monotonic() + _OPEN_TIMEOUT_S + streams / _OPENED_PER_S
                while clients.counts()[0] < streams and time.monotonic() < until_s:
                    time.sleep(0.1)
                begun, after = clients.counts()[0], target.memory()
        cells = (
            f"{name.upper()} {(after[name] - before[name]) / begun / 1024:.1f} KiB"
            for name in before
        )
        bench.row(f"memory an open stream, {begun} of {streams}", *cells)


# -- times ------------------------------------------------------------------------------------


@contextmanager
def _half_load(bench: Bench) -> Iterator[int]:
    """So many paced streams as take half a core of the gateway."""
    rate = bench.options.rate
    streams = bench.options.busy_streams or int(_HALF_CORE_S / (bench.token_us * 1e-6 * rate))
    tokens = int(rate * _OPEN_TIMEOUT_S * 3)
    load = bench.load("gateway", "http1", streams, tokens, rate)
    with running_load(load) as clients:
        _wait_flowing(clients.counts, streams)
        yield streams
    _settle()


def measure_first(bench: Bench) -> None:
    with _half_load(bench) as streams:
        ports = {
            "provider": bench.gateway.provider_port,
            "nginx": bench.nginx.http1,
            "gateway": bench.gateway.port,
        }
        times = first_tokens(ports, bench.gateway.key, bench.options.probes)
    direct = times.pop("provider")
    title = f"first token, {streams} streams open"
    for part, name in ((0.5, "p50"), (0.99, "p99")):
        added = (
            f"{side} {quantile(values, part) - quantile(direct, part):+.2f} ms"
            for side, values in times.items()
        )
        bench.row(f"{title}, {name}", *added, f"provider itself {quantile(direct, part):.2f} ms")


def measure_leave(bench: Bench) -> None:
    with _half_load(bench) as streams:
        ports = {"nginx": bench.nginx.http1, "gateway": bench.gateway.port}
        provider_port = bench.gateway.provider_port
        times = leavings(ports, bench.gateway.key, provider_port, bench.options.leavings)
    title = f"leaving to RST, {streams} streams open"
    for part, name in ((0.5, "p50"), (0.99, "p99")):
        cells = (f"{side} {quantile(values, part):.2f} ms" for side, values in times.items())
        bench.row(f"{title}, {name}", *cells)


def quantile(values: Sequence[float], part: float) -> float:
    """Of any values."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))]


# -- the report -------------------------------------------------------------------------------

FIGURES: Final[dict[str, Callable[[Bench], None]]] = {
    "tokens": measure_tokens,
    "unary": measure_unary,
    "memory": measure_memory,
    "first": measure_first,
    "leave": measure_leave,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    assert __doc__ is not None
    parser = argparse.ArgumentParser(
        prog="python -m bench.front_cost",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", default=",".join(FIGURES), help="figures, separated by commas")
    parser.add_argument("--streams", type=int, nargs="+", default=[200, 500])
    parser.add_argument("--rate", type=int, default=20, help="tokens a second of each stream")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement of CPU")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--unary-clients", type=int, default=32)
    parser.add_argument("--slow-streams", type=int, nargs="+", default=[1_000])
    parser.add_argument("--busy-streams", type=int, help="instead of half a core's, for times")
    parser.add_argument("--probes", type=int, default=300, help="of the first token, each side")
    parser.add_argument("--leavings", type=int, default=100, help="clients that leave, each side")
    options = parser.parse_args(arguments)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        certificate, private_key = make_certificate(folder)
        gateway = stack.enter_context(running_gateway())
        port, pair = gateway.provider_port, (certificate, private_key)
        secure = stack.enter_context(running_gateway(provider_port=port, certificate=pair))
        nginx = stack.enter_context(running_nginx(port, *pair))
        bench = Bench(options, gateway, secure, nginx, certificate)
        load = " ".join(f"{part:.1f}" for part in os.getloadavg())
        _write(
            f"{platform.platform()}, {os.cpu_count()} cores, load before {load}\n"
            f"Python {platform.python_version()}, {nginx.version}; "
            f"a million turns of a loop: {machine_ms():.0f} ms; {options.repeats} repeats\n"
        )
        for name in options.only.split(","):
            FIGURES[name](bench)


if __name__ == "__main__":
    main()
