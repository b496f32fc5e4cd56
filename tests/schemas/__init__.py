"""Closed schemas of requests, by protocol: what an API would not know in one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.schemas import anthropic, gemini, openai_chat, openai_responses

PROBLEMS: dict[str, Callable[[dict[str, Any]], list[str]]] = {
    "openai_chat": openai_chat.problems,
    "openai_responses": openai_responses.problems,
    "anthropic": anthropic.problems,
    "gemini": gemini.problems,
}
