"""A receiver of webhooks in a process of its own: when which job was told of.

    python -m bench.receiver      # says its port, takes messages until its input ends, says them

HTTP/1.1, kept alive; it verifies nothing. Times are the machine's monotonic clock. `GET /N` is
answered once it has been told of N jobs.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_told: dict[str, float] = {}
_WAIT_MAX_S = 600.0
_more = threading.Condition()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        with _more:
            _told.setdefault(json.loads(body)["data"]["job_id"], time.monotonic())
            _more.notify_all()
        self._answer()

    def do_GET(self) -> None:
        with _more:
            _more.wait_for(lambda: len(_told) >= int(self.path[1:]), _WAIT_MAX_S)
        self._answer()

    def log_request(self, *arguments: object) -> None:
        """Nothing is logged."""

    def _answer(self) -> None:
        self.send_response(204)
        self.end_headers()


class RunningReceiver:
    """One that was started; `url` is what it takes messages at."""

    def __init__(self, process: subprocess.Popen[str], port: int) -> None:
        self._process = process
        self.port = port
        self.url = f"http://127.0.0.1:{port}/"

    def wait(self, jobs: int) -> None:
        """Return once it has been told of so many, or ten minutes have passed."""
        with closing(HTTPConnection("127.0.0.1", self.port, timeout=2 * _WAIT_MAX_S)) as connection:
            connection.request("GET", f"/{jobs}")
            connection.getresponse().read()

    def stop(self) -> dict[str, float]:
        """End it; when it was told of each job."""
        said, _ = self._process.communicate()
        told: dict[str, float] = json.loads(said)
        return told


@contextmanager
def running_receiver() -> Iterator[RunningReceiver]:
    """Start one, for the block."""
    command = [sys.executable, "-P", "-m", "bench.receiver"]
    with subprocess.Popen(  # noqa: S603 - our own interpreter and module
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            yield RunningReceiver(process, int(process.stdout.readline()))
        finally:
            process.terminate()


def main() -> int:
    """See the module."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        sys.stdout.write(f"{server.server_port}\n")
        sys.stdout.flush()
        sys.stdin.read()
        server.shutdown()
    sys.stdout.write(json.dumps(dict(_told)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
