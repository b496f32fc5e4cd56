"""The request that a call of a tool asks for."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from engine.agent import HttpTool, Method
from engine.agents.http_tools import ArgumentsError, request_of

PROPERTIES = {"id": {"type": "string"}, "q": {"type": "string"}, "n": {"type": "integer"}}


def tool(
    url: str = "https://shop.example/orders/{id}", method: Method = "GET", **schema: Any
) -> HttpTool:
    parameters = {"type": "object", "properties": PROPERTIES, **schema}
    return HttpTool("t", "", parameters, method, url, {"authorization": "Bearer s"})


def url_of(arguments: dict[str, Any], url: str = "https://shop.example/orders/{id}") -> str:
    return request_of(tool(url), orjson.dumps(arguments).decode())[0]


@pytest.mark.parametrize(
    ("value", "quoted"),
    [
        ("7", "7"),
        ("../../admin", "..%2F..%2Fadmin"),
        ("a?b#c&d=e", "a%3Fb%23c%26d%3De"),
        ("@evil.example/", "%40evil.example%2F"),
        ("a\r\nhost: b", "a%0D%0Ahost%3A%20b"),
        ("Grüße", "Gr%C3%BC%C3%9Fe"),
    ],
)
def test_an_argument_leads_nowhere_else(value: str, quoted: str) -> None:
    assert url_of({"id": value}) == f"https://shop.example/orders/{quoted}"
    in_query = url_of({"id": value}, "https://shop.example/find?id={id}&all=1")
    assert in_query == f"https://shop.example/find?id={quoted}&all=1"


def test_what_the_url_does_not_name_is_the_query() -> None:
    assert url_of({"id": "7", "q": "a b", "n": 3}) == "https://shop.example/orders/7?q=a+b&n=3"
    url = "https://shop.example/orders?all=1"
    assert url_of({"n": 3}, url) == "https://shop.example/orders?all=1&n=3"


def test_or_a_body_where_the_method_has_one() -> None:
    url, headers, body = request_of(tool(method="POST"), '{"id": "7", "n": 3}')

    assert url == "https://shop.example/orders/7"
    assert dict(headers) == {
        b"authorization": b"Bearer s",
        b"accept": b"application/json, text/*;q=0.9, */*;q=0.1",
        b"content-type": b"application/json",
    }
    assert orjson.loads(body) == {"n": 3}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("{", "not JSON"),
        ("[]", "not a JSON object"),
        ("{}", "'id' is missing"),
        ('{"id": ["7"]}', "must be a text or a number"),
        ('{"id": null}', "must be a text or a number"),
        ('{"id": "7", "other": 1}', "no argument 'other'"),
        ('{"id": ".."}', "another path"),
        ('{"id": "."}', "another path"),
    ],
)
def test_arguments_that_there_is_no_request_for(arguments: str, words: str) -> None:
    strict = tool(required=["id"], additionalProperties=False)
    with pytest.raises(ArgumentsError, match=words):
        request_of(strict, arguments)
