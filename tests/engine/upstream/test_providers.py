"""A provider is a row."""

from __future__ import annotations

import pytest

from engine.upstream.providers import Provider


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
