"""What the upstream pool costs: a request, a DATA frame, an open stream, a cancel, the first byte.

    python -m bench.upstream_cost [--repeats 5] [--seconds 4] [--only request,frame,...]

The simulated provider runs in a process of its own; CPU is this process's own, user and system.
What is compared is measured in turns, so that a change of the machine's mood meets both sides; a
figure is the median of the repeats, with their range behind it. On a machine with few cores the
two processes compete: CPU stays true, times then hold some of the provider's.
"""

from __future__ import annotations

import argparse
import gc
import os
import platform
import statistics
import sys
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from importlib.metadata import version
from pathlib import Path

import httpx
import orjson
import trio

from bench.upstream_load import (
    Answer,
    RawClient,
    Upstream,
    ask,
    open_upstream,
    running_provider,
)
from engine.upstream.transport import MultiplexTransport

_WARM_REQUESTS = 200
_WORKERS = 32
_FRAME_STREAMS = 200
_CANCEL_STREAMS = 500
_CANCELS = 200
_RAW_AHEAD = 50
_MEMORY_STEPS = (500, 1_000, 1_500, 2_000)


# -- CPU a request -------------------------------------------------------------------------------


async def cpu_per_request(send: Callable[[], Awaitable[object]], seconds: float) -> float:
    """CPU microseconds a request, 32 at a time for so long."""
    count = 0

    async def work(until_s: float) -> None:
        nonlocal count
        while trio.current_time() < until_s:
            await send()
            count += 1

    async def load(duration_s: float) -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(_WORKERS):
                nursery.start_soon(work, trio.current_time() + duration_s)

    await load(seconds / 8)  # connections are open, code is warm
    count = 0
    before_s = time.process_time()
    await load(seconds)
    return (time.process_time() - before_s) / count * 1e6


async def measure_requests(base_url: str, repeats: int, seconds: float) -> None:
    """Our pool against httpx, over the same requests, in turns."""
    body = ask("tokens=1", stream=False)
    url = f"{base_url}/v1/chat/completions"
    headers = {"content-type": "application/json", "authorization": "Bearer sk-" + "x" * 40}
    limits = httpx.Limits(max_connections=_WORKERS, max_keepalive_connections=_WORKERS)
    figures: dict[str, list[float]] = {}
    async with (
        open_upstream(base_url) as http2,
        open_upstream(base_url, http2="off") as http1,
        httpx.AsyncClient(limits=limits, headers=headers, timeout=30) as client,
        httpx.AsyncClient(
            transport=MultiplexTransport(http2.pool, http2="prior-knowledge"),
            headers=headers,
            timeout=30,
        ) as over_pool,
    ):
        sides: dict[str, Callable[[], Awaitable[object]]] = {
            "httpx, HTTP/1.1": lambda: client.post(url, content=body),
            "our pool, HTTP/2": lambda: http2.request(body),
            "our pool, HTTP/1.1": lambda: http1.request(body),
            "httpx over our pool, HTTP/2": lambda: over_pool.post(url, content=body),
        }
        for _ in range(repeats):
            for side, send in sides.items():
                figures.setdefault(side, []).append(await cpu_per_request(send, seconds))
    base = figures["httpx, HTTP/1.1"]
    report(f"CPU a request, {_WORKERS} at a time", "us", base, note="httpx, HTTP/1.1")
    for side, values in list(figures.items())[1:]:
        ratios = [value / other for value, other in zip(values, base, strict=True)]
        report("", "us", values, note=f"{side}: {spread(ratios, 3)} of httpx's")


# -- CPU a DATA frame ----------------------------------------------------------------------------


