"""What is wrong with a configuration that no single value of it can say."""

from __future__ import annotations

import ipaddress
import re
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import orjson

from engine.config_files import check_files
from engine.config_job_specs import check_job_specs
from engine.config_models import check_models
from engine.config_state import check_state
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
from engine.egress import parse_hosts
from engine.toml import Keys, TableReader
from engine.wire.proxy import complete_proxy, environment_proxy, parse_proxy
from engine.wire.webhooks import signing_key

_FACTOR_MAX: Final = 1_000_000_000
_KEYS_MAX: Final = 64
_BRAND: Final = re.compile(r"(?=.{1,32}\Z)[A-Za-z0-9]+(?:-[A-Za-z0-9]+)*")


def check(config: Config, document: Mapping[str, Any], reader: TableReader) -> None:
    """What no single value can say.

    Raises:
        ConfigError: with the line.
    """
    check_storage(config.storage, reader)
    for index, bind in enumerate(config.server.bind):
        if problem := bind_problem(bind):
            raise reader.error(("server", "bind"), f"entry {index + 1} ('{bind}') {problem}")
    _check_front(config.server, reader)
    _check_billing(config.billing, reader)
    _check_notices(config.notices, reader)
    _check_webhooks(config.webhooks, reader)
    _check_egress(config.egress, document, reader)
    _check_media(config.media, reader)
    check_files(config.files, document.get("files"), reader)
    for name, provider in config.providers.items():
        _check_provider(name, provider, reader)
        check_job_specs(name, provider.jobs, reader)
    check_state(config.state, config.providers, reader)
    check_models(config, reader)


def check_storage(storage: StorageConfig, reader: TableReader) -> None:
    """Whether there can be a ledger. Raises ConfigError, with the line."""
    if not storage.url.startswith("sqlite:") or not storage.path.name:
        raise reader.error(
            ("storage", "url"), "must be 'sqlite:FILE'; other stores are not supported"
        )


def bind_problem(bind: str) -> str | None:
    """What is wrong with an address to bind, or None."""
    if bind.startswith("unix:"):
        return None if len(bind) > len("unix:") else "names no path"
    host, colon, port = bind.rpartition(":")
    if not colon or not host or not port.isdecimal() or int(port) > 65_535:
        return "must be HOST:PORT or unix:/path"
    return None


def _check_front(server: ServerConfig, reader: TableReader) -> None:
    if (server.tls_cert is None) != (server.tls_key is None):
        raise reader.error(("server",), "needs both 'tls_cert' and 'tls_key'")
    if server.tls_cert is not None:
        try:
            # An encrypted key fails with an empty password; without one OpenSSL asks the terminal.
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(
                server.tls_cert, server.tls_key, password=""
            )
        except OSError as error:
            reason = str(error.strerror)
            if isinstance(error, ssl.SSLError):  # OpenSSL's own words are few
                need = "both must be PEM, the key that of the certificate, without a passphrase"
                reason = f"{need} ({reason})"
            raise reader.error(
                ("server", "tls_cert"), f"and its key cannot be used: {reason}"
            ) from None
    for entry in server.trusted_proxies:
        try:
            if entry != "unix":
                ipaddress.ip_network(entry)
        except ValueError:
            raise reader.error(
                ("server", "trusted_proxies"),
                f"has '{entry}', which is neither an address, a network nor 'unix'",
            ) from None
    if server.proxy_protocol and not server.trusted_proxies:
        raise reader.error(("server", "proxy_protocol"), "needs 'trusted_proxies': it is theirs")
    if not _BRAND.fullmatch(server.header_brand):
        raise reader.error(
            ("server", "header_brand"), "must be letters, digits and hyphens, at most 32"
        )


def _check_billing(billing: BillingConfig, reader: TableReader) -> None:
    factors = {"credits_per_usd": billing.credits_per_usd, "markup": billing.markup}
    for name, factor in factors.items():
        if not (factor.is_finite() and 0 < factor <= _FACTOR_MAX):
            raise reader.error(
                ("billing", name),
                f"must be more than 0, and {_FACTOR_MAX:,} at most, not {factor}",
            )


def _check_media(media: MediaConfig, reader: TableReader) -> None:
    if media.base_url is None:
        return
    problem = "must be http(s)://HOST, maybe with a port and a path"
    try:
        url = urlsplit(media.base_url)
        _ = url.port
    except ValueError:
        raise reader.error(("media", "base_url"), problem) from None
    fine = url.scheme in ("http", "https") and url.hostname
    if not fine or url.username or url.password or url.query or url.fragment:
        raise reader.error(("media", "base_url"), problem)


def _check_notices(notices: NoticesConfig, reader: TableReader) -> None:
    if (notices.url is None) != (notices.secret is None):
        raise reader.error(("notices",), "needs both 'url' and 'secret'")
    if notices.url is None or notices.secret is None:
        return
    try:
        url = urlsplit(notices.url)
        _ = url.port
    except ValueError:
        raise reader.error(("notices", "url"), "is no http(s) URL") from None
    if url.scheme not in ("http", "https") or not url.hostname:
        raise reader.error(("notices", "url"), "is no http(s) URL")
    if url.username or url.password or url.fragment:
        raise reader.error(("notices", "url"), "must be scheme, host, path and query only")
    try:
        signing_key(notices.secret)
    except ValueError:
        raise reader.error(
            ("notices", "secret"), "must be 'whsec_' and 24 to 64 bytes in base64"
        ) from None


