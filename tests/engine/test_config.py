"""Configuration: what is accepted, and what an operator reads when it is not."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from engine.capabilities import Capabilities
from engine.catalogue import build_catalogue
from engine.config import Config, load_config, parse_config
from engine.errors import ConfigError
from engine.metering.pricing import FREE, Rates

EXAMPLE = """\
[server]
bind = ["127.0.0.1:8787"]
[storage]
url = "sqlite:parshall.db"
[providers.openai]
protocol = "openai"
base_url = "https://api.openai.com/v1"
api_key = "env:OPENAI_API_KEY"        # or file:/run/secrets/openai
on_cancel = "stop"
[models."gpt-5"]
deployments = [{ provider = "openai", model = "gpt-5" }]
price = { input = 1.25, cached_input = 0.125, output = 10.0 }
"""
ENVIRON = {"OPENAI_API_KEY": "sk-very-secret"}
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def read(text: str) -> Config:
    return parse_config(text, "parshall.toml", ENVIRON)


def complaint(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        build_catalogue(read(text), NOW)
    return str(caught.value)


def test_the_example() -> None:
    config = read(EXAMPLE)
    assert config.server.bind == ("127.0.0.1:8787",)
    assert config.storage.path == Path("parshall.db")
    assert config.providers["openai"].api_key == "sk-very-secret"
    price = config.models["gpt-5"].price
    assert price is not None
    assert price.cached_input == Decimal("0.125")


def test_an_empty_file_is_all_defaults() -> None:
    assert read("") == Config()


NOTICES = """[notices]
url = "https://ops.example/hooks"
secret = "env:HOOKS"
"""


def test_notices_are_sent_where_it_says() -> None:
    secret = "whsec_" + "A" * 32
    config = parse_config(NOTICES, "parshall.toml", {"HOOKS": secret})
    assert (config.notices.url, config.notices.secret) == ("https://ops.example/hooks", secret)
    assert secret not in repr(config)


@pytest.mark.parametrize(
    ("text", "secret", "problem"),
    [
        (NOTICES, "whsec_short", "3: notices.secret must be 'whsec_' and 24 to 64 bytes in base64"),
        (NOTICES, "###", "3: notices.secret must be 'whsec_' and 24 to 64 bytes in base64"),
        (NOTICES.replace("https", "ftp"), "A" * 32, "2: notices.url is no http(s) URL"),
        (NOTICES.replace("ops", "a:b@ops"), "A" * 32, "2: notices.url must be scheme, host, path"),
        (NOTICES.replace("example", "example:x"), "A" * 32, "2: notices.url is no http(s) URL"),
        ("[notices]\nsecret = 'env:HOOKS'", "A" * 32, "1: notices needs both 'url' and 'secret'"),
        ("[notices]\nurl = 'http://x'", "A" * 32, "1: notices needs both 'url' and 'secret'"),
    ],
)
def test_notices_that_cannot_be_sent_are_refused(text: str, secret: str, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(text, "parshall.toml", {"HOOKS": secret})
    assert str(caught.value).startswith(f"parshall.toml:{problem}")
    assert secret not in str(caught.value)


def test_secrets_are_never_printed() -> None:
    config = read(EXAMPLE)
    assert "very-secret" not in repr(config)
    assert "very-secret" not in str(config.source)


def test_a_secret_can_stand_in_a_file(tmp_path: Path) -> None:
    secret = tmp_path / "key"
    secret.write_text("sk-from-file\n")
    text = EXAMPLE.replace("env:OPENAI_API_KEY", f"file:{secret}")
    assert read(text).providers["openai"].api_key == "sk-from-file"


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("bind =", "bnid =", "parshall.toml:2: server.bnid is unknown; did you mean 'bind'?"),
        ("[server]", "[servre]", "parshall.toml:1: servre is unknown; did you mean 'server'?"),
        (
            "OPENAI_API_KEY",
            "OPENAI_KEY",
            "parshall.toml:8: providers.openai.api_key needs the environment variable OPENAI_KEY",
        ),
        (
            '"env:OPENAI_API_KEY"',
            '"sk-live"',
            'parshall.toml:8: providers.openai.api_key must be "env:NAME" or "file:/path": ',
        ),
        (
            "env:OPENAI_API_KEY",
            "file:/nonexistent",
            "parshall.toml:8: providers.openai.api_key cannot read the file /nonexistent",
        ),
        (
            'on_cancel = "stop"',
            'on_cancel = "go"',
            (
                "parshall.toml:9: providers.openai.on_cancel must be 'stop' or 'drain' or 'waive',"
                " not 'go'"
            ),
        ),
        (
            'protocol = "openai"\n',
            "",
            "parshall.toml:5: providers.openai needs 'protocol'",
        ),
        (
            'provider = "openai"',
            'provider = "opnai"',
            "the provider 'opnai', which is not configured; did you mean 'openai'?",
        ),
        (
            "output = 10.0",
            "otput = 10.0",
            "parshall.toml:12: models.gpt-5.price.otput is unknown; did you mean 'output'?",
        ),
        ("input = 1.25", "input = -1", "parshall.toml:12: models.gpt-5.price cannot be used"),
        ("input = 1.25", 'input = "1"', "models.gpt-5.price.input must be a number"),
        ("127.0.0.1:8787", "8787", "parshall.toml:2: server.bind entry 1 ('8787') must be HOST"),
        ("[storage]", "body_max_bytes = 0\n[storage]", "parshall.toml:3: server.body_max_bytes"),
        ("[storage]", "body_max_bytes = 1.5\n[storage]", "must be a whole number"),
        (
            "sqlite:parshall.db",
            "postgres://x",
            "parshall.toml:4: storage.url must be 'sqlite:FILE'",
        ),
        ("https://api", "ftp://api", "parshall.toml:7: providers.openai.base_url"),
        ("https://api", "https://user:pw@api", "the key goes into 'api_key'"),
        (
            'on_cancel = "stop"',
            'http2 = "on"',
            "http2 must be 'alpn' or 'prior-knowledge' or 'off', not 'on'",
        ),
        ("[server]", "[server", "parshall.toml: not valid TOML"),
        (
            'model = "gpt-5" }]\nprice',
            'model = "my-own" }]\n# price',
            "parshall.toml:10: models.gpt-5 has no price",
        ),
    ],
)
def test_a_mistake_is_named_with_its_line(old: str, new: str, expected: str) -> None:
    assert old in EXAMPLE
    assert expected in complaint(EXAMPLE.replace(old, new))


def test_an_unreadable_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path / "missing.toml", {})


def test_a_price_comes_from_the_file_then_the_library_then_free() -> None:
    configured = build_catalogue(read(EXAMPLE), NOW)["gpt-5"]
    listed = build_catalogue(read(EXAMPLE.replace("price =", "# price =")), NOW)["gpt-5"]
    said = Rates(1_250_000, 125_000, 1_250_000, 10_000_000)
    assert configured.price == said
    assert replace(listed.price, more={}, services={}) == said
    free = EXAMPLE.replace("price =", "free = true #").replace('"gpt-5" }', '"my-own" }')
    assert build_catalogue(read(free), NOW)["gpt-5"].price == FREE


def test_a_cost_can_differ_from_the_price() -> None:
    text = EXAMPLE.replace(
        'model = "gpt-5" }', 'model = "gpt-5", cost = { input = 1, output = 2 } }'
    )
    model = build_catalogue(read(text), NOW)["gpt-5"]
    assert model.deployments[0].cost == Rates(1_000_000, 1_000_000, 1_000_000, 2_000_000)
    assert model.price.input == 1_250_000


PROXY = 'on_cancel = "stop"'
ENVIRON_PROXY = {"PROXY_PASSWORD": "pass/word", "PROXY_URL": "http://ann:pass@proxy.test:3128"}


def proxy_of(line: str, **environ: str) -> str | None:
    text = EXAMPLE.replace(PROXY, line)
    return parse_config(text, "p.toml", ENVIRON | ENVIRON_PROXY | environ).providers["openai"].proxy


@pytest.mark.parametrize(
    ("line", "environ", "expected"),
    [
        ("", {}, None),
        ('proxy = "http://proxy.test:3128"', {}, "http://proxy.test:3128"),
        (
            'proxy = "http://ann@proxy.test"\nproxy_password = "env:PROXY_PASSWORD"',
            {},
            "http://ann:pass%2Fword@proxy.test",
        ),
        ('proxy = "env:PROXY_URL"', {}, "http://ann:pass@proxy.test:3128"),
        ("", {"HTTPS_PROXY": "http://ann:pw@p:1"}, "http://ann:pw@p:1"),
        ("", {"HTTPS_PROXY": "http://p:1", "NO_PROXY": ".openai.com"}, None),
        ("", {"HTTP_PROXY": "http://p:1"}, None),
        ("", {"ALL_PROXY": "p:1"}, "http://p:1"),
        ('proxy = "http://own:1"', {"HTTPS_PROXY": "http://p:1"}, "http://own:1"),
        ('proxy = "http://own:1"', {"NO_PROXY": "*"}, "http://own:1"),
        ('proxy = "direct"', {"HTTPS_PROXY": "http://p:1"}, None),
    ],
)
def test_a_proxy_comes_from_the_file_then_the_environment(
    line: str, environ: dict[str, str], expected: str | None
) -> None:
    assert proxy_of(line, **environ) == expected


def test_a_proxy_can_stand_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "url").write_text("http://ann:pw@p:1\n")
    assert proxy_of(f'proxy = "file:{tmp_path}/url"') == "http://ann:pw@p:1"


@pytest.mark.parametrize(
    ("line", "environ", "expected"),
    [
        (
            'proxy = "http://ann:pa55word@p:1"',
            {},
            "p.toml:9: providers.openai.proxy holds a password: give it in 'proxy_password'",
        ),
        ('proxy = "socks5://p:1"', {}, "p.toml:9: providers.openai.proxy must be an http:// URL"),
        ('proxy = "http://p:port"', {}, "p.toml:9: providers.openai.proxy has a port that is none"),
        ('proxy = "env:NO_SUCH"', {}, "p.toml:9: providers.openai.proxy needs the environment"),
        (
            'proxy_password = "env:PROXY_PASSWORD"',
            {},
            "p.toml:9: providers.openai.proxy_password needs 'proxy' beside it",
        ),
        (
            'proxy = "http://p:1"\nproxy_password = "env:PROXY_PASSWORD"',
            {},
            "p.toml:9: providers.openai.proxy has a password but no user",
        ),
        (
            'proxy = "http://ann@p:1"\nproxy_password = "pa55word"',
            {},
            'p.toml:10: providers.openai.proxy_password must be "env:NAME"',
        ),
        (
            'proxy = "env:BAD"',
            {"BAD": "https://ann:pa55word@p:1"},
            "p.toml:9: providers.openai.proxy must be an http:// URL",
        ),
        (
            "",
            {"HTTPS_PROXY": "socks5://ann:pa55word@p:1"},
            "p.toml:5: providers.openai would go through HTTPS_PROXY, which must be an http:// URL",
        ),
    ],
)
def test_a_proxy_that_is_none_is_named_without_its_password(
    line: str, environ: dict[str, str], expected: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        proxy_of(line, **environ)
    assert expected in str(caught.value)
    assert "pa55word" not in str(caught.value)


def test_a_proxys_password_is_never_printed() -> None:
    text = EXAMPLE.replace(PROXY, 'proxy = "env:PROXY_URL"')
    config = parse_config(text, "p.toml", ENVIRON | ENVIRON_PROXY)
    assert "pass" not in repr(config)


def test_the_environments_proxy_is_not_for_this_machine() -> None:
    text = EXAMPLE.replace("https://api.openai.com", "http://127.0.0.1:8000")
    config = parse_config(text, "p.toml", ENVIRON | {"HTTP_PROXY": "http://p:1"})
    assert config.providers["openai"].proxy is None


def test_connections_and_timeouts() -> None:
    row = read(EXAMPLE).providers["openai"]
    assert (row.connections_max, row.warm_connections, row.total_timeout_s) == (256, 0, None)
    lines = "total_timeout_s = 30\nconnections_max = 4\nwarm_connections = 0"
    row = read(EXAMPLE.replace(PROXY, lines)).providers["openai"]
    assert (row.connections_max, row.warm_connections, row.total_timeout_s) == (4, 0, 30.0)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("warm_connections = 3\nconnections_max = 2", "must be from 0 to 'connections_max' (2)"),
        ("connections_max = 0", "connections_max must be more than 0"),
        ("total_timeout_s = 0", "total_timeout_s must be more than 0"),
        ("warm_connections = -1", "warm_connections must be 0 or more"),
        ("total_timeout_s = nan", "total_timeout_s must be more than 0"),
        ('connection_max_age_s = "1h"', "connection_max_age_s must be a number"),
        ('ca_file = "/nonexistent"', "ca_file cannot be used: No such file"),
        ('client_key_file = "/key"', "client_key_file needs 'client_cert_file' beside it"),
        ('client_cert_file = "/nonexistent"', "client_cert_file and its key cannot be used: No"),
    ],
)
def test_a_mistake_about_connections_is_named_with_its_line(line: str, expected: str) -> None:
    said = complaint(EXAMPLE.replace(PROXY, line))
    assert said.startswith("parshall.toml:9: providers.openai.")
    assert expected in said


@pytest.mark.parametrize("url", ["https://[::1/v1", "https://api:port/v1", "https:///v1"])
def test_what_is_no_url_is_said_so(url: str) -> None:
    said = complaint(EXAMPLE.replace("https://api.openai.com/v1", url))
    assert said.startswith("parshall.toml:7: providers.openai.base_url")
    assert "is no http(s) URL" in said


def test_tls_files_that_hold_nothing_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.pem").write_text("")
    for key in ("ca_file", "client_cert_file"):
        said = complaint(EXAMPLE.replace(PROXY, f'{key} = "{tmp_path}/empty.pem"'))
        assert f"providers.openai.{key}" in said
        assert "cannot be used" in said


DEPLOYMENT = '[{ provider = "openai", model = "gpt-5" }]'


def capable(line: str) -> str:
    return EXAMPLE.replace(
        DEPLOYMENT,
        f'[{{ provider = "openai", model = "gpt-5", capabilities = {{ {line} }} }}]',
    )


def test_capabilities_are_read_as_values() -> None:
    line = 'media = ["image"], efforts = ["low", "high"], stop = false, output_max_tokens = 9'
    (deployment,) = read(capable(line)).models["gpt-5"].deployments
    assert deployment.capabilities == Capabilities(
        media=frozenset({"image"}), efforts=("low", "high"), stop=False, output_max_tokens=9
    )
    (deployment,) = read(capable("media = []")).models["gpt-5"].deployments
    assert deployment.capabilities == Capabilities(media=frozenset())
    assert read(EXAMPLE).models["gpt-5"].deployments[0].capabilities is None


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("stopp = true", "capabilities.stopp is unknown; did you mean 'stop'?"),
        ('media = "image"', "capabilities.media must be a list"),
        ('media = ["images"]', "capabilities.media must be 'image' or 'audio' or 'document' or"),
        ("tools = 1", "capabilities.tools must be true or false"),
        ('reasoning = "much"', "capabilities.reasoning must be 'none' or 'effort'"),
        ("efforts = []", "capabilities.efforts must be a list that is not empty"),
        ("output_max_tokens = 0", "capabilities.output_max_tokens must be more than 0"),
    ],
)
def test_a_mistake_about_capabilities_is_named_with_its_line(line: str, expected: str) -> None:
    said = complaint(capable(line))
    assert said.startswith("parshall.toml:11: models.gpt-5.deployments.")
    assert expected in said
