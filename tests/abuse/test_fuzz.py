"""Values that nobody means, drawn at random, in every parameter of every route: never a fault."""

from __future__ import annotations

import http.client
import json
import random
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any, Final
from urllib.parse import urlencode

import pytest

from tests.abuse.rig import ADMIN_KEY, Rig
from tests.abuse.routes import RouteOf, routes_of

VALUES: Final[Sequence[Any]] = (
    *(None, True, False, 0, 1, -1, 1.5, 10**18, 10**30, -(10**18)),
    *("", "x", "%", "_", "\x00", "\u2028", "é" * 50, "9" * 400, "1.00", "-1", "NaN", "1e999"),
    *("0.0000000001", "free", "month", "total", "key", "account", "plan", "all", "per-30", "0"),
    *("2026-05-01", "0001-01-01", "9999-12-31", "9999-12-31T23:59:59Z", "2026-02-30", "1"),
    *([], {}, [1], ["x"], [None], [[]], [{}], {"": ""}, {"a": 1}, ["read"], ["*"], ["a*"]),
    *({"requests_per_min": 1}, {"requests_per_min": None}, {"tokens_per_min": 0}),
    *({"usd": "1", "period": "day"}, {"usd": None, "period": []}, {"usd": [], "period": "day"}),
    *({"input": "1", "output": "2"}, {"input": 1.5}, {"input": {}}, {"models": ["sim-openai"]}),
)
FIELDS: Final = ("models", "requests_per_min", "monthly_budget_usd", "scopes", "limits", "input")
"""Of what is the whole body of its route."""


@pytest.mark.parametrize(
    ("seed", "count"),
    [(1, 300), *(pytest.param(seed, 4_000, marks=pytest.mark.long) for seed in range(2, 10))],
)
def test_no_value_is_a_fault(unpaid: Rig, seed: int, count: int) -> None:
    draw = random.Random(seed)
    places = {
        "account": [unpaid.setup.account_id, "nobody"],
        "key_id": [unpaid.other_key_id, "key_none"],
        "period": ["day", "total", "x"],
        "kind": ["key", "model", "x"],
        "subject": ["x", "sim-openai/x"],
        "name": ["fuzzed", "x y"],
        "target": ["sim-gemini:generateContent", "x"],
        "of": ["models"],
    }
    routes = [
        route
        for route in routes_of(unpaid.app)
        if route.access != "open" and not keeps_others_out(route)
    ]
    with closing(http.client.HTTPConnection("127.0.0.1", unpaid.port, timeout=20)) as connection:
        for _ in range(count):
            route = draw.choice(routes)
            path, body = drawn(draw, route, places)
            key = ADMIN_KEY if route.access == "admin" else unpaid.full_key
            connection.request(route.method, path, body, {"authorization": f"Bearer {key}"})
            answer = connection.getresponse()
            said = answer.read()
            assert answer.status < 500, (seed, str(route), path, body, said)
            json.loads(said)


def keeps_others_out(route: RouteOf) -> bool:
    """What would stay as a case leaves it: plans, prices and funds of accounts, other keys."""
    changes = route.access == "admin" and route.method != "GET"
    return changes and not {"name", "request_id"} & set(route.variables)


def drawn(
    draw: random.Random, route: RouteOf, places: Mapping[str, Sequence[str]]
) -> tuple[str, bytes]:
    """A path with its query, and a body."""
    path = route.path({name: draw.choice(places.get(name, ["x"])) for name in route.variables})
    if route.method in ("GET", "DELETE"):
        query = {name: str(draw.choice(VALUES)) for name in route.query if draw.random() < 0.5}
        return f"{path}?{urlencode(query)}", b""
    names = [*route.body, *FIELDS]
    fields = {name: draw.choice(VALUES) for name in names if draw.random() < 0.4}
    return path, json.dumps(fields).encode()
