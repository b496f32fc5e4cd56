"""The control socket: how the command line reaches the process that owns a database.

A Unix socket beside the database, for its owner only. Each request is one JSON line, each answer
another: `{"command": "keys.list", "parameters": {}}` gives `{"result": …}` or
`{"error": {"code": …, "message": …}}`.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import socket
import stat
import struct
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import trio

from engine.errors import GatewayError
from engine.nurseries import open_tasks
from frontends.commands import (
    Actor,
    BadCommandError,
    Desk,
    Json,
    Parameters,
    error_json,
    execute,
    local_actor,
)
from frontends.logs import fault_trace
from frontends.server.binds import BindError, reason, remove_stale

log = logging.getLogger("parshall.control")

PATH_MAX_BYTES = 100
"""Of a Unix socket's path: the kernels' limits are 104 and 108, with the final NUL."""
REQUEST_MAX_BYTES = 1024 * 1024
"""Of one line: a request that is to be explained is the largest."""
_READ_BYTES = 65_536
ANSWER_MAX_BYTES = 256 * 1024 * 1024
CONNECTIONS_MAX = 16
REQUEST_TIMEOUT_S = 30.0
ANSWER_TIMEOUT_S = 600.0
"""An audit of a large database takes a while."""


class ControlAbsentError(Exception):
    """Nobody listens at the control socket of this database."""


class ControlFailedError(Exception):
    """The process that owns the database does not answer as it should."""


class CommandRefusedError(Exception):
    """The command was run and refused; `code` and `message` say why."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def control_path(database: Path) -> Path:
    """Where the control socket of a database is: beside it, or, where that path is too long for a
    socket, in a folder of this user's whose name both sides can tell."""
    database = database.resolve()
    beside = database.with_name(database.name + ".sock")
    if len(os.fsencode(beside)) <= PATH_MAX_BYTES:
        return beside
    name = hashlib.sha256(os.fsencode(database)).hexdigest()[:32]
    return _private_folder() / f"{name}.sock"


def _private_folder() -> Path:
    runtime = Path(f"/run/user/{os.getuid()}")
    if runtime.is_dir():
        return runtime
    return Path("/tmp" if os.path.isdir("/tmp") else tempfile.gettempdir()) / (  # noqa: S108
        f"parshall-{os.getuid()}"
    )


@asynccontextmanager
async def open_control(desk: Desk, database: Path) -> AsyncIterator[Path]:
    """Answer commands for the block. The caller owns the database, so a socket left is stale.

    Raises:
        BindError: the socket cannot be made.
    """
    path = control_path(database)
    try:
        listener = _listen(path)
    except OSError as error:
        raise BindError(f"cannot open the control socket {path}: {reason(error)}") from error
    try:
        async with open_tasks() as nursery:
            room = trio.Semaphore(CONNECTIONS_MAX)
            nursery.start_soon(_accept, listener, desk, room)
            yield path
            nursery.cancel_scope.cancel()
    finally:
        listener.close()
        with suppress(FileNotFoundError):
            path.unlink()


def _listen(path: Path) -> trio.socket.SocketType:
    if path.parent == _private_folder():
        path.parent.mkdir(mode=0o700, exist_ok=True)
        found = path.parent.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
            raise OSError(f"{path.parent} is not a folder of this user's")
    remove_stale(str(path))
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        before = os.umask(0o177)
        try:
            sock.bind(str(path))
        finally:
            os.umask(before)
        sock.listen(CONNECTIONS_MAX)
        sock.setblocking(False)
        return trio.socket.from_stdlib_socket(sock)
    except OSError:
        sock.close()
        raise


async def _accept(listener: trio.socket.SocketType, desk: Desk, room: trio.Semaphore) -> None:
    async with trio.open_nursery() as nursery:
        while True:
            await room.acquire()
            sock, _ = await listener.accept()
            nursery.start_soon(_serve, trio.SocketStream(sock), desk, room)


