"""A provider is one row of data."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import quote, urlsplit

from engine.owned import StateApi
from engine.protocols.quirks import PLAIN, Quirks
from engine.upstream.aws_credentials import AwsCredentials
from engine.upstream.credentials import Credentials, KeyCredentials
from engine.upstream.google_credentials import GoogleCredentials
from engine.upstream.provider_table import Auth, FilesApi
from engine.wire.http import Headers
from engine.wire.proxy import Proxy, parse_proxy

_DEFAULT_PORTS = {"http": 80, "https": 443}

_AUTH: dict[str, Auth] = {
    "openai": "bearer",
    "openai-responses": "bearer",
    "anthropic": "x-api-key",
    "gemini": "x-goog-api-key",
}
"""How each protocol's own provider takes its key."""

_OF_CONNECTIONS: Final = (
    "http2",
    "ca_file",
    "client_cert_file",
    "client_key_file",
    "proxy",
    "connect_timeout_s",
    "max_streams_per_connection",
    "connections_max",
    "warm_connections",
    "connection_max_age_s",
)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where connections go and how they are made; equal origins share connections."""

    scheme: str
    host: str
    port: int
    http2: Literal["alpn", "prior-knowledge", "off"] = "alpn"
    ca_file: Path | None = None
    client_cert_file: Path | None = None
    client_key_file: Path | None = None
    proxy: Proxy | None = None
    connect_timeout_s: float = 10.0
    max_streams: int = 100
    connections_max: int = 256
    warm_connections: int = 0
    connection_max_age_s: float = 600.0

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

    @property
    def protocols(self) -> tuple[str, ...]:
        """What may be spoken there, as ALPN names, the preferred one first."""
        if self.http2 == "prior-knowledge":
            return ("h2",)
        return ("h2", "http/1.1") if self.secure and self.http2 == "alpn" else ("http/1.1",)


@dataclass(frozen=True)
class Provider:
    """An origin with a protocol, a base URL, credentials and policies.

    Attributes:
        name: the key of its configuration.
        protocol: the codec its answers need.
        also: codecs of further protocols that it speaks, for clients of these.
        base_url: `http` or `https`; a path in it is put before every request's.
        api_key: never shown.
        api_keys: several, in place of it; whoever sends says by which (`credentials_of`).
        auth: how the key is sent; None: as the protocol's own provider takes it; `google`: no key,
            but tokens by `credentials_file`, or by Google's application default credentials; `aws`:
            the key as a bearer, and without one signatures for `region`, by `profile` or the rest
            of AWS's chain.
        model_path: what stands between `base_url` and an operation's path, with the upstream model
            for `{model}`.
        api_version: the query `api-version` of every request.
        files: whose files API it has; None: none.
        state: whose way it is that it keeps what it was sent or has made; None: it does not.
        quirks: what the codec has to know of this server.
        on_cancel: what is done and billed when a client leaves: `stop` resets the stream and bills
            what came; `drain` reads on for the reported usage; `waive` bills nothing.
        cancel_drain_s, cancel_drain_tokens: how long, and for how much more output, a drain reads
            on at most.
        http2: `alpn` is what TLS negotiates, and HTTP/1.1 without TLS; `prior-knowledge` is HTTP/2
            also without TLS (RFC 9113 section 3.3); `off` is HTTP/1.1.
        connect_timeout_s: TCP, TLS and the peer's first SETTINGS together.
        first_byte_timeout_s: from the request to the first byte of its answer.
        idle_timeout_s: between bytes of an answer.
        terminal: whether a stream without the protocol's end marker is broken.
        total_timeout_s: from the request to the end of its answer; None: no bound of its own.
        ca_file: trust the authorities in this PEM file, instead of the system's.
        client_cert_file: show this certificate (PEM, with the chain) to the provider.
        client_key_file: its key, if it is not in the same file; without a passphrase.
        proxy: the URL of an HTTP proxy to tunnel through; never shown.
        max_streams_per_connection: a bound of ours; the peer's own is kept as well.
        connections_max: open and being opened at once.
        warm_connections: opened at start and kept, whether or not they are used.
        connection_max_age_s: a connection is replaced at about this age, and its address resolved
            anew; what runs on it may end.

    Raises:
        ValueError: `base_url` is not an http or https URL with a host, or `proxy` is no proxy's.
    """

    name: str
    protocol: Literal["openai", "openai-responses", "anthropic", "gemini"]
    base_url: str
    api_key: str | None = field(default=None, repr=False)
    api_keys: tuple[str, ...] = field(default=(), repr=False)
    on_cancel: Literal["stop", "drain", "waive"] = "stop"
    cancel_drain_s: float = 30.0
    cancel_drain_tokens: int = 8_192
    http2: Literal["alpn", "prior-knowledge", "off"] = "alpn"
    connect_timeout_s: float = 10.0
    first_byte_timeout_s: float = 300.0
    idle_timeout_s: float = 120.0
    terminal: Literal["done-marker", "eof"] = "done-marker"
    total_timeout_s: float | None = None
    ca_file: Path | None = None
    client_cert_file: Path | None = None
    client_key_file: Path | None = None
    proxy: str | None = field(default=None, repr=False)
    auth: Auth | None = None
    credentials_file: Path | None = None
    region: str | None = None
    profile: str | None = None
    model_path: str = ""
    api_version: str | None = None
    quirks: Quirks = PLAIN
    files: FilesApi | None = None
    state: StateApi | None = None
    also: frozenset[str] = frozenset()
    max_streams_per_connection: int = 100
    connections_max: int = 256
    warm_connections: int = 0
    connection_max_age_s: float = 600.0

    def __post_init__(self) -> None:
        url = urlsplit(self.base_url)
        if url.scheme not in _DEFAULT_PORTS or not url.hostname or url.query or url.fragment:
            raise ValueError(f"base_url of {self.name} is not a plain http or https URL")
        _ = url.port  # raises ValueError when it is not a port
        if self.proxy is not None:
            parse_proxy(self.proxy)

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
            client_cert_file=self.client_cert_file,
            client_key_file=self.client_key_file,
            proxy=None if self.proxy is None else parse_proxy(self.proxy),
            connect_timeout_s=self.connect_timeout_s,
            max_streams=self.max_streams_per_connection,
            connections_max=self.connections_max,
            warm_connections=self.warm_connections,
            connection_max_age_s=self.connection_max_age_s,
        )

    @cached_property
    def base_path(self) -> str:
        return urlsplit(self.base_url).path.rstrip("/")

    @cached_property
    def _credentials(self) -> tuple[Credentials, ...]:
        if self.auth == "google":
            return (GoogleCredentials(self.name, self.credentials_file, self.proxy),)
        if self.auth == "aws" and self.api_key is None and not self.api_keys:
            assert self.region is not None, "as the configuration is checked"
            origin = f"{self.origin.scheme}://{self.origin.authority}"
            return (AwsCredentials(self.name, origin, self.region, self.profile, self.proxy),)
        keys = self.api_keys or (self.api_key,)
        return tuple(KeyCredentials(self._key_headers(key)) for key in keys)

    @property
    def connection(self) -> dict[str, Any]:
        """How connections to it are made, as `MultiplexTransport` takes it."""
        return {name: getattr(self, name) for name in _OF_CONNECTIONS}

    @property
    def credentials(self) -> Credentials:
        """What signs its requests, with the first of its keys."""
        return self._credentials[0]

    def credentials_of(self, key: int) -> Credentials:
        """What signs its requests with one of its keys, counted from 0; one object for as long as
        the provider is used."""
        return self._credentials[key]

    def credential_id(self, key: int) -> str:
        """16 hexadecimal digits that tell one of its keys from others, and nothing of it: what is
        kept there by one key others do not see."""
        keys = self.api_keys or (self.api_key,)
        return hashlib.sha256((keys[key] or "").encode()).hexdigest()[:16]

    @cached_property
    def credential_ids(self) -> tuple[str, ...]:
        """Those of all its keys, in their order."""
        return tuple(self.credential_id(key) for key in range(len(self._credentials)))

    def _key_headers(self, key: str | None) -> Headers:
        auth = self.auth or _AUTH[self.protocol]
        if key is None or auth == "none":
            return []
        if auth in ("bearer", "aws"):
            return [(b"authorization", b"Bearer " + key.encode())]
        return [(auth.encode(), key.encode())]

    def path(self, suffix: str, model: str = "") -> str:
        """The `:path` of an operation: `path("/chat/completions")` is `/v1/chat/completions`."""
        path = self.base_path + self.model_path.replace("{model}", quote(model, safe="")) + suffix
        if self.api_version is None:
            return path
        return f"{path}{'&' if '?' in path else '?'}api-version={quote(self.api_version, safe='')}"