async def measure_frames(base_url: str, repeats: int, seconds: float) -> None:
    """Paced streams, one token a DATA frame, acknowledged as they come."""
    rate = 20
    body = ask(f"tokens=1000000 tokens_per_second={rate}", stream=True)
    figures, paces = [], []
    for _ in range(repeats):
        async with open_upstream(base_url) as upstream:
            answers = [await upstream.open(body) for _ in range(_FRAME_STREAMS)]
            for answer in answers:
                await answer.first.wait()
            await trio.sleep(0.5)
            before_s, frames = time.process_time(), sum(a.events for a in answers)
            await trio.sleep(seconds)
            used_s = time.process_time() - before_s
            frames = sum(a.events for a in answers) - frames
            figures.append(used_s / frames * 1e6)
            paces.append(frames / seconds / _FRAME_STREAMS)
    note = f"{_FRAME_STREAMS} streams, {statistics.median(paces):.1f} frames a second each"
    report("CPU a DATA frame", "us", figures, note=note)


# -- cancel → RST --------------------------------------------------------------------------------


async def cancel_delays(base_url: str) -> tuple[list[float], list[float]]:
    """Milliseconds from a task's cancellation to the provider's note of the reset, and the same
    from a raw socket's RST_STREAM: what of it is the provider's own and the machine's.
    """
    body = ask("tokens=1000000 tokens_per_second=10", stream=True)
    cancelled_at: dict[str, float] = {}
    scopes: dict[str, trio.CancelScope] = {}

    async def exchange(upstream: Upstream, request_id: str) -> None:
        with trio.CancelScope() as scope:
            answer = await upstream.open(body, request_id)
            try:
                await answer.first.wait()
                scopes[request_id] = scope
                await answer.over.wait()
            finally:
                assert answer.stream is not None
                answer.stream.reset_nowait()

    async with open_upstream(base_url) as upstream, trio.open_nursery() as nursery:
        prefix = f"cancel-{time.time_ns()}"
        for n in range(_CANCEL_STREAMS + _CANCELS):
            nursery.start_soon(exchange, upstream, f"{prefix}-{n}")
        while len(scopes) < _CANCEL_STREAMS + _CANCELS:  # noqa: ASYNC110 - many parties
            await trio.sleep(0.01)
        await trio.sleep(0.5)
        raw = RawClient(base_url, upstream.headers(body, ""), body)
        begun = deque(raw.begin(f"{prefix}-raw-{n}") for n in range(_RAW_AHEAD))
        await trio.sleep(0.5)
        for n in range(_CANCELS):  # at the end 500 are left
            begun.append(raw.begin(f"{prefix}-raw-{n + _RAW_AHEAD}"))
            cancelled_at[f"{prefix}-{n}"] = time.time()
            scopes[f"{prefix}-{n}"].cancel()
            await trio.sleep(0.01)
            cancelled_at[f"{prefix}-raw-{n}"] = time.time()
            raw.reset(begun.popleft())
            await trio.sleep(0.01)
        await trio.sleep(0.5)
        raw.close()
        nursery.cancel_scope.cancel()
    async with httpx.AsyncClient(timeout=60) as client:
        truth = (await client.get(f"{base_url}/_truth?text=0")).content
    ended_at = {
        record["request_id"]: record["ended_at"] for record in map(orjson.loads, truth.splitlines())
    }
    delays = {name: (ended_at[name] - at) * 1e3 for name, at in cancelled_at.items()}
    by_hand = sorted(delay for name, delay in delays.items() if "-raw-" in name)
    return sorted(delay for name, delay in delays.items() if "-raw-" not in name), by_hand


async def measure_cancels(base_url: str, repeats: int, seconds: float) -> None:
    """How soon the provider sees RST_STREAM while hundreds of streams flow."""
    del seconds
    figures: dict[str, list[float]] = {}
    for _ in range(repeats):
        for side, delays in zip(
            ("our pool", "raw socket"), await cancel_delays(base_url), strict=True
        ):
            for part in (0.5, 0.99):
                figures.setdefault(f"p{part * 100:.0f}, {side}", []).append(
                    percentile(delays, part)
                )
    title = f"cancel → RST at the provider, {_CANCEL_STREAMS} paced streams"
    for note, values in figures.items():
        report(title, "ms", values, digits=2, note=note)
        title = ""


# -- memory --------------------------------------------------------------------------------------


def resident_bytes() -> int:
    """What this process has in memory."""
    gc.collect()
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


