"""The closed schema of OpenAI responses requests, from the SDK's types."""

from __future__ import annotations

from typing import Any, Literal, Required, TypedDict

from openai.types.responses.easy_input_message_param import EasyInputMessageParam
from openai.types.responses.response_create_params import (
    ResponseCreateParamsNonStreaming,
    ResponseCreateParamsStreaming,
)
from openai.types.responses.response_input_message_content_list_param import (
    ResponseInputMessageContentListParam,
)

from tests.schemas.closed import Schema


class AnswerText(TypedDict, total=False):
    """What an assistant has said, without the fields of an answer."""

    type: Required[Literal["output_text"]]
    text: Required[str]


class AnswerRefusal(TypedDict, total=False):
    """The same of a refusal."""

    type: Required[Literal["refusal"]]
    refusal: Required[str]


# Of a message of the assistant's that is no stored item, the API names these two as the types that
# it takes; the SDK has the types of a user's message only.
_REPLACED: dict[tuple[object, str], Any] = {
    (EasyInputMessageParam, "content"): (
        str | ResponseInputMessageContentListParam | list[AnswerText | AnswerRefusal]
    ),
}
_WHOLE = Schema(ResponseCreateParamsNonStreaming, replaced=_REPLACED)
_STREAM = Schema(ResponseCreateParamsStreaming, replaced=_REPLACED)

# What nothing is stored of has no id that anybody knows: OpenAI's own Codex sends none.
_UNSTORED = "id: missing in ResponseReasoningItemParam"


def problems(body: dict[str, Any]) -> list[str]:
    """What the API would not know in a request."""
    found = (_STREAM if body.get("stream") else _WHOLE).problems(body)
    return [problem for problem in found if not problem.endswith(_UNSTORED)]
