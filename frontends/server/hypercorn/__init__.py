"""HTTP by Hypercorn's protocol classes, mended where one connection could harm another.

Owns what is particular to Hypercorn: its connection task, its conversations with the app, and its
HTTP/1.1 and HTTP/2. Accepting, bounding and stopping belong to `frontends.server`.
"""

from __future__ import annotations

from hypercorn.config import Config

from frontends.server.settings import ServerSettings


def hypercorn_config(settings: ServerSettings) -> Config:
    """The part of the settings that Hypercorn's protocol classes read themselves."""
    config = Config()
    config.accesslog = None
    config.errorlog = None
    config.include_server_header = False
    config.h11_max_incomplete_size = settings.header_max_bytes
    config.h2_max_concurrent_streams = settings.streams_max
    config.h2_max_header_list_size = settings.header_max_bytes
    config.keep_alive_max_requests = 1 << 62  # its GOAWAY would cut the streams in flight
    return config
