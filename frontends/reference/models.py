"""Models, as each protocol lists them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from frontends.reference.claude import VERSION
from frontends.reference.gemini import TAG, at_versions
from frontends.reference.rows import (
    Example,
    Parameter,
    Row,
    Schema,
    always,
    answers_json,
    anything,
    either,
    exactly,
    listed,
    nullable,
    ref,
    text,
    thing,
    whole,
)

GOOGLE_KEY: Final = Parameter(
    "x-goog-api-key", text(pattern="^[!-~]*$"), "Says that Gemini's shape is meant.", "header"
)
_PRICING: Final = thing(
    {
        "currency": exactly("USD"),
        "unit": exactly("million_tokens"),
        "input": nullable(text("An exact decimal.")),
        "output": nullable(text()),
    },
    "currency",
    "unit",
)
_PARAMS: Final = anything("JSON Schema of what images, speech, … can be asked for; or null.")

SCHEMAS: Final[Mapping[str, Schema]] = {
    "Model": always(
        {
            "id": text(),
            "object": exactly("model"),
            "created": whole(),
            "owned_by": text("The provider."),
            "root": nullable(text("Its name for the model.")),
            "capabilities": thing({}),
            "context_window": nullable(whole(1)),
            "max_output_tokens": nullable(whole(1)),
            "pricing": _PRICING,
            "media_params_schema": _PARAMS,
        },
        "As OpenAI's clients know it.",
    ),
    "ModelList": always({"object": exactly("list"), "data": listed(ref("Model"))}),
    "AnthropicModel": always(
        {
            "type": exactly("model"),
            "id": text(),
            "display_name": text(),
            "created_at": text(),
            "max_input_tokens": nullable(whole(1)),
            "max_tokens": nullable(whole(1)),
            "capabilities": nullable(thing({})),
            "pricing": _PRICING,
        },
        "As Anthropic's clients know it.",
    ),
    "AnthropicModelList": always(
        {
            "data": listed(ref("AnthropicModel")),
            "has_more": {"type": "boolean"},
            "first_id": nullable(text()),
            "last_id": nullable(text()),
        }
    ),
    "GeminiModel": thing(
        {
            "name": text("`models/…`"),
            "version": text(),
            "displayName": text(),
            "inputTokenLimit": whole(1),
            "outputTokenLimit": whole(1),
            "supportedGenerationMethods": listed(text()),
        },
        "name",
        detail="As Gemini's clients know it.",
    ),
    "GeminiModelList": thing(
        {"models": listed(ref("GeminiModel")), "nextPageToken": text()}, "models"
    ),
}

_SHARED: Final = (
    "Three protocols share this path: with `anthropic-version` or `x-goog-api-key` the answer has "
    "the shape of Anthropic's or Gemini's, else of OpenAI's."
)
_ANTHROPIC_PAGE: Final = (
    Parameter("limit", whole(1, 999_999_999), "Anthropic's: 20, at most 1,000."),
    Parameter("after_id", text(), "Anthropic's."),
    Parameter("before_id", text(), "Anthropic's."),
)
_GEMINI_PAGE: Final = (
    Parameter("pageSize", whole(1, 999_999_999), "Gemini's: 50, at most 1,000."),
    Parameter("pageToken", text(), "Gemini's."),
)
_NAMED: Final = Example("one", path={"name": "sim-openai"})
_GEMINI_LIST: Final = Row(
    "GET",
    "/{version}/models",
    "listGeminiModels",
    TAG,
    "The models that the key may use.",
    answers_json(ref("GeminiModelList"), "A page of them."),
    parameters=_GEMINI_PAGE,
    examples=(Example("all"),),
)
_GEMINI_SHOW: Final = Row(
    "GET",
    "/{version}/models/<path:name>",
    "getGeminiModel",
    TAG,
    "One of those models.",
    answers_json(ref("GeminiModel"), "The model."),
    examples=(_NAMED,),
    refuses=(404, 405),
)

ROWS: Final = (
    Row(
        "GET",
        "/v1/models",
        "listModels",
        "Models",
        "The models that the key may use.",
        answers_json(
            either(ref("ModelList"), ref("AnthropicModelList"), ref("GeminiModelList")),
            "All of them, or a page.",
        ),
        detail=_SHARED,
        parameters=(VERSION, GOOGLE_KEY, *_ANTHROPIC_PAGE, *_GEMINI_PAGE),
        examples=(
            Example("all"),
            Example("as Anthropic lists them", headers={"anthropic-version": "2023-06-01"}),
        ),
    ),
    Row(
        "GET",
        "/v1/models/<path:name>",
        "getModel",
        "Models",
        "One of those models.",
        answers_json(either(ref("Model"), ref("AnthropicModel"), ref("GeminiModel")), "The model."),
        detail=_SHARED,
        parameters=(VERSION, GOOGLE_KEY),
        examples=(_NAMED,),
        refuses=(404, 405),
    ),
    *(row for row in at_versions(_GEMINI_LIST) if row.rule != "/v1/models"),
    *(row for row in at_versions(_GEMINI_SHOW) if not row.rule.startswith("/v1/")),
)
