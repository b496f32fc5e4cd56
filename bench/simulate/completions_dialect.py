"""OpenAI's legacy completions as a dialect of the provider; keys, models, errors are chat's.

Shapes and key order are those of recorded traffic: `model` after the choices of an event, an empty
text with the finish reason, the usage event without choices.
"""

from __future__ import annotations

from typing import Any, Final

import orjson

from bench.simulate.answer import Finish, Segment
from bench.simulate.chat import ChatRequest, Counts
from bench.simulate.completions_request import parse_completions_request, prompts_of
from bench.simulate.errors import ApiError
from bench.simulate.openai_chat import DONE, SERVER_ERROR, error_object
from bench.simulate.openai_dialect import OpenAIDialect
from bench.simulate.plan import ChatPlan
from bench.simulate.replies import Request

FINISH_REASONS: Final[dict[Finish, str]] = {
    "stop": "stop",
    "length": "length",
    "calls": "stop",
    "refusal": "stop",
    "filter": "content_filter",
}
_LOGPROB: Final = -0.5
"""Of every token; of the others on offer, a whole number less each."""


class CompletionsDialect(OpenAIDialect):
    """OpenAI's legacy completions."""

    name = "openai-completions"

    def parse(self, request: Request) -> ChatRequest:
        return parse_completions_request(request.body)

    def answer_id(self, instance: str, number: int) -> str:
        return f"cmpl-{instance}{number:016x}"

    def usage(self, counts: Counts) -> dict[str, Any]:
        return usage_object(counts)

    def grammar(self, plan: ChatPlan) -> CompletionsGrammar:
        return CompletionsGrammar(plan)

    def unary(self, plan: ChatPlan, position: int, counts: Counts | None) -> bytes:
        completion: dict[str, Any] = {
            "id": plan.answer_id,
            "object": "text_completion",
            "created": plan.created,
            "model": plan.request.model,
            "choices": [_choice(plan, choice, position) for choice in range(plan.request.choices)],
        }
        if counts is not None:
            completion["usage"] = usage_object(counts)
        return orjson.dumps(completion, option=orjson.OPT_INDENT_2) + b"\n"


def usage_object(counts: Counts) -> dict[str, Any]:
    """The usage of a completion, which has no details."""
    return {
        "prompt_tokens": counts.input_tokens,
        "completion_tokens": counts.output_tokens,
        "total_tokens": counts.input_tokens + counts.output_tokens,
    }


class CompletionsGrammar:
    """Stream events of one completion."""

    def __init__(self, plan: ChatPlan) -> None:
        request = plan.request
        head = {"id": plan.answer_id, "object": "text_completion", "created": plan.created}
        with_usage = request.include_usage or plan.directives.usage == "always"
        self._plan = plan
        self._head = b"data: " + orjson.dumps(head)[:-1]
        self._tail = b',"model":%b%b}\n\n' % (
            orjson.dumps(request.model),
            b',"usage":null' if with_usage else b"",
        )
        self._offsets = [0] * request.choices

    def begin(self) -> bytes:
        """The prompts, where they are to be repeated."""
        echoes = (echo(self._plan, choice) for choice in range(self._plan.request.choices))
        return b"".join(self._event(i, text) for i, text in enumerate(echoes) if text)

    def piece(self, segment: Segment, choice: int, start: int, end: int) -> bytes:
        """One event with a piece of text."""
        if segment.kind not in ("text", "refusal"):
            return b""
        text = segment.text(choice, start, end)
        tokens = [segment.text(choice, token, token + 1) for token in range(start, end)]
        return self._event(choice, text, logprobs(self._plan, tokens, self._offsets[choice]))

    def finish(self, reason: Finish, counts: Counts | None) -> bytes:
        """The last event of each choice, the usage without choices, `[DONE]`."""
        word = FINISH_REASONS[reason]
        choices = range(self._plan.request.choices)
        events = [self._event(choice, "", reason=word) for choice in choices]
        if counts is not None:
            more = {"model": self._plan.request.model, "usage": usage_object(counts)}
            fields = orjson.dumps(more | {"choices": []})[1:]
            events.append(b"%b,%b\n\n" % (self._head, fields))
        return b"".join([*events, DONE])

    def error(self, kind: str) -> bytes:
        """The error OpenAI sends in a stream that has begun."""
        error = ApiError(SERVER_ERROR, kind="server_error")
        return b"data: " + orjson.dumps(error_object(error)) + b"\n\n"

    def _event(
        self, choice: int, text: str, odds: object = None, reason: str | None = None
    ) -> bytes:
        self._offsets[choice] += len(text)
        shape = {"text": text, "index": choice, "logprobs": odds, "finish_reason": reason}
        return b'%b,"choices":[%b]%b' % (self._head, orjson.dumps(shape), self._tail)


def echo(plan: ChatPlan, choice: int) -> str:
    """The prompt of a choice where it is to be repeated; tokens have no text here."""
    document = plan.request.document
    if not document.get("echo"):
        return ""
    prompts = prompts_of(document)
    prompt = prompts[choice * len(prompts) // plan.request.choices]
    return prompt if isinstance(prompt, str) else ""


def logprobs(plan: ChatPlan, tokens: list[str], offset: int) -> dict[str, Any] | None:
    """How likely the tokens were, where that was asked for; made up."""
    offered = plan.request.document.get("logprobs")
    if offered is None:
        return None
    offsets = []
    for token in tokens:
        offsets.append(offset)
        offset += len(token)
    others = {f"<{place}>": _LOGPROB - place for place in range(1, offered)}
    return {
        "tokens": tokens,
        "token_logprobs": [_LOGPROB] * len(tokens),
        "top_logprobs": [{token: _LOGPROB} | others for token in tokens] if offered else None,
        "text_offset": offsets,
    }


def _choice(plan: ChatPlan, choice: int, position: int) -> dict[str, Any]:
    text = echo(plan, choice)
    tokens: list[str] = []
    offset = len(text)
    for segment in plan.answer.segments:
        if segment.kind in ("text", "refusal"):
            made = segment.made(position)
            tokens += [segment.text(choice, token, token + 1) for token in range(made)]
    return {
        "text": text + "".join(tokens),
        "index": choice,
        "logprobs": logprobs(plan, tokens, offset),
        "finish_reason": FINISH_REASONS[plan.finish],
    }
