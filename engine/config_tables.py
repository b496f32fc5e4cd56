"""What a configuration can say: a frozen dataclass for each table, with its defaults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Literal

from engine.config_access import AdminConfig, LimitsConfig, PlanConfig
from engine.config_agents import AgentsConfig
from engine.config_files import FilesConfig
from engine.config_job_specs import JobSpecConfig
from engine.config_jobs import JobsConfig
from engine.config_prices import PriceRowConfig
from engine.config_routing import AutoConfig, ModelConfig, RoutingConfig
from engine.config_state import StateConfig
from engine.config_webhooks import WebhooksConfig
from engine.errors import ConfigError
from engine.owned import StateApi
from engine.protocols.quirks import Hosting, InlineKind, OutputLimitField
from engine.toml import Keys, TableReader
from engine.upstream.provider_table import Auth, FilesApi


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """Where and how the gateway serves."""

    bind: tuple[str, ...] = ("127.0.0.1:8787",)
    """`host:port` or `unix:/path`; port 0 takes a free one."""
    server: Literal["parshall", "hypercorn"] = "parshall"
    """Whose HTTP/1.1 and HTTP/2 are spoken with clients."""
    tls_cert: Path | None = None
    """PEM; with it and `tls_key` TCP is TLS only. Both are read again when they change."""
    tls_key: Path | None = None
    trusted_proxies: tuple[str, ...] = ()
    """Addresses, networks, or `unix`: whose `X-Forwarded-For` and PROXY protocol are believed."""
    proxy_protocol: bool = False
    """They open connections with a header of the PROXY protocol, version 1 or 2."""
    connections_per_ip_max: int = 1_000
    """Of one address, or one /64 of IPv6; this machine and trusted proxies are not counted."""
    header_timeout_s: float = 20.0
    """For TLS, and for the head of a request."""
    keep_alive_s: float = 75.0
    """A connection without a request is closed after so long."""
    coalesce_ms: int = 5
    """So long tokens may wait for one another, once the process lags."""
    header_max_bytes: int = 32_768
    """Of one request's head."""
    body_max_bytes: int = 50 * 1024 * 1024
    audio_max_bytes: int = 25 * 1024 * 1024
    """Of a recording that is to be transcribed."""
    body_grace_s: float = 30.0
    """A body may take so long, and longer by what has come of it at `body_rate_min_bytes_per_s`."""
    body_rate_min_bytes_per_s: int = 1_024
    connections_max: int = 10_000
    exchanges_max: int = 10_000
    parsing_max_bytes: int = 400 * 1024 * 1024
    """Of all request bodies that arrive, or that their providers have not answered yet."""
    parsed_here_max_bytes: int = 256 * 1024
    """Larger bodies are parsed in a helper process, which keeps the event loop free."""
    spooled_min_bytes: int = 4 * 1024 * 1024
    """Bodies of this size and more wait in files."""
    spool_dir: Path | None = None
    """Where; the files have no names. Left out: the system's folder for temporary files."""
    spool_max_bytes: int = 8 * 1024**3
    """Of all these files."""
    memory_max_bytes: int = field(default=0, metadata={"positive": False})
    """A process that takes more refuses new requests; 0: four fifths of what it may take."""
    lag_max_s: float = 0.1
    """So does one whose event loop lags by more than this for a second."""
    drain_delay_s: float = field(default=0.0, metadata={"positive": False})
    """A server that is to stop serves on for so long, not ready, that balancers take notice."""
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
    output_max_bytes: int = 256 * 1024 * 1024
    """Of all clients together; beyond it the one that lags most is cut."""
    streams_max: int = 100
    """Requests under way on one HTTP/2 connection."""
    header_brand: str = "Parshall"
    """In the names of the gateway's own headers: `x-parshall-cost`."""


