"""Tokens a minute of one exchange: taken as they are expected, in the end as they were. Exact."""

from __future__ import annotations

import pytest

from engine.admission.limits import Demand, LocalLimiter
from engine.admission.plans import Limits
from engine.bounds import Bounds
from engine.errors import RateLimitedError
from engine.metering.limits import UsageLimits
from engine.reserving import TokenReserve, expected_tokens
from engine.usage import Usage

KEYS = Demand.of(("key_1", Limits(tokens_per_min=1_000)))
BOTH = Demand.of(("key_1", Limits(tokens_per_min=1_000)), ("acct_1", Limits(tokens_per_min=10_000)))


def standing_still() -> LocalLimiter:
    return LocalLimiter(lambda: 0)


def left(limiter: LocalLimiter, demand: Demand = KEYS) -> int:
    window = limiter.status(demand).tokens
    assert window is not None
    return window.remaining


async def test_what_was_not_used_is_given_back() -> None:
    limiter = standing_still()
    reserve = TokenReserve(limiter, KEYS)
    await reserve.take(300)
    assert left(limiter) == 700
    reserve.spent(Usage(input_tokens=100, output_tokens=150))
    assert left(limiter) == 700
    reserve.close(Usage(input_tokens=100, output_tokens=20))
    assert left(limiter) == 880


async def test_what_goes_beyond_is_taken_as_it_comes_and_is_waited_for_by_the_next() -> None:
    limiter = standing_still()
    reserve = TokenReserve(limiter, KEYS)
    await reserve.take(300)
    reserve.spent(Usage(input_tokens=100, output_tokens=650))
    assert left(limiter) == 250
    reserve.close(Usage(input_tokens=100, output_tokens=1_400))
    assert left(limiter) == 0
    with pytest.raises(RateLimitedError) as caught:
        await TokenReserve(limiter, KEYS).take(100)
    assert caught.value.kind == "tokens"
    assert caught.value.retry_after_s == 36  # 500 owed and 100 wanted, of 1,000 a minute


async def test_it_is_closed_once() -> None:
    limiter = standing_still()
    reserve = TokenReserve(limiter, KEYS)
    await reserve.take(300)
    reserve.close(Usage(input_tokens=10))
    reserve.close(Usage())
    reserve.spent(Usage(output_tokens=900))
    assert left(limiter) == 990


async def test_the_key_and_its_account_both_pay() -> None:
    limiter = standing_still()
    reserve = TokenReserve(limiter, BOTH)
    await reserve.take(300)
    reserve.close(Usage(input_tokens=100, cached_input_tokens=100, output_tokens=20))
    assert left(limiter) == 880
    assert left(limiter, Demand(BOTH.scopes[1:])) == 9_880


async def test_nothing_is_taken_of_either_where_one_has_too_little() -> None:
    limiter = standing_still()
    await TokenReserve(limiter, KEYS).take(800)
    reserve = TokenReserve(limiter, BOTH)
    with pytest.raises(RateLimitedError):
        await reserve.take(300)
    reserve.close(Usage())
    assert (left(limiter), left(limiter, Demand(BOTH.scopes[1:]))) == (200, 10_000)


async def test_what_may_take_more_than_a_minute_has_passes_when_all_of_it_is_there() -> None:
    limiter = standing_still()
    reserve = TokenReserve(limiter, BOTH)
    await reserve.take(5_000)
    assert (left(limiter), left(limiter, Demand(BOTH.scopes[1:]))) == (0, 5_000)
    reserve.close(Usage(output_tokens=600))
    assert (left(limiter), left(limiter, Demand(BOTH.scopes[1:]))) == (400, 9_400)


@pytest.mark.parametrize(
    ("max_output_tokens", "choices", "expected"), [(None, 1, 612), (50, 1, 150), (50, 4, 300)]
)
def test_a_request_is_expected_to_use_all_it_allows_or_a_slice(
    max_output_tokens: int | None, choices: int, expected: int
) -> None:
    bounds = Bounds(400, 100, None, {}, UsageLimits(1_000, 1_000, {}))
    assert expected_tokens(bounds, max_output_tokens, choices, 512) == expected
