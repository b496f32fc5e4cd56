"""Every route of the app, walked: with no credential, a wrong one, another account's names, and
with texts in every place that try to be more than texts."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from engine.ledger.budgets import BudgetView
from engine.ledger.changes import Switched
from engine.ledger.records import KeyRow
from engine.rules import Rules
from frontends.headers import ANSWER_HEADERS, SECURITY
from frontends.protocols import protocol_of
from tests.abuse.rig import ADMIN_KEY, OTHER_CANARY, Answer, Rig, chat, check_error
from tests.abuse.routes import RouteOf, routes_of

CHAT = "/v1/chat/completions"
ALLOWED = {name.decode() for name in ANSWER_HEADERS} | {name.decode() for name, _ in SECURITY}
ALLOWED |= {"connection", "date", "transfer-encoding"}


def of_keys(rig: Rig) -> Iterator[RouteOf]:
    """The routes that a key is needed for."""
    return (route for route in routes_of(rig.app) if route.access not in ("open", "admin"))


def of_operators(rig: Rig) -> list[RouteOf]:
    """The routes that need an operator's credential."""
    return [route for route in routes_of(rig.app) if route.access == "admin"]


def ask(rig: Rig, route: RouteOf, path: str, key: str, body: bytes = b"{}", **more: Any) -> Answer:
    """With this credential; a body only where there can be one."""
    data = b"" if route.method in ("GET", "DELETE") else body
    headers = {"authorization": f"Bearer {key}" if key else ""} | more.pop("headers", {})
    return rig.ask(path, data, method=route.method, headers=headers, **more)


def code_of(answer: Answer, path: str) -> str:
    """The stable code of an error, after checking its shape in the protocol of the path."""
    protocol = protocol_of(path, {})
    error = check_error(answer, protocol)
    code = error["details"][0]["reason"].lower() if protocol == "gemini" else error["code"]
    return str(code)


# ---- credentials ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "key", ["", "sk-parshall-guess", ADMIN_KEY], ids=["none", "wrong", "admin"]
)
def test_no_key_no_answer(unpaid: Rig, key: str) -> None:
    """An operator's credential is no key either."""
    for route in of_keys(unpaid):
        path = route.path({})
        answer = ask(unpaid, route, path, key)
        assert answer.status == 401, route
        assert code_of(answer, path) == "invalid_api_key", route
        assert answer.headers["www-authenticate"] == "Bearer"


def wrong_credentials(rig: Rig) -> list[tuple[Mapping[str, str], str]]:
    """Headers and queries that are not an operator's."""
    return [
        ({"authorization": ""}, ""),
        ({"authorization": f"Bearer {rig.key}"}, ""),
        ({"authorization": f"Bearer {rig.full_key}"}, ""),
        ({"authorization": f"Bearer {ADMIN_KEY[:-1]}"}, ""),
        ({"authorization": f"Basic {ADMIN_KEY}"}, ""),
        ({"authorization": "", "x-api-key": ADMIN_KEY}, f"?key={ADMIN_KEY}"),
    ]


def test_operators_routes_are_for_operators(unpaid: Rig) -> None:
    """All alike: whoever asks learns neither what there is nor what was wrong. Each route is asked
    from an address of its own, since an address that fails often is refused whatever it sends."""
    body, before = None, books(unpaid)
    routes = of_operators(unpaid)
    assert len(routes) > 20
    for number, route in enumerate(routes, 1):
        for headers, query in wrong_credentials(unpaid):
            path = route.path({"account": unpaid.other_account_id, "key_id": unpaid.other_key_id})
            answer = unpaid.ask(
                path + query,
                b"" if route.method in ("GET", "DELETE") else b"{}",
                method=route.method,
                headers=headers,
                source=f"127.0.7.{number}",
            )
            assert answer.status == 401, (route, headers)
            assert check_error(answer)["code"] == "invalid_admin_key"
            assert body in (None, answer.body), route
            body = answer.body
    assert books(unpaid) == before


