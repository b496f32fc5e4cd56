"""Values made by a schema fulfil it, and are the same for the same seed."""

from __future__ import annotations

import enum
from typing import Annotated, Any, Literal

import orjson
import pytest
from pydantic import BaseModel, Field, TypeAdapter

from bench.simulate.arguments import make_value

SEEDS = [f"seed-{number}".encode() for number in range(25)]


class Colour(enum.Enum):
    red = "red"
    blue = "blue"


class Leaf(BaseModel, extra="forbid"):
    weight: Annotated[float, Field(ge=-3, lt=10)]
    colour: Colour | None = None


class Tree(BaseModel, extra="forbid"):
    name: Annotated[str, Field(min_length=3, max_length=40)]
    leaves: Annotated[list[Leaf], Field(min_length=2, max_length=3)]
    kind: Literal["oak", "elm"]
    age: Annotated[int, Field(gt=3, le=5)]
    planted: bool
    pair: tuple[int, ...] | str
    count: Annotated[int, Field(multiple_of=7, ge=10, le=100)]
    nothing: None
    children: list[Tree] = []


@pytest.mark.parametrize("seed", SEEDS)
def test_a_value_is_valid(seed: bytes) -> None:
    schema = Tree.model_json_schema()
    value = make_value(schema, seed)
    TypeAdapter(Tree).validate_python(value)
    assert orjson.loads(orjson.dumps(value)) == value == make_value(schema, seed)


def test_seeds_differ() -> None:
    schema = Tree.model_json_schema()
    assert len({orjson.dumps(make_value(schema, seed)) for seed in SEEDS}) == len(SEEDS)


@pytest.mark.parametrize("seed", SEEDS[:5])
def test_geminis_spelling(seed: bytes) -> None:
    schema: dict[str, Any] = {
        "type": "OBJECT",
        "properties": {
            "when": {"type": "STRING", "format": "date-time"},
            "how_many": {"type": "INTEGER", "minimum": 2, "maximum": 3},
            "names": {"type": "ARRAY", "items": {"type": "STRING"}, "minItems": "2"},
        },
        "required": ["when", "how_many", "names"],
    }
    value = make_value(schema, seed)
    assert value["when"].endswith("Z")
    assert value["how_many"] in (2, 3)
    assert len(value["names"]) >= 2


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"type": "object"},
        {"$ref": "#/nowhere"},
        {"$ref": "#"},
        {"type": "array", "minItems": 10**9},
        {"type": "string", "minLength": 10**9},
        {"type": "object", "properties": {"x": {"$ref": "#"}}, "required": ["x"]},
        {"anyOf": [{"$ref": "#"}]},
        {"type": "number", "minimum": 5, "maximum": 1},
        {"type": ["null", "integer"]},
        {"type": "number", "minimum": 1e300, "multipleOf": 1e-300},
        {"type": "integer", "minimum": -1e308, "maximum": 1e308},
        {"type": "unheard of"},
        {"properties": 5, "required": 7, "enum": [], "type": "object"},
    ],
)
def test_odd_schemas_end(schema: dict[str, Any]) -> None:
    orjson.dumps(make_value(schema, b"seed"))
