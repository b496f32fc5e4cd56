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

from engine.config_checks import bind_problem, check, resolve_proxy
from engine.config_rows import fill_in_rows
from engine.config_tables import (
    BillingConfig,
    Config,
    DeploymentConfig,
    EgressConfig,
    ModelConfig,
    NoticesConfig,
    PriceConfig,
    PriceRowConfig,
    ProviderConfig,
    ServerConfig,
    StorageConfig,
)
from engine.errors import ConfigError
from engine.toml import TableReader

__all__ = [
    "BillingConfig",
    "Config",
    "DeploymentConfig",
    "EgressConfig",
    "ModelConfig",
    "NoticesConfig",
    "PriceConfig",
    "PriceRowConfig",
    "ProviderConfig",
    "ServerConfig",
    "StorageConfig",
    "bind_problem",
    "load_config",
    "parse_config",
]


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
        secrets=frozenset({"api_key", "proxy_password", "secret"}),
        maybe_secrets=frozenset({"proxy"}),
    )
    fill_in_rows(document, reader, environ)
    config = reader.read(Config, document, ())
    check(config, document, reader)
    providers = {
        key: dataclasses.replace(row, proxy=resolve_proxy(key, row, document, reader, environ))
        for key, row in config.providers.items()
    }
    return dataclasses.replace(config, providers=providers, source=reader)