def test_a_guesser_has_to_wait(unpaid: Rig) -> None:
    def guess(key: str) -> Answer:
        headers = {"authorization": f"Bearer {key}"}
        return unpaid.ask("/admin/status", method="GET", headers=headers, source="127.0.8.1")

    answers = [guess(f"guess-{number}") for number in range(11)]

    assert [answer.status for answer in answers] == [401] * 10 + [429]
    assert check_error(answers[-1])["code"] == "ip_rate_limited"
    assert 1 <= int(answers[-1].headers["retry-after"]) <= 60
    assert guess(ADMIN_KEY).status == 429  # nor does the right one tell that it is
    elsewhere = {"authorization": f"Bearer {ADMIN_KEY}"}
    assert unpaid.ask("/admin/status", method="GET", headers=elsewhere).status == 200


@dataclass(frozen=True, slots=True)
class Books:
    """What operators and customers can change."""

    balances: Mapping[str, int]
    keys: tuple[KeyRow, ...]
    budgets: tuple[BudgetView, ...]
    switched: tuple[Switched, ...]
    rules: Rules


def books(rig: Rig) -> Books:
    async def read() -> Books:
        gateway = rig.setup.gateway
        ledger = gateway.ledger
        return Books(
            ledger.balances(),
            tuple(await ledger.keys()),
            tuple(await ledger.budgets()),
            tuple(ledger.switched_off()),
            gateway.running.rules,
        )

    return rig.run(read)


# ---- another account --------------------------------------------------------------------------


def names_of_other(rig: Rig) -> tuple[dict[str, str], dict[str, str]]:
    """What the other account's things are called, and the like of it that there is not."""
    headers = {"authorization": f"Bearer {rig.other_key}"}
    asked = rig.ask(CHAT, chat(), headers=headers)
    assert asked.status == 200
    theirs = {
        "request_id": asked.headers["x-request-id"],
        "key_id": rig.other_key_id,
        "account": rig.other_account_id,
    }
    return theirs, {name: value[:-4] + "0000" for name, value in theirs.items()}


def test_nothing_of_another_account_is_on_any_route(rig: Rig) -> None:
    theirs, nobodys = names_of_other(rig)
    before = books(rig)
    query = urlencode(
        {
            "account": theirs["account"],
            "account_id": theirs["account"],
            "key_id": theirs["key_id"],
            "by": "day,key,model",
        }
    )
    secrets = [OTHER_CANARY, theirs["account"], rig.other_key, rig.other_key[:16]]
    for route in of_keys(rig):
        path = route.path(theirs)
        answer = ask(rig, route, f"{path}?{query}", rig.full_key)
        for secret in secrets:
            assert secret.encode() not in answer.body, (route, secret)
        if {"request_id", "key_id"} & set(route.variables):
            other_path = route.path(nobodys)
            missing = ask(rig, route, f"{other_path}?{query}", rig.full_key)
            assert answer.status == missing.status == 404, route
            body = answer.body
            for name, value in theirs.items():
                body = body.replace(value.encode(), nobodys[name].encode())
            assert body == missing.body, route
    assert books(rig) == before


def test_what_is_ones_own_is(rig: Rig) -> None:
    """Else the refusals above would prove nothing."""
    theirs, _ = names_of_other(rig)
    for route in of_keys(rig):
        if route.method == "GET" and route.rule.startswith(
            ("/v1/acc", "/v1/rec", "/v1/us", "/api")
        ):
            path = route.path(theirs) + ("?by=key" if route.rule == "/v1/usage" else "")
            answer = ask(rig, route, path, rig.other_key)
            assert answer.status == 200, route
            known = (OTHER_CANARY, theirs["account"], theirs["key_id"])
            assert any(name.encode() in answer.body for name in known), route


# ---- texts that try to be more ----------------------------------------------------------------

TEXTS = (
    "%' OR '1'='1' UNION SELECT digest FROM keys; DROP TABLE keys; --_*?",
    "a\r\nx-evil: 1\r\n\r\n<html>\u2028\u202e",
    "../../../../etc/passwd\x00.json\\..\\",
    "{{7*7}}${jndi:ldap://127.0.0.1/a}" + "é" * 400,
)
HEADERS = {
    "x-request-id": b'\xe2\x80\xae"},{"level":"error',
    "idempotency-key": b"%' OR '1'='1",
    "x-forwarded-for": b"'; DROP TABLE keys; --",
    "forwarded": b'for="<script>";host=evil.example;proto=https',
    "anthropic-version": b"%0d%0ax-evil: 1",
    "accept": b"*/*;q=x",
    "user-agent": b"() { :; }; /bin/true",
    "content-type": b"text/html; charset=utf-7",
}


