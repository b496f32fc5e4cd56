"""What is left of the limits, in the names and the forms of each protocol."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from engine.admission.limits import LimitStatus, Slots, Window
from engine.events import Protocol
from frontends.headers import ANSWER_HEADERS
from frontends.rate_headers import RATE_HEADERS, duration, rate_headers

NOW_MS = int(datetime(2026, 1, 31, 23, 59, 30, 1_000, UTC).timestamp() * 1_000)
STATUS = LimitStatus(
    requests=Window(limit=100, remaining=99, reset_us=600_000),
    tokens=Window(limit=40_000, remaining=0, reset_us=90_000_000),
    streams=Slots(limit=5, open=1),
)


@pytest.mark.parametrize(
    ("length_us", "text"),
    [
        (0, b"0s"),
        (1, b"1ms"),
        (6_000, b"6ms"),
        (6_001, b"7ms"),
        (999_000, b"999ms"),
        (999_001, b"1s"),
        (1_000_000, b"1s"),
        (1_200_000, b"1.2s"),
        (8_640_000, b"8.64s"),
        (59_951_000, b"59.951s"),
        (59_999_999, b"1m0s"),
        (90_000_000, b"1m30s"),
        (90_951_000, b"1m30.951s"),
        (600_000_000, b"10m0s"),
        (3_600_000_000, b"1h0m0s"),
        (3_661_005_000, b"1h1m1.005s"),
        (360_000_000_000, b"100h0m0s"),
    ],
)
def test_how_openai_writes_a_duration(length_us: int, text: bytes) -> None:
    assert duration(length_us) == text


@pytest.mark.parametrize(
    "protocol", ["openai_chat", "openai_responses", "openai_completions", "gemini"]
)
def test_openais_names_for_all_but_anthropic(protocol: Protocol) -> None:
    assert rate_headers(protocol, STATUS, NOW_MS) == [
        (b"x-ratelimit-limit-requests", b"100"),
        (b"x-ratelimit-remaining-requests", b"99"),
        (b"x-ratelimit-reset-requests", b"600ms"),
        (b"x-ratelimit-limit-tokens", b"40000"),
        (b"x-ratelimit-remaining-tokens", b"0"),
        (b"x-ratelimit-reset-tokens", b"1m30s"),
    ]


def test_anthropics_names_for_anthropics_clients() -> None:
    assert rate_headers("anthropic", STATUS, NOW_MS) == [
        (b"anthropic-ratelimit-requests-limit", b"100"),
        (b"anthropic-ratelimit-requests-remaining", b"99"),
        (b"anthropic-ratelimit-requests-reset", b"2026-01-31T23:59:31Z"),
        (b"anthropic-ratelimit-tokens-limit", b"40000"),
        (b"anthropic-ratelimit-tokens-remaining", b"0"),
        (b"anthropic-ratelimit-tokens-reset", b"2026-02-01T00:01:01Z"),
    ]


def test_what_is_not_limited_has_no_header() -> None:
    assert rate_headers("openai_chat", LimitStatus(), NOW_MS) == []
    only = LimitStatus(tokens=STATUS.tokens)
    assert {name for name, _ in rate_headers("openai_chat", only, NOW_MS)} == {
        b"x-ratelimit-limit-tokens",
        b"x-ratelimit-remaining-tokens",
        b"x-ratelimit-reset-tokens",
    }


def test_all_of_them_may_leave() -> None:
    said = {
        name
        for protocol in ("openai_chat", "anthropic")
        for name, _ in rate_headers(protocol, STATUS, NOW_MS)
    }
    assert said == RATE_HEADERS <= ANSWER_HEADERS