@dataclass(frozen=True, slots=True)
class StorageConfig:
    """Where money and receipts are kept."""

    url: str = "sqlite:parshall.db"
    barrier_timeout_s: float = 5.0
    """How long an answer waits for its hold or its settlement to become durable."""
    progress_interval_s: float = 1.0
    """How old the progress of a stream may be that a crash would bill."""
    idempotency_keep_s: float = 86_400.0
    """Idempotency keys, and the answers given under them, are forgotten after so long."""
    hold_lease_s: float = 60.0
    """A hold that no exchange owns any more, for a fault of ours, is ended after so long."""
    receipts_keep_days: int = 0
    """Older receipts go to files of `archive_dir`, once a day; 0 keeps all in the database."""
    archive_dir: Path = Path("receipts")
    """Relative to the database's folder."""

    @property
    def path(self) -> Path:
        """The database file."""
        return Path(self.url.removeprefix("sqlite:"))

    @property
    def archive_folder(self) -> Path:
        """Where archived receipts go."""
        return self.path.parent / self.archive_dir


@dataclass(frozen=True, slots=True)
class BillingConfig:
    """How funds are reserved and shown."""

    credits_per_usd: Decimal = Decimal(1_000)
    show_cost: bool = True
    """Clients are told what they paid: in the usage of answers, and in headers of whole ones."""
    markup: Decimal = Decimal(1)
    """What customers pay, as a multiple of the cost, for a model without a price of its own."""
    output_slice_tokens: int = 2_048
    """A hold covers this much output and is extended by as much."""
    output_unary_tokens: int = 16_384
    """What is held for each choice of an answer in one piece that names no limit of its own."""
    output_min_tokens: int = 16
    """A balance that covers less output than this is refused."""
    drains_per_account_max: int = 4
    """More clients of one account that leave at the same time have their streams stopped."""


@dataclass(frozen=True, slots=True)
class NoticesConfig:
    """Where notices of budgets and overruns are sent, as Standard Webhooks."""

    url: str | None = None
    """Left out: they are only logged."""
    secret: str | None = field(default=None, repr=False)
    """`whsec_` and 24 to 64 bytes in base64: what the receiver verifies signatures by."""
    timeout_s: float = 10.0
    retry_min_s: float = 1.0
    """The pause after the first failure; it doubles, up to `retry_max_s`, with jitter."""
    retry_max_s: float = 3_600.0
    give_up_after_s: float = 86_400.0


@dataclass(frozen=True, slots=True)
class EgressConfig:
    """What is fetched of the URLs that clients name, for providers that take bytes only."""

    enabled: bool = True
    """Else such URLs are passed on, for the provider to judge."""
    http: bool = False
    """URLs without TLS too."""
    ports: frozenset[int] = frozenset()
    """Beside 443, and 80 where `http` is allowed."""
    private: frozenset[str] = frozenset()
    """Names, addresses and networks (CIDR) that are fetched from though they are not public."""
    denied: frozenset[str] = frozenset()
    """Those that never are; of a name, also those below it."""
    urls_max: int = 20
    max_bytes: int = 10 * 1024 * 1024
    total_max_bytes: int = 20 * 1024 * 1024
    """Of all URLs of a request."""
    timeout_s: float = 20.0
    """For each, redirects included."""
    idle_timeout_s: float = 5.0
    ca_file: Path | None = None
    """Trusted in place of the system's authorities (PEM)."""
    proxy: str | None = field(default=None, repr=False)
    """`http://host:port`, or a secret that is such a URL with a password; what the environment
    says of proxies is not heeded."""


@dataclass(frozen=True, slots=True)
class MediaConfig:
    """Generated media that clients fetch by a URL of the gateway."""

    url_ttl_s: float = 3_600.0
    """The URL ends after so long, and what it names is gone."""
    store_max_bytes: int = 1024**3
    """Of all of them, mostly in files of `spool_dir`; the oldest make room. One account has a
    fourth at most."""
    base_url: str | None = None
    """What clients reach the gateway by, for these URLs; left out: as the request has."""


