"""Line ends, methods, paths and names that try to become something else on their way."""

from __future__ import annotations

import pytest

from frontends.headers import ANSWER_HEADERS, SECURITY
from tests.abuse.rig import Rig, chat, check_error

CHAT = "/v1/chat/completions"
ALLOWED = {name.decode() for name in ANSWER_HEADERS} | {name.decode() for name, _ in SECURITY}
ALLOWED |= {"connection", "date", "transfer-encoding"}
BREAKS = ["\r\nx-evil: 1", "\nx-evil: 1", "\r\n\r\n<html>", "\u2028x-evil: 1", "\x00x-evil: 1"]
ENCODED = ["%0d%0ax-evil:%201", "%0ax-evil:1", "%E5%98%8A%E5%98%8Dx-evil:1", "%00", "%c0%8a"]


@pytest.mark.parametrize("text", BREAKS)
@pytest.mark.parametrize("field", ["model", "unknown", "user", "service_tier"])
def test_what_a_body_says_breaks_no_head(rig: Rig, field: str, text: str) -> None:
    """Names of dropped fields and of models come back in headers."""
    said = {f"f{text}": 1} if field == "unknown" else {field: f"x{text}"}
    answer = rig.ask(CHAT, chat(**{"model": "sim-gemini", **said}))

    assert answer.status in {200, 400, 404}
    assert set(answer.headers) <= ALLOWED, answer.headers
    assert answer.document


@pytest.mark.parametrize("text", ENCODED)
@pytest.mark.parametrize(
    "path",
    [
        "/v1/models/TEXT",
        "/v1/receipts/TEXT",
        "/v1beta/models/TEXT:generateContent",
        "/TEXT",
        "/v1/models?x=TEXT",
        "/v1/receipts?cursor=TEXT",
    ],
)
def test_what_a_url_says_breaks_no_head(unpaid: Rig, path: str, text: str) -> None:
    begin = len(unpaid.logged())
    answer = unpaid.ask(path.replace("TEXT", text), method="GET")

    assert answer.status in {200, 400, 404, 405}
    assert set(answer.headers) <= ALLOWED, answer.headers
    unpaid.state()
    assert "\nx-evil" not in unpaid.logged()[begin:]
    assert all(line.startswith("{") for line in unpaid.logged()[begin:].splitlines())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("idempotency-key", b"a\tb"),
        ("idempotency-key", b"\xc3\xa9\xff"),
        ("idempotency-key", b"k" * 10_000),
        ("x-request-id", b"\xe2\x80\xae"),
        ("x-request-id", b'"},{"level":"error'),
        ("anthropic-beta", b"a, b; c=\xff"),
        ("accept", b"text/html,*/*;q=x"),
        ("accept-encoding", b"gzip;q=1, *;q=0"),
        ("accept-language", b"../../../etc/passwd"),
        ("range", b"bytes=0-0,1-1,2-2"),
        ("if-none-match", b"*"),
        ("x-http-method-override", b"DELETE"),
        ("x-original-url", b"/metrics"),
        ("x-rewrite-url", b"/metrics"),
        ("x-forwarded-host", b"evil.example"),
        ("x-forwarded-proto", b"https"),
        ("forwarded", b"for=127.0.0.1;host=evil.example;proto=https"),
        ("cookie", b"session=" + b"x" * 8_000),
        ("origin", b"https://evil.example"),
        ("user-agent", b"() { :; }; /bin/true"),
        ("referer", b"${jndi:ldap://127.0.0.1/a}"),
        ("host", b"evil.example"),
    ],
)
def test_a_header_of_a_client_comes_back_nowhere(unpaid: Rig, name: str, value: bytes) -> None:
    answer = unpaid.ask("/v1/models", method="GET", headers={name: value})

    assert answer.status in {200, 400}
    assert set(answer.headers) <= ALLOWED, answer.headers
    assert "evil.example" not in str(answer.headers)
    assert b"evil.example" not in answer.body


@pytest.mark.parametrize(
    "method",
    ["TRACE", "TRACK", "DEBUG", "OPTIONS", "PROPFIND", "PUT", "PURGE", "get", "POSTX", "A" * 99],
)
def test_a_method_that_nobody_serves(unpaid: Rig, method: str) -> None:
    """Nor is a request told again, as TRACE would."""
    answer = unpaid.ask(CHAT, chat(), method=method, headers={"x-canary": "canary-of-a-header"})

    assert 400 <= answer.status < 502
    assert b"canary-of-a-header" not in answer.body
    assert unpaid.key.encode() not in answer.body


@pytest.mark.parametrize(
    "path",
    [
        "/metrics",
        "//metrics",
        "/./metrics",
        "/v1/../metrics",
        "/v1/..%2fmetrics",
        "/v1/%2e%2e/metrics",
        "/%6detrics",
        "/metrics/",
        "/metrics?x=1",
        "/metrics%3f",
        "/metrics%00",
        "/metrics;x",
        "/METRICS",
        "/v1/models/..;/metrics",
    ],
)
@pytest.mark.parametrize("header", ["x-forwarded-for", "forwarded", "x-real-ip", "via"])
def test_what_is_for_this_machine_is_not_for_others(unpaid: Rig, path: str, header: str) -> None:
    answer = unpaid.ask(path, method="GET", headers={header: "198.51.100.7"})

    assert answer.status in {400, 404, 405}
    assert b"parshall_" not in answer.body


@pytest.mark.parametrize(
    "path",
    [
        "/.env",
        "/.git/config",
        "/static/../../../../etc/passwd",
        "/..%2f..%2f..%2fetc%2fpasswd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/v1/files/..%5c..%5cwindows%5cwin.ini",
        "/etc/passwd%00.json",
        "/cgi-bin/luci/;stok=/locale",
        "/" + "a/" * 4_000,
        "/?" + "a=b&" * 4_000,
        "/<script>alert(1)</script>",
        "/{{7*7}}",
    ],
)
def test_there_are_no_files_here(unpaid: Rig, path: str) -> None:
    answer = unpaid.ask(path, method="GET")

    assert answer.status in {400, 404}
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert len(answer.body) < 4_096
    assert b"root:" not in answer.body


def test_a_page_is_never_answered(unpaid: Rig) -> None:
    """Markup comes back as JSON that no browser may sniff, frame or run."""
    answer = unpaid.ask("/v1/models/<svg onload=alert(1)>", method="GET")
    if answer.status == 400 and b"valid HTTP" in answer.body:
        answer = unpaid.ask("/v1/models/%3Csvg%20onload=alert(1)%3E", method="GET")

    assert answer.status == 404
    check_error(answer)
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
