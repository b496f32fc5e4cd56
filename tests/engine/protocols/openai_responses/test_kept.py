"""What an answer says that its provider keeps."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from engine.owned import Kept
from engine.protocols.openai_responses.codec import CODEC

CITED = {"type": "container_file_citation", "container_id": "cntr_2", "file_id": "cfile_1"}
MESSAGE: dict[str, Any] = {
    "type": "message",
    "id": "msg_1",
    "content": [{"type": "output_text", "text": "a", "annotations": [CITED, {"type": "x"}]}],
}
CODE = {"type": "code_interpreter_call", "id": "ci_1", "container_id": "cntr_1"}


def kept(**response: Any) -> list[Kept]:
    return [each._replace(context_tokens=None) for each in CODEC.kept_in(orjson.dumps(response))]


def test_a_response_with_all_that_is_in_it() -> None:
    assert kept(id="resp_1", output=[CODE, MESSAGE, CODE]) == [
        Kept("resp_1", "response"),
        Kept("ci_1", "item", "resp_1"),
        Kept("cntr_1", "container"),
        Kept("msg_1", "item", "resp_1"),
        Kept("cntr_2", "container"),
        Kept("cfile_1", "container_file", "cntr_2"),
    ]


def test_in_a_conversation_its_items_are_that_ones() -> None:
    assert kept(id="resp_1", conversation={"id": "conv_1"}, output=[MESSAGE])[:3] == [
        Kept("resp_1", "response", "conv_1"),
        Kept("conv_1", "conversation"),
        Kept("msg_1", "item", "conv_1"),
    ]


def test_what_a_prompt_has_by_it() -> None:
    usage = {
        "input_tokens": 90,
        "output_tokens": 30,
        "output_tokens_details": {"reasoning_tokens": 10},
        "total_tokens": 120,
    }
    said = {"instructions": "Be brief.", "tools": [{"type": "web_search"}]}
    told = {"id": "resp_1", "conversation": {"id": "conv_1"}, "output": [CODE], "usage": usage}
    response, conversation, item, _ = CODEC.kept_in(orjson.dumps(told))
    assert response.context_tokens == conversation.context_tokens == 110
    assert item.context_tokens == len(orjson.dumps(CODE)) // 4
    once_bytes = sum(len(orjson.dumps(each)) for each in said.values())
    assert CODEC.kept_in(orjson.dumps(told | said))[0].context_tokens == 110 - once_bytes // 2


@pytest.mark.parametrize(
    "response",
    [{}, {"id": None}, {"id": "resp_1", "store": False, "output": [MESSAGE]}, {"id": {}}],
)
def test_nothing(response: dict[str, Any]) -> None:
    assert kept(**response) == []


def test_odd_answers() -> None:
    odd = [None, {"id": 7}, {"content": "x"}, {"content": [{"annotations": {}}, 1]}]
    assert kept(id="resp_1", conversation="x", output=odd) == [Kept("resp_1", "response")]
    assert kept(id="resp_1", output={}) == [Kept("resp_1", "response")]
