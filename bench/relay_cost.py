"""What a relayed token, a unary request and an open stream cost the gateway.

    python -m bench.relay_cost [--streams 200] [--rate 20] [--seconds 8] [--repeats 3]

Gateway, simulated provider and load are three processes. CPU is the gateway's own, user and
system, from /proc; billing, journal and HTTP are all on. On a machine with few cores the three
compete: CPU figures stay true, requests a second are then those of the slowest part.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import time
from collections.abc import Sequence

import orjson
import trio

from bench.processes import Target, running_gateway

_WARM_S = 2.0
_MEMORY_STREAMS = 1_000
_UNARY_CLIENTS = 32


class Load:
    """Clients of one gateway; `events` and `answers` count what they got."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self.events = 0
        self.answers = 0

    async def stream(self, directives: str) -> None:
        """One streamed request, read to its end."""
        stream = await self._ask(directives, stream=True)
        async with stream:
            async for data in stream:
                self.events += data.count(b"\n\n")
                if data.endswith(b"0\r\n\r\n"):
                    return

    async def unary(self, directives: str) -> None:
        """Requests one after another on one kept-alive connection."""
        stream = await trio.open_tcp_stream("127.0.0.1", self._target.port)
        request = self._request(directives, stream=False)
        async with stream:
            while True:
                await stream.send_all(request)
                await _read_answer(stream)
                self.answers += 1

    async def _ask(self, directives: str, *, stream: bool) -> trio.SocketStream:
        connection = await trio.open_tcp_stream("127.0.0.1", self._target.port)
        await connection.send_all(self._request(directives, stream=stream))
        return connection

    def _request(self, directives: str, *, stream: bool) -> bytes:
        body = orjson.dumps(
            {
                "model": "sim-openai",
                "stream": stream,
                "messages": [{"role": "user", "content": f"#sim {directives}\nTell me more."}],
            }
        )
        return (
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n"
            b"authorization: Bearer %s\r\ncontent-length: %d\r\n\r\n%s"
            % (self._target.key.encode(), len(body), body)
        )


async def _read_answer(stream: trio.SocketStream) -> None:
    data = b""
    while b"\r\n\r\n" not in data:
        data += await stream.receive_some()
    head, _, body = data.partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length:")[2].split()[0])
    received = len(body)
    while received < length:
        received += len(await stream.receive_some())


async def cost_per_token(target: Target, streams: int, rate: int, seconds: float) -> float:
    """CPU microseconds a relayed token (one an event), at so many paced streams."""
    load = Load(target)
    tokens = int(rate * (seconds + _WARM_S) * 3)
    async with trio.open_nursery() as nursery:
        for _ in range(streams):
            nursery.start_soon(load.stream, f"tokens={tokens} tokens_per_second={rate}")
        await trio.sleep(_WARM_S)
        cpu_s, events = target.cpu_s(), load.events
        await trio.sleep(seconds)
        cpu_s, events = target.cpu_s() - cpu_s, load.events - events
        nursery.cancel_scope.cancel()
    await trio.sleep(0.5)
    return cpu_s / events * 1e6


async def unary_rate(target: Target, seconds: float) -> tuple[float, float]:
    """Requests a second and CPU microseconds a request, 32 clients, 16 tokens an answer."""
    load = Load(target)
    async with trio.open_nursery() as nursery:
        for _ in range(_UNARY_CLIENTS):
            nursery.start_soon(load.unary, "tokens=16")
        await trio.sleep(_WARM_S)
        cpu_s, answers, started = target.cpu_s(), load.answers, time.perf_counter()
        await trio.sleep(seconds)
        cpu_s, answers = target.cpu_s() - cpu_s, load.answers - answers
        elapsed_s = time.perf_counter() - started
        nursery.cancel_scope.cancel()
    await trio.sleep(0.5)
    return answers / elapsed_s, cpu_s / answers * 1e6


async def memory_per_stream(target: Target) -> float:
    """Resident KiB a stream that is open and has begun, over 1,000 of them."""
    load = Load(target)
    before = target.memory_bytes()
    async with trio.open_nursery() as nursery:
        for _ in range(_MEMORY_STREAMS):
            nursery.start_soon(load.stream, "tokens=1000 tokens_per_second=0.2 first_token_ms=10")
            await trio.sleep(0.002)
        with trio.fail_after(30):
            while load.events < _MEMORY_STREAMS:  # noqa: ASYNC110 - another process gets there
                await trio.sleep(0.05)
        used = target.memory_bytes() - before
        nursery.cancel_scope.cancel()
    return used / _MEMORY_STREAMS / 1024


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    assert __doc__ is not None
    parser = argparse.ArgumentParser(prog="python -m bench.relay_cost", description=__doc__)
    parser.add_argument("--streams", type=int, default=200)
    parser.add_argument("--rate", type=int, default=20, help="tokens a second of each stream")
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args(arguments)
    write = sys.stdout.write
    write(f"{platform.platform()}, Python {platform.python_version()}, {os.cpu_count()} cores\n")
    with running_gateway() as target:
        kib = trio.run(memory_per_stream, target)
        write(f"memory an open stream: {kib:.1f} KiB, over {_MEMORY_STREAMS}\n")
        tokens = [
            trio.run(cost_per_token, target, options.streams, options.rate, options.seconds)
            for _ in range(options.repeats)
        ]
        write(
            f"CPU a relayed token, {options.streams} streams at {options.rate}/s: "
            f"{statistics.median(tokens):.1f} us ({min(tokens):.1f} to {max(tokens):.1f})\n"
        )
        rates = [trio.run(unary_rate, target, options.seconds) for _ in range(options.repeats)]
        write(
            f"unary: {statistics.median(r for r, _ in rates):.0f} requests/s, "
            f"{statistics.median(c for _, c in rates):.0f} us CPU a request\n"
        )


if __name__ == "__main__":
    main()