CHOOSING = ("key_id", "model", "account", "subject", "actor")
"""What lists are filtered by: nothing is called so."""


def test_texts_in_every_parameter_of_every_route(unpaid: Rig) -> None:
    """In the path, the URL and the body, one after the other; with a credential that may."""
    begin, before = len(unpaid.logged()), books(unpaid)
    asked = 0
    with closing(http.client.HTTPConnection("127.0.0.1", unpaid.port, timeout=20)) as connection:
        for route in routes_of(unpaid.app):
            if route.access == "open":
                continue
            key = ADMIN_KEY if route.access == "admin" else unpaid.full_key
            for name, path, body in hostile(route):
                connection.request(route.method, path, body, {"authorization": f"Bearer {key}"})
                response = connection.getresponse()
                answer = response.read()
                where = (str(route), name, path, body, answer)
                assert response.status < 500, where
                assert {header.lower() for header, _ in response.getheaders()} <= ALLOWED, where
                document = json.loads(answer)
                for word in (b"sqlite", b"traceback", b"syntax error", b"root:", b'"digest"'):
                    assert word not in answer.lower(), where
                if response.status == 200 and name in route.query and name in CHOOSING:
                    assert document["data"] == [], where
                asked += 1
    assert asked > 300
    check_kept(unpaid, before)
    check_log(unpaid, begin)


def check_kept(rig: Rig, before: Books) -> None:
    """A text may have become the name of something new; nothing that was there is another."""
    after = books(rig)
    assert before.balances.items() <= after.balances.items()
    assert set(before.keys) <= set(after.keys)
    assert {key.account_id for key in after.keys if key not in before.keys} <= {
        rig.setup.account_id
    }
    assert (after.budgets, after.switched) == (before.budgets, before.switched)


def hostile(route: RouteOf) -> Iterator[tuple[str, str, bytes]]:
    """(what is not as it should be, path, body), a text in one place at a time."""
    for text in TEXTS:
        for name in route.variables:
            if name != "of":
                yield name, route.path({name: text}), b"" if route.method == "GET" else b"{}"
        for name in route.query:
            yield name, f"{route.path({})}?{quote(name)}={quote(text)}", b""
        for name in route.body:
            for value in (text, [text], {text: text}):
                fields = {name: value, "name": "x"} if name != "name" else {name: value}
                yield name, route.path({}), json.dumps(fields).encode()


def test_hostile_headers_on_every_route(unpaid: Rig) -> None:
    begin = len(unpaid.logged())
    for route in routes_of(unpaid.app):
        key = ADMIN_KEY if route.access == "admin" else unpaid.full_key
        answer = ask(unpaid, route, route.path({}), key, b"[]", headers=dict(HEADERS))
        assert answer.status < 500, (route, answer)
        assert set(answer.headers) <= ALLOWED, (route, answer.headers)
        assert b"evil.example" not in answer.body, route
    check_log(unpaid, begin)


def check_log(rig: Rig, begin: int) -> None:
    """Each line is one JSON document, whatever was asked for."""
    rig.state()
    for line in filter(None, rig.logged()[begin:].split("\n")):
        document = json.loads(line)
        assert document["level"] != "error", line


def test_an_account_with_a_name_like_that(unpaid: Rig) -> None:
    """It is a name: found by all of it, and by nothing less."""
    headers = {"authorization": f"Bearer {ADMIN_KEY}"}
    name = "%' OR '1'='1' --_"
    made = unpaid.ask("/admin/accounts", {"name": name}, headers=headers)
    found = unpaid.ask(f"/admin/accounts/{quote(name)}", method="GET", headers=headers)
    like = unpaid.ask("/admin/accounts/%25", method="GET", headers=headers)

    assert (made.status, found.status, like.status) == (201, 200, 404)
    assert made.document["account_id"] == found.document["account_id"]
