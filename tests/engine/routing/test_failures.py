"""The table of failures: what an attempt ended with, and what follows."""

from __future__ import annotations

import pytest

from engine.errors import (
    DeadlineError,
    EndedByOperatorError,
    InsufficientFundsError,
    ShutdownError,
    UpstreamError,
    UpstreamRejectedError,
    UpstreamTimeoutError,
    UpstreamUnreachableError,
)
from engine.protocols.registry import provider_codec
from engine.routing.failures import Failure, Verdict, again_after_s, failure_of, judge
from engine.routing.values import RoutingRules
from engine.upstream.errors import NoStreamError, NoStreamInTimeError, StreamLostError

RULES = RoutingRules()

STATUSES = [  # status, the same again, another one, what it says of the deployment
    (400, "no", "no", "success"),
    (401, "no", "no", "success"),  # of which a codec makes a code of its own; see below
    (404, "no", "any", "none"),
    (405, "no", "any", "none"),
    (408, "later", "any", "failure"),
    (409, "later", "any", "none"),
    (410, "no", "any", "none"),
    (413, "no", "no", "success"),
    (422, "no", "no", "success"),
    (421, "no", "any", "failure"),
    (424, "later", "any", "none"),  # also of a server of tools that the client names
    (425, "later", "any", "failure"),
    (426, "no", "any", "failure"),
    (429, "if-alone", "any", "none"),
    (499, "later", "any", "failure"),
    (500, "later", "any", "failure"),
    (501, "no", "any", "failure"),
    (502, "later", "any", "failure"),
    (503, "later", "any", "failure"),
    (504, "later", "any", "failure"),
    (505, "no", "any", "failure"),
    (520, "later", "any", "failure"),
    (529, "later", "any", "failure"),
]


@pytest.mark.parametrize(("status", "again", "following", "outcome"), STATUSES)
def test_by_status(status: int, again: str, following: str, outcome: str) -> None:
    verdict = judge(Failure("answered", status))
    assert (verdict.again, verdict.next, verdict.outcome) == (again, following, outcome)


KINDS = [  # as it is raised, the same again, another one, what it says of the deployment
    (UpstreamUnreachableError("refused"), "no", "any", "failure"),
    (UpstreamTimeoutError("no answer in time"), "no", "any", "failure"),
    (StreamLostError("cut", unprocessed=False), "later", "any", "failure"),
    (UpstreamError("not JSON"), "later", "any", "failure"),
    (NoStreamError("too many wait"), "no", "any", "none"),
    (NoStreamInTimeError("all streams are taken"), "no", "any", "none"),
    (DeadlineError("too long"), "no", "no", "none"),
    (ShutdownError(), "no", "no", "none"),
    (EndedByOperatorError(), "no", "no", "none"),
    (InsufficientFundsError("no more"), "no", "no", "none"),
    (ZeroDivisionError("ours"), "no", "no", "none"),
]


@pytest.mark.parametrize(
    ("error", "again", "following", "outcome"), KINDS, ids=[type(row[0]).__name__ for row in KINDS]
)
def test_by_what_was_raised(error: Exception, again: str, following: str, outcome: str) -> None:
    verdict = judge(failure_of(error, status=None, unprocessed=False, generated=False))
    assert (verdict.again, verdict.next, verdict.outcome) == (again, following, outcome)


ANSWERS = [  # the provider, its status, its body, what counts of it
    ("openai", 401, b'{"error":{"message":"Incorrect API key","code":"invalid_api_key"}}', 60.0),
    ("anthropic", 403, b'{"error":{"type":"permission_error","message":"no"}}', 1.0),
    ("gemini", 400, b'{"error":{"details":[{"reason":"API_KEY_INVALID"}]}}', 60.0),
    ("openai", 402, b'{"error":{"message":"Insufficient credits"}}', 300.0),
    ("openai", 429, b'{"error":{"message":"quota","code":"insufficient_quota"}}', 300.0),
    ("anthropic", 400, b'{"error":{"type":"billing_error","message":"x"}}', 300.0),
]


