"""Configuration: one TOML file and the environment, read into frozen dataclasses.

Everything unknown or impossible is refused at start, with the line and a suggestion. Secrets are
named in the file (`env:NAME`, `file:PATH`), never written there, and never printed.
"""

from __future__ import annotations

import dataclasses
import ssl
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from engine.capabilities import Capabilities
from engine.errors import ConfigError
from engine.toml import Keys, TableReader
from engine.wire.proxy import complete_proxy, environment_proxy


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """Where and how the gateway serves."""

    bind: tuple[str, ...] = ("127.0.0.1:8787",)
    """`host:port` or `unix:/path`; port 0 takes a free one."""
    body_max_bytes: int = 50 * 1024 * 1024
    connections_max: int = 10_000
    exchanges_max: int = 10_000
    shutdown_grace_s: float = 30.0
    write_stall_s: float = 30.0
    exchange_deadline_s: float = 3_600.0
    """No exchange runs longer; what was received by then is billed."""
    commit_after_s: float = 15.0
    """A stream's head goes out after this much silence, before anything was generated."""
    heartbeat_s: float = 15.0
    """A stream that is silent for this long after its head gets a comment, where clients allow."""
    buffered_output_max_bytes: int = 65_536
    """What a slow client may lag behind before its provider stream is held up."""


@dataclass(frozen=True, slots=True)
class StorageConfig:
    """Where money and receipts are kept."""

    url: str = "sqlite:parshall.db"
    barrier_timeout_s: float = 5.0
    """How long an answer waits for its hold or its settlement to become durable."""
    progress_interval_s: float = 1.0
    """How old the progress of a stream may be that a crash would bill."""

    @property
    def path(self) -> Path:
        """The database file."""
        return Path(self.url.removeprefix("sqlite:"))


@dataclass(frozen=True, slots=True)
class BillingConfig:
    """How funds are reserved and shown."""

    credits_per_usd: Decimal = Decimal(1_000)
    output_slice_tokens: int = 2_048
    """A hold covers this much output and is extended by as much."""
    output_unary_tokens: int = 16_384
    """What is held for each choice of an answer in one piece that names no limit of its own."""
    output_min_tokens: int = 16
    """A balance that covers less output than this is refused."""


@dataclass(frozen=True, slots=True)
class ProviderConfig:
    """An origin with a protocol, credentials and policies."""

    protocol: Literal["openai", "anthropic", "gemini"]
    base_url: str
    """With the version in its path, e.g. https://api.openai.com/v1."""
    api_key: str | None = field(default=None, repr=False)
    on_cancel: Literal["stop", "waive"] = "stop"
    """What the provider bills when a client leaves: what was generated, or nothing we pass on."""
    http2: Literal["alpn", "prior-knowledge", "off"] = "alpn"
    """`alpn`: what TLS negotiates, HTTP/1.1 without TLS; `prior-knowledge`: HTTP/2 without TLS."""
    terminal: Literal["done-marker", "eof"] = "done-marker"
    """Whether a stream without its protocol's end marker is broken, or it may be missing."""
    ca_file: Path | None = None
    """Trusted in place of the system's authorities (PEM)."""
    client_cert_file: Path | None = None
    client_key_file: Path | None = None
    """If the key is not in the certificate's file; without a passphrase."""
    proxy: str | None = field(default=None, repr=False)
    """`http://user@host:port` or a secret that is such a URL; left out: what the environment says
    (HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY); `direct`: none. Once read, complete."""
    proxy_password: str | None = field(default=None, repr=False)
    connect_timeout_s: float = 10.0
    first_byte_timeout_s: float = 300.0
    idle_timeout_s: float = 120.0
    total_timeout_s: float | None = None
    """For an attempt as a whole; left out: only the server's `exchange_deadline_s`."""
    connections_max: int = 256
    warm_connections: int = field(default=0, metadata={"positive": False})
    """Opened at start and kept, used or not."""
    connection_max_age_s: float = 600.0
    """Connections are replaced at about this age, so that changes in DNS are followed."""


@dataclass(frozen=True, slots=True)
class PriceConfig:
    """US dollars per million tokens; a left out cached or reasoning price is the full one."""

    input: Decimal
    output: Decimal
    cached_input: Decimal | None = None
    cache_write: Decimal | None = None
    reasoning: Decimal | None = None


@dataclass(frozen=True, slots=True)
class DeploymentConfig:
    """One upstream model at one provider; `cost` is what the provider charges the operator."""

    provider: str
    model: str
    cost: PriceConfig | None = None
    capabilities: Capabilities | None = None
    """What the table of models does not know, or has wrong; the rest is the table's."""


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """A public model name."""

    deployments: tuple[DeploymentConfig, ...]
    price: PriceConfig | None = None
    free: bool = False


@dataclass(frozen=True, slots=True)
class Config:
    """Everything the gateway is told."""

    server: ServerConfig = field(default_factory=ServerConfig)
    storage: StorageConfig = field(default_factory=StorageConfig)
    billing: BillingConfig = field(default_factory=BillingConfig)
    providers: Mapping[str, ProviderConfig] = field(default_factory=dict)
    models: Mapping[str, ModelConfig] = field(default_factory=dict)
    source: TableReader | None = field(default=None, repr=False, compare=False)
    """What was read, so that later checks can name a line too."""

    def error(self, keys: Keys, problem: str) -> ConfigError:
        """An error about a key, for the caller to raise."""
        if self.source is not None:
            return self.source.error(keys, problem)
        return ConfigError(f"configuration: {'.'.join(keys)} {problem}")


