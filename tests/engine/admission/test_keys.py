"""API keys: random, kept as digests, refused by default."""

from __future__ import annotations

import pytest

from engine.admission.keys import KEY_PREFIX, KeyIndex, Principal, digest, new_secret, shown_prefix
from engine.errors import AuthenticationError

ANNA = Principal("acct_anna", "key_1")


def index_with(secret: str) -> KeyIndex:
    index = KeyIndex()
    index.add(digest(secret), ANNA)
    return index


def test_a_key_is_long_and_new_each_time() -> None:
    secrets = {new_secret() for _ in range(100)}
    assert len(secrets) == 100
    assert all(s.startswith(KEY_PREFIX) and len(s) >= len(KEY_PREFIX) + 43 for s in secrets)


def test_people_recognise_a_key_by_its_start() -> None:
    assert shown_prefix("sk-parshall-abcdefgh") == "sk-parshall-abcd"


def test_a_known_key_is_its_accounts() -> None:
    secret = new_secret()
    assert index_with(secret).authenticate(secret) == ANNA


@pytest.mark.parametrize(
    "key", [None, "", "x", KEY_PREFIX, "k" * 1_000_000, "schlüssel", "\udcff", "a\x00b"]
)
def test_anything_else_is_refused(key: str | None) -> None:
    with pytest.raises(AuthenticationError):
        index_with(new_secret()).authenticate(key)


def test_a_key_that_shares_a_prefix_is_refused() -> None:
    secret = new_secret()
    for almost in (secret[:-1], secret + "x", secret.upper()):
        with pytest.raises(AuthenticationError):
            index_with(secret).authenticate(almost)


def test_a_removed_key_is_refused_and_removing_it_again_changes_nothing() -> None:
    secret = new_secret()
    index = index_with(secret)
    index.remove(ANNA.key_id)
    index.remove(ANNA.key_id)
    with pytest.raises(AuthenticationError):
        index.authenticate(secret)
