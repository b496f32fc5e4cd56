"""Who may administer over HTTP, tried without a server."""

from __future__ import annotations

import pytest
from trio.testing import MockClock

from engine.config_access import AdminConfig, OperatorConfig
from engine.errors import AddressLimitedError, AddressNotAllowedError, AdminKeyError
from frontends.admin_auth import ADDRESSES_MAX, FAILURES_MAX, WINDOW_S, OperatorAuth

SECRET = "the-credential-of-an-operator-in-a-test"
ALICES = "the-credential-of-alice-in-the-same-test"
HERE = "192.0.2.1"


def auth(**config: object) -> OperatorAuth:
    """With the secret of `[admin]`, and Alice's."""
    made = OperatorAuth()
    operators = {"alice": OperatorConfig(ALICES)}
    made.use(AdminConfig(secret=SECRET, operators=operators, **config))  # type: ignore[arg-type]
    return made


def fail(tried: OperatorAuth, peer: str = HERE, times: int = 1) -> None:
    for _ in range(times):
        with pytest.raises(AdminKeyError):
            tried.authenticate(["Bearer wrong"], peer)


async def test_the_credential_says_who_it_is() -> None:
    tried = auth()
    assert tried.authenticate([f"Bearer {SECRET}"], HERE).name == "admin"
    alice = tried.authenticate([f"bearer  {ALICES} "], HERE)
    assert (alice.name, alice.peer) == ("admin:alice", HERE)


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [""],
        ["Bearer"],
        ["Bearer "],
        [SECRET],
        [f"Basic {SECRET}"],
        [f"Bearer {SECRET}x"],
        [f"Bearer {SECRET[:-1]}"],
        [f"Bearer {SECRET.upper()}"],
        [f"Bearer {SECRET}, Bearer {SECRET}"],
        [f"Bearer {SECRET}", f"Bearer {SECRET}"],
        ["Bearer " + "k" * 100_000],
        ["Bearer \udcff\udcfe"],
    ],
)
async def test_what_is_no_credential(headers: list[str]) -> None:
    with pytest.raises(AdminKeyError):
        auth().authenticate(headers, HERE)


async def test_without_credentials_nobody_is_an_operator() -> None:
    tried = OperatorAuth()
    for header in ("Bearer ", "Bearer None", "Bearer admin"):
        with pytest.raises(AdminKeyError):
            tried.authenticate([header], HERE)


async def test_another_configuration_counts_at_once() -> None:
    tried = auth()
    tried.use(AdminConfig(secret=ALICES))
    assert tried.authenticate([f"Bearer {ALICES}"], HERE).name == "admin"
    with pytest.raises(AdminKeyError):
        tried.authenticate([f"Bearer {SECRET}"], HERE)


@pytest.mark.parametrize(
    ("peer", "may"),
    [
        ("127.0.0.1", True),
        ("10.1.2.3", True),
        ("::ffff:10.1.2.3", True),
        ("unix", True),
        ("192.0.2.1", False),
        ("2001:db8::1", False),
        ("", False),
    ],
)
async def test_addresses_that_may(peer: str, may: bool) -> None:
    tried = auth(allow=frozenset({"127.0.0.1", "10.0.0.0/8", "unix"}))
    if may:
        assert tried.authenticate([f"Bearer {SECRET}"], peer).name == "admin"
    else:
        with pytest.raises(AddressNotAllowedError):
            tried.authenticate([f"Bearer {SECRET}"], peer)


async def test_who_guesses_has_to_wait(mock_clock: MockClock) -> None:
    tried = auth()
    fail(tried, times=FAILURES_MAX - 1)
    assert tried.authenticate([f"Bearer {SECRET}"], HERE).name == "admin"
    mock_clock.jump(WINDOW_S / 2)
    fail(tried)

    with pytest.raises(AddressLimitedError) as refused:
        tried.authenticate([f"Bearer {SECRET}"], HERE)
    assert refused.value.retry_after_s == pytest.approx(WINDOW_S / 2)
    assert tried.authenticate([f"Bearer {SECRET}"], "192.0.2.2").name == "admin"

    mock_clock.jump(WINDOW_S / 2)
    assert tried.authenticate([f"Bearer {SECRET}"], HERE).name == "admin"
    fail(tried, times=FAILURES_MAX - 1)  # one of them is not forgotten yet
    with pytest.raises(AddressLimitedError):
        tried.authenticate([f"Bearer {SECRET}"], HERE)


async def test_a_subscriber_of_ipv6_is_one() -> None:
    tried = auth()
    for number in range(FAILURES_MAX):
        fail(tried, f"2001:db8:1:2::{number:x}")
    with pytest.raises(AddressLimitedError):
        tried.authenticate([f"Bearer {SECRET}"], "2001:db8:1:2:ffff::1")
    assert tried.authenticate([f"Bearer {SECRET}"], "2001:db8:1:3::1").name == "admin"


async def test_guessing_from_everywhere_takes_no_memory() -> None:
    tried = auth()
    fail(tried, times=FAILURES_MAX)
    for number in range(ADDRESSES_MAX + 50):
        fail(tried, f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
    assert len(tried._failures) == ADDRESSES_MAX
