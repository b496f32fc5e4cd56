"""Keys that are none, and places they do not belong in."""

from __future__ import annotations

import pytest

from tests.abuse.rig import Rig, chat, check_error

CHAT = "/v1/chat/completions"


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"Bearer",
        b"Bearer  ",
        b"Basic KEY",
        b"KEY",
        b"Bearer\xc2\xa0KEY",
        b"Bearer \xff\xfe\xfd",
        b"Bearer K\xc3\xa9Y",
        b"Bearer PREFIX",
        b"Bearer KEYx",
        b"Bearer KEYKEY",
        b"Bearer UPPER",
        b"Bearer KEY, Bearer KEY",
        b"Bearer null",
        b"Bearer ' OR 1=1 --",
        b"Bearer ../../etc/passwd",
        b"Bearer {{7*7}}${jndi:ldap://127.0.0.1/a}",
        b"Bearer " + b"k" * 20_000,
    ],
    ids=lambda value: value[:24].decode("latin-1"),
)
def test_what_is_no_key(unpaid: Rig, value: bytes) -> None:
    key = unpaid.key.encode()
    value = value.replace(b"KEY", key).replace(b"PREFIX", key[:-1]).replace(b"UPPER", key.upper())

    answer = unpaid.ask(CHAT, chat(), headers={"authorization": value})

    assert answer.status == 401
    assert check_error(answer)["code"] == "invalid_api_key"
    assert answer.headers["www-authenticate"] == "Bearer"
    assert key[:-1] not in answer.body


def test_a_key_of_a_megabyte(unpaid: Rig) -> None:
    answer = unpaid.ask(CHAT, chat(), headers={"authorization": b"Bearer " + b"k" * 1024 * 1024})

    assert answer.status == 431
    assert b"kkkk" not in answer.body


def test_a_megabyte_of_headers(unpaid: Rig) -> None:
    many = {f"x-{number}": b"v" * 1_000 for number in range(1_000)}

    assert unpaid.ask(CHAT, chat(), headers=many).status == 431


@pytest.mark.parametrize("protocol", ["openai_chat", "anthropic", "gemini"])
def test_every_protocol_says_it_in_its_own_words(unpaid: Rig, protocol: str) -> None:
    path = {
        "openai_chat": CHAT,
        "anthropic": "/v1/messages",
        "gemini": "/v1beta/models/sim-gemini:generateContent",
    }[protocol]
    answer = unpaid.ask(path, b"{", headers={"authorization": "Bearer wrong"})

    assert answer.status == 401
    check_error(answer, protocol)


def test_two_keys_that_differ(unpaid: Rig) -> None:
    answer = unpaid.ask(CHAT, chat(), headers={"x-api-key": unpaid.other_key})

    assert answer.status == 400
    assert unpaid.other_key not in check_error(answer)["message"]


@pytest.mark.parametrize(
    "path",
    [
        "/v1/models?key=KEY",
        "/v1/models?x=1&key=KEY",
        "/v1/models?key=wrong-KEY",
        "/v1/modelss?key=KEY",
        "/v1/models%3fkey=KEY",
        "/v1/models%253Fkey%253DKEY",
        "/v1/models/key=KEY",
        "/v1beta/models/KEY:generateContent?key=KEY",
    ],
)
def test_a_key_in_a_url_is_not_logged(unpaid: Rig, path: str) -> None:
    begin = len(unpaid.logged())
    answer = unpaid.ask(
        path.replace("KEY", unpaid.other_key), method="GET", headers={"authorization": ""}
    )

    assert answer.status in {200, 400, 401, 404, 405}
    assert unpaid.other_key.encode() not in answer.body
    unpaid.state()
    assert unpaid.logged()[begin:].count('"message":"request"') == 1


def test_a_key_in_places_of_a_client(rig: Rig) -> None:
    """What is logged of a request holds what its client has said of itself."""
    key = rig.other_key
    for headers in (
        {"x-request-id": key},
        {"x-client-request-id": f"Bearer {key}"},
        {"user-agent": key},
        {"referer": f"https://a.example/?key={key}"},
        {"idempotency-key": f"{key}-1"},
        {"cookie": key},
    ):
        rig.ask("/v1/models", method="GET", headers=headers)


def test_a_key_is_not_guessed_by_what_comes_back(unpaid: Rig) -> None:
    key = unpaid.key
    answers = {
        unpaid.ask(CHAT, chat(), headers={"authorization": f"Bearer {guess}"}).body
        for guess in (key[:-1] + "!", key[: len(key) // 2], "sk-parshall-", "x", key.swapcase())
    }

    assert len(answers) == 1