@pytest.mark.parametrize(("protocol", "status", "body", "out_s"), ANSWERS)
def test_the_operators_key_is_judged_by_the_code(
    protocol: str, status: int, body: bytes, out_s: float
) -> None:
    error = provider_codec(protocol).read_error(status, body, None)
    verdict = judge(failure_of(error, status=status, unprocessed=False, generated=False))
    assert verdict == Verdict("no", "any", "none", other_key=True, key_out_s=out_s)


def test_a_model_that_is_not_there_is_a_fault_of_the_deployment() -> None:
    body = b'{"error":{"message":"no such model","code":"model_not_found"}}'
    error = provider_codec("openai").read_error(404, body, None)
    verdict = judge(failure_of(error, status=404, unprocessed=False, generated=False))
    assert (verdict.again, verdict.next, verdict.outcome) == ("no", "any", "failure")


def test_a_prompt_that_is_too_long_goes_where_there_is_more_room() -> None:
    body = b'{"error":{"message":"too long","code":"context_length_exceeded"}}'
    error = provider_codec("openai").read_error(400, body, None)
    verdict = judge(failure_of(error, status=400, unprocessed=False, generated=False))
    assert (verdict.next, verdict.outcome) == ("larger", "success")


def test_the_status_is_the_providers_own_and_not_what_the_client_gets() -> None:
    body = b'{"message":"Model has timed out"}'
    error = provider_codec("anthropic").read_error(408, body, None)
    assert error.status == 504
    assert failure_of(error, status=408, unprocessed=False, generated=False).status == 408


def test_an_error_inside_a_200_has_the_status_that_it_says() -> None:
    body = b'{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}'
    error = provider_codec("anthropic").read_error(200, body, None)
    failure = failure_of(error, status=200, unprocessed=False, generated=False)
    assert (failure.kind, failure.status) == ("answered", 529)


def test_what_was_never_acted_on_is_sent_again_at_once() -> None:
    error = StreamLostError("refused", unprocessed=True)
    failure = failure_of(error, status=None, unprocessed=True, generated=False)
    assert judge(failure) == Verdict("at-once", "any", "none")
    assert again_after_s(failure, RULES, 0, 0.9, alone=False) == 0.0


@pytest.mark.parametrize("kind", ["answered", "broken", "timeout"])
def test_after_output_nothing_is_sent_again(kind: str) -> None:
    error = {
        "answered": UpstreamRejectedError("failed", status=500),
        "broken": UpstreamError("cut"),
        "timeout": UpstreamTimeoutError("fell silent"),
    }[kind]
    failure = failure_of(error, status=200, unprocessed=False, generated=True)
    assert judge(failure) == Verdict("no", "no", "failure")
    assert again_after_s(failure, RULES, 0, 0.5, alone=True) is None


@pytest.mark.parametrize(
    ("retries", "draw", "after_s"), [(0, 0.5, 0.05), (0, 0.0, 0.0), (3, 1.0, 0.8), (9, 1.0, 2.0)]
)
def test_jitter_is_full_and_its_bound_doubles(retries: int, draw: float, after_s: float) -> None:
    failure = Failure("answered", 500)
    assert again_after_s(failure, RULES, retries, draw, alone=False) == pytest.approx(after_s)


@pytest.mark.parametrize("status", [429, 500, 503, 529])
def test_who_says_when_is_asked_then_if_that_is_soon(status: int) -> None:
    soon, late = (Failure("answered", status, retry_after_s=wait_s) for wait_s in (1.5, 2.5))
    assert again_after_s(soon, RULES, 0, 0.1, alone=True) == 1.5
    assert again_after_s(late, RULES, 0, 0.1, alone=True) is None


def test_a_limit_is_waited_for_only_where_nobody_else_is_left() -> None:
    said = Failure("answered", 429, retry_after_s=1.0)
    assert again_after_s(said, RULES, 0, 0.1, alone=False) is None
    assert again_after_s(Failure("answered", 429), RULES, 0, 0.1, alone=True) is None, "until when?"


def test_who_limits_is_left_alone() -> None:
    assert judge(Failure("answered", 429)).limits
    assert [judge(Failure("answered", status)).limits_said for status in (500, 503, 529)] == [
        False,
        True,
        True,
    ]