def _check_webhooks(webhooks: WebhooksConfig, reader: TableReader) -> None:
    if webhooks.retry_min_s > webhooks.retry_max_s:
        raise reader.error(("webhooks", "retry_min_s"), "is more than 'retry_max_s'")
    if webhooks.at_once_per_account > webhooks.at_once:
        raise reader.error(("webhooks", "at_once_per_account"), "is more than 'at_once'")


def _check_egress(egress: EgressConfig, document: Mapping[str, Any], reader: TableReader) -> None:
    for key, hosts in (("private", egress.private), ("denied", egress.denied)):
        try:
            parse_hosts(hosts)
        except ValueError as error:
            raise reader.error(("egress", key), str(error)) from None
    for port in egress.ports:
        if not 0 < port < 65_536:
            raise reader.error(("egress", "ports"), f"has {port}, which is no port")
    if egress.ca_file is not None:
        _check_authorities(egress.ca_file, ("egress", "ca_file"), reader)
    if egress.proxy is not None:
        try:
            proxy = parse_proxy(egress.proxy)
        except ValueError as error:
            raise reader.error(("egress", "proxy"), str(error)) from None
        if proxy.authorization is not None and document["egress"]["proxy"] == egress.proxy:
            raise reader.error(("egress", "proxy"), "holds a password: make the URL a secret")


def _check_authorities(path: Path, keys: Keys, reader: TableReader) -> None:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except OSError as error:  # ssl.SSLError is one
        raise reader.error(keys, f"cannot be used: {error.strerror}") from None


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
    _check_keys(name, provider, reader)
    _check_tls_files(name, provider, reader)
    _check_google(name, provider, reader)
    _check_aws(name, provider, reader)


def _check_keys(name: str, provider: ProviderConfig, reader: TableReader) -> None:
    path = ("providers", name)
    if provider.api_keys and provider.api_key is not None:
        raise reader.error((*path, "api_keys"), "stands in place of 'api_key': say one of them")
    if len(provider.api_keys) > _KEYS_MAX:
        raise reader.error((*path, "api_keys"), f"must be {_KEYS_MAX} at most")
    if len(set(provider.api_keys)) < len(provider.api_keys):
        raise reader.error((*path, "api_keys"), "holds one key twice")
    if provider.api_keys and provider.auth == "none":
        raise reader.error((*path, "api_keys"), 'are not sent where auth is "none"')
    if provider.health_check_s is not None and provider.hosting is not None:
        raise reader.error(
            (*path, "health_check_s"), f"cannot be: {provider.hosting} has no list of models there"
        )


def _check_tls_files(name: str, provider: ProviderConfig, reader: TableReader) -> None:
    if provider.ca_file is not None:
        _check_authorities(provider.ca_file, ("providers", name, "ca_file"), reader)
    cert_file, key_file = provider.client_cert_file, provider.client_key_file
    if cert_file is not None:
        try:
            # An encrypted key fails with an empty password; without one OpenSSL asks the terminal.
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
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


def _check_google(name: str, provider: ProviderConfig, reader: TableReader) -> None:
    path = ("providers", name, "credentials_file")
    if provider.auth != "google":
        if provider.credentials_file is not None:
            raise reader.error(path, 'is only for auth = "google"')
        return
    if provider.api_key is not None or provider.api_keys:
        key = "api_keys" if provider.api_keys else "api_key"
        raise reader.error((*path[:2], key), 'is not sent where auth is "google"')
    if provider.credentials_file is None:
        return
    try:
        document = orjson.loads(provider.credentials_file.read_bytes())
    except OSError as error:
        raise reader.error(path, f"cannot be read: {error.strerror}") from None
    except orjson.JSONDecodeError:
        raise reader.error(path, "is not JSON") from None
    if not isinstance(document, dict) or not isinstance(document.get("type"), str):
        raise reader.error(path, "holds no credentials of Google's: there is no 'type' in it")


def _check_aws(name: str, provider: ProviderConfig, reader: TableReader) -> None:
    path, keyed = ("providers", name), provider.api_key is not None or bool(provider.api_keys)
    if provider.profile is not None:
        if provider.auth != "aws":
            raise reader.error((*path, "profile"), 'is only for auth = "aws"')
        if keyed:
            raise reader.error((*path, "profile"), "signs nothing where there is an 'api_key'")
    if provider.auth == "aws" and not keyed and provider.region is None:
        raise reader.error(path, "needs 'region': signatures are for one")


def resolve_proxy(
    name: str,
    provider: ProviderConfig,
    document: Mapping[str, Any],
    reader: TableReader,
    environ: Mapping[str, str],
) -> str | None:
    """The complete URL of a provider's proxy, from its row or the environment.

    Raises:
        ConfigError: it is no proxy's, or holds a password.
    """
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
