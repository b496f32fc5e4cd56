"""Whether and when an error says to try again, so that SDKs neither give up nor hammer."""

from __future__ import annotations

from dataclasses import replace

import pytest

from engine.errors import (
    AddressLimitedError,
    ConcurrencyLimitedError,
    EndedByOperatorError,
    GatewayError,
    KeyDisabledError,
    ModelUnavailableError,
    RateLimitedError,
    ShutdownError,
    UpstreamRejectedError,
)
from engine.events import Protocol
from engine.ledger.receipts import Attempt, Receipt
from engine.ledger.route import Route
from frontends.rendering import render_error


def requests(wait_s: float) -> RateLimitedError:
    return RateLimitedError("Too many.", kind="requests", retry_after_s=wait_s)


@pytest.mark.parametrize(
    ("error", "seconds", "milliseconds", "should_retry"),
    [
        (requests(0.001), "1", "1", None),
        (requests(0.12), "1", "120", None),
        (requests(1), "1", "1000", None),
        (requests(1.001), "2", "1001", None),
        (requests(0.069), "1", "69", None),
        (requests(60), "60", "60000", None),
        (requests(60.001), "61", "60001", "false"),
        (RateLimitedError("Debt.", kind="tokens", retry_after_s=5_940), "5940", "5940000", "false"),
        (AddressLimitedError("Many.", retry_after_s=200), "200", "200000", "false"),
        (ConcurrencyLimitedError("Many."), "1", "1000", None),
        (ModelUnavailableError("Off."), "30", None, None),
        (ShutdownError(), "1", None, None),
        (EndedByOperatorError(), None, None, "false"),
        (KeyDisabledError("Off."), None, None, None),  # nobody retries a 403
        (GatewayError("Ours."), None, None, None),
        (UpstreamRejectedError("no", status=429), None, None, None),
        (UpstreamRejectedError("no", status=429, retry_after_s=90), "90", "90000", None),
        (UpstreamRejectedError("no", status=503, retry_after_s=0.5), "1", None, None),
    ],
)
@pytest.mark.parametrize("protocol", ["openai_chat", "anthropic", "gemini"])
def test_when_to_try_again(
    protocol: Protocol,
    error: GatewayError,
    seconds: str | None,
    milliseconds: str | None,
    should_retry: str | None,
) -> None:
    headers = render_error(protocol, error, "req_1").headers
    assert headers.get("retry-after") == seconds
    assert headers.get("retry-after-ms") == milliseconds
    assert headers.get("x-should-retry") == should_retry


def receipt(attempts: int, route: Route | None) -> Receipt:
    tried = tuple(Attempt(number + 1, f"p{number}", "m") for number in range(attempts))
    begun = Receipt("req_1", "acct_1", None, 0, "chat", "openai_chat", False, "m")
    return replace(begun, attempts=tried, provider=f"p{attempts - 1}", route=route)


def test_an_error_tells_where_it_was_tried_and_not_to_try_again() -> None:
    route = Route("m", "weighted", ("p0/m", "p1/m"), fallback_from="p0/m", fallback_depth=1)
    error = UpstreamRejectedError("no", status=500)
    headers = render_error("openai_chat", error, "req_1", receipt(2, route)).headers
    assert headers["x-parshall-provider"] == "p1"
    assert headers["x-fallback-from"] == "p0/m"
    assert headers["x-fallback-depth"] == "1"
    assert headers["x-should-retry"] == "false"


def test_an_error_of_the_only_attempt_may_be_retried() -> None:
    error = UpstreamRejectedError("no", status=500)
    headers = render_error("openai_chat", error, "req_1", receipt(1, None)).headers
    assert headers["x-parshall-provider"] == "p0"
    assert not {"x-fallback-from", "x-fallback-depth", "x-should-retry"} & set(headers.keys())


def test_an_error_before_any_attempt_names_nobody() -> None:
    headers = render_error("openai_chat", ShutdownError(), "req_1", receipt(0, None)).headers
    assert "x-parshall-provider" not in headers


def test_a_name_that_no_header_can_say_is_said_in_part() -> None:
    named = replace(receipt(1, None), provider="möglich\r\nx: y")
    error = UpstreamRejectedError("no", status=500)
    assert (
        render_error("openai_chat", error, "req_1", named).headers["x-parshall-provider"]
        == "m?glich??x:?y"
    )
