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
from engine.config_tables import (
    BillingConfig,
    Config,
    DeploymentConfig,
    ModelConfig,
    PriceConfig,
    ProviderConfig,
    ServerConfig,
    StorageConfig,
)
from engine.errors import ConfigError
from engine.toml import TableReader
from engine.upstream.provider_table import PROVIDERS, ProviderRow

__all__ = [
    "BillingConfig",
    "Config",
    "DeploymentConfig",
    "ModelConfig",
    "PriceConfig",
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
        secrets=frozenset({"api_key", "proxy_password"}),
        maybe_secrets=frozenset({"proxy"}),
    )
    _fill_in_rows(document, reader, environ)
    config = reader.read(Config, document, ())
    check(config, reader)
    providers = {
        key: dataclasses.replace(row, proxy=resolve_proxy(key, row, document, reader, environ))
        for key, row in config.providers.items()
    }
    return dataclasses.replace(config, providers=providers, source=reader)


def _fill_in_rows(
    document: dict[str, Any], reader: TableReader, environ: Mapping[str, str]
) -> None:
    """Put the values of its row into each provider's table that names a kind."""
    tables = document.get("providers")
    if not isinstance(tables, dict):
        return  # said by the reader
    for name, table in tables.items():
        kind = table.get("kind") if isinstance(table, dict) else None
        if not isinstance(kind, str):
            continue
        row = PROVIDERS.get(kind)
        if row is None:
            raise reader.error(
                ("providers", name, "kind"),
                f"'{kind}' is unknown{reader.suggestion(kind, PROVIDERS)}",
            )
        if row.base_url is None and "base_url" not in table:
            raise reader.error(("providers", name), f"needs 'base_url': '{kind}' has no common one")
        tables[name] = _values(row) | table
        variable = row.api_key_env
        if variable is None or "api_key" in table or table.get("auth") == "none":
            continue
        if not environ.get(variable, "").strip():
            raise reader.error(
                ("providers", name), f"needs 'api_key', or the environment variable {variable}"
            )
        tables[name]["api_key"] = f"env:{variable}"


def _values(row: ProviderRow) -> dict[str, Any]:
    """A row as a table of a configuration."""
    said = {
        field.name: value
        for field in dataclasses.fields(row)
        if field.name != "api_key_env" and (value := getattr(row, field.name)) is not None
    }
    return said | {"refuses": list(row.refuses)}