async def _serve(stream: trio.SocketStream, desk: Desk, room: trio.Semaphore) -> None:
    """One client; whatever goes wrong ends with it."""
    try:
        async with stream:
            uid = _uid(stream)
            if uid not in (None, 0, os.getuid()):
                log.warning("a stranger was turned away")
                return
            actor = local_actor(uid)
            rest = b""
            while True:
                with trio.fail_after(REQUEST_TIMEOUT_S):
                    line, rest = await _read_line(stream, rest)
                if line is None:
                    return
                answer = await _answer(desk, line, actor)
                with trio.fail_after(REQUEST_TIMEOUT_S):
                    await stream.send_all(json.dumps(answer).encode() + b"\n")
    except (trio.BrokenResourceError, trio.TooSlowError):
        log.debug("a client of the control socket left")
    except Exception as error:  # noqa: BLE001 - contained to its connection, and logged
        log.error("a client of the control socket failed: %s", fault_trace(error))
    finally:
        room.release()


async def _read_line(stream: trio.SocketStream, data: bytes) -> tuple[bytes | None, bytes]:
    """The next line and what came after it; None at the end, or when it is too long."""
    while b"\n" not in data:
        more = await stream.receive_some(_READ_BYTES)
        if not more or len(data) + len(more) > REQUEST_MAX_BYTES:
            return None, b""
        data += more
    line, _, rest = data.partition(b"\n")
    return line, rest


async def _answer(desk: Desk, line: bytes, actor: Actor) -> Json:
    try:
        request = json.loads(line)
        if not isinstance(request, dict) or not isinstance(request.get("parameters", {}), dict):
            raise BadCommandError("A request is an object with 'command' and 'parameters'.")
        name = str(request.get("command"))
        with trio.fail_after(ANSWER_TIMEOUT_S):
            result = await execute(desk, name, request.get("parameters", {}), by=actor)
    except ValueError:
        return {"error": error_json(BadCommandError("The request is not JSON."))}
    except GatewayError as error:
        return {"error": error_json(error)}
    except Exception as error:  # noqa: BLE001 - the client is told that, not what
        log.error("a command failed: %s", fault_trace(error))
        return {"error": {"code": "internal_error", "message": "The command failed; see the log."}}
    return {"result": result}


def _uid(stream: trio.SocketStream) -> int | None:
    """The user that the other side runs as; None where the kernel does not tell."""
    if not hasattr(socket, "SO_PEERCRED"):
        return None
    raw = stream.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _, uid, _ = struct.unpack("3i", raw)
    return int(uid)


def ask(database: Path, command: str, parameters: Parameters) -> Json:
    """Have the process that owns a database run a command. Blocks.

    Raises:
        ControlAbsentError: no process listens.
        ControlFailedError: one does, and did not answer.
        CommandRefusedError: the command was refused.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(REQUEST_TIMEOUT_S)
        try:
            sock.connect(str(control_path(database)))
        except (FileNotFoundError, ConnectionRefusedError) as error:
            raise ControlAbsentError from error
        except OSError as error:
            raise ControlFailedError(f"cannot reach the server: {error}") from error
        request = {"command": command, "parameters": dict(parameters)}
        try:
            sock.sendall(json.dumps(request).encode() + b"\n")
            sock.settimeout(ANSWER_TIMEOUT_S)
            with sock.makefile("rb") as file:
                line = file.readline(ANSWER_MAX_BYTES)
        except OSError as error:
            raise ControlFailedError(f"the server does not answer: {error}") from error
    return _read_answer(line)


def _read_answer(line: bytes) -> Json:
    if not line.endswith(b"\n"):
        raise ControlFailedError("the server ended the connection without an answer")
    answer: dict[str, Any] = json.loads(line)
    if "error" in answer:
        raise CommandRefusedError(answer["error"]["code"], answer["error"]["message"])
    return answer["result"]
