"""Keys in three headers and a query: any on any route, never two that differ, never in a log."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from werkzeug.datastructures import Headers

from engine.admission.keys import digest, new_secret, shown_prefix
from engine.errors import InvalidRequestError
from frontends.access import clean_client_id
from frontends.keys import read_key, without_key
from tests.frontends.apps import Front, open_front
from tests.gateways import settled

KEY = "sk-parshall-a_b-1"


@pytest.mark.parametrize(
    ("headers", "query", "key"),
    [
        ([("Authorization", f"Bearer {KEY}")], b"", KEY),
        ([("authorization", f"bearer   {KEY} ")], b"", KEY),
        ([("x-api-key", KEY)], b"", KEY),
        ([("X-Goog-Api-Key", KEY)], b"alt=sse", KEY),
        ([], f"key={KEY}".encode(), KEY),
        ([], f"alt=sse&%6Bey={quote(KEY).replace('_', '%5f')}".encode(), KEY),
        ([], f"key={KEY}&key={KEY}".encode(), KEY),
        ([("x-api-key", KEY), ("x-api-key", KEY)], f"key={KEY}".encode(), KEY),
        ([("authorization", "Basic eDp5"), ("x-api-key", KEY)], b"", KEY),
        ([("authorization", "Bearer "), ("x-api-key", KEY)], b"key=", KEY),
        ([("authorization", KEY)], b"", None),
        ([], b"", None),
        ([], b"keys=a&k=b&KEY=c", None),
        ([], b"key=%ff%fe", "\ufffd\ufffd"),
        ([], b"\xff\xfe&key=a", "a"),
    ],
)
def test_where_a_key_may_be(headers: list[tuple[str, str]], query: bytes, key: str | None) -> None:
    assert read_key(Headers(headers), query) == key


@pytest.mark.parametrize(
    ("headers", "query"),
    [
        ([("authorization", "Bearer a"), ("x-api-key", "b")], b""),
        ([("authorization", "Bearer a"), ("authorization", "Bearer b")], b""),
        ([("x-api-key", "a"), ("x-api-key", "A")], b""),
        ([("x-goog-api-key", "a")], b"key=b"),
        ([], b"key=a&key=b"),
        ([], b"key=a&%6Bey=%62"),
    ],
)
def test_two_keys_that_differ(headers: list[tuple[str, str]], query: bytes) -> None:
    with pytest.raises(InvalidRequestError, match="two API keys"):
        read_key(Headers(headers), query)


def test_a_query_without_end_is_refused() -> None:
    with pytest.raises(InvalidRequestError, match="too many parameters"):
        read_key(Headers(), b"a=&" * 2_000)


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("/v1/messages", "/v1/messages"),
        ("/v1/models/key-lime", "/v1/models/key-lime"),
        ("/v1/models?key=sk-1", "/v1/models?[redacted]"),
        ("/v1/models%3Fkey%3Dsk-1", "/v1/models%3F[redacted]"),
        ("/v1/models%25253fkey%25253dsk-1", "/v1/models%25253f[redacted]"),
        ("/v1/models&Key=sk-1", "/v1/models&Key=[redacted]"),
        ("/v1/models&key%3dsk-1\nsk-2", "/v1/models&key%3d[redacted]"),
        (
            f"/v1beta/models/{KEY}:generateContent",
            "/v1beta/models/sk-parshall-[redacted]:generateContent",
        ),
        (f"/v1/{KEY}/x/{KEY}", "/v1/sk-parshall-[redacted]/x/sk-parshall-[redacted]"),
    ],
)
def test_what_of_a_path_may_be_logged(path: str, shown: str) -> None:
    assert without_key(path) == shown


WAYS = {
    "bearer": ({"authorization": "Bearer {}"}, ""),
    "x-api-key": ({"x-api-key": "{}"}, ""),
    "x-goog-api-key": ({"x-goog-api-key": "{}"}, ""),
    "query": ({}, "?key={}"),
    "percent-encoded": ({}, "?a=b&%6b%65y={}"),
    "repeated": ({}, "?key={}&key={}"),
}
ROUTES = ["/v1/models", "/v1beta/models", "/v1/models/sim-openai"]


async def get(front: Front, way: str, path: str, secret: str) -> httpx.Response:
    """Ask with a key given in this way, and in no other."""
    headers, query = WAYS[way]
    async with httpx.AsyncClient(
        base_url=f"http://{front.server.addresses[0]}", verify=False
    ) as client:
        return await client.get(
            path + query.replace("{}", secret),
            headers={name: value.format(secret) for name, value in headers.items()},
        )


@pytest.mark.parametrize("way", WAYS)
async def test_every_way_works_on_every_route_and_is_logged_nowhere(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, way: str
) -> None:
    caplog.set_level(logging.DEBUG, "parshall")

    def entries() -> list[dict[str, Any]]:
        return [r.__dict__["fields"] for r in caplog.records if r.name == "parshall.access"]

    async with open_front(tmp_path) as front:
        for path in ROUTES:
            assert (await get(front, way, path, front.setup.key)).status_code == 200
            wrong = await get(front, way, path, "sk-parshall-guess")
            assert wrong.status_code in (400, 401)
        await settled(lambda: len(entries()) == 2 * len(ROUTES))
        secret = front.setup.key

    assert [entry["path"] for entry in entries()] == [p for p in ROUTES for _ in range(2)]
    logged = json.dumps(entries()) + caplog.text
    for word in (secret, "sk-parshall-guess", "key="):
        assert word not in logged


def test_keys_with_other_beginnings() -> None:
    """What an operator has configured, now or before, is cut out as well."""
    prefixes = ("sk-parshall-", "sk-", "acme-")
    assert without_key("/v1/acme-a_b/x", prefixes) == "/v1/acme-[redacted]/x"
    assert without_key(f"/v1/{KEY}", prefixes) == "/v1/sk-parshall-[redacted]"
    assert without_key("/v1/sk-1", prefixes) == "/v1/sk-[redacted]"
    assert clean_client_id("acme-1", prefixes) is None
    assert clean_client_id("req-1", prefixes) == "req-1"


async def test_a_key_that_begins_otherwise_is_logged_nowhere(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "parshall")
    async with open_front(tmp_path) as front:
        setup = front.setup
        secret = new_secret("acme-")
        row = await setup.gateway.ledger.create_key(
            setup.account_id, "acme", digest(secret), shown_prefix(secret, "acme-")
        )
        path = f"/v1/models/{secret}"
        headers = {"authorization": f"Bearer {secret}", "x-request-id": secret}
        answer = await front.client.get(path, headers=headers)
        assert row.prefix == secret[:9]
        assert answer.status_code == 404
        await settled(lambda: len(caplog.records) >= 1)
        logged = caplog.text + json.dumps([r.__dict__.get("fields") for r in caplog.records])
        assert secret not in logged
        assert "/v1/models/acme-[redacted]" in logged


async def test_two_that_differ_are_refused_in_the_routes_shape(tmp_path: Path) -> None:
    async with open_front(tmp_path) as front:
        for path in ("/v1/messages", "/v1beta/models/m:generateContent", "/v1/chat/completions"):
            answer = await front.client.post(path, headers={"x-api-key": "other"}, content=b"{}")
            assert answer.status_code == 400
            assert "two API keys" in answer.json()["error"]["message"]
            assert front.setup.key not in answer.text


async def test_a_key_that_became_part_of_the_path_is_logged_nowhere(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "parshall")
    async with open_front(tmp_path) as front:
        for query in ("%3Fkey=", "%253Fkey%253D", "&key="):
            path = f"/v1beta/models/m:generateContent{query}{front.setup.key}"
            answer = await front.client.post(path, content=b"{}")
            assert answer.status_code == 404
        await settled(lambda: len(caplog.records) >= 3)
        logged = caplog.text + json.dumps([r.__dict__.get("fields") for r in caplog.records])
        assert front.setup.key not in logged
