"""What a configuration says of the URLs that clients name."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine import parse_config
from engine.config import EgressConfig
from engine.errors import ConfigError
from engine.upstream.provider_table import PROVIDERS

SECRET = "http://user:pass@proxy:3128"


def read(text: str) -> EgressConfig:
    return parse_config(f"[egress]\n{text}", "p.toml", {"EGRESS_PROXY": SECRET}).egress


def test_what_is_left_out_is_strict() -> None:
    egress = parse_config("", "p.toml", {"HTTPS_PROXY": SECRET, "ALL_PROXY": SECRET}).egress

    assert egress == EgressConfig()
    assert egress.enabled
    assert not egress.http
    assert egress.private == egress.denied == frozenset()
    assert egress.ports == frozenset()
    assert egress.proxy is None


def test_an_operators_own_servers() -> None:
    egress = read(
        'private = ["10.1.0.0/16", "images.internal", "::1"]\nports = [8443]\nhttp = true'
    )

    assert egress.private == {"10.1.0.0/16", "images.internal", "::1"}
    assert egress.ports == {8443}


def test_a_proxy_with_a_password_is_a_secret() -> None:
    assert read('proxy = "http://proxy:3128"').proxy == "http://proxy:3128"
    egress = read('proxy = "env:EGRESS_PROXY"')

    assert egress.proxy == SECRET
    assert "pass" not in repr(egress)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('private = ["10.1.0.0/33"]', "egress.private has '10.1.0.0/33', which is no host name"),
        ('private = ["http://a/"]', "egress.private has 'http://a/'"),
        ('denied = ["*"]', "egress.denied has '*'"),
        ("ports = [0]", "egress.ports has 0, which is no port"),
        ("ports = [65536]", "egress.ports has 65536"),
        ("max_bytes = 0", "egress.max_bytes must be more than 0"),
        ("timeout_s = -1", "egress.timeout_s must be more than 0"),
        ('ca_file = "/nowhere.pem"', "egress.ca_file cannot be used: No such file"),
        ('proxy = "socks5://proxy"', "egress.proxy must be an http:// URL"),
        (f'proxy = "{SECRET}"', "egress.proxy holds a password"),
        ("allow = []", "egress.allow is unknown"),
    ],
)
def test_a_mistake_is_named_with_its_line(line: str, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(line)

    assert str(caught.value).startswith(f"p.toml:2: {problem}")
    assert "pass@" not in str(caught.value)


def test_who_takes_bytes_only() -> None:
    taken = {kind: set(row.inlines) for kind, row in PROVIDERS.items() if row.inlines}
    both = {"image", "document"}

    assert taken == {"gemini": both, "vertex-anthropic": both, "bedrock": both}


def test_a_provider_can_say_otherwise(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("a-key")
    text = f"""
[providers.gemini]
kind = "gemini"
api_key = "file:{tmp_path}/key"
inlines = ["image"]
[providers.other]
protocol = "openai"
base_url = "http://10.0.0.7/v1"
"""
    providers = parse_config(text, "p.toml", {}).providers

    assert providers["gemini"].inlines == {"image"}
    assert providers["other"].inlines == frozenset()
    with pytest.raises(ConfigError, match="must be 'image' or 'document', not 'video'"):
        parse_config(text.replace('["image"]', '["video"]'), "p.toml", {})
