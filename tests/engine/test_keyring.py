"""The index of keys follows what operators change in the ledger."""

from __future__ import annotations

from dataclasses import replace

import pytest

from engine.admission.keys import KeyIndex, digest, new_secret, shown_prefix
from engine.admission.limits import Demand, LocalLimiter
from engine.admission.plans import ALL_MODELS, NO_LIMITS, Limits
from engine.errors import AccountDisabledError, AuthenticationError, KeyDisabledError
from engine.keyring import follow_keys, terms_of
from engine.ledger.changes import AccountSet, Change, KeyClosed, KeyPut, Switched, TermsSet
from engine.ledger.records import KeyRow, TermsRow

SECRET = new_secret("sk-acme-")
TERMS = TermsRow("ci", limits={"requests_per_min": 30})
ROW = KeyRow("key_1", "acct_1", "ci", digest(SECRET), shown_prefix(SECRET, "sk-acme-"), 0)


def followed(*changes: Change) -> KeyIndex:
    keys, limiter = KeyIndex(), LocalLimiter(lambda: 0)
    for change in (KeyPut(ROW, TERMS), *changes):
        follow_keys(keys, limiter, change)
    return keys


def test_a_key_that_was_made_is_found_with_its_terms() -> None:
    entry = followed().find(SECRET, 0)
    assert (entry.principal.account_id, entry.principal.key_id) == ("acct_1", "key_1")
    assert entry.terms.limits == Limits(requests_per_min=30)


def test_what_a_key_begins_with_is_known_from_then_on() -> None:
    assert "sk-acme-" in followed().prefixes


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (KeyClosed("key_1"), AuthenticationError),
        (Switched("key", "key_1", True, "leaked"), KeyDisabledError),
        (Switched("account", "acct_1", True, "unpaid"), AccountDisabledError),
        (AccountSet("acct_1", "free", True), AccountDisabledError),
        (TermsSet("key_1", replace(TERMS, expires_at_ms=1)), AuthenticationError),
    ],
)
def test_what_restricts_counts_at_the_next_request_and_twice_is_as_once(
    change: Change, error: type[Exception]
) -> None:
    for changes in ([change], [change, change]):
        with pytest.raises(error):
            followed(*changes).find(SECRET, 1)


@pytest.mark.parametrize(
    ("off", "on"),
    [
        (Switched("key", "key_1", True, ""), Switched("key", "key_1", False, "")),
        (Switched("account", "acct_1", True, ""), Switched("account", "acct_1", False, "")),
    ],
)
def test_what_is_switched_on_again_is_found(off: Switched, on: Switched) -> None:
    keys = followed(AccountSet("acct_1", "free", False), off, on)
    assert keys.find(SECRET, 0).account.plan == "free"


def test_what_serves_is_none_of_its_business() -> None:
    keys = followed(Switched("model", "key_1", True, ""), KeyClosed("key_2"))
    assert keys.find(SECRET, 0).principal.key_id == "key_1"


async def test_limits_of_a_key_that_is_closed_are_forgotten() -> None:
    keys, limiter = KeyIndex(), LocalLimiter(lambda: 0)
    follow_keys(keys, limiter, KeyPut(ROW, TERMS))
    demand = keys.find(SECRET, 0).demand(NO_LIMITS)
    await limiter.take_request(demand)
    assert _left(limiter, demand) == 29
    follow_keys(keys, limiter, KeyClosed("key_1"))
    assert _left(limiter, demand) == 30


async def test_to_close_an_account_as_if_it_were_a_key_forgets_nothing() -> None:
    keys, limiter = KeyIndex(), LocalLimiter(lambda: 0)
    follow_keys(keys, limiter, KeyPut(ROW, TermsRow("ci")))
    demand = keys.find(SECRET, 0).demand(Limits(requests_per_min=30))
    await limiter.take_request(demand)
    follow_keys(keys, limiter, KeyClosed("acct_1"))
    assert _left(limiter, demand) == 29


def _left(limiter: LocalLimiter, demand: Demand) -> int:
    window = limiter.status(demand).requests
    assert window is not None
    return window.remaining


def test_terms_without_models_are_for_all_and_equal_ones_are_shared() -> None:
    rows = [TermsRow("a", models=("gpt-5*",), limits={"tokens_per_min": 5}) for _ in range(2)]
    first, second = map(terms_of, rows)
    assert "gpt-5-mini" in first.models
    assert "o3" not in first.models
    assert first.models is second.models
    assert first.limits is second.limits
    assert terms_of(TermsRow("b")).models is ALL_MODELS


def test_a_scope_of_a_later_version_gives_nothing() -> None:
    assert terms_of(TermsRow("a", scopes=("fly", "read"))).scopes == {"read"}
