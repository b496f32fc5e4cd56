"""What follows when an attempt fails: one table, from the facts of a failure to a verdict.

A failure is judged by what the provider said (its status, and the code that the codec read out of
its answer), never by the status that the client would get of it: a refusal of the operator's own
key becomes a 502 there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from engine.errors import (
    DeadlineError,
    UpstreamError,
    UpstreamRejectedError,
    UpstreamTimeoutError,
    UpstreamUnreachableError,
)
from engine.routing.values import RoutingRules

Kind = Literal["answered", "broken", "unreachable", "timeout", "full", "ours"]
"""An error that the provider said; a connection, a stream or an answer that broke; no connection;
silence; none of our connections to it had room; nothing that the provider did."""
Again = Literal["no", "at-once", "later", "if-alone"]
"""Whether the same deployment is asked once more: `later` after a moment, or when it says; the last
one when it says, where no other deployment is left."""
Next = Literal["no", "any", "larger"]
"""Whether another deployment is asked: any, or one with a larger window."""
Outcome = Literal["failure", "success", "none"]
"""What it says of the deployment's health."""

_BACKOFF_S: Final = 0.1
_BACKOFF_MAX_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class Failure:
    """The facts.

    Attributes:
        status: the provider's own, of an error that it said.
        code: what the codec read out of it.
        unprocessed: the provider never acted on the request (RFC 9113 section 8.7).
        generated: something had been generated before.
        retry_after_s: when it wants to be asked again.
    """

    kind: Kind
    status: int = 0
    code: str = ""
    unprocessed: bool = False
    generated: bool = False
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What follows.

    Attributes:
        other_key: the same deployment may be asked by another of its provider's keys at once.
        limits: it is left alone for as long as it says, or, where it does not, for a while.
        limits_said: it is left alone where it says for how long.
        key_out_s: its key is left alone for so long, and longer each time.
    """

    again: Again
    next: Next
    outcome: Outcome
    other_key: bool = False
    limits: bool = False
    limits_said: bool = False
    key_out_s: float = 0.0


_OURS: Final = Verdict("no", "no", "none")
_AFTER_OUTPUT: Final = Verdict("no", "no", "failure")
_UNPROCESSED: Final = Verdict("at-once", "any", "none")
_REFUSED: Final = Verdict("no", "no", "success")
_BROKEN: Final = Verdict("later", "any", "failure")
_DOWN: Final = Verdict("no", "any", "failure")
_NOT_THERE: Final = Verdict("no", "any", "none")
_OVERLOADED: Final = Verdict("later", "any", "failure", limits_said=True)
_LIMITED: Final = Verdict("if-alone", "any", "none", other_key=True, limits=True)

_OF_KINDS: Final[Mapping[Kind, Verdict]] = {
    "broken": _BROKEN,
    "unreachable": _DOWN,
    "timeout": _DOWN,
    "full": Verdict("no", "any", "none"),
    "ours": _OURS,
}
_CREDENTIALS_REFUSED: Final = "upstream_credentials_refused"
_FORBIDDEN: Final = Verdict("no", "any", "none", other_key=True, key_out_s=1.0)
"""A 403 may be of what a client names (a file of somebody else's), and then the key is out for a
moment; where the key itself is refused, the time doubles with each refusal."""

_OF_CODES: Final[Mapping[str, Verdict]] = {
    _CREDENTIALS_REFUSED: Verdict("no", "any", "none", other_key=True, key_out_s=60.0),
    "upstream_account_exhausted": Verdict("no", "any", "none", other_key=True, key_out_s=300.0),
    "context_length_exceeded": Verdict("no", "larger", "success"),
    "model_not_found": _DOWN,
}
_OF_STATUSES: Final[Mapping[int, Verdict]] = {
    404: _NOT_THERE,
    405: _NOT_THERE,
    408: _BROKEN,
    409: Verdict("later", "any", "none"),
    410: _NOT_THERE,
    421: _DOWN,
    424: Verdict("later", "any", "none"),
    425: _BROKEN,
    426: _DOWN,
    429: _LIMITED,
    499: _BROKEN,
    501: _DOWN,
    503: _OVERLOADED,
    505: _DOWN,
    529: _OVERLOADED,
}
"""Any other below 500 is the request's own fault, any other from 500 on the provider's.

A 404 that is not of the model may be of what a client names (an earlier response, a file), and so
may a conflict; a 424 is also of a server of tools that a client names (OpenAI's Responses). Others
may serve it, and nobody is to open a breaker by asking for such things.
"""


def failure_of(
    error: Exception, *, status: int | None, unprocessed: bool, generated: bool
) -> Failure:
    """The facts of what an attempt ended with. `status` is what the provider answered, if it did;
    an error inside a 200 has the status that the codec read out of it."""
    match error:
        case DeadlineError():
            kind: Kind = "ours"
        case UpstreamRejectedError():
            said = status if status is not None and status >= 400 else error.status
            return Failure(
                "answered",
                said,
                error.code,
                unprocessed=unprocessed,
                generated=generated,
                retry_after_s=error.retry_after_s,
            )
        case UpstreamError(code="upstream_busy"):
            kind = "full"
        case UpstreamTimeoutError():
            kind = "timeout"
        case UpstreamUnreachableError(code="upstream_lost"):
            kind = "broken"
        case UpstreamUnreachableError():
            kind = "unreachable"
        case UpstreamError():
            kind = "broken"
        case _:
            kind = "ours"
    return Failure(kind, unprocessed=unprocessed, generated=generated)


def judge(failure: Failure) -> Verdict:
    """What follows from it.

    >>> judge(Failure("answered", 429)).next, judge(Failure("answered", 400)).next
    ('any', 'no')
    """
    if failure.kind == "ours":
        return _OURS
    if failure.generated:
        return _AFTER_OUTPUT
    if failure.unprocessed:
        return _UNPROCESSED
    if failure.kind != "answered":
        return _OF_KINDS[failure.kind]
    if failure.status == 403 and failure.code == _CREDENTIALS_REFUSED:
        return _FORBIDDEN
    if (verdict := _OF_CODES.get(failure.code)) is not None:
        return verdict
    otherwise = _REFUSED if failure.status < 500 else _BROKEN
    return _OF_STATUSES.get(failure.status, otherwise)


def again_after_s(
    failure: Failure, rules: RoutingRules, retries: int, draw: float, *, alone: bool
) -> float | None:
    """How long to wait before the same deployment is asked once more; None: it is not.

    `retries` have been made before; `alone` says that no other deployment is left. What the
    provider says is kept to, and nobody waits longer than `retry_wait_max_s` for it; else it is
    full jitter: anything up to a bound that doubles.
    """
    verdict = judge(failure)
    if verdict.again == "no" or (verdict.again == "if-alone" and not alone):
        return None
    if verdict.again == "at-once":
        return 0.0
    if failure.retry_after_s is not None:
        wait_s = failure.retry_after_s
        return wait_s if wait_s <= rules.retry_wait_max_s else None
    if verdict.again == "if-alone":
        return None
    return draw * min(_BACKOFF_MAX_S, _BACKOFF_S * 2.0**retries)
