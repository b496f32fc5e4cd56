"""API keys: random, kept as digests, refused by default; what changes of one counts at once."""

from __future__ import annotations

import pytest

from engine.admission.keys import (
    DEFAULT_SCOPES,
    KEY_PREFIX,
    KeyEntry,
    KeyIndex,
    Principal,
    Terms,
    digest,
    new_secret,
    shown_prefix,
)
from engine.admission.plans import NO_LIMITS, Limits
from engine.errors import (
    AccountDisabledError,
    AuthenticationError,
    ClientError,
    ExpiredKeyError,
    KeyDisabledError,
)

ANNA = Principal("acct_anna", "key_1")
NOW_MS = 1_700_000_000_000
SECRET = new_secret()


def index_with(secret: str = SECRET, terms: Terms | None = None) -> KeyIndex:
    index = KeyIndex()
    raw = bytes.fromhex(digest(secret))
    index.put(raw, ANNA.key_id, ANNA.account_id, terms or Terms("ci"))
    return index


def found(index: KeyIndex, now_ms: int = NOW_MS) -> KeyEntry:
    return index.find(SECRET, now_ms)


def refusal(index: KeyIndex, now_ms: int = NOW_MS) -> tuple[type[ClientError], int, str]:
    with pytest.raises(ClientError) as caught:
        index.find(SECRET, now_ms)
    return type(caught.value), caught.value.status, caught.value.code


def test_a_key_is_long_and_new_each_time() -> None:
    secrets = {new_secret() for _ in range(100)}
    assert len(secrets) == 100
    assert all(s.startswith(KEY_PREFIX) and len(s) >= len(KEY_PREFIX) + 43 for s in secrets)


def test_people_recognise_a_key_by_its_start() -> None:
    assert shown_prefix("sk-parshall-abcdefgh") == "sk-parshall-abcd"
    assert shown_prefix("acme-abcdefgh", "acme-") == "acme-abcd"


def test_what_was_made_elsewhere_shows_no_more_than_four_characters() -> None:
    assert shown_prefix("a-secret-of-the-operators") == "a-se"


def test_a_prefix_can_be_chosen_and_any_is_found() -> None:
    secret = new_secret("sk-acme-")
    assert secret.startswith("sk-acme-")
    assert index_with(secret).find(secret, NOW_MS).principal == ANNA


def test_a_known_key_is_its_accounts_and_may_do_what_every_key_may() -> None:
    entry = found(index_with())
    assert entry.principal == ANNA
    assert entry.account.account_id == ANNA.account_id
    assert entry.terms.scopes == DEFAULT_SCOPES == {"inference", "read"}


@pytest.mark.parametrize(
    "key", [None, "", "x", KEY_PREFIX, "k" * 1_000_000, "schlüssel", "\udcff", "a\x00b"]
)
def test_anything_else_is_refused(key: str | None) -> None:
    with pytest.raises(AuthenticationError):
        index_with().find(key, NOW_MS)


def test_a_key_that_shares_a_prefix_is_refused() -> None:
    for almost in (SECRET[:-1], SECRET + "x", SECRET.upper()):
        with pytest.raises(AuthenticationError):
            index_with().find(almost, NOW_MS)


def test_a_closed_key_is_refused_also_to_who_has_found_it_before() -> None:
    index = index_with()
    entry = found(index)
    index.close(ANNA.key_id)
    index.close(ANNA.key_id)
    assert refusal(index) == (AuthenticationError, 401, "invalid_api_key")
    with pytest.raises(AuthenticationError):
        index.check(entry, NOW_MS)
    assert (len(index), entry.account.keys) == (0, 0)


def test_a_key_expires_at_its_moment_and_not_before() -> None:
    index = index_with(terms=Terms("ci", expires_at_ms=NOW_MS))
    entry = found(index, NOW_MS - 1)
    assert refusal(index, NOW_MS) == (ExpiredKeyError, 401, "expired_api_key")
    with pytest.raises(ExpiredKeyError):
        index.check(entry, NOW_MS)


def test_a_key_that_is_switched_off_is_refused_until_it_is_on_again() -> None:
    index = index_with()
    index.switch(ANNA.key_id, off=True)
    assert refusal(index) == (KeyDisabledError, 403, "key_disabled")
    index.switch(ANNA.key_id, off=False)
    assert found(index).principal == ANNA


def test_an_account_that_is_switched_off_takes_its_keys_with_it_and_nobody_elses() -> None:
    index = index_with()
    other = new_secret()
    index.put(bytes.fromhex(digest(other)), "key_2", "acct_bert", Terms())
    index.set_account(ANNA.account_id, "free", True)
    assert refusal(index) == (AccountDisabledError, 403, "account_disabled")
    assert index.find(other, NOW_MS).account.plan is None
    index.set_account(ANNA.account_id, "free", False)
    assert found(index).account.plan == "free"


def test_what_is_said_of_an_account_holds_for_keys_that_it_gets_later() -> None:
    index = KeyIndex()
    index.set_account(ANNA.account_id, "pro", True)
    index.put(bytes.fromhex(digest(SECRET)), ANNA.key_id, ANNA.account_id, Terms())
    assert refusal(index)[0] is AccountDisabledError
    assert index.account(ANNA.account_id).plan == "pro"


def test_a_key_that_is_put_again_stays_as_it_was_switched_and_counts_once() -> None:
    index = index_with()
    index.switch(ANNA.key_id, off=True)
    raw = bytes.fromhex(digest(SECRET))
    index.put(raw, ANNA.key_id, ANNA.account_id, Terms("renamed"))
    assert refusal(index)[0] is KeyDisabledError
    index.switch(ANNA.key_id, off=False)
    entry = found(index)
    assert (entry.terms.name, entry.account.keys) == ("renamed", 1)


def test_changes_of_a_key_that_is_not_there_are_nothing() -> None:
    index = index_with()
    index.set_terms("key_other", Terms("x"))
    index.switch("key_other", off=True)
    index.close("key_other")
    assert found(index).terms.name == "ci"


def test_a_request_keeps_the_limits_of_its_key_and_of_its_account() -> None:
    mine, plans = Limits(requests_per_min=30), Limits(tokens_per_min=1_000)
    index = index_with(terms=Terms("ci", limits=mine))
    demand = found(index).demand(plans)
    assert demand.scopes == ((ANNA.key_id, mine), (ANNA.account_id, plans))
    assert found(index).demand(plans) is demand  # made once


def test_limits_that_change_count_from_the_next_request_on() -> None:
    index = index_with(terms=Terms("ci", limits=Limits(requests_per_min=30)))
    assert [name for name, _ in found(index).demand(NO_LIMITS).scopes] == [ANNA.key_id]
    index.set_terms(ANNA.key_id, Terms("ci"))
    assert found(index).demand(NO_LIMITS).scopes == ()
    tighter = Limits(concurrent_streams=1)
    assert found(index).demand(tighter).scopes == ((ANNA.account_id, tighter),)
