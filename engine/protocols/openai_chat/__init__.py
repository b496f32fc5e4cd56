"""OpenAI chat completions: requests, stream events, usage, errors.

Source: platform.openai.com/docs/api-reference/chat and the official Python SDK's types.
"""

from __future__ import annotations

from engine.protocols.openai_chat.answers import (
    DONE,
    Chunk,
    read_chunk,
    read_response,
)
from engine.protocols.openai_chat.codec import CODEC, OpenAIChatCodec
from engine.protocols.openai_chat.errors import encode_error, read_error
from engine.protocols.openai_chat.requests import (
    ChatRequest,
    encode_request,
    parse_request,
    prompt_overhead_tokens,
    prompt_texts,
)
from engine.protocols.openai_chat.splice import encode_length_ending
from engine.protocols.openai_chat.usage import read_usage

__all__ = [
    "CODEC",
    "DONE",
    "ChatRequest",
    "Chunk",
    "OpenAIChatCodec",
    "encode_error",
    "encode_length_ending",
    "encode_request",
    "parse_request",
    "prompt_overhead_tokens",
    "prompt_texts",
    "read_chunk",
    "read_error",
    "read_response",
    "read_usage",
]
