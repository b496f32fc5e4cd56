"""Heads that say what is left of a limit, as providers write them."""

from __future__ import annotations

import pytest

from engine.routing.limits_seen import Allowance, read_allowances
from tests.clocks import at

NOW, WALL_MS = 1_000.0, at("2026-01-15 12:00")


def read(*lines: str) -> dict[str, Allowance | None]:
    head = [tuple(line.encode().split(b": ", 1)) for line in lines]
    return read_allowances([(name, value) for name, value in head], NOW, WALL_MS)


def test_openai_says_durations() -> None:
    found = read(
        "content-type: application/json",
        "x-ratelimit-limit-requests: 60",
        "x-ratelimit-remaining-requests: 0",
        "x-ratelimit-reset-requests: 1m",
        "x-ratelimit-limit-tokens: 150000",
        "x-ratelimit-remaining-tokens: 37500",
        "x-ratelimit-reset-tokens: 45s",
    )
    assert found == {
        "requests": Allowance("requests", 0, 1.0, NOW, NOW + 60),
        "tokens": Allowance("tokens", 37_500, 2_500.0, NOW, NOW + 45),
    }


def test_of_what_there_is_plenty_nothing_is_kept() -> None:
    found = read(
        "x-ratelimit-limit-requests: 60",
        "x-ratelimit-remaining-requests: 16",
        "x-ratelimit-reset-requests: 44s",
        "x-ratelimit-limit-tokens: 150000",
        "x-ratelimit-remaining-tokens: 149984",
    )
    assert found == {"requests": None, "tokens": None}


def test_anthropic_says_times() -> None:
    found = read(
        "anthropic-ratelimit-requests-limit: 50",
        "anthropic-ratelimit-requests-remaining: 0",
        "anthropic-ratelimit-requests-reset: 2026-01-15T12:00:02Z",
        "anthropic-ratelimit-input-tokens-remaining: 100",
        "anthropic-ratelimit-input-tokens-reset: 2026-01-15T12:01:00+00:00",
        "anthropic-ratelimit-output-tokens-remaining: 0",
        "anthropic-ratelimit-output-tokens-reset: 2026-01-15T12:00:30Z",
    )
    assert found["requests"] == Allowance("requests", 0, 25.0, NOW, NOW + 2)
    assert found["input tokens"] == Allowance("tokens", 100, None, NOW, NOW + 60)
    assert found["output tokens"] == Allowance("output", 0, None, NOW, NOW + 30)


@pytest.mark.parametrize(
    ("said", "reset_s"),
    [
        ("2m59.56s", 179.56),
        ("1h0m3s", 3_603.0),
        ("1d2h", 86_400.0),
        ("12ms", 0.012),
        ("7", 7.0),
        ("0.5", 0.5),
        ("2026-01-15T11:00:00Z", 0.0),
        ("2026-01-15T12:00:05", 5.0),
        ("2030-01-01T00:00:00Z", 86_400.0),
        ("soon", 1.0),
        ("", 1.0),
        ("-5", 1.0),
        ("9999999999", 1.0),
    ],
)
def test_when_a_limit_is_whole_again(said: str, reset_s: float) -> None:
    found = read("x-ratelimit-remaining-requests: 0", f"x-ratelimit-reset-requests: {said}")
    requests = found["requests"]
    assert requests is not None
    assert requests.whole_at - NOW == pytest.approx(reset_s)


@pytest.mark.parametrize(
    "lines",
    [
        (),
        ("retry-after: 5",),
        ("x-ratelimit-limit-requests: 60",),
        ("x-ratelimit-remaining-requests: many",),
        ("x-ratelimit-remaining-requests: -1",),
        ("x-ratelimit-remaining-input-images: 0",),
    ],
)
def test_what_says_nothing_of_what_is_left(lines: tuple[str, ...]) -> None:
    assert read(*lines) == {}


def test_a_limit_refills_steadily_where_its_size_is_known() -> None:
    found = read(
        "x-ratelimit-limit-tokens: 6000",
        "x-ratelimit-remaining-tokens: 1500",
        "x-ratelimit-reset-tokens: 45s",
    )["tokens"]
    assert found is not None
    assert found.has_at(1_500) == NOW
    assert found.has_at(2_500) == pytest.approx(NOW + 10)
    assert found.has_at(90_000) == NOW + 45, "more than it ever has: when it is whole"


def test_what_is_sent_is_taken_of_it() -> None:
    tokens = Allowance("tokens", 3_000, 100.0, NOW, NOW + 30)
    tokens.take(2_500)
    assert tokens.has_at(500) == NOW
    assert tokens.has_at(600) == NOW + 1
    requests = Allowance("requests", 1, None, NOW, NOW + 60)
    requests.take(10_000)
    assert requests.has_at(1) == NOW + 60
    output = Allowance("output", 1, None, NOW, NOW + 60)
    output.take(10_000)
    assert output.has_at(10_000) == NOW, "nobody knows before how much it will be"
