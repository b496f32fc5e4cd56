"""A client's request: what is validated of it, its document for a provider of this protocol, and
its canonical form."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

from engine.conversation import Conversation, Text, Turn, Unexpressed
from engine.errors import InvalidRequestError
from engine.events import Call
from engine.protocols.codec import ClientRequest
from engine.protocols.fields import load_request, write_json
from engine.protocols.openai_values import flag, number, stop_of, string, whole
from engine.protocols.quirks import PLAIN, Quirks

NAME: Final = "openai_completions"
DEFAULT_MAX_TOKENS: Final = 16
"""By the protocol, where the client names no limit (the type file of OpenAI's SDK says so)."""
PROMPTS_MAX: Final = 2_048
_CHOICES_MAX: Final = 128
_BEST_OF_MAX: Final = 128
_TOKENS_MAX: Final = 2**31 - 1

Prompt = str | list[int]

_READ: Final = frozenset(
    {
        "model",
        "prompt",
        "stream",
        "stream_options",
        "max_tokens",
        "n",
        "temperature",
        "top_p",
        "stop",
        "seed",
        "presence_penalty",
        "frequency_penalty",
        "logprobs",
        "user",
    }
)
"""What has a place in the canonical form. Anything else that is said (`suffix`, `echo`,
`logit_bias`, `best_of`) is refused there: a conversation has nothing like it."""


def parse_request(call: Call) -> ClientRequest:
    """Parse and validate what the gateway relies on; the rest is the provider's to judge.

    Each prompt has `n` choices; `best_of` generates that many of them and is charged for all.

    Raises:
        InvalidRequestError: not JSON, or a field the gateway needs is missing or of a wrong type.
    """
    document = load_request(call.body)
    model = document.get("model")
    if not isinstance(model, str) or not model:
        raise InvalidRequestError("You must provide a model parameter.", param="model")
    options = document.get("stream_options")
    if options is not None and not isinstance(options, dict):
        raise InvalidRequestError("'stream_options' must be an object.", param="stream_options")
    prompts = read_prompts(document.get("prompt"))
    generated = max(choices_of(document), whole(document, "best_of", 1, _BEST_OF_MAX) or 1)
    limit = whole(document, "max_tokens", 0, _TOKENS_MAX)
    return ClientRequest(
        protocol=NAME,
        model=model,
        stream=flag(document, "stream"),
        include_usage=flag(options or {}, "include_usage"),
        max_output_tokens=DEFAULT_MAX_TOKENS if limit is None else limit,
        choices=generated * len(prompts),
        document=document,
    )


def choices_of(document: dict[str, Any]) -> int:
    """The choices that are asked for of each prompt; raises InvalidRequestError."""
    return whole(document, "n", 1, _CHOICES_MAX) or 1


def read_prompts(value: object) -> list[Prompt]:
    """The prompts, as text or as tokens; one that is not said begins a document.

    Raises:
        InvalidRequestError: it is none of the four forms that a prompt has.
    """
    if value is None:
        return [""]
    if isinstance(value, str):
        return [value]
    if isinstance(value, list) and len(value) > 0:
        if _is_tokens(value):
            return [value]
        if len(value) <= PROMPTS_MAX and all(isinstance(i, str) or _is_tokens(i) for i in value):
            return value
    raise InvalidRequestError(
        "'prompt' must be a string, an array of strings, an array of tokens, or an array of arrays "
        f"of tokens; of arrays no more than {PROMPTS_MAX}, and none empty.",
        param="prompt",
    )


def _is_tokens(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(type(item) is int for item in value)


def prompt_texts(request: ClientRequest) -> Iterator[str]:
    """All text of the prompt that becomes input tokens."""
    for prompt in read_prompts(request.document.get("prompt")):
        if isinstance(prompt, str):
            yield prompt
    if isinstance(suffix := request.document.get("suffix"), str):
        yield suffix


def prompt_overhead_tokens(request: ClientRequest) -> int:
    """Input that comes as tokens; a prompt has no delimiters."""
    prompts = read_prompts(request.document.get("prompt"))
    return sum(len(prompt) for prompt in prompts if not isinstance(prompt, str))


def without_prompts(request: ClientRequest) -> ClientRequest:
    """The request with prompts that are empty, as many as there were."""
    document = request.document
    prompts = [""] * len(read_prompts(document.get("prompt")))
    return replace(request, document={"n": document.get("n"), "prompt": prompts})


def encode_verbatim(
    request: ClientRequest,
    upstream_model: str,
    output_limit: int | None,
    quirks: Quirks = PLAIN,
) -> bytes:
    """The body for a provider of this protocol: its model name, usage asked for on every stream.

    The limit is always said, as not every server of this protocol has its default. `output_limit`
    lowers (never raises) it, where funds are short.

    Raises:
        InvalidRequestError: nested deeper than can be written again.
    """
    document = dict(request.document)
    document["model"] = upstream_model
    if not quirks.include_usage:
        document.pop("stream_options", None)
    elif request.stream and not request.include_usage:
        options = document.get("stream_options") or {}
        document["stream_options"] = {**options, "include_usage": True}
    most = request.max_output_tokens
    document["max_tokens"] = min(x for x in (most, output_limit) if x is not None)
    return write_json(document)


def decode_request(request: ClientRequest) -> Conversation:
    """The canonical form: the prompt is what a user says.

    Raises:
        InvalidRequestError: several prompts, tokens, or what OpenAI would refuse.
    """
    document = request.document
    if not request.max_output_tokens:
        raise InvalidRequestError(
            "'max_tokens' must be at least 1 for this model's provider.", param="max_tokens"
        )
    return Conversation(
        turns=(Turn("user", (Text(_one_text(document)),)),),
        choices=choices_of(document),
        max_output_tokens=request.max_output_tokens,
        temperature=number(document, "temperature", 0, 2),
        top_p=number(document, "top_p", 0, 1),
        stop=stop_of(document.get("stop")),
        seed=whole(document, "seed", -(2**63), 2**63),
        presence_penalty=number(document, "presence_penalty", -2, 2) or None,
        frequency_penalty=number(document, "frequency_penalty", -2, 2) or None,
        top_logprobs=whole(document, "logprobs", 0, 5),
        end_user=string(document, "user"),
        unexpressed=tuple(_unexpressed(document)),
    )


def _one_text(document: dict[str, Any]) -> str:
    prompts = read_prompts(document.get("prompt"))
    if len(prompts) > 1:
        raise InvalidRequestError(
            "Several prompts in one request cannot be translated to what the provider of this "
            "model speaks; send one request for each.",
            param="prompt",
        )
    prompt = prompts[0]
    if not isinstance(prompt, str):
        raise InvalidRequestError(
            "A prompt of tokens cannot be translated to what the provider of this model speaks; "
            "send its text.",
            param="prompt",
        )
    if not prompt:
        raise InvalidRequestError("'prompt' must not be empty for this model.", param="prompt")
    return prompt


def _unexpressed(document: dict[str, Any]) -> Iterator[Unexpressed]:
    choices = choices_of(document)
    for name, value in document.items():
        said = value not in (None, False, "", [], {})
        if name not in _READ and said and not (name == "best_of" and value == choices):
            yield Unexpressed(name, harmless=False)