async def memory_slope(base_url: str) -> float:
    """Resident bytes a stream that is open and has begun: a line through several counts."""
    body = ask("tokens=1000 tokens_per_second=0.1 first_token_ms=1", stream=True)
    answers: list[Answer] = []
    points: list[tuple[int, int]] = []
    async with open_upstream(base_url) as upstream:
        for step in _MEMORY_STEPS:
            while len(answers) < step:
                answers.append(await upstream.open(body))
            for answer in answers:
                await answer.first.wait()
            points.append((step, resident_bytes()))
    slope, _ = statistics.linear_regression(*zip(*points, strict=True))
    return slope


async def measure_memory(base_url: str, repeats: int, seconds: float) -> None:
    """Each repeat in a fresh process: memory that was used once is not given back."""
    del seconds
    figures = []
    for _ in range(repeats):
        command = [sys.executable, "-m", "bench.upstream_cost", "--memory-of", base_url]
        done = await trio.run_process(command, capture_stdout=True)
        figures.append(float(done.stdout) / 1024)
    note = f"with its receiver, {_MEMORY_STEPS[0]} to {_MEMORY_STEPS[-1]} streams"
    report("memory an open stream", "KiB", figures, digits=2, note=note)


# -- first byte ----------------------------------------------------------------------------------


async def measure_first_bytes(base_url: str, repeats: int, seconds: float) -> None:
    """The same request, by the pool and by hand, in turns of a hundred."""
    del seconds
    body = ask("tokens=3", stream=True)
    raw_halves, added = [], []
    async with open_upstream(base_url) as upstream:
        raw = RawClient(base_url, upstream.headers(body, "raw"), body)
        for _ in range(repeats):
            by_hand: list[float] = []
            by_pool: list[float] = []
            for _ in range(_WARM_REQUESTS):
                await upstream.request(body)
            for _ in range(10):
                by_hand += [raw.first_byte_ms() for _ in range(100)]
                for _ in range(100):
                    started_s = time.perf_counter()
                    answer = await upstream.open(body)
                    await answer.over.wait()
                    by_pool.append((answer.first_at - started_s) * 1e3)
            raw_halves.append(statistics.median(by_hand))
            added.append(statistics.median(by_pool) - statistics.median(by_hand))
        raw.close()
    report("time to first byte, warm", "ms", raw_halves, digits=3, note="p50, raw socket")
    report("", "ms", added, digits=3, note="p50, what the pool adds")


# -- the report ----------------------------------------------------------------------------------


def percentile(ordered: Sequence[float], part: float) -> float:
    """Of sorted values."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))]


def spread(values: Sequence[float], digits: int) -> str:
    """The median, and the range it is from."""
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{middle:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def report(
    title: str, unit: str, values: Sequence[float], *, note: str = "", digits: int = 1
) -> None:
    """One line; an empty title continues the line before."""
    sys.stdout.write(f"{title:<48}{spread(values, digits):>28} {unit:<4} {note}\n")
    sys.stdout.flush()


FIGURES: dict[str, Callable[[str, int, float], Awaitable[None]]] = {
    "request": measure_requests,
    "frame": measure_frames,
    "cancel": measure_cancels,
    "memory": measure_memory,
    "first-byte": measure_first_bytes,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    assert __doc__ is not None
    parser = argparse.ArgumentParser(prog="python -m bench.upstream_cost", description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each measurement of CPU")
    parser.add_argument("--only", default=",".join(FIGURES), help="figures, separated by commas")
    parser.add_argument("--memory-of", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.memory_of is not None:
        sys.stdout.write(f"{trio.run(memory_slope, options.memory_of)}\n")
        return
    libraries = ", ".join(f"{name} {version(name)}" for name in ("trio", "h2", "hpack", "httpx"))
    load = " ".join(f"{part:.1f}" for part in os.getloadavg())
    sys.stdout.write(
        f"{platform.platform()}, {os.cpu_count()} cores, load before {load}\n"
        f"Python {platform.python_version()}, {libraries}; {options.repeats} repeats\n"
    )
    with running_provider() as base_url:
        for name in options.only.split(","):
            trio.run(FIGURES[name], base_url, options.repeats, options.seconds)


if __name__ == "__main__":
    main()
