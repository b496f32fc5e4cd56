"""The keys of `[server]` that say how clients are met."""

from __future__ import annotations

from pathlib import Path

import pytest
import trustme

from engine import Config, ConfigError, parse_config


def read(*lines: str) -> Config:
    return parse_config("\n".join(("[server]", *lines)), "parshall.toml", {})


def test_the_defaults_are_a_server_of_ours_that_trusts_nobody() -> None:
    server = read().server
    assert (server.server, server.tls_cert, server.tls_key) == ("parshall", None, None)
    assert (server.trusted_proxies, server.proxy_protocol) == ((), False)
    assert (server.connections_per_ip_max, server.coalesce_ms) == (1_000, 5)
    assert (server.header_timeout_s, server.keep_alive_s) == (20.0, 75.0)
    assert (server.header_max_bytes, server.streams_max) == (32_768, 100)
    assert server.output_max_bytes == 256 * 1024 * 1024


def test_a_certificate_and_proxies(tmp_path: Path) -> None:
    certificate, key = tmp_path / "server.crt", tmp_path / "server.key"
    issued = trustme.CA().issue_cert("localhost")
    issued.cert_chain_pems[0].write_to_path(str(certificate))
    issued.private_key_pem.write_to_path(str(key))
    server = read(
        f'tls_cert = "{certificate}"',
        f'tls_key = "{key}"',
        'trusted_proxies = ["10.0.0.0/8", "::1", "unix"]',
        "proxy_protocol = true",
        'server = "hypercorn"',
    ).server
    assert (server.tls_cert, server.tls_key) == (certificate, key)
    assert server.trusted_proxies == ("10.0.0.0/8", "::1", "unix")
    assert server.proxy_protocol
    assert server.server == "hypercorn"


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (['tls_cert = "a.crt"'], "1: server needs both 'tls_cert' and 'tls_key'"),
        (['tls_key = "a.key"'], "1: server needs both 'tls_cert' and 'tls_key'"),
        (
            ['tls_cert = "/nonexistent"', 'tls_key = "/nonexistent"'],
            "2: server.tls_cert and its key cannot be used: No such file or directory",
        ),
        (
            [f'tls_cert = "{__file__}"', f'tls_key = "{__file__}"'],
            "2: server.tls_cert and its key cannot be used: both must be PEM, the key that of ",
        ),
        (
            ['trusted_proxies = ["10.0.0.1/8"]'],
            "2: server.trusted_proxies has '10.0.0.1/8', which is neither an address, a network",
        ),
        (["proxy_protocol = true"], "2: server.proxy_protocol needs 'trusted_proxies'"),
        (['server = "uvicorn"'], "2: server.server must be 'parshall' or 'hypercorn'"),
        (["connections_per_ip_max = 0"], "2: server.connections_per_ip_max must be more than 0"),
        (["keep_alive_s = 0"], "2: server.keep_alive_s must be more than 0"),
    ],
)
def test_a_mistake_is_named_with_its_line(lines: list[str], expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(*lines)
    assert str(caught.value).startswith(f"parshall.toml:{expected}")
