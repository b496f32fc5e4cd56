"""Anthropic's Messages API: requests, stream events, whole messages, usage, errors.

Of requests, `requests` reads what the gateway relies on and edits the verbatim body, `decoding`
and `reading` make conversations of them, `encoding` and `writing` the other way. Of answers,
`answers` and `streams` make events, `grammar`, `messages` and `encoders` the other way.

Source: docs.claude.com/en/api/messages and the official Python SDK's types.
"""

from __future__ import annotations

from engine.protocols.anthropic.codec import CODEC, AnthropicCodec

__all__ = ["CODEC", "AnthropicCodec"]
