"""nginx in front of the simulated provider: what a proxy costs that only passes bytes on."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_STARTS_MAX: Final = 3
"""The ports are free when they are chosen, and may be taken when they are bound."""
_START_TIMEOUT_S: Final = 5.0

_CONFIG: Final = """
daemon off;
master_process off;
worker_rlimit_nofile 20000;
pid {folder}/nginx.pid;
error_log stderr crit;
events {{ worker_connections 20000; }}
http {{
    access_log off;
    client_max_body_size 64m;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    keepalive_requests 1000000;
    upstream provider {{ server 127.0.0.1:{provider_port}; keepalive 512; }}
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_buffering off;
    proxy_read_timeout 600s;
    server {{ listen 127.0.0.1:{http1} backlog=4096; location / {{ proxy_pass http://provider; }} }}
    server {{ listen 127.0.0.1:{http2} http2 backlog=4096;
        location / {{ proxy_pass http://provider; }} }}
    server {{ listen 127.0.0.1:{https} ssl http2 backlog=4096;
        ssl_certificate {certificate}; ssl_certificate_key {private_key};
        location / {{ proxy_pass http://provider; }} }}
}}
"""


_FILES_CONFIG: Final = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log stderr crit;
events {{ worker_connections 1000; }}
http {{
    access_log off;
    sendfile on;
    client_max_body_size 0;
    client_body_temp_path {files}/tmp;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{ listen 127.0.0.1:{http1}; root {files};
        dav_methods PUT DELETE; create_full_put_path on; }}
}}
"""


@dataclass(frozen=True, slots=True)
class Nginx:
    """One running process of it; its ports by what is spoken on them."""

    pid: int
    version: str
    http1: int
    http2: int
    https: int


def installed() -> str | None:
    """The program, or None."""
    return shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


@contextmanager
def running_nginx(provider_port: int, certificate: Path, private_key: Path) -> Iterator[Nginx]:
    """nginx as a reverse proxy, one process: no buffering, connections to the provider kept.

    Raises:
        RuntimeError: it is not installed, or does not start.
    """
    with _running(
        _CONFIG,
        "https",
        provider_port=provider_port,
        certificate=certificate,
        private_key=private_key,
    ) as nginx:
        yield nginx


@contextmanager
def serving_files(files: Path) -> Iterator[Nginx]:
    """nginx as a server of files, one process: GET, and PUT and DELETE by its module of WebDAV.

    Raises:
        RuntimeError: it is not installed, or does not start.
    """
    with _running(_FILES_CONFIG, "http1", files=files) as nginx:
        yield nginx


@contextmanager
def _running(template: str, awaited: str, **values: object) -> Iterator[Nginx]:
    """`awaited` is the name of the port that is bound last."""
    program = installed()
    if program is None:
        raise RuntimeError("nginx is not installed")
    said = subprocess.run([program, "-v"], capture_output=True, text=True, check=True)  # noqa: S603
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(_STARTS_MAX):
            ports = _free_ports()
            config = Path(folder, "nginx.conf")
            config.write_text(template.format(folder=folder, **values, **ports))
            command = [program, "-p", folder, "-c", str(config)]
            with subprocess.Popen(command) as process:  # noqa: S603
                try:
                    if _listens(process, ports[awaited]):
                        yield Nginx(process.pid, said.stderr.strip(), **ports)
                        return
                finally:
                    process.kill()
    raise RuntimeError("nginx does not start")


def _free_ports() -> dict[str, int]:
    sockets = {name: socket.create_server(("127.0.0.1", 0)) for name in ("http1", "http2", "https")}
    ports = {name: sock.getsockname()[1] for name, sock in sockets.items()}
    for sock in sockets.values():
        sock.close()
    return ports


def _listens(process: subprocess.Popen[bytes], port: int) -> bool:
    """Wait until it does; False once it has ended instead."""
    until_s = time.monotonic() + _START_TIMEOUT_S
    while process.poll() is None and time.monotonic() < until_s:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return True
    return False
