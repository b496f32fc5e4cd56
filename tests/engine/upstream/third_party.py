"""Third-party HTTP/2 servers as child processes on loopback: nginx, nghttpd, Node."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest
import trio
import trustme

from engine.upstream.providers import Provider
from tests.ports import free_port

STARTUP_S: Final = 60.0
STOP_S: Final = 5.0

FILES: Final = {
    f"{size}.bin": hashlib.shake_256(str(size).encode()).digest(size)
    for size in (0, 1, 100, 16_384, 70_000, 300_000)
}
"""What the servers serve: sizes below, at and above a frame and a window."""


@dataclass(frozen=True, slots=True)
class Site:
    """Where a server finds and listens for what it needs."""

    folder: Path
    port: int
    tls: bool

    @property
    def certificate(self) -> Path:
        return self.folder / "server.pem"


NGINX: Final = """
daemon off; master_process off; worker_processes 1; pid {folder}/nginx.pid;
error_log stderr error;
events {{ worker_connections 2048; }}
http {{
  access_log off; default_type application/octet-stream;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  client_max_body_size 10m; keepalive_requests 400;
  server {{
    listen 127.0.0.1:{port} http2 {ssl};
    {certificate}
    root {folder}/www;
    location /up/ {{ dav_methods PUT; create_full_put_path on; }}
  }}
}}
"""

NODE: Final = """
const http2 = require('http2'), fs = require('fs'), path = require('path');
const [folder, port, tls] = process.argv.slice(2);
const pem = path.join(folder, 'server.pem');
const server = tls === 'tls'
  ? http2.createSecureServer({ key: fs.readFileSync(pem), cert: fs.readFileSync(pem) })
  : http2.createServer();
server.on('stream', (stream, headers) => {
  stream.on('error', () => {});
  stream.respond({ ':status': 200, 'content-type': 'application/octet-stream' });
  if (headers[':method'] === 'POST') stream.pipe(stream);
  else fs.createReadStream(path.join(folder, 'www', headers[':path'])).pipe(stream);
});
server.listen(Number(port), '127.0.0.1');
"""


def nginx(program: str, site: Site) -> list[str]:
    config = site.folder / "nginx.conf"
    pem = site.certificate
    config.write_text(
        NGINX.format(
            folder=site.folder,
            port=site.port,
            ssl="ssl" if site.tls else "",
            certificate=f"ssl_certificate {pem}; ssl_certificate_key {pem};" if site.tls else "",
        )
    )
    return [program, "-e", "stderr", "-p", str(site.folder), "-c", str(config)]


def nghttpd(program: str, site: Site) -> list[str]:
    pem = str(site.certificate)
    how = [str(site.port), pem, pem] if site.tls else ["--no-tls", str(site.port)]
    www = str(site.folder / "www")
    return [program, "--address=127.0.0.1", "--echo-upload", f"--htdocs={www}", *how]


def node(program: str, site: Site) -> list[str]:
    script = site.folder / "server.js"
    script.write_text(NODE)
    return [program, str(script), str(site.folder), str(site.port), "tls" if site.tls else "plain"]


SERVERS: Final[dict[str, Callable[[str, Site], list[str]]]] = {
    "nginx": nginx,
    "nghttpd": nghttpd,
    "node": node,
}


def require_program(name: str) -> str:
    """Where a server's program is; skips the test where there is none."""
    # Servers are often outside a user's PATH.
    found = shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")
    if found is None:
        pytest.skip(f"{name} is not installed, and scripts/test could not install it here")
    return found


@asynccontextmanager
async def open_server(name: str, folder: Path, *, tls: bool) -> AsyncIterator[Provider]:
    """Start a server; leaving the block ends its process."""
    program = require_program(name)
    www = folder / "www" / "up"
    www.mkdir(parents=True)
    for file_name, data in FILES.items():
        (www.parent / file_name).write_bytes(data)
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    leaf = authority.issue_cert("127.0.0.1")
    leaf.private_key_and_cert_chain_pem.write_to_path(str(folder / "server.pem"))
    site = Site(folder, free_port(), tls)
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(  # noqa: ASYNC220 - starting it takes no time
            SERVERS[name](program, site), stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
        try:
            await wait_listening(process, site)
            yield Provider(
                name=name,
                protocol="openai",
                base_url=f"{'https' if tls else 'http'}://127.0.0.1:{site.port}",
                http2="alpn" if tls else "prior-knowledge",
                ca_file=folder / "ca.pem" if tls else None,
                max_streams_per_connection=1_000,
            )
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait(STOP_S)


async def wait_listening(process: subprocess.Popen[bytes], site: Site) -> None:
    """Wait until connections are accepted."""
    with trio.fail_after(STARTUP_S):
        while True:
            log = (site.folder / "server.log").read_text()
            assert process.poll() is None, f"it ended: {log}"
            try:
                stream = await trio.open_tcp_stream("127.0.0.1", site.port)
            except OSError:
                await trio.sleep(0.01)
            else:
                await stream.aclose()
                return
