"""The closed shapes have the fields of the official SDKs' own types: no more, no fewer."""

from __future__ import annotations

import typing
from collections.abc import Mapping
from typing import Any, get_args

import google.genai.types as google
import pytest
from anthropic.types import message_count_tokens_params, message_create_params, tool_union_param
from anthropic.types.beta import beta_content_block_param, beta_tool_union_param
from anthropic.types.beta import message_create_params as beta_create_params
from anthropic.types.message_param import MessageParam
from openai.types import completion_create_params as legacy_params
from openai.types import embedding_create_params, moderation_create_params
from openai.types.audio import (
    speech_create_params,
    transcription_create_params,
    translation_create_params,
)
from openai.types.chat import completion_create_params
from openai.types.responses import input_token_count_params, response_create_params, tool_param
from openai.types.responses.response_input_item_param import ResponseInputItemParam
from typing_extensions import is_typeddict

from bench.simulate import (
    anthropic_fields,
    completions_request,
    embeddings,
    gemini_fields,
    moderations,
    openai_fields,
    responses_fields,
    responses_items,
    speech,
    transcriptions,
)
from bench.simulate.shapes import Shape, Violation


def dicts_of(annotation: object) -> list[Any]:
    """The typed dicts of a union, however deep."""
    found: list[Any] = []
    for one in get_args(annotation):
        found += [one] if is_typeddict(one) else dicts_of(one)
    return found


def tags_of(typed_dict: Any) -> list[str]:
    """What its `type` may be."""
    annotation = typing.get_type_hints(typed_dict)["type"]
    return [tag for tag in _flat(annotation) if isinstance(tag, str)]


def _flat(annotation: object) -> list[object]:
    return [leaf for one in get_args(annotation) for leaf in (_flat(one) or [one])]


def test_anthropic_top_level() -> None:
    sdk = set(message_create_params.MessageCreateParamsBase.__annotations__)
    # One of the SDK's arguments goes into a header.
    assert set(anthropic_fields.FIELDS) == sdk - {"user_profile_id"} | {"stream"}
    beta = set(beta_create_params.MessageCreateParamsBase.__annotations__)
    assert set(anthropic_fields.BETA_FIELDS) == beta - {"betas", "user_profile_id"} | {"stream"}
    counted = set(message_count_tokens_params.MessageCountTokensParams.__annotations__)
    left = set(anthropic_fields.FIELDS) - anthropic_fields.COUNTED_ONLY
    assert left == counted - {"user_profile_id"}


@pytest.mark.parametrize("beta", [False, True])
def test_anthropic_tools(beta: bool) -> None:
    union = beta_tool_union_param.BetaToolUnionParam if beta else tool_union_param.ToolUnionParam
    sdk = {
        tag: frozenset(typing.get_type_hints(one))
        for one in dicts_of(union)
        for tag in tags_of(one)
    }
    custom = sdk.pop("custom")
    ours = dict(anthropic_fields.TOOL_TYPES)
    if beta:
        ours |= anthropic_fields.BETA_TOOL_TYPES
    assert ours == sdk
    assert keys_of(anthropic_fields.CUSTOM_TOOL, custom) == custom


@pytest.mark.parametrize("beta", [False, True])
def test_anthropic_blocks(beta: bool) -> None:
    union: Any = beta_content_block_param.BetaContentBlockParam
    if not beta:
        union = typing.get_type_hints(MessageParam)["content"]
    ours: dict[str, Shape] = dict(anthropic_fields.BLOCKS)
    if beta:
        ours |= anthropic_fields.BETA_BLOCKS
    param = [one for one in dicts_of(union) if one.__name__.endswith("Param")]
    sdk = {tag: frozenset(typing.get_type_hints(one)) for one in param for tag in tags_of(one)}
    assert set(ours) == set(sdk)
    for tag in anthropic_fields.BLOCKS:
        # `caller` of results is on some of them only; the table has one shape for all.
        own = sdk[tag] | {"caller"} if tag in anthropic_fields.RUN_RESULTS else sdk[tag]
        assert keys_of(ours[tag], own) == own, tag


def keys_of(shape: Shape, names: frozenset[str]) -> frozenset[str]:
    """The names a closed shape has, of these and of one that nobody has."""

    def known(name: str) -> bool:
        try:
            shape((), {name: object()})
        except Violation as violation:
            return not (violation.problem == "extra" and violation.path == (name,))
        return True

    assert not known("nobody_has_this")
    return frozenset(name for name in names if known(name))


