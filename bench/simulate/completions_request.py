"""A request of the legacy completions API, checked as OpenAI checks it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import orjson

from bench.simulate import openai_fields as chat
from bench.simulate.chat import ChatRequest
from bench.simulate.directives import find_directives
from bench.simulate.errors import ApiError
from bench.simulate.openai_fields import Check, decimal, integer, typed, wrong_type
from bench.simulate.openai_request import NOT_JSON, check_stream_options

MAX_TOKENS: Final = 16
"""The length of an answer unless told."""
TOKEN_ID_MAX: Final = 100_257
PROMPTS_MAX: Final = 2_048
_PROMPT_TYPES: Final = "a string, an array of strings, an array of tokens, or an array of arrays"
_UNSAID: Final = "<|endoftext|>"

Prompt = str | tuple[int, ...]

FIELDS: Final[Mapping[str, Check]] = {
    "best_of": integer(1, 20),
    "echo": chat.BOOLEAN,
    "frequency_penalty": decimal(-2, 2),
    "logit_bias": chat.OBJECT,
    "logprobs": integer(0, 5),
    "max_tokens": integer(0),
    "model": chat.STRING,
    "n": integer(1, chat.N_MAX),
    "presence_penalty": decimal(-2, 2),
    "prompt": typed(_PROMPT_TYPES, str, list),
    "seed": integer(),
    "stop": chat.stop,
    "stream": chat.BOOLEAN,
    "stream_options": chat.OBJECT,
    "suffix": chat.STRING,
    "temperature": decimal(0, 2),
    "top_p": decimal(0, 1),
    "user": chat.STRING,
}


def parse_completions_request(body: bytes) -> ChatRequest:
    """Check a request body as OpenAI does. Each prompt has `n` choices of the answer.

    Raises:
        ApiError: 400, with the API's own message, param and code.
    """
    try:
        request = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise ApiError(NOT_JSON) from None
    if not isinstance(request, dict):
        raise ApiError(NOT_JSON)
    if request.get("model") in (None, ""):
        raise ApiError("you must provide a model parameter")
    for name, value in request.items():
        check = FIELDS.get(name)
        if check is None:
            raise ApiError(f"Unrecognized request argument supplied: {name}")
        if value is not None:
            check(name, value)
    check_stream_options(request)
    prompts = prompts_of(request)
    choices = request.get("n") or 1
    best_of = request.get("best_of")
    if best_of is not None and best_of < choices:
        raise ApiError(
            "You requested that the server return more choices than it will generate (HINT: you "
            f"must set 'n' (currently {choices}) to be at most 'best_of' (currently {best_of}), or "
            "omit either parameter if you don't specifically want to use them.)"
        )
    texts = [prompt for prompt in prompts if isinstance(prompt, str)]
    directives = find_directives(texts[0]) if texts else None
    texts.append(request.get("suffix") or "")
    limit = request.get("max_tokens")
    options = request.get("stream_options") or {}
    return ChatRequest(
        model=request["model"],
        texts=tuple(texts),
        framing_tokens=sum(len(prompt) for prompt in prompts if not isinstance(prompt, str)),
        seed_material=orjson.dumps([request["model"], prompts, request.get("seed")]),
        directives=directives,
        stream=bool(request.get("stream")),
        include_usage=bool(options.get("include_usage")),
        choices=choices * len(prompts),
        max_output_tokens=MAX_TOKENS if limit is None else limit,
        document=request,
    )


def prompts_of(request: Mapping[str, Any]) -> list[Prompt]:
    """The prompts of a checked request, one or several, as text or as tokens.

    Raises:
        ApiError: 400.
    """
    match request.get("prompt"):
        case None:
            return [_UNSAID]
        case str() as text:
            return [text]
        case []:
            raise ApiError(
                "Invalid 'prompt': empty array. Expected an array with minimum length 1, but got "
                "an empty array instead.",
                param="prompt",
                code="empty_array",
            )
        case [int(), *_] as tokens:
            return [_tokens(tokens)]
        case [*several] if len(several) <= PROMPTS_MAX:
            return [item if isinstance(item, str) else _tokens(item) for item in several]
        case value:
            raise wrong_type("prompt", _PROMPT_TYPES, value)


def _tokens(value: Any) -> tuple[int, ...]:
    if not (isinstance(value, list) and value and all(type(token) is int for token in value)):
        raise wrong_type("prompt", _PROMPT_TYPES, value)
    for token in value:
        if not 0 <= token <= TOKEN_ID_MAX:
            raise ApiError(
                f"Invalid token in prompt: {token}. Minimum value is 0, maximum value is "
                f"{TOKEN_ID_MAX} (inclusive)."
            )
    return tuple(value)
