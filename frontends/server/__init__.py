"""The connection boundary: accepts, bounds and contains client connections, and serves an ASGI app.

Owns listening sockets, the life of each connection, its deadlines and bounds, and the graceful
stop, TLS, and who asks. HTTP/1.1 and HTTP/2 are ours (on `engine.wire`), or those of Hypercorn's
protocol classes, mended where one connection could harm another; `ServerSettings.server` chooses.
It knows no route, no key and no money: what to say is the app's, and `ServerSettings.render_error`
words the few answers that no app gets to see.
"""

from __future__ import annotations

from frontends.server.asgi import SINK, StartupError
from frontends.server.binds import BindError
from frontends.server.listener import Server, open_server
from frontends.server.settings import ErrorBody, ServerSettings

__all__ = [
    "SINK",
    "BindError",
    "ErrorBody",
    "Server",
    "ServerSettings",
    "StartupError",
    "open_server",
]