VERTEX: dict[str, set[str]] = {
    "Tool": {
        "retrieval",
        "enterpriseWebSearch",
        "parallelAiSearch",
        "exaAiSearch",
    },
    "FunctionCall": {"partialArgs", "willContinue"},
    "GenerationConfig": {"audioTimestamp", "routingConfig"},
    "Schema": {"additionalProperties", "defs", "ref"},
}
"""What the Gemini API does not have; of a schema, what only the JSON schema fields take."""


@pytest.mark.parametrize(
    ("model", "shape"),
    [
        (google.Part, gemini_fields.PART),
        (google.Content, gemini_fields.CONTENT),
        (google.FunctionCall, gemini_fields.FUNCTION_CALL),
        (google.FunctionResponse, gemini_fields.FUNCTION_RESPONSE),
        (google.FunctionDeclaration, gemini_fields.DECLARATION),
        (google.Tool, gemini_fields.TOOL),
        (google.ToolConfig, gemini_fields.TOOL_CONFIG),
        (google.ThinkingConfig, gemini_fields.THINKING),
        (google.GenerationConfig, gemini_fields.GENERATION_CONFIG),
        (google.Schema, gemini_fields.schema),
    ],
)
def test_gemini(model: Any, shape: Shape) -> None:
    aliases = {field.alias or name for name, field in model.model_fields.items()}
    expected = frozenset(aliases - VERTEX.get(model.__name__, set()))
    assert keys_of(shape, frozenset(aliases)) == expected
    assert keys_of(shape, frozenset(map(_snake, aliases))) == frozenset(map(_snake, expected))


def _snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)


def test_openai_top_level() -> None:
    sdk = set(completion_create_params.CompletionCreateParamsBase.__annotations__)
    assert set(openai_fields.FIELDS) == sdk | {"stream"}


def test_completions_top_level() -> None:
    sdk = set(legacy_params.CompletionCreateParamsBase.__annotations__)
    assert set(completions_request.FIELDS) == sdk | {"stream"}


def test_responses_top_level() -> None:
    sdk = set(response_create_params.ResponseCreateParamsBase.__annotations__)
    assert set(responses_fields.FIELDS) == sdk | {"stream"}
    counted = set(input_token_count_params.InputTokenCountParams.__annotations__)
    assert set(responses_fields.COUNTED) == counted
    hints = typing.get_type_hints(response_create_params.ResponseCreateParamsBase)
    assert set(responses_fields.INCLUDABLE) == set(_flat(hints["include"])) - {type(None)}


def test_responses_tools() -> None:
    sdk = {
        tag: frozenset(typing.get_type_hints(one))
        for one in dicts_of(tool_param.ToolParam)
        for tag in tags_of(one)
    }
    for tag, shape in (
        ("function", responses_fields.FUNCTION_TOOL),
        ("custom", responses_fields.CUSTOM_TOOL),
    ):
        names = sdk.pop(tag)
        assert keys_of(shape, names) == names
    assert sdk == responses_fields.TOOL_TYPES


def test_responses_items() -> None:
    sdk: dict[str, frozenset[str]] = {}
    for one in dicts_of(ResponseInputItemParam):
        for tag in tags_of(one):
            names = frozenset(typing.get_type_hints(one))
            sdk[tag] = sdk.get(tag, frozenset()) | names
    message = sdk.pop("message")
    assert keys_of(responses_items.MESSAGES["assistant"], message) == message
    for tag, shape in responses_items.ITEMS.items():
        if tag != "message":
            names = sdk.pop(tag)
            assert keys_of(shape, names) == names, tag
    assert sdk == responses_items.OTHER_ITEMS


@pytest.mark.parametrize(
    ("ours", "sdk"),
    [
        (embeddings.FIELDS, embedding_create_params.EmbeddingCreateParams),
        (moderations.FIELDS, moderation_create_params.ModerationCreateParams),
        (speech.FIELDS, speech_create_params.SpeechCreateParams),
        (transcriptions.TRANSLATION_FIELDS, translation_create_params.TranslationCreateParams),
        (
            transcriptions.FIELDS,
            transcription_create_params.TranscriptionCreateParamsStreaming,
        ),
    ],
)
def test_operations_of_openai(ours: Mapping[str, Any], sdk: Any) -> None:
    names = {name.partition("[")[0] for name in ours}
    assert names == set(typing.get_type_hints(sdk)) - {"file"}
