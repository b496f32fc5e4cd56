"""What it costs to take recordings: CPU and time of an upload beside nginx, memory of many at once.

    python -m bench.upload_cost [--megabytes 25] [--clients 4] [--uploads 24] [--many 100]

One WAV in a form is transcribed by the same simulated provider: through the gateway, full billing
on, and through nginx as a proxy, in turns; a ratio is of neighbours. Both take all of a body before
they send it on, and keep a large one in a file meanwhile. The gateway reads the form, measures the
sound and writes the form again in a helper process, whose CPU and memory are told apart.

- `cost`: CPU of the serving process an upload, the helper's beside it, and megabytes a second.
- `memory`: how much more is resident (RSS) in a fresh gateway while many upload at once; with each
  in memory it would be the size of all of them.

CPU figures hold on a busy machine, within limits. Times do not: take them on a quiet one.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, NamedTuple

import trio

from bench.certificates import make_certificate
from bench.peers.nginx import running_nginx
from bench.processes import Target, cpu_s, running_gateway
from bench.rows import print_machine, print_row
from engine.media.wav import Pcm, wav_of

_PIECE_BYTES: Final = 64 * 1024
_WITHIN_S: Final = 600.0
_SAMPLED_EVERY_S: Final = 0.02
_MIB: Final = 1 << 20
_HEAD: Final = (
    b'--cut\r\nContent-Disposition: form-data; name="model"\r\n\r\nwhisper-1\r\n'
    b'--cut\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n'
    b"Content-Type: audio/wav\r\n\r\n"
)
_END: Final = b"\r\n--cut--\r\n"


class Run(NamedTuple):
    """So many uploads: how long all took, and the CPU seconds of each by process."""

    elapsed_s: float
    cpu_s: float
    helper_cpu_s: float


class Grown(NamedTuple):
    """How many more bytes were resident at most, by process."""

    serving: int
    helper: int


class Uploads:
    """One recording, sent as often as is wanted."""

    def __init__(self, megabytes: int) -> None:
        sound = memoryview(wav_of(Pcm(), bytes(megabytes * 1_000_000)))
        cuts = range(0, len(sound), _PIECE_BYTES)
        self._pieces: list[bytes | memoryview] = [
            _HEAD,
            *(sound[at : at + _PIECE_BYTES] for at in cuts),
            _END,
        ]
        self.size_bytes = sum(map(len, self._pieces))

    async def send(self, port: int, key: str) -> None:
        """Raises RuntimeError: it was not transcribed."""
        head = (
            b"POST /v1/audio/transcriptions HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer %b\r\n"
            b"connection: close\r\ncontent-type: multipart/form-data; boundary=cut\r\n"
            b"content-length: %d\r\n\r\n" % (key.encode(), self.size_bytes)
        )
        answer = b""
        async with await trio.open_tcp_stream("127.0.0.1", port) as connection:
            await connection.send_all(head)
            for piece in self._pieces:
                await connection.send_all(piece)
            async for data in connection:
                answer += data
        if not answer.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(f"an upload fails: {answer[:300]!r}")

    async def send_all(self, port: int, key: str, clients: int, count: int) -> None:
        """So many by so many clients, each one after another."""
        left = count

        async def work() -> None:
            nonlocal left
            while left:
                left -= 1
                await self.send(port, key)

        with trio.fail_after(_WITHIN_S):
            async with trio.open_nursery() as nursery:
                for _ in range(clients):
                    nursery.start_soon(work)


def helper_of(pid: int) -> int | None:
    """The helper process of a gateway, once it has one."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(children[0]) if children else None


def resident_bytes(pid: int | None) -> int:
    """Of a process; 0 where there is none."""
    if pid is None:
        return 0
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def timed(uploads: Uploads, pid: int, port: int, key: str, options: argparse.Namespace) -> Run:
    """`options.uploads` by `options.clients` at once."""
    helper = helper_of(pid)
    before = cpu_s(pid), 0.0 if helper is None else cpu_s(helper)
    started_s = time.monotonic()
    trio.run(uploads.send_all, port, key, options.clients, options.uploads)
    elapsed_s = time.monotonic() - started_s
    helper_s = 0.0 if helper is None else cpu_s(helper) - before[1]
    return Run(elapsed_s, (cpu_s(pid) - before[0]) / options.uploads, helper_s / options.uploads)


