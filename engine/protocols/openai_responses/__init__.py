"""OpenAI's responses: requests, answers, streams and errors, both ways. Nothing is ever stored.

Source: platform.openai.com/docs/api-reference/responses, the official Python SDK's types, and
recorded traffic of the servers that speak it (OpenAI, Azure, DeepSeek, OpenRouter, xAI).
"""

from __future__ import annotations

from engine.protocols.openai_responses.codec import CODEC, OpenAIResponsesCodec

__all__ = ["CODEC", "OpenAIResponsesCodec"]