def load_config(path: Path, environ: Mapping[str, str]) -> Config:
    """Read a TOML file.

    Raises:
        ConfigError: unreadable, not TOML, an unknown key, a value of a wrong type or out of range,
            or a secret that is not there; with the line.
    """
    try:
        text = path.read_text()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: cannot be read: it is not UTF-8 text") from None
    return parse_config(text, str(path), environ)


def parse_config(text: str, name: str, environ: Mapping[str, str]) -> Config:
    """Read TOML text; `name` is what errors call it. Raises as `load_config`."""
    try:
        document: dict[str, Any] = tomllib.loads(text, parse_float=Decimal)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{name}: not valid TOML: {error}") from None
    reader = TableReader(
        text,
        name,
        environ,
        secrets=frozenset({"api_key", "proxy_password"}),
        maybe_secrets=frozenset({"proxy"}),
    )
    config = reader.read(Config, document, ())
    _check(config, reader)
    providers = {
        key: dataclasses.replace(row, proxy=_resolve_proxy(key, row, document, reader, environ))
        for key, row in config.providers.items()
    }
    return dataclasses.replace(config, providers=providers, source=reader)


def _check(config: Config, reader: TableReader) -> None:
    """What no single value can say."""
    if not config.storage.url.startswith("sqlite:") or not config.storage.path.name:
        raise reader.error(
            ("storage", "url"), "must be 'sqlite:FILE'; other stores are not supported"
        )
    for index, bind in enumerate(config.server.bind):
        if problem := bind_problem(bind):
            raise reader.error(("server", "bind"), f"entry {index + 1} ('{bind}') {problem}")
    for name, provider in config.providers.items():
        _check_provider(name, provider, reader)
    for name, model in config.models.items():
        _check_model(name, model, config, reader)


def bind_problem(bind: str) -> str | None:
    """What is wrong with an address to bind, or None."""
    if bind.startswith("unix:"):
        return None if len(bind) > len("unix:") else "names no path"
    host, colon, port = bind.rpartition(":")
    if not colon or not host or not port.isdecimal() or int(port) > 65_535:
        return "must be HOST:PORT or unix:/path"
    return None


def _check_provider(name: str, provider: ProviderConfig, reader: TableReader) -> None:
    path = ("providers", name, "base_url")
    try:
        url = urlsplit(provider.base_url)
        _ = url.port
    except ValueError:
        raise reader.error(path, "is no http(s) URL") from None
    if url.scheme not in ("http", "https") or not url.hostname:
        raise reader.error(path, f"'{provider.base_url}' is no http(s) URL")
    if url.username or url.password or url.query or url.fragment:
        raise reader.error(path, "must be scheme, host and path only; the key goes into 'api_key'")
    if not 0 <= provider.warm_connections <= provider.connections_max:
        raise reader.error(
            ("providers", name, "warm_connections"),
            f"must be from 0 to 'connections_max' ({provider.connections_max})",
        )
    _check_tls_files(name, provider, reader)


def _check_tls_files(name: str, provider: ProviderConfig, reader: TableReader) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if provider.ca_file is not None:
        try:
            context.load_verify_locations(provider.ca_file)
        except OSError as error:  # ssl.SSLError is one
            raise reader.error(
                ("providers", name, "ca_file"), f"cannot be used: {error.strerror}"
            ) from None
    cert_file, key_file = provider.client_cert_file, provider.client_key_file
    if cert_file is not None:
        try:
            # An encrypted key fails with an empty password; without one OpenSSL asks the terminal.
            context.load_cert_chain(cert_file, key_file, password="")
        except OSError as error:
            raise reader.error(
                ("providers", name, "client_cert_file"),
                f"and its key cannot be used: {error.strerror}",
            ) from None
    elif key_file is not None:
        raise reader.error(
            ("providers", name, "client_key_file"), "needs 'client_cert_file' beside it"
        )


def _resolve_proxy(
    name: str,
    provider: ProviderConfig,
    document: Mapping[str, Any],
    reader: TableReader,
    environ: Mapping[str, str],
) -> str | None:
    """The complete URL of a provider's proxy, from its row or the environment."""
    keys = ("providers", name, "proxy")
    url, password = provider.proxy, provider.proxy_password
    if password is not None and url in (None, "direct"):
        raise reader.error((*keys[:2], "proxy_password"), "needs 'proxy' beside it")
    if url == "direct":
        return None
    variable = None
    if url is None:
        origin = urlsplit(provider.base_url)
        assert origin.hostname is not None
        port = origin.port or (443 if origin.scheme == "https" else 80)
        found = environment_proxy(origin.scheme, origin.hostname, port, environ)
        if found is None:
            return None
        variable, url = found
    try:
        complete = complete_proxy(url, password)
    except ValueError as error:
        if variable is None:
            raise reader.error(keys, str(error)) from None
        raise reader.error(keys[:2], f"would go through {variable}, which {error}") from None
    written = document["providers"][name].get("proxy")
    if url == written and urlsplit(url).password is not None:
        raise reader.error(
            keys, "holds a password: give it in 'proxy_password', or make the URL a secret"
        )
    return complete


def _check_model(name: str, model: ModelConfig, config: Config, reader: TableReader) -> None:
    path = ("models", name, "deployments")
    if len(model.deployments) != 1:
        raise reader.error(path, f"must list one deployment, not {len(model.deployments)}")
    for deployment in model.deployments:
        if deployment.provider not in config.providers:
            raise reader.error(
                path,
                f"names the provider '{deployment.provider}', which is not configured"
                + reader.suggestion(deployment.provider, config.providers),
            )
    if model.free and model.price is not None:
        raise reader.error(("models", name, "free"), "contradicts the price beside it")
