"""Peers that are a few lines of Python."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Final

from bench.peers.row import PeerRow, Program, SystemProgram

PYTHON: Final = SystemProgram(sys.executable, "--version", "it runs this test")

SERVES: Final = """
import http.server, subprocess, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
server = http.server.HTTPServer((HOST, int(sys.argv[1])), Handler)
"""
"""Binds its port at `HOST`; serves once `server.serve_forever()` is called."""

CHILDREN: Final = """
child = [sys.executable, "-c", "import time; time.sleep(600)"]
subprocess.Popen(child)
subprocess.Popen(child, start_new_session=True)
server.serve_forever()
"""


def script(
    program: str,
    *,
    environment: Mapping[str, str] | None = None,
    health: str = "/",
    start_timeout_s: float = 30.0,
) -> PeerRow:
    """A peer that is a Python program; its port is its first argument."""
    command = ("$program", "-c", program, "$port")
    return PeerRow(
        "script",
        PYTHON,
        program=Program(command, environment or {}, {}, health, start_timeout_s),
    )


def server(
    host: str = "127.0.0.1",
    then: str = "server.serve_forever()",
    environment: Mapping[str, str] | None = None,
) -> PeerRow:
    """One that is well, and does what `then` says."""
    return script(f"HOST = {host!r}{SERVES}{then}", environment=environment)
