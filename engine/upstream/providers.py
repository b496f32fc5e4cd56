"""A provider is one row of data."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Origin:
    """Where connections go and how they are made; equal origins share connections."""

    scheme: str
    host: str
    port: int
    http2: Literal["alpn", "prior-knowledge"] = "alpn"
    ca_file: Path | None = None
    connect_timeout_s: float = 10.0
    max_streams: int = 100

    @property
    def authority(self) -> str:
        """Host, and port unless it is the scheme's own, as in `:authority`."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        if self.port == _DEFAULT_PORTS[self.scheme]:
            return host
        return f"{host}:{self.port}"

    @property
    def secure(self) -> bool:
        return self.scheme == "https"


@dataclass(frozen=True)
class Provider:
    """An origin with a protocol, a base URL, credentials and policies.

    Attributes:
        name: the key of its configuration.
        protocol: the codec its answers need.
        base_url: `http` or `https`; a path in it is put before every request's.
        api_key: the bearer token; never shown.
        on_cancel: what is done and billed when a client leaves: `stop` resets the stream and bills
            what came; `drain` reads on for the reported usage; `waive` bills nothing.
        http2: `alpn` over TLS, or `prior-knowledge` over cleartext (RFC 9113 section 3.3).
        connect_timeout_s: TCP, TLS and the peer's first SETTINGS together.
        first_byte_timeout_s: from the request to the first byte of its answer.
        idle_timeout_s: between bytes of an answer.
        terminal: whether a stream without the protocol's end marker is broken.
        ca_file: trust the authorities in this PEM file, instead of the system's.
        max_streams_per_connection: a bound of ours; the peer's own is kept as well.

    Raises:
        ValueError: `base_url` is not an http or https URL with a host.
    """

    name: str
    protocol: Literal["openai"]
    base_url: str
    api_key: str | None = field(default=None, repr=False)
    on_cancel: Literal["stop", "drain", "waive"] = "stop"
    http2: Literal["alpn", "prior-knowledge"] = "alpn"
    connect_timeout_s: float = 10.0
    first_byte_timeout_s: float = 300.0
    idle_timeout_s: float = 120.0
    terminal: Literal["done-marker", "eof"] = "done-marker"
    ca_file: Path | None = None
    max_streams_per_connection: int = 100

    def __post_init__(self) -> None:
        url = urlsplit(self.base_url)
        if url.scheme not in _DEFAULT_PORTS or not url.hostname or url.query or url.fragment:
            raise ValueError(f"base_url of {self.name} is not a plain http or https URL")
        _ = url.port  # raises ValueError when it is not a port

    @cached_property
    def origin(self) -> Origin:
        url = urlsplit(self.base_url)
        assert url.hostname is not None
        return Origin(
            scheme=url.scheme,
            host=url.hostname,
            port=url.port or _DEFAULT_PORTS[url.scheme],
            http2=self.http2,
            ca_file=self.ca_file,
            connect_timeout_s=self.connect_timeout_s,
            max_streams=self.max_streams_per_connection,
        )

    @cached_property
    def base_path(self) -> str:
        return urlsplit(self.base_url).path.rstrip("/")

    def path(self, suffix: str) -> str:
        """The `:path` of an operation: `path("/chat/completions")` is `/v1/chat/completions`."""
        return self.base_path + suffix
