"""Orders of operators whose bodies nobody means; who may give orders is in `test_routes.py`."""

from __future__ import annotations

import json

import pytest

from tests.abuse.rig import ADMIN_KEY, Rig, check_error

ADMIN = {"authorization": f"Bearer {ADMIN_KEY}"}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"null",
        b'"text"',
        b"{",
        b"\xff\xfe",
        b'{"name": "\\ud800"}',
        b'{"name": "a", "name": "b"}x',
        b'{"name": {"$gt": ""}}',
        b'{"__proto__": {"name": "x"}}',
        b'{"name": "x", "fund": 1e999}',
        b'{"name": "x", "fund": 99999999999999999999999999}',
        b'{"name": "x", "fund": "NaN"}',
        b'{"name": "x", "fund": "-1"}',
        b'{"name": ' + b"[" * 2_000 + b"]" * 2_000 + b"}",
        json.dumps({"name": "x" * 70_000}).encode(),
    ],
    ids=lambda body: body[:24].decode("latin-1"),
)
def test_bodies_that_nobody_means(unpaid: Rig, body: bytes) -> None:
    before = unpaid.ask("/admin/accounts", method="GET", headers=ADMIN)
    answer = unpaid.ask("/admin/accounts", body, headers=ADMIN)

    assert answer.status in {400, 413}
    check_error(answer)
    assert unpaid.ask("/admin/accounts", method="GET", headers=ADMIN).body == before.body
