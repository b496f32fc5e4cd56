"""Keys that a customer makes with a key: never for more than that key may do itself. Pure.

A key with limits of its own makes none at all. Each further key would have them anew, so that many
keys had many times what one was to have; what holds for all keys together are the limits of a plan.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from engine.admission.keys import DEFAULT_SCOPES, Scope, Terms
from engine.admission.plans import NO_LIMITS, Limits, ModelSet
from engine.errors import PermissionDeniedError


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a new key is asked to be; what is left out is as it is of the key that asks.

    Attributes:
        scopes: None: the default ones, as far as the key that asks has them.
        expires_at_ms: when it ends, in milliseconds since 1970.
    """

    name: str
    scopes: frozenset[Scope] | None = None
    models: ModelSet | None = None
    limits: Limits = NO_LIMITS
    expires_at_ms: int | None = None


def delegated(wanted: Wanted, maker: Terms) -> Terms:
    """The terms of a key that another one makes.

    Raises:
        PermissionDeniedError: as `check_within`.
    """
    terms = Terms(
        name=wanted.name,
        scopes=(DEFAULT_SCOPES & maker.scopes) or maker.scopes,
        models=maker.models,
        limits=wanted.limits,
        expires_at_ms=maker.expires_at_ms,
    )
    if wanted.scopes is not None:
        terms = replace(terms, scopes=wanted.scopes)
    if wanted.models is not None:
        terms = replace(terms, models=wanted.models)
    if wanted.expires_at_ms is not None:
        terms = replace(terms, expires_at_ms=wanted.expires_at_ms)
    check_within(terms, maker)
    return terms


def check_within(terms: Terms, maker: Terms) -> None:
    """Whether who has the maker may have a key of these terms, too.

    Raises:
        PermissionDeniedError: it may do what the maker may not, `param` says what; or the maker has
            limits of its own.
    """
    if not maker.limits.unlimited:
        raise PermissionDeniedError(
            "A key with limits of its own makes no others: they would not keep to them together.",
            param="limits",
        )
    faults = {
        "scopes": not terms.scopes <= maker.scopes,
        "models": not terms.models.is_within(maker.models),
        "expires_in": not _ends_within(terms.expires_at_ms, maker.expires_at_ms),
    }
    for param, wider in faults.items():
        if wider:
            raise PermissionDeniedError(
                f"A key cannot be had for more than the key that asks may do itself: '{param}'.",
                param=param,
            )


def _ends_within(expires_at_ms: int | None, bound_ms: int | None) -> bool:
    return bound_ms is None or (expires_at_ms is not None and expires_at_ms <= bound_ms)
