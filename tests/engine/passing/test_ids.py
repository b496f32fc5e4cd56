"""Ids are found wherever they stand, and nobody's words are taken for one."""

from __future__ import annotations

from typing import Any

import pytest

from engine.passing.ids import DEPTH_MAX, name_ids, query_kind, see_ids

FILE = "file-" + "a" * 26


def named(document: Any) -> list[tuple[str, str, str | None]]:
    return [(each.path, each.text, each.kind) for each in name_ids(document)]


def test_what_a_run_names() -> None:
    body = {
        "assistant_id": "asst_abc123",
        "additional_messages": [
            {"role": "user", "content": "asst_abc124", "attachments": [{"file_id": FILE}]},
            {"content": [{"type": "image_file", "image_file": {"file_id": FILE}}]},
        ],
        "tool_resources": {"file_search": {"vector_store_ids": ["vs_abc123", "vs_abc124"]}},
    }
    assert named(body) == [
        ("assistant_id", "asst_abc123", "assistant"),
        ("additional_messages[0].attachments[0].file_id", FILE, "file"),
        ("additional_messages[1].content[0].image_file.file_id", FILE, "file"),
        ("tool_resources.file_search.vector_store_ids[0]", "vs_abc123", "vector_store"),
        ("tool_resources.file_search.vector_store_ids[1]", "vs_abc124", "vector_store"),
    ]


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ({"previous_response_id": "x"}, "response"),
        ({"conversation": "x"}, "conversation"),
        ({"conversation": {"id": "x"}}, "conversation"),
        ({"input": [{"type": "item_reference", "id": "x"}]}, "item"),
        ({"vector_store_ids": ["x"]}, "vector_store"),
        ({"file_ids": ["x"]}, "file"),
        ({"input_file_id": "x"}, "file"),
        ({"training_file": "x"}, "file"),
        ({"tools": [{"type": "code_interpreter", "container": "x"}]}, "container"),
    ],
)
def test_what_has_the_name_of_a_reference_is_one_whatever_it_looks_like(
    body: dict[str, Any], kind: str
) -> None:
    assert [(text, found) for _, text, found in named(body)] == [("x", kind)]


@pytest.mark.parametrize(
    "object_id",
    [
        "thread_abc123",
        "run_abc123",
        "vs_abc123",
        "resp_abc123",
        "batch_abc123",
        FILE,
        "file_abc123",
    ],
)
@pytest.mark.parametrize("name", ["id", "anything", "source", "ids"])
def test_what_looks_like_an_id_is_one_whatever_it_is_called(name: str, object_id: str) -> None:
    for body in ({name: object_id}, {name: [object_id]}, {"a": [[{name: {"b": object_id}}]]}):
        assert [text for _, text, _ in named(body)] == [object_id]


def test_a_message_or_an_item_may_be_either() -> None:
    assert named({"id": "msg_abc123"}) == [("id", "msg_abc123", None)]


def test_words_are_nobodys_ids() -> None:
    assert not name_ids(
        {
            "content": "thread_abc123",
            "instructions": "asst_abc123",
            "metadata": {"thread": "thread_abc123", "more": {"file_id": FILE}},
            "tools": [{"function": {"name": "run_abc123", "parameters": {"enum": ["vs_abc123"]}}}],
            "tool_outputs": [{"tool_call_id": "call_abc123", "output": "file-abc123"}],
            "container": "auto",
            "tool_choice": {"type": "file_search"},
            "status": "in_progress",
            "model": "gpt-5-mini",
        }
    )


def test_what_stands_deeper_in_words_is_looked_at() -> None:
    content = [
        {"type": "text", "text": {"annotations": [{"file_citation": {"file_id": "cfile_a1"}}]}}
    ]
    assert [text for _, text, _ in named({"content": content})] == ["cfile_a1"]


def test_what_is_named_can_be_replaced_where_it_stands() -> None:
    body = {"a": {"file_ids": [FILE, "file-b1b1b1"]}, "file_id": FILE}
    for each in name_ids(body):
        each.holder[each.at] = "there"
    assert body == {"a": {"file_ids": ["there", "there"]}, "file_id": "there"}


def test_a_document_that_is_too_deep_is_refused() -> None:
    body: Any = "run_abc123"
    for _ in range(DEPTH_MAX + 5):
        body = {"a": body}
    with pytest.raises(RecursionError):
        name_ids(body)


def test_what_an_answer_tells_of_and_what_each_is() -> None:
    answer = {
        "object": "list",
        "data": [
            {"object": "thread.message", "id": "msg_abc123", "thread_id": "thread_abc123"},
            {"object": "vector_store.file", "id": "file-abc123", "vector_store_id": "vs_abc123"},
            {"type": "message", "id": "msg_abc124", "content": [{"text": "run_abc123"}]},
            {"object": "thread.run", "id": "run_abc123", "metadata": {"x": "run_abc124"}},
        ],
        "first_id": "msg_abc123",
    }
    assert [(each.object_id, each.kind) for each in see_ids(answer)] == [
        ("msg_abc123", "message"),
        ("thread_abc123", "thread"),
        ("file-abc123", "file"),
        ("vs_abc123", "vector_store"),
        ("msg_abc124", None),
        ("run_abc123", "run"),
    ]


def test_nothing_that_a_client_makes_a_provider_say_again_counts_in_the_answer_alone() -> None:
    """Else a client could have an id called its own by having it repeated."""
    said = {"metadata": {"a": "run_abc123"}, "content": "vs_abc123", "name": "thread_abc123"}
    assert not name_ids(said)
    assert not see_ids(said)


@pytest.mark.parametrize("member", ["search_query", "queries", "keys", "server_label", "city"])
def test_what_is_only_said_in_an_answer_makes_nothing_an_accounts(member: str) -> None:
    """A search says the query of its client again, a call the words of its model."""
    assert not see_ids({member: "vs_abc123"})
    assert not see_ids({"data": [{"id": "x", member: ["vs_abc123", "run_abc123"]}]})
    assert name_ids({member: "vs_abc123"}), "a request may not name it there all the same"


def test_parameters_of_a_url() -> None:
    kinds: dict[str, Any] = {"after": "run"}
    assert query_kind("after", "anything", kinds) == "run"
    assert query_kind("filter", "vs_abc123", kinds) == "vector_store"
    assert query_kind("limit", "20", kinds) is None
    assert query_kind("include[]", "step_details.tool_calls", kinds) is None
