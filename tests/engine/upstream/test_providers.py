"""A provider is a row."""

from __future__ import annotations

from typing import Any, Literal

import pytest

from engine.upstream.provider_table import Auth
from engine.upstream.providers import Provider
from engine.wire.http import Headers


def signed(provider: Provider) -> Headers:
    """The headers that prove its requests."""
    return provider.credentials.sign("POST", "/v1/chat/completions", b"{}")


def row(base_url: str) -> Provider:
    return Provider(name="p", protocol="openai", base_url=base_url, api_key="sk-secret")


@pytest.mark.parametrize(
    ("base_url", "authority", "port", "path"),
    [
        ("https://api.openai.com/v1", "api.openai.com", 443, "/v1/chat/completions"),
        ("https://host:8443/", "host:8443", 8443, "/chat/completions"),
        ("http://host:80/a/b/", "host", 80, "/a/b/chat/completions"),
        ("http://[::1]:9000/v1", "[::1]:9000", 9000, "/v1/chat/completions"),
    ],
)
def test_where_requests_go(base_url: str, authority: str, port: int, path: str) -> None:
    provider = row(base_url)
    assert provider.origin.authority == authority
    assert provider.origin.port == port
    assert provider.path("/chat/completions") == path


@pytest.mark.parametrize(
    "base_url", ["ftp://host/", "host/v1", "https://", "https://h/?k=1", "https://h:99999/"]
)
def test_what_is_not_a_base_url(base_url: str) -> None:
    with pytest.raises(ValueError, match=r"base_url|[Pp]ort"):
        row(base_url)


def test_the_key_is_not_shown() -> None:
    assert "sk-secret" not in repr(row("https://h/v1"))


def test_equal_origins_share_connections() -> None:
    assert row("https://h/v1").origin == row("https://h/v2").origin


@pytest.mark.parametrize(
    ("protocol", "auth", "header"),
    [
        ("openai", None, (b"authorization", b"Bearer sk-secret")),
        ("anthropic", None, (b"x-api-key", b"sk-secret")),
        ("gemini", None, (b"x-goog-api-key", b"sk-secret")),
        ("openai", "api-key", (b"api-key", b"sk-secret")),
        ("anthropic", "bearer", (b"authorization", b"Bearer sk-secret")),
        ("openai", "none", None),
    ],
)
def test_where_the_key_goes(
    protocol: Literal["openai", "anthropic", "gemini"],
    auth: Auth | None,
    header: tuple[bytes, bytes] | None,
) -> None:
    provider = Provider("p", protocol, "https://h/v1", api_key="sk-secret", auth=auth)
    assert signed(provider) == ([] if header is None else [header])
    assert signed(Provider("p", protocol, "https://h/v1", auth=auth)) == []


@pytest.mark.parametrize(
    ("row", "suffix", "path"),
    [
        ({"model_path": "/d/{model}"}, "/chat/completions", "/v1/d/a%2Fb%20c/chat/completions"),
        ({"api_version": "2024-10-21"}, "/chat", "/v1/chat?api-version=2024-10-21"),
        ({"api_version": "x&y"}, "/m:s?alt=sse", "/v1/m:s?alt=sse&api-version=x%26y"),
    ],
)
def test_the_model_and_the_version_in_a_path(row: dict[str, Any], suffix: str, path: str) -> None:
    provider = Provider("p", "openai", "https://h/v1/", **row)
    assert provider.path(suffix, "a/b c") == path


def test_a_pool_of_keys_has_credentials_for_each() -> None:
    provider = Provider("p", "anthropic", "https://h/v1", api_keys=("sk-one", "sk-two"))
    signed_by = [provider.credentials_of(key).sign("POST", "/v1/messages", b"") for key in (0, 1)]
    assert signed_by == [[(b"x-api-key", b"sk-one")], [(b"x-api-key", b"sk-two")]]
    assert provider.credentials_of(0) is provider.credentials
    assert provider.credentials_of(1) is provider.credentials_of(1), "one object all the time"
    assert "sk-" not in repr(provider)
