"""Leaving out of a request what its provider refuses."""

from __future__ import annotations

from typing import Any

import pytest

from engine.protocols.leaving_out import leave_out

BOTH = {"b": 1, "a": {"x": 1, "y": 2}, "c": 3}


@pytest.mark.parametrize(
    ("document", "refused", "kept", "dropped"),
    [
        (BOTH, ("z", "a.z", "b.x"), BOTH, ()),
        (BOTH, ("c", "b"), {"a": {"x": 1, "y": 2}}, ("b", "c")),
        (BOTH, ("a.x",), {"b": 1, "a": {"y": 2}, "c": 3}, ("a.x",)),
        ({"a": {"x": 1}, "c": 3}, ("a.x",), {"c": 3}, ("a.x",)),
        ({"some_thing": {"in_it": 1, "b": 2}}, ("someThing.inIt",), {"some_thing": {"b": 2}}, None),
        ({"seed": None}, ("seed",), {}, ("seed",)),
    ],
)
def test_what_is_left(
    document: dict[str, Any],
    refused: tuple[str, ...],
    kept: dict[str, Any],
    dropped: tuple[str, ...] | None,
) -> None:
    expected = ("some_thing.in_it",) if dropped is None else dropped
    before = repr(document)
    assert leave_out(document, refused) == (kept, expected)
    assert repr(document) == before, "the client's own document stays as it is"
