"""A provider's table in the configuration, filled in from the row of its kind and the environment.

What the table says goes first, then the environment variables that the provider's own SDK reads,
then the row.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import orjson

from engine.toml import TableReader
from engine.upstream.provider_table import PROVIDERS, ProviderRow

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]*")
"""Of a project or a region: both go into URLs as they are."""
_PLACES: Final = ("project", "region")


def fill_in_rows(document: dict[str, Any], reader: TableReader, environ: Mapping[str, str]) -> None:
    """Put the values of its row into each provider's table that names a kind.

    Raises:
        ConfigError: an unknown kind, or something that its row cannot do without is nowhere; with
            the line.
    """
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
        tables[name] = _values(row) | _from_environment(row, environ) | table
        if isinstance(said := table.get("jobs"), dict):
            tables[name]["jobs"] = {**_values(row)["jobs"], **said}
        _fill_in_places(name, table, tables[name], row, reader)
        variable = row.api_key_env
        keyed = "api_key" in table or "api_keys" in table
        if variable is None or keyed or table.get("auth") == "none":
            continue
        if not environ.get(variable, "").strip():
            if tables[name].get("auth") == "aws":
                continue
            raise reader.error(
                ("providers", name), f"needs 'api_key', or the environment variable {variable}"
            )
        tables[name]["api_key"] = f"env:{variable}"


def _values(row: ProviderRow) -> dict[str, Any]:
    """A row as a table of a configuration."""
    said = {
        field.name: value
        for field in dataclasses.fields(row)
        if field.name not in ("api_key_env", "environment", "hosts", "jobs")
        and (value := getattr(row, field.name)) is not None
    }
    return said | {
        "refuses": list(row.refuses),
        "inlines": list(row.inlines),
        "jobs": {kind: {"like": spec} for kind, spec in row.jobs.items()},
    }


def _from_environment(row: ProviderRow, environ: Mapping[str, str]) -> dict[str, str]:
    """The keys that the environment says, each from the first of its variables that is set."""
    return {
        key: said[0]
        for key, variables in row.environment.items()
        if (said := [value for name in variables if (value := environ.get(name, "").strip())])
    }


def _fill_in_places(
    name: str, said: dict[str, Any], table: dict[str, Any], row: ProviderRow, reader: TableReader
) -> None:
    """Write project and region into the base URL, where it has places for them."""
    url = table["base_url"]
    if not isinstance(url, str):
        return  # said by the reader
    if "project" not in table and "{project}" in url:
        table |= _project_of(table.get("credentials_file"))
    for key in _PLACES:
        value, variables = table.get(key), row.environment.get(key, ())
        if f"{{{key}}}" not in url:
            continue
        if value is None:
            named = f", or the environment variable {variables[0]}" if variables else ""
            raise reader.error(("providers", name), f"needs '{key}'{named}")
        if not isinstance(value, str) or not _NAME.fullmatch(value):
            raise reader.error(("providers", name, key), f"names no {key}")
    if "base_url" not in said and (host := row.hosts.get(str(table.get("region")))):
        url = url.replace(urlsplit(url).netloc, host, 1)
    for key in _PLACES:
        url = url.replace(f"{{{key}}}", str(table.get(key)))
    table["base_url"] = url


def _project_of(credentials_file: object) -> dict[str, str]:
    """The project that a service account's file names; what is wrong with it is said later."""
    try:
        document = orjson.loads(Path(str(credentials_file)).read_bytes())
    except (OSError, ValueError):
        return {}
    project = document.get("project_id") if isinstance(document, dict) else None
    return {"project": project} if isinstance(project, str) else {}
