"""Other people's HTTP/1.1 servers, as processes of their own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import pytest
import trio
import trustme

from tests.ports import free_port

ROOT: Final = Path(__file__).parents[3]
_START_S: Final = 60
_STOP_S: Final = 30
_NGINX = """
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    client_max_body_size 100m;
    keepalive_requests 10;
    ssl_certificate {folder}/server.pem;
    ssl_certificate_key {folder}/server.pem;
    upstream app {{ server 127.0.0.1:{upstream_port}; keepalive 16; keepalive_timeout 500ms; }}
    server {{
        listen 127.0.0.1:{port};
        listen 127.0.0.1:{tls_port} ssl http2;
        location / {{
            proxy_pass http://app;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_buffering off;
            proxy_request_buffering off;
        }}
        location = /nothing {{ return 204; }}
        location = /close {{ keepalive_timeout 0; return 200 "closing"; }}
    }}
}}
"""


@asynccontextmanager
async def open_uvicorn(keep_alive_s: int = 600) -> AsyncIterator[int]:
    """The application of asgi_app.py; yields its port."""
    command = [sys.executable, "-m", "tests.engine.upstream.asgi_app", str(keep_alive_s)]
    process = await trio.lowlevel.open_process(command, stdout=subprocess.PIPE, cwd=ROOT)
    try:
        assert process.stdout is not None
        line = b""
        with trio.fail_after(_START_S):
            while not line.endswith(b"\n"):
                piece = await process.stdout.receive_some()
                assert piece, "uvicorn did not start"
                line += piece
        yield int(line)
    finally:
        with trio.CancelScope(shield=True), trio.move_on_after(_STOP_S):
            await _stop(process)


@asynccontextmanager
async def open_nginx(
    folder: Path, upstream_port: int, authority: trustme.CA
) -> AsyncIterator[tuple[int, int]]:
    """nginx in front of another server; yields its ports, without and with TLS."""
    program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        pytest.skip("nginx is not installed")
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(
        str(folder / "server.pem")
    )
    port, tls_port = free_port(), free_port()
    config = folder / "nginx.conf"
    config.write_text(
        _NGINX.format(folder=folder, port=port, tls_port=tls_port, upstream_port=upstream_port)
    )
    command = [program, "-c", str(config), "-p", str(folder), "-e", "stderr"]
    process = await trio.lowlevel.open_process(command)
    try:
        with trio.fail_after(_START_S):
            while not await _accepts(port):
                assert process.poll() is None, "nginx did not start"
                await trio.sleep(0.01)
        yield port, tls_port
    finally:
        with trio.CancelScope(shield=True), trio.move_on_after(_STOP_S):
            await _stop(process)


async def _stop(process: trio.Process) -> None:
    process.terminate()
    with trio.move_on_after(_STOP_S / 2):
        await process.wait()
    process.kill()
    await process.wait()


async def _accepts(port: int) -> bool:
    try:
        stream = await trio.open_tcp_stream("127.0.0.1", port)
    except OSError:
        return False
    await stream.aclose()
    return True
