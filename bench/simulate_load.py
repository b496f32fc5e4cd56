"""How much CPU the simulated provider takes for a paced token.

    python -m bench.simulate_load --streams 2000 --tokens-per-second 20 --protocol h2

The provider runs in a process of its own, on one core; this one only reads what it sends.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import selectors
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from functools import partial

import orjson
import trio

from bench.simulate import SimulatorSettings, open_simulator
from engine.wire.http2 import Http2Connection

READ_BYTES = 262_144


@dataclass(frozen=True)
class Load:
    """What is asked of the provider."""

    streams: int
    tokens_per_second: float
    tokens_per_event: int
    protocol: str
    streams_per_connection: int
    seconds: float


@dataclass(frozen=True)
class Figures:
    """What the provider did in the measured time."""

    streams: int
    tokens_per_second: float
    cpu_us_per_token: float
    cores: float
    memory_kib_per_stream: float

    def line(self) -> str:
        """For people."""
        return (
            f"{self.streams} streams, {self.tokens_per_second:,.0f} tokens/s: "
            f"{self.cpu_us_per_token:.1f} us CPU a token, {self.cores:.2f} cores, "
            f"{self.memory_kib_per_stream:.1f} KiB a stream"
        )


# -- the provider's process ------------------------------------------------------------------------


async def serve() -> None:
    """Serve; for each line on standard input, print the figures so far. Ends at its end."""
    async with open_simulator(SimulatorSettings(connections_max=10_000)) as simulator:
        print(simulator.port, flush=True)  # noqa: T201
        requests = trio.wrap_file(sys.stdin)
        async for _ in requests:
            records = simulator.truth.records()
            figures = {
                "cpu_s": time.process_time(),
                "at_s": time.perf_counter(),
                "tokens": sum(record.tokens_written for record in records),
                "running": sum(record.ended is None for record in records),
                "rss_kib": resident_kib(),
                "crashes": simulator.statistics().crashes,
            }
            print(json.dumps(figures), flush=True)  # noqa: T201


def resident_kib() -> float:
    """Memory of this process."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1024


# -- the reading process ---------------------------------------------------------------------------


async def measure(load: Load) -> Figures:
    """Run a provider under this load and read its figures twice, `seconds` apart."""
    command = [sys.executable, "-m", "bench.simulate_load", "--serve"]
    async with trio.open_nursery() as nursery:
        process = await nursery.start(
            partial(trio.run_process, command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        )
        lines = _Lines(process)
        port = int(await lines.next())
        idle = json.loads(await lines.ask())
        readers = read_http2 if load.protocol == "h2" else read_http1
        await readers(load, port, nursery)
        await _wait_running(lines, load.streams)
        first = json.loads(await lines.ask())
        await trio.sleep(load.seconds)
        last = json.loads(await lines.ask())
        await process.stdin.aclose()
        nursery.cancel_scope.cancel()
    if last["running"] < load.streams or last["crashes"]:
        raise RuntimeError(f"the load did not hold: {last}")
    tokens, seconds = last["tokens"] - first["tokens"], last["at_s"] - first["at_s"]
    cpu_s = last["cpu_s"] - first["cpu_s"]
    return Figures(
        streams=load.streams,
        tokens_per_second=tokens / seconds,
        cpu_us_per_token=cpu_s / tokens * 1e6,
        cores=cpu_s / seconds,
        memory_kib_per_stream=(last["rss_kib"] - idle["rss_kib"]) / load.streams,
    )


class _Lines:
    """Asks the provider's process and reads its answers."""

    def __init__(self, process: trio.Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._stdin = process.stdin
        self._stdout = process.stdout
        self._read = b""

    async def ask(self) -> str:
        await self._stdin.send_all(b"\n")
        return await self.next()

    async def next(self) -> str:
        while b"\n" not in self._read:
            more = await self._stdout.receive_some()
            if not more:
                raise RuntimeError("the provider's process ended")
            self._read += more
        line, _, self._read = self._read.partition(b"\n")
        return line.decode()


async def _wait_running(lines: _Lines, streams: int) -> None:
    for _ in range(300):
        if json.loads(await lines.ask())["running"] >= streams:
            await trio.sleep(1.0)  # past the first tokens
            return
        await trio.sleep(0.2)
    raise RuntimeError("the streams did not start within a minute")


def _body(load: Load, chance: random.Random) -> bytes:
    tokens = int(load.tokens_per_second * (load.seconds + 120))
    directives = (
        f"#sim tokens={tokens} tokens_per_second={load.tokens_per_second} "
        f"tokens_per_event={load.tokens_per_event} first_token_ms={chance.randint(0, 1000)}"
    )
    message = {"role": "user", "content": f"{directives}\n{chance.random()}"}
    return orjson.dumps({"model": "sim-openai", "stream": True, "messages": [message]})


async def read_http2(load: Load, port: int, nursery: trio.Nursery) -> None:
    """Open the streams, so many a connection, and read them in the nursery."""
    chance = random.Random(1)  # noqa: S311
    left = load.streams
    while left:
        here = min(left, load.streams_per_connection)
        left -= here
        nursery.start_soon(_read_connection, port, [_body(load, chance) for _ in range(here)])
        await trio.lowlevel.checkpoint()


async def _read_connection(port: int, bodies: list[bytes]) -> None:
    connection = Http2Connection(client_side=True)
    connection.start()
    for body in bodies:
        stream_id = connection.next_stream(
            [
                (b":method", b"POST"),
                (b":scheme", b"http"),
                (b":authority", b"simulated"),
                (b":path", b"/v1/chat/completions"),
            ],
            ended=False,
        )
        connection.send_data(stream_id, body, ended=True)
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await stream.send_all(connection.outgoing())
        while data := await stream.receive_some(READ_BYTES):
            for delivery in connection.receive(bytes(data)):
                connection.acknowledge(delivery.stream_id, delivery.flow_bytes)
            if connection.has_outgoing:
                await stream.send_all(connection.outgoing())


async def read_http1(load: Load, port: int, nursery: trio.Nursery) -> None:
    """Open a connection for each stream, and read them in a thread, which costs less than tasks."""
    chance = random.Random(1)  # noqa: S311
    selector = selectors.DefaultSelector()
    for _ in range(load.streams):
        body = _body(load, chance)
        head = (
            f"POST /v1/chat/completions HTTP/1.1\r\nhost: s\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        sock = socket.create_connection(("127.0.0.1", port))
        sock.sendall(head.encode() + body)
        sock.setblocking(False)
        selector.register(sock, selectors.EVENT_READ, sock)
        await trio.lowlevel.checkpoint()
    nursery.start_soon(_discard, selector)


async def _discard(selector: selectors.BaseSelector) -> None:
    def discard() -> None:
        for key, _ in selector.select(timeout=0.1):
            key.fileobj.recv(READ_BYTES)  # type: ignore[union-attr]
        time.sleep(0.02)

    try:
        while True:
            await trio.to_thread.run_sync(discard)
    finally:
        for key in list(selector.get_map().values()):
            key.fileobj.close()  # type: ignore[union-attr]
        selector.close()


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--streams", type=int, default=2_000)
    parser.add_argument("--tokens-per-second", type=float, default=20.0)
    parser.add_argument("--tokens-per-event", type=int, default=1)
    parser.add_argument("--protocol", choices=("h2", "http/1.1"), default="h2")
    parser.add_argument("--streams-per-connection", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=10.0)
    options = vars(parser.parse_args())
    if options.pop("serve"):
        trio.run(serve)
    else:
        print(trio.run(measure, Load(**options)).line())  # noqa: T201


if __name__ == "__main__":
    main()
