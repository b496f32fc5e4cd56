"""Configuration: one TOML file and the environment, read into frozen dataclasses.

Everything unknown or impossible is refused at start, with the line and a suggestion. Secrets are
named in the file (`env:NAME`, `file:PATH`), never written there, and never printed.
"""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from engine.config_access import (
    ADMIN_VARIABLE,
    AdminConfig,
    LimitsConfig,
    OperatorConfig,
    PlanConfig,
)
from engine.config_agents import AgentsConfig
from engine.config_checks import bind_problem, check, check_storage, resolve_proxy
from engine.config_files import FilesConfig
from engine.config_jobs import JobsConfig
from engine.config_plans import check_access, require_operator
from engine.config_prices import PriceConfig, PriceRowConfig
from engine.config_routing import (
    AutoConfig,
    AutoModelConfig,
    BreakerConfig,
    DeploymentConfig,
    ModelConfig,
    RoutingConfig,
)
from engine.config_rows import fill_in_rows
from engine.config_state import StateConfig
from engine.config_tables import (
    BillingConfig,
    Config,
    EgressConfig,
    MediaConfig,
    NoticesConfig,
    ProviderConfig,
    ServerConfig,
    StorageConfig,
)
from engine.config_webhooks import WebhooksConfig
from engine.errors import ConfigError
from engine.toml import TableReader

__all__ = [
    "AdminConfig",
    "AgentsConfig",
    "AutoConfig",
    "AutoModelConfig",
    "BillingConfig",
    "BreakerConfig",
    "Config",
    "DeploymentConfig",
    "EgressConfig",
    "FilesConfig",
    "JobsConfig",
    "LimitsConfig",
    "MediaConfig",
    "ModelConfig",
    "NoticesConfig",
    "OperatorConfig",
    "PlanConfig",
    "PriceConfig",
    "PriceRowConfig",
    "ProviderConfig",
    "RoutingConfig",
    "ServerConfig",
    "StateConfig",
    "StorageConfig",
    "WebhooksConfig",
    "bind_problem",
    "load_config",
    "load_storage",
    "parse_config",
    "require_operator",
]


def load_config(path: Path, environ: Mapping[str, str]) -> Config:
    """Read a TOML file.

    Raises:
        ConfigError: unreadable, not TOML, an unknown key, a value of a wrong type or out of range,
            or a secret that is not there; with the line.
    """
    return parse_config(_read_text(path), str(path), environ)


def load_storage(path: Path) -> StorageConfig:
    """Of a TOML file where the ledger is, and nothing else: who asks for it needs no secret of a
    provider, and no file that could be served from.

    Raises:
        ConfigError: unreadable, not TOML, or its table `[storage]` is none.
    """
    text = _read_text(path)
    reader = TableReader(text, str(path), {}, secrets=())
    storage = reader.read(StorageConfig, _parse(text, str(path)).get("storage", {}), ("storage",))
    check_storage(storage, reader)
    return storage


def _read_text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: cannot be read: it is not UTF-8 text") from None


def _parse(text: str, name: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text, parse_float=Decimal)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{name}: not valid TOML: {error}") from None


def parse_config(text: str, name: str, environ: Mapping[str, str]) -> Config:
    """Read TOML text; `name` is what errors call it. Raises as `load_config`."""
    document = _parse(text, name)
    reader = TableReader(
        text,
        name,
        environ,
        secrets=frozenset(
            {"access_key", "api_key", "api_keys", "proxy_password", "secret", "secret_key"}
        ),
        maybe_secrets=frozenset({"proxy"}),
    )
    fill_in_rows(document, reader, environ)
    config = reader.read(Config, document, ())
    check(config, document, reader)
    providers = {
        key: dataclasses.replace(row, proxy=resolve_proxy(key, row, document, reader, environ))
        for key, row in config.providers.items()
    }
    secret = config.admin.secret or environ.get(ADMIN_VARIABLE, "").strip() or None
    admin = dataclasses.replace(config.admin, secret=secret)
    config = dataclasses.replace(config, providers=providers, admin=admin, source=reader)
    check_access(config, environ)
    return config
