"""One helper process, as the gateway sees it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from array import array
from collections.abc import Iterable, Sequence
from typing import Any, Final

import trio

from engine.parsing import frames
from engine.spool import SpoolFile

_KEPT_ENVIRONMENT: Final = ("LANG", "LC_ALL", "LC_CTYPE", "PATH", "TMPDIR")
"""The rest may hold secrets, which the helper has no use for."""
_REAP_S: Final = 5.0


class HelperLostError(Exception):
    """The process has ended, or talks nonsense."""


class Helper:
    """A process that has been started, and the socket it listens to. One conversation at a time;
    after one that was broken off it has to be closed."""

    def __init__(self, process: subprocess.Popen[bytes], connection: trio.SocketStream) -> None:
        self._process = process
        self._connection = connection

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    async def receive(self) -> tuple[Any, bytes]:
        """Head and body of the next frame. Raises HelperLostError."""
        try:
            prefix = await self._receive(frames.PREFIX.size)
            head_bytes, body_bytes = frames.sizes(prefix)
            head = frames.unpack(await self._receive(head_bytes))
            return head, bytes(await self._receive(body_bytes))
        except (trio.BrokenResourceError, frames.FrameError) as error:
            raise HelperLostError from error

    async def ask(
        self,
        head: Any,
        body: bytes = b"",
        file: SpoolFile | None = None,
        more: Sequence[bytes] = (),
    ) -> tuple[Any, bytes]:
        """Say a frame, whose body has `more` behind it, pass a file with it, and return the answer.

        Raises:
            HelperLostError: it is not there any more.
            SpoolError: the file has been closed; nothing was said.
        """
        packed = frames.pack(head, len(body) + sum(map(len, more)))
        try:
            if file is not None:
                packed = packed[await self._pass(file, packed) :]
            await self._connection.send_all(packed)
            for piece in (body, *more):
                await self._connection.send_all(piece)
        except (trio.BrokenResourceError, OSError) as error:
            raise HelperLostError from error
        return await self.receive()

    async def _pass(self, file: SpoolFile, packed: bytes) -> int:
        """A descriptor goes with the first byte; how many bytes have gone."""
        passed = array("i", [file.passed()])
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, passed)]
        return await self._connection.socket.sendmsg([packed], rights)

    async def _receive(self, size_bytes: int) -> bytearray:
        data = bytearray(size_bytes)
        view = memoryview(data)
        while view:
            received = await self._connection.socket.recv_into(view)
            if not received:
                raise HelperLostError
            view = view[received:]
        return data

    async def close(self) -> None:
        """End the process, whatever it is doing, and wait for that."""
        self._connection.socket.close()
        self._process.kill()
        with trio.CancelScope(shield=True, deadline=trio.current_time() + _REAP_S):
            await trio.to_thread.run_sync(self._process.wait, abandon_on_cancel=True)


def start_helper(memory_max_bytes: int, encodings: Iterable[str]) -> Helper:
    """Start a helper; the first frame that it says is `Ready`.

    By this thread, which lives as long as the gateway: on Linux a process is told of the end of the
    thread that it was started by. It takes some milliseconds.

    Raises:
        OSError: it cannot be started.
    """
    ours, theirs = socket.socketpair()
    environment = {name: os.environ[name] for name in _KEPT_ENVIRONMENT if name in os.environ}
    environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    module = "engine.parsing.worker"
    arguments = [str(os.getpid()), str(memory_max_bytes), *encodings]
    try:
        process = subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-P", "-m", module, *arguments],
            stdin=theirs.fileno(),
            stdout=subprocess.DEVNULL,
            env=environment,
            start_new_session=True,  # a terminal's Ctrl-C is the gateway's to obey
        )
    except OSError:
        ours.close()
        raise
    finally:
        theirs.close()
    ours.setblocking(False)
    return Helper(process, trio.SocketStream(trio.socket.from_stdlib_socket(ours)))
