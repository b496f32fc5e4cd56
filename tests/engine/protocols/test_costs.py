"""Costs spliced into the usage of answers: the two members are there, nothing else has changed."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from engine.protocols.costs import _CANDIDATES_MAX, ShownCost, add_cost
from tests.costs import without_cost

COST = ShownCost("0.000123456", "0.123456")
OWN = b'"cost":0.000123456,"credits":0.123456'


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b'{"usage":{"n":1}}', b'{"usage":{"n":1,%b}}'),
        (b'{"usage": {\n    "n": 1\n  }\n}', b'{"usage": {\n    "n": 1,%b\n  }\n}'),
        (b'{"usage":{}}', b'{"usage":{%b}}'),
        (b'{"usage":{"cost":9}}', b'{"usage":{%b}}'),
        (b'{"usage":{"cost": {"a": [1, 2]}, "n": 1}}', b'{"usage":{ "n": 1,%b}}'),
        (b'{"usage":{"in":{"cost":3},"credits":"7"}}', b'{"usage":{"in":{"cost":3},%b}}'),
        (
            b'data: {"usage":{"n":1}}\n\ndata: {"usage":{"n":2}}\n\ndata: [DONE]\n\n',
            b'data: {"usage":{"n":1}}\n\ndata: {"usage":{"n":2,%b}}\n\ndata: [DONE]\n\n',
        ),
        (b'{"usage":{"}":1,"s":"}"},"t":"}"}', b'{"usage":{"}":1,"s":"}",%b},"t":"}"}'),
        (b'{"usage":{"s":"} \\" ]"},"t":"{\\"["}', b'{"usage":{"s":"} \\" ]",%b},"t":"{\\"["}'),
    ],
)
def test_the_last_usage_gets_them(before: bytes, after: bytes) -> None:
    assert add_cost(before, COST, b"usage") == after.replace(b"%b", OWN)


@pytest.mark.parametrize("savings", ["0.5", "-0.000000001", "0"])
def test_savings_stand_beside_them(savings: str) -> None:
    cost = ShownCost(COST.usd, COST.credits, savings)
    own = OWN + b',"savings":' + savings.encode()
    for before in (b'{"usage":{"n":1}}', b'{"usage":{"n":1,"savings":{"a":1}}}'):
        assert add_cost(before, cost, b"usage") == b'{"usage":{"n":1,%b}}' % own


def test_what_a_provider_calls_savings_stays_where_we_have_none() -> None:
    before = b'{"usage":{"savings":7}}'
    assert add_cost(before, COST, b"usage") == b'{"usage":{"savings":7,%b}}' % OWN


@pytest.mark.parametrize(
    "ending",
    [
        b"",
        b"data: [DONE]\n\n",
        b'{"usage":null}',
        b'{"usage":7}',
        b'{"choices":[{"usage":{"n":1}}]}',
        b'{"text":"\\"usage\\":{"}',
        b'{"text\\"usage":{"n":1}}',
        b'{"usage":{"n":"' + b"x" * 70_000 + b'"}}',
    ],
)
def test_without_one_nothing_changes(ending: bytes) -> None:
    assert add_cost(ending, COST, b"usage") == ending


def test_a_usage_within_the_document_is_found_by_its_depth() -> None:
    event = b'data: {"response":{"usage":{"n":1}},"usage":{"n":2}}\n\n'
    assert b'{"n":1,"cost"' in add_cost(event, COST, b"usage", depth=2)
    assert b'{"n":2,"cost"' in add_cost(event, COST, b"usage", depth=1)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["usage", "a", 'b"', "cost\\"]), inner, max_size=3)
    ),
    max_leaves=8,
)
USAGES = st.dictionaries(
    st.sampled_from(["n", "m", "cost", "credits", "savings"]), JSON, max_size=5
)


@settings(deadline=None, max_examples=150)
@given(
    document=st.dictionaries(st.sampled_from(["x", "y", "usage"]), JSON, max_size=3),
    usage=USAGES,
    indent=st.sampled_from([None, 2]),
)
def test_any_answer_reads_as_before_with_two_members_more(
    document: dict[str, Any], usage: dict[str, Any], indent: int | None
) -> None:
    document |= {"usage": usage}
    answer = json.dumps(document, indent=indent).encode()
    assume(answer.count(b'"usage"') <= _CANDIDATES_MAX)
    spliced = add_cost(answer, COST, b"usage")
    said = {"cost": 0.000123456, "credits": 0.123456}
    assert orjson.loads(spliced) == document | {"usage": usage | said}


def test_a_large_answer_costs_a_moment() -> None:
    """An answer of 32 MB with usage before it, as some hosts write it."""
    image = b"A" * (32 * 1024 * 1024)
    body = b'{"usage":{"n":1},"image":"' + image + b'"}'
    assert without_cost(add_cost(body, COST, b"usage")) == body
