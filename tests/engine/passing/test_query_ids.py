"""What parameters of URLs name: an id by its place, by its looks, and in disguise."""

from __future__ import annotations

import pytest

from engine.passing.ids import query_kind


@pytest.mark.parametrize(
    "value",
    [
        "thread_abc123",
        "x,thread_abc123",
        "../thread_abc123/messages",
        "thread%5Fabc123",
        "thread_abc123\n",
        "thread_abc123 ",
    ],
)
def test_whatever_has_an_id_in_it_names_something(value: str) -> None:
    assert query_kind("anything", value, {}) == "thread"


VALUES = (
    "", "asc", "20", "true", "thread_", "file_search_call.results",
    "step_details.tool_calls[*].file_search.results[*].content",
)  # fmt: skip


@pytest.mark.parametrize("value", VALUES)
def test_other_values_name_nothing(value: str) -> None:
    assert query_kind("anything", value, {}) is None
    assert query_kind("after", value, {"after": "run"}) == "run"
