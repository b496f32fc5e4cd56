"""What it costs to store a file and to give it back: CPU and throughput beside nginx.

    python -m bench.files_cost [--megabytes 256] [--repeats 5] [--server parshall]

The same bytes go through the gateway's files (a form at `/v1/files`, then its content) and
through nginx as a server of files (PUT by its module of WebDAV, then a static file by sendfile),
one client, in turns; a ratio is of neighbours. The gateway counts the file against its account,
takes its SHA-256 both ways and makes it durable before it answers; nginx does none of that.

CPU figures hold on a busy machine, within limits. Times do not: take them on a quiet one.
"""

from __future__ import annotations

import argparse
import secrets
import socket
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, NamedTuple

import orjson

from bench.peers.nginx import serving_files
from bench.processes import cpu_s, running_gateway
from bench.rows import print_machine, print_row

_PIECE_BYTES: Final = 1 << 20
_TIMEOUT_S: Final = 300.0
_HEAD: Final = (
    b'--cut\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nuser_data\r\n'
    b'--cut\r\nContent-Disposition: form-data; name="file"; filename="a.bin"\r\n'
    b"Content-Type: application/octet-stream\r\n\r\n"
)
_END: Final = b"\r\n--cut--\r\n"


class Run(NamedTuple):
    """One file one way: how long it took, and the CPU seconds of who served it."""

    elapsed_s: float
    cpu_s: float


class Answer(NamedTuple):
    """What was said, but for a body that is only counted."""

    status: int
    body: bytes
    size_bytes: int


class Side:
    """A server of files, by its port and what it is asked with."""

    def __init__(self, pid: int, port: int, authorization: str = "none") -> None:
        self._pid = pid
        self._port = port
        self._fields = f"host: bench\r\nauthorization: {authorization}\r\nconnection: close\r\n"
        self._buffer = bytearray(_PIECE_BYTES)

    def ask(self, method: str, path: str, pieces: Sequence[bytes] = (), more: str = "") -> Answer:
        """Raises RuntimeError: it was refused."""
        length = sum(map(len, pieces))
        head = f"{method} {path} HTTP/1.1\r\n{self._fields}{more}content-length: {length}\r\n\r\n"
        with socket.create_connection(("127.0.0.1", self._port), _TIMEOUT_S) as connection:
            connection.sendall(head.encode())
            for piece in pieces:
                connection.sendall(piece)
            answer = self._read(connection)
        if answer.status not in (200, 201, 204):
            raise RuntimeError(f"{method} fails: {answer.status} {answer.body[:300]!r}")
        return answer

    def _read(self, connection: socket.socket) -> Answer:
        begin = b""
        while b"\r\n\r\n" not in begin:
            received = connection.recv(65_536)
            if not received:
                raise RuntimeError("there is no answer")
            begin += received
        head, _, body = begin.partition(b"\r\n\r\n")
        size = len(body)
        while count := connection.recv_into(self._buffer):
            size += count
            if size <= len(self._buffer):
                body += self._buffer[:count]
        return Answer(int(head.split()[1]), body[:_PIECE_BYTES], size)

    def timed(self, work: Callable[[], Answer]) -> tuple[Answer, Run]:
        """What `work` has come to, and what it has cost."""
        cpu, started = cpu_s(self._pid), time.monotonic()
        answer = work()
        return answer, Run(time.monotonic() - started, cpu_s(self._pid) - cpu)


class Gateway(Side):
    """Ours."""

    def turn(self, data: Sequence[bytes]) -> tuple[Run, Run]:
        """A file in, and out again; it is removed after that."""
        kind = "content-type: multipart/form-data; boundary=cut\r\n"
        form = [_HEAD, *data, _END]
        made, upload = self.timed(lambda: self.ask("POST", "/v1/files", form, kind))
        path = f"/v1/files/{orjson.loads(made.body)['id']}"
        given, download = self.timed(lambda: self.ask("GET", f"{path}/content"))
        _check(given, data)
        self.ask("DELETE", path)
        return upload, download


class Nginx(Side):
    """The other one."""

    def turn(self, data: Sequence[bytes]) -> tuple[Run, Run]:
        """As `Gateway.turn`."""
        _, upload = self.timed(lambda: self.ask("PUT", "/a.bin", data))
        given, download = self.timed(lambda: self.ask("GET", "/a.bin"))
        _check(given, data)
        self.ask("DELETE", "/a.bin")
        return upload, download


def _check(given: Answer, data: Sequence[bytes]) -> None:
    if given.size_bytes != sum(map(len, data)):
        raise RuntimeError("another file comes back")


def measure(options: argparse.Namespace) -> None:
    """Print the rows."""
    piece = secrets.token_bytes(1_000_000)
    data = [piece] * options.megabytes
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        gateway = stack.enter_context(running_gateway(server=options.server))
        nginx = stack.enter_context(serving_files(folder))
        sides: dict[str, Gateway | Nginx] = {
            "gateway": Gateway(gateway.pid, gateway.port, f"Bearer {gateway.key}"),
            "nginx": Nginx(nginx.pid, nginx.http1),
        }
        for side in sides.values():
            side.turn(data[:8])
        runs = [[side.turn(data) for side in sides.values()] for _ in range(options.repeats)]
    for way, name in enumerate(("upload", "download")):
        for place, who in enumerate(sides):
            found = [turn[place][way] for turn in runs]
            rate = statistics.median([options.megabytes / run.elapsed_s for run in found])
            cpu = statistics.median([run.cpu_s / options.megabytes * 1e6 for run in found])
            print_row(
                f"{name}, {who}, {options.megabytes} MB", f"{rate:.0f} MB/s", f"{cpu:.0f} µs/MB"
            )
        ours, theirs = ([turn[place][way] for turn in runs] for place in range(2))
        pairs = list(zip(ours, theirs, strict=True))
        print_row(
            f"{name}, gateway to nginx",
            f"time × {statistics.median([a.elapsed_s / b.elapsed_s for a, b in pairs]):.2f}",
            f"CPU × {statistics.median([a.cpu_s / b.cpu_s for a, b in pairs]):.2f}",
        )


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    assert __doc__ is not None
    parser = argparse.ArgumentParser(
        prog="python -m bench.files_cost",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--megabytes", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--server", choices=("parshall", "hypercorn"), default="parshall")
    options = parser.parse_args(arguments)
    print_machine()
    measure(options)


if __name__ == "__main__":
    main()
