"""URLs are read in one way, or refused."""

from __future__ import annotations

import pytest

from engine.egress import EgressRefusedError, Target, parse_target

BASE = Target("https", "a.example", 443, "/x/y.png?q=1")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://a.example", "https://a.example/"),
        ("HTTPS://A.Example:443/Cat.PNG#part", "https://a.example/Cat.PNG"),
        ("http://a.example:80/", "http://a.example/"),
        ("https://a.example.:8443/", "https://a.example:8443/"),
        ("https://a.example?q=1", "https://a.example/?q=1"),
        ("https://a.example/%2e%2e/b%20c", "https://a.example/%2e%2e/b%20c"),
        ("https://a.example/katzenbäume", "https://a.example/katzenb%C3%A4ume"),
        ("https://bücher.example/", "https://xn--bcher-kva.example/"),
        ("https://ＡＢＣ.example/", "https://abc.example/"),
        ("https://a。example/", "https://a.example/"),
        ("https://my_bucket.example/", "https://my_bucket.example/"),
        ("https://[2606:4700:0::1111]/", "https://[2606:4700::1111]/"),
        ("https://1.1.1.1/", "https://1.1.1.1/"),
        # What a lenient reader would take for an address comes out as that address, to be judged.
        ("https://①②⑦.0.0.1/", "https://127.0.0.1/"),
        ("https://[::ffff:127.0.0.1]/", "https://[::ffff:7f00:1]/"),
    ],
)
def test_a_url_is_read(url: str, expected: str) -> None:
    assert parse_target(url).url == expected


@pytest.mark.parametrize(
    "url",
    [
        "",
        "a.example/cat.png",
        "//a.example/",
        "https:",
        "https:/a.example/",
        "https:///cat.png",
        "https://",
        "https://:443/",
        "file:///etc/passwd",
        "FILE:///etc/passwd",
        "ftp://a.example/",
        "gopher://127.0.0.1:6379/_FLUSHALL",
        "data:image/png;base64,AAAA",
        "javascript:alert(1)",
        "jar:https://a.example/!/",
        " https://a.example/",
        "https://a.example/\r\nx-evil: 1",
        "https://a.example/\tb",
        "https://a.exa\nmple/",
        "https://a.example/\x00",
        "https://a.example/\x85",
        "https://a.example\\@evil.example/",
        "https:\\\\a.example/",
        "https://user@a.example/",
        "https://user:secret@a.example/",
        "https://a.example:443@evil.example/",
        "https://a.example%2f@evil.example/",
        "https://a.example%00.evil.example/",
        "https://a.example:/",
        "https://a.example:443:443/",
        "https://a.example:999999/",
        "https://a.example:-1/",
        "https://a.example:4４3/",
        "https://a..example/",
        "https://.a.example/",
        "https://-a.example/",
        "https://a b.example/",
        "https://a,b.example/",
        "https://" + "a" * 64 + ".example/",
        "https://" + "a." * 130 + "example/",
        "https://a.example/" + "a" * 8_192,
        "https://" + "ü" * 8_000 + "/",
        "https://" + "ü." * 100 + "example/",
        "https://2130706433/",
        "https://0x7f000001/",
        "https://0x7f.1/",
        "https://127.1/",
        "https://0177.0.0.1/",
        "https://127.0.0.01/",
        "https://127.0.0.1.5/",
        "https://a.example.0x/",
        "https://4294967296/",
        "https://[::1%25eth0]/",
        "https://[::1%eth0]/",
        "https://[fe80::1%25lo]/",
        "https://[v1.a]/",
        "https://[1.1.1.1]/",
        "https://[::1/",
        "https://::1/",
        "https://xn--a\u00fc.example/",
    ],
)
def test_what_two_could_read_differently_is_refused(url: str) -> None:
    with pytest.raises(EgressRefusedError) as caught:
        parse_target(url)

    assert "example" not in caught.value.message
    assert "secret" not in caught.value.message


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("/b.png", "https://a.example/b.png"),
        ("b.png", "https://a.example/x/b.png"),
        ("//b.example/c", "https://b.example/c"),
        ("https://b.example/c", "https://b.example/c"),
        ("?q=2", "https://a.example/x/y.png?q=2"),
        ("../../../etc/passwd", "https://a.example/etc/passwd"),
    ],
)
def test_a_redirect_may_be_relative(location: str, expected: str) -> None:
    assert parse_target(location, BASE).url == expected


@pytest.mark.parametrize(
    "location", ["file:///etc/passwd", "//user@b.example/", "//[::1%25x]/", "http://[", "/\r\nx: y"]
)
def test_a_redirect_is_read_as_strictly(location: str) -> None:
    with pytest.raises(EgressRefusedError):
        parse_target(location, BASE)