@dataclass(frozen=True, slots=True)
class ProviderConfig:
    """An origin with a protocol, credentials and policies."""

    protocol: Literal["openai", "openai-responses", "anthropic", "gemini"]
    base_url: str
    """With the version in its path, e.g. https://api.openai.com/v1."""
    kind: str | None = None
    """A row of `engine.upstream.provider_table`, whose values stand for what is left out here."""
    api_key: str | None = field(default=None, repr=False)
    api_keys: tuple[str, ...] = field(default=(), repr=False)
    """In place of one: requests take them in turn, and leave out those that it refuses."""
    auth: Auth | None = None
    """How the key is sent; left out: as the protocol's own provider takes it."""
    model_path: str = ""
    """Between `base_url` and an operation's path, with the upstream model for `{model}`."""
    api_version: str | None = None
    """The query `api-version` of every request."""
    responses: bool = False
    """It speaks OpenAI's Responses too."""
    completions: bool = False
    """It speaks OpenAI's legacy completions too."""
    include_usage: bool = True
    """It takes `stream_options`; others say usage unasked."""
    output_limit_field: OutputLimitField | None = None
    """The only name that it knows for the limit of the output."""
    refuses: frozenset[str] = frozenset()
    """Fields of a request that it refuses, and that can be left out."""
    reasoning_apart: bool | None = None
    """Its `completion_tokens` leave reasoning out; left out: as its `total_tokens` prove."""
    inlines: frozenset[InlineKind] = frozenset()
    """Media that it takes as bytes only: what clients name by URL is fetched here."""
    files: FilesApi | None = None
    """Whose files API it has: files that requests name and that are too large go there once."""
    state: StateApi | None = None
    """Whose way it is that it keeps responses and what belongs to them."""
    hosting: Hosting | None = None
    """The cloud that offers the protocol in an envelope of its own."""
    region: str | None = None
    """Of the cloud: for `{region}` in `base_url`, and for signatures."""
    project: str | None = None
    """Google Cloud's: for `{project}` in `base_url`; left out: the one of `credentials_file`."""
    credentials_file: Path | None = None
    """Google's credentials (JSON); left out: the application default ones."""
    profile: str | None = None
    """Of AWS's shared files; left out: the one of AWS_PROFILE, or the default one."""
    on_cancel: Literal["stop", "drain", "waive"] = "stop"
    """When a client leaves: `stop` the stream and bill what came; `drain` it, i.e. read on for the
    provider's own figures and bill these; or `waive` it, i.e. bill nothing."""
    cancel_drain_s: float = 30.0
    """A drain takes so long at most, then it is a stop."""
    cancel_drain_tokens: int = 8_192
    """A drain reads so much more output at most, then it is a stop."""
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
    health_check_s: float | None = None
    """So often it is asked for its list of models, which costs nothing: whether it serves is known
    before a request meets it. Left out: never."""
    jobs: Mapping[str, JobSpecConfig] = field(default_factory=dict)
    """How it is asked for videos, for music."""


@dataclass(frozen=True, slots=True)
class Config:
    """Everything the gateway is told."""

    server: ServerConfig = field(default_factory=ServerConfig)
    storage: StorageConfig = field(default_factory=StorageConfig)
    billing: BillingConfig = field(default_factory=BillingConfig)
    notices: NoticesConfig = field(default_factory=NoticesConfig)
    egress: EgressConfig = field(default_factory=EgressConfig)
    media: MediaConfig = field(default_factory=MediaConfig)
    files: FilesConfig = field(default_factory=FilesConfig)
    jobs: JobsConfig = field(default_factory=JobsConfig)
    webhooks: WebhooksConfig = field(default_factory=WebhooksConfig)
    state: StateConfig = field(default_factory=StateConfig)
    agents: AgentsConfig = field(default_factory=AgentsConfig)
    providers: Mapping[str, ProviderConfig] = field(default_factory=dict)
    models: Mapping[str, ModelConfig] = field(default_factory=dict)
    prices: tuple[PriceRowConfig, ...] = ()
    admin: AdminConfig = field(default_factory=AdminConfig)
    limits: LimitsConfig = field(default_factory=LimitsConfig)
    plans: Mapping[str, PlanConfig] = field(default_factory=dict)
    routing: RoutingConfig = field(default_factory=RoutingConfig)
    auto: AutoConfig | None = None
    """Left out: clients name their model."""
    source: TableReader | None = field(default=None, repr=False, compare=False)
    """What was read, so that later checks can name a line too."""

    @property
    def files_folder(self) -> Path:
        """Where files are, unless they are in a bucket."""
        return self.storage.path.parent / self.files.folder

    @property
    def knowledge_path(self) -> Path:
        """The index of what agents know; it can be lost."""
        return self.storage.path.with_name(f"{self.storage.path.name}-knowledge")

    def error(self, keys: Keys, problem: str) -> ConfigError:
        """An error about a key, for the caller to raise."""
        if self.source is not None:
            return self.source.error(keys, problem)
        return ConfigError(f"configuration: {'.'.join(keys)} {problem}")
