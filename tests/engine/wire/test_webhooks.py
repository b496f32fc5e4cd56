"""Signatures as the specification's own library verifies them."""

from __future__ import annotations

import base64
import time
from datetime import UTC, datetime

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from engine.wire.webhooks import signed_headers, signing_key

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
BODY = '{"type":"budget.threshold","data":{"name":"größer"}}'


def test_the_reference_library_takes_it() -> None:
    headers = signed_headers(signing_key(SECRET), "msg_1", int(time.time()), BODY)
    assert Webhook(SECRET).verify(BODY, headers)["type"] == "budget.threshold"


@pytest.mark.parametrize("part", ["id", "timestamp", "body", "key"])
def test_a_signature_is_of_every_part(part: str) -> None:
    now_s = int(time.time())
    headers = signed_headers(signing_key(SECRET), "msg_1", now_s, BODY)
    secret, body = SECRET, BODY
    match part:
        case "id":
            headers["webhook-id"] = "msg_2"
        case "timestamp":
            headers["webhook-timestamp"] = str(now_s + 1)
        case "body":
            body = BODY.replace("budget", "Budget")
        case _:
            secret = "whsec_" + base64.b64encode(bytes(32)).decode()
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(body, headers)


def test_it_is_what_the_reference_library_signs() -> None:
    now_s = int(time.time())
    headers = signed_headers(signing_key(SECRET), "msg_1", now_s, BODY)
    expected = Webhook(SECRET).sign("msg_1", datetime.fromtimestamp(now_s, UTC), BODY)
    assert headers["webhook-signature"] == expected


@pytest.mark.parametrize(
    "secret",
    ["", "whsec_", "whsec_###", "whsec_" + "A" * 28, "whsec_" + "A" * 100, "ümlaut"],
)
def test_a_secret_that_is_none_is_refused_unquoted(secret: str) -> None:
    with pytest.raises(ValueError, match=r"^the secret ") as caught:
        signing_key(secret)
    assert not secret or secret not in str(caught.value)


def test_the_prefix_may_be_left_out() -> None:
    assert signing_key(SECRET) == signing_key(SECRET.removeprefix("whsec_")) == bytes(range(32))
