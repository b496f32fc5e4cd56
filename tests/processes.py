"""`parshall serve` in a process of its own, and clients of it that outlive whatever befalls it."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import PIPE

import trio

from engine import open_gateway, parse_config
from tests.forking import start
from tests.gateways import DOLLAR, chat_body

PARSHALL = Path(sys.executable).parent / "parshall"


@asynccontextmanager
async def open_process(
    config: Path, *, ready_within_s: float = 30, before: Sequence[str] = ()
) -> AsyncIterator[tuple[trio.Process, int]]:
    """Serve, in a process that `before` may start; it and the port, once it takes requests.

    `ready_within_s` is for a machine with nothing else to do: time in which somebody waited for a
    core is not counted. It is killed on leaving.
    """
    options = ["serve", "--config", str(config), "--log-level", "error"]
    began, stalled_before_s = trio.current_time(), stalled_s()
    if before:
        command = [*before, str(PARSHALL), *options]
        process = await trio.lowlevel.open_process(command, stdout=PIPE)
    else:
        process = start("parshall", options, stdout=PIPE)
    try:
        assert process.stdout is not None
        with trio.fail_after(60):
            line = b""
            while not line.endswith(b"\n"):
                line += (piece := await process.stdout.receive_some())
                assert piece, "it has ended"
            port = int(line.partition(b"\n")[0].rpartition(b":")[2])  # more may be told behind it
            while not await is_ready(port):  # noqa: ASYNC110 - it has no event for that
                await trio.sleep(0.01)
        took_s = trio.current_time() - began
        assert took_s - (stalled_s() - stalled_before_s) <= ready_within_s, took_s
        yield process, port
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()


def stalled_s() -> float:
    """How long tasks of this machine have waited for a core or a disk that others had, since it
    started; 0 where the system does not tell."""
    try:
        pressures = [Path(f"/proc/pressure/{name}").read_text() for name in ("cpu", "io")]
        stolen = Path("/proc/stat").read_text().split(maxsplit=9)[8]
    except OSError:
        return 0.0
    waited_us = sum(int(text.partition("total=")[2].split()[0]) for text in pressures)
    return waited_us / 1e6 + int(stolen) / os.sysconf("SC_CLK_TCK")


async def is_ready(port: int) -> bool:
    """What `/readyz` says."""
    return (await ask(port, b"GET /readyz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"))[
        :12
    ] == b"HTTP/1.1 200"


async def ask(port: int, request: bytes) -> bytes:
    """The whole answer to a request that ends its connection."""
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await stream.send_all(request)
        return b"".join([bytes(data) async for data in stream])


async def fund_account(text: str, funds_nanodollars: int = DOLLAR) -> tuple[str, str]:
    """An account with a dollar on it or so, and a key, before there is a process."""
    async with open_gateway(parse_config(text, "process.toml", {})) as gateway:
        account = await gateway.ledger.create_account("test")
        await gateway.ledger.fund(account.account_id, funds_nanodollars, "first")
        _, key = await gateway.create_key(account.account_id, "test")
    return account.account_id, key


@dataclass(slots=True)
class Client:
    """One streamed request, read until it ends, the gateway is gone, or the client leaves."""

    tokens: int
    tokens_per_s: int = 100
    leaves_after: int | None = None
    """After so many words."""
    body: bytearray = field(default_factory=bytearray)

    @property
    def request_id(self) -> str:
        """Empty if there was no head."""
        head = bytes(self.body).partition(b"\r\n\r\n")[0].decode("latin-1").lower()
        return head.partition("x-request-id: ")[2].split("\r\n")[0]

    @property
    def status(self) -> int:
        """0 if there was no head."""
        return int(self.body[9:12] or 0)

    @property
    def done(self) -> bool:
        """It got the last event."""
        return b"data: [DONE]" in self.body

    @property
    def words(self) -> int:
        """How many tokens it got."""
        return self.body.count(b'"delta":{"content":"') - self.body.count(b'"content":""')

    @property
    def left(self) -> bool:
        """It had enough before the end."""
        return self.leaves_after is not None and not self.done and self.words >= self.leaves_after

    async def run(self, port: int, key: str, watch: Callable[[], None] = lambda: None) -> None:
        """Ask and read; `watch` is called after each read."""
        body = chat_body(f"tokens={self.tokens} tokens_per_second={self.tokens_per_s}")
        with suppress(OSError, trio.BrokenResourceError):
            async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
                await stream.send_all(
                    b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n"
                    b"authorization: Bearer %s\r\ncontent-length: %d\r\n\r\n%s"
                    % (key.encode(), len(body), body)
                )
                async for data in stream:
                    self.body += data
                    watch()
                    if self._has_enough():
                        break

    def _has_enough(self) -> bool:
        return self.left or self.body.endswith(
            (b"0\r\n\r\n", b"}}")
        )  # a stream's end, or a refusal's