def grown(uploads: Uploads, target: Target, count: int) -> Grown:
    """While so many are uploaded at once, to a gateway that has taken one before."""
    pid = target.pid
    helper = helper_of(pid)
    before = resident_bytes(pid), resident_bytes(helper)
    peak = list(before)

    async def sample() -> None:
        while True:
            peak[0] = max(peak[0], resident_bytes(pid))
            peak[1] = max(peak[1], resident_bytes(helper))
            await trio.sleep(_SAMPLED_EVERY_S)

    async def run() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sample)
            await uploads.send_all(target.port, target.key, count, count)
            nursery.cancel_scope.cancel()

    trio.run(run)
    return Grown(peak[0] - before[0], peak[1] - before[1])


def measure_cost(uploads: Uploads, options: argparse.Namespace) -> None:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        gateway = stack.enter_context(running_gateway())
        nginx = stack.enter_context(running_nginx(gateway.provider_port, *make_certificate(folder)))
        sides = {"gateway": (gateway.pid, gateway.port), "nginx": (nginx.pid, nginx.http1)}
        for _, port in sides.values():
            trio.run(uploads.send, port, gateway.key)
        runs: dict[str, list[Run]] = {side: [] for side in sides}
        for _ in range(options.repeats):
            for side, (pid, port) in sides.items():
                runs[side].append(timed(uploads, pid, port, gateway.key, options))
    megabytes = uploads.size_bytes / 1e6 * options.uploads
    for side, found in runs.items():
        serving = statistics.median([run.cpu_s for run in found]) * 1e3
        helper = statistics.median([run.helper_cpu_s for run in found]) * 1e3
        rate = statistics.median([megabytes / run.elapsed_s for run in found])
        print_row(
            f"{side}, {options.clients} clients, {options.megabytes} MB each",
            f"CPU an upload {serving:.1f} ms",
            f"its helper {helper:.1f} ms",
            f"{rate:.0f} MB/s",
        )
    ratios = [
        (ours.cpu_s + ours.helper_cpu_s) / theirs.cpu_s
        for ours, theirs in zip(*runs.values(), strict=True)
    ]
    times = [ours.elapsed_s / theirs.elapsed_s for ours, theirs in zip(*runs.values(), strict=True)]
    print_row(
        "gateway to nginx",
        f"CPU with the helper's × {statistics.median(ratios):.2f}",
        f"time × {statistics.median(times):.2f}",
    )


def measure_memory(uploads: Uploads, options: argparse.Namespace) -> None:
    with running_gateway() as target:
        trio.run(uploads.send, target.port, target.key)
        more = grown(uploads, target, options.many)
    print_row(
        f"memory of {options.many} uploads at once",
        f"gateway {more.serving / _MIB:+.1f} MiB",
        f"its helper {more.helper / _MIB:+.1f} MiB",
        f"all of them are {uploads.size_bytes * options.many / _MIB:.0f} MiB",
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    assert __doc__ is not None
    parser = argparse.ArgumentParser(
        prog="python -m bench.upload_cost",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", default="cost,memory", help="figures, separated by commas")
    parser.add_argument("--megabytes", type=int, default=25)
    parser.add_argument("--clients", type=int, default=4, help="at once, for CPU and time")
    parser.add_argument("--uploads", type=int, default=24, help="of all of them, a repeat")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--many", type=int, default=100, help="at once, for memory")
    options = parser.parse_args(arguments)
    uploads = Uploads(options.megabytes)
    print_machine()
    for name in options.only.split(","):
        {"cost": measure_cost, "memory": measure_memory}[name](uploads, options)


if __name__ == "__main__":
    main()
