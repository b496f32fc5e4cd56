"""The closed schema of Anthropic messages requests, from the SDK's types."""

from __future__ import annotations

from typing import Any

from anthropic.types.message_create_params import (
    MessageCreateParamsNonStreaming,
    MessageCreateParamsStreaming,
)
from anthropic.types.tool_param import InputSchemaTyped, ToolParam

from tests.schemas.closed import Schema

# The API insists on `type: object` in a tool's schema; the SDK's type would take any object.
_REPLACED: dict[tuple[object, str], Any] = {(ToolParam, "input_schema"): InputSchemaTyped}
_WHOLE = Schema(MessageCreateParamsNonStreaming, replaced=_REPLACED)
_STREAM = Schema(MessageCreateParamsStreaming, replaced=_REPLACED)


def problems(body: dict[str, Any]) -> list[str]:
    """What the API would not know in a request."""
    return (_STREAM if body.get("stream") else _WHOLE).problems(body)
