"""JSON that looks like this protocol's: its own words, with anything for their values."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

_WORDS = [
    "id", "object", "created", "model", "choices", "index", "delta", "message", "role", "content",
    "refusal", "tool_calls", "function", "custom", "name", "arguments", "input", "function_call",
    "audio", "transcript", "data", "annotations", "url_citation", "start_index", "images",
    "image_url", "url", "logprobs", "token", "logprob", "bytes", "top_logprobs", "finish_reason",
    "usage", "prompt_tokens", "completion_tokens", "total_tokens", "prompt_tokens_details",
    "cached_tokens", "completion_tokens_details", "reasoning_tokens", "x_groq", "reasoning",
    "reasoning_content", "thinking", "text", "type", "extra_content", "google",
    "thought_signature", "error", "messages", "tools", "stream", "stream_options", "n", "stop",
    "file", "file_data", "file_id", "filename", "input_audio", "format", "tool_call_id",
    "response_format", "json_schema", "schema", "tool_choice", "allowed_tools", "mode",
    "functions", "vector_store_ids", "container", "metadata", "extra_body", "code", "status_code",
    "param", "detail", "modalities", "temperature", "reasoning_effort", "budget_tokens",
]  # fmt: skip
_VALUES = [
    "assistant", "user", "system", "tool", "function", "custom", "text", "image_url", "file",
    "input_audio", "thinking", "refusal", "stop", "tool_calls", "length", "json_schema", "auto",
    "allowed_tools", "required", "data:image/png;base64,AAAA", "data:,", "call_1", "f", "{}",
    "enabled", "high", "file_search", "__g1__", "call__g1__!", "[DONE]", "",
]  # fmt: skip

_LEAVES: st.SearchStrategy[Any] = (
    st.none()
    | st.booleans()
    | st.integers(-3, 5)
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(_VALUES)
    | st.text(max_size=5)
)
VALUES = st.recursive(
    _LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_WORDS), inner, max_size=5)
    ),
    max_leaves=20,
)
"""Any JSON of the protocol's words."""

DELTAS = st.dictionaries(
    st.sampled_from(
        ["role", "content", "refusal", "tool_calls", "function_call", "audio", "annotations",
         "images", "reasoning", "reasoning_content", "x_more"]
    ),
    VALUES,
    max_size=4,
)  # fmt: skip
CHOICES = st.fixed_dictionaries(
    {},
    optional={
        "index": st.integers(0, 2) | VALUES,
        "delta": DELTAS | VALUES,
        "message": DELTAS | VALUES,
        "logprobs": st.fixed_dictionaries({"content": st.lists(VALUES, max_size=2)}) | VALUES,
        "finish_reason": st.none() | VALUES,
    },
)
ANSWERS = st.fixed_dictionaries(
    {},
    optional={
        "id": st.just("a") | VALUES,
        "created": VALUES,
        "model": VALUES,
        "choices": st.lists(CHOICES, max_size=3) | VALUES,
        "usage": VALUES,
        "x_groq": VALUES,
        "error": VALUES,
        "service_tier": VALUES,
    },
)
"""A chunk, or a whole answer, more or less."""

_PARTS = st.fixed_dictionaries(
    {"type": st.sampled_from(_VALUES)},
    optional=dict.fromkeys(
        ["text", "image_url", "file", "input_audio", "thinking", "refusal", "file_id"], VALUES
    ),
)
_MESSAGES = st.fixed_dictionaries(
    {"role": st.sampled_from(["system", "developer", "user", "assistant", "tool", "function"])},
    optional={
        "content": st.lists(_PARTS, max_size=2) | VALUES,
        "name": VALUES,
        "tool_calls": st.lists(DELTAS, max_size=2) | VALUES,
        "tool_call_id": VALUES,
        "function_call": VALUES,
        "audio": VALUES,
        "refusal": VALUES,
    },
)
_FIELDS = [
    "tools", "functions", "function_call", "tool_choice", "response_format", "stop", "reasoning",
    "thinking", "reasoning_effort", "modalities", "metadata", "audio", "temperature", "logprobs",
    "top_logprobs", "n", "max_tokens", "extra_body", "stream_options", "stream", "user",
    "service_tier", "verbosity",
]  # fmt: skip
REQUESTS = st.fixed_dictionaries(
    {"model": st.just("m"), "messages": st.lists(_MESSAGES, min_size=1, max_size=4)},
    optional=dict.fromkeys(_FIELDS, VALUES),
)
"""A request, more or less."""
