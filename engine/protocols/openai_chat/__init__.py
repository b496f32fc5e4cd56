"""OpenAI chat completions: requests, answers, streams and errors, both ways.

Source: platform.openai.com/docs/api-reference/chat, the official Python SDK's types, and recorded
traffic of the many servers that speak it.
"""

from __future__ import annotations

from engine.protocols.openai_chat.codec import CODEC, OpenAIChatCodec
from engine.protocols.openai_chat.errors import encode_error, read_error

__all__ = ["CODEC", "OpenAIChatCodec", "encode_error", "read_error"]
