"""A connection over whichever of HTTP/2 and HTTP/1.1 an origin speaks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from .connection import Connection
from .connection_http1 import SerialConnection
from .dial import dial, spoken_protocol
from .holding import hold_open
from .providers import Origin
from .settings import ConnectionSettings

AnyConnection = Connection | SerialConnection


@asynccontextmanager
async def open_any_connection(
    origin: Origin, settings: ConnectionSettings
) -> AsyncIterator[AnyConnection]:
    """Connect as the origin's row and ALPN say; otherwise as `open_connection`."""
    deadline_s = trio.current_time() + origin.connect_timeout_s
    transport = await dial(origin)
    connection: AnyConnection
    if spoken_protocol(transport, origin) == "h2":
        connection = Connection(transport, origin, settings)
    else:
        connection = SerialConnection(transport, origin, settings)
    async with hold_open(connection, transport):
        if isinstance(connection, Connection):
            await connection.wait_ready(deadline_s)
        yield connection
