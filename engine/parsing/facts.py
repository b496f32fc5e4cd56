"""What a plan has to know of a request, read off its document in the client's own spelling.

Pure, and the same in every process. What takes time (the words of a prompt, the digest of its
beginning) is read only of requests for models that are planned by it: `Wanted` says which.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import Any, Final, NamedTuple

from engine.bounds import asked_to_reason, expected_input_tokens
from engine.conversation import FileUse
from engine.protocols.codec import ClientCodec, ClientRequest
from engine.protocols.fields import dict_of, dicts, text_of
from engine.protocols.gemini.requests import prompt_of
from engine.protocols.gemini.spelling import get, get_dict, get_dicts, get_text
from engine.protocols.registry import SERVICES
from engine.routing.features import features_of
from engine.routing.values import Asked, Features

PREFIX_CHARS: Final = 4_096
"""Of a prompt's text, for models that are sticky by its beginning: about 1,024 tokens, the least
that providers keep in their caches."""
_DIGEST_BYTES: Final = 8
_FUNCTIONS: Final = frozenset({"", "function", "custom"})
"""The types of tools that the client runs itself; without a type: Anthropic's."""
_BESIDE_TURNS: Final = frozenset(
    {
        "functions", "output_config", "output_format", "prediction", "response_format", "text",
        "tools",
    }
)  # fmt: skip
"""Members of a document whose text belongs to the prompt, but to no turn of it."""
_TELLING_IN_CHAT: Final = frozenset(
    {
        "functions", "logprobs", "metadata", "prompt_cache_key", "response_format", "tools",
    }
)  # fmt: skip
_LOGPROBS: Final = "message.output_text.logprobs"


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which of the facts that take time are read, by the names that clients write.

    Attributes:
        prefixes: of requests for these models the digest of the prompt's beginning.
        auto: of requests for this one the words of the prompt.
        words: that speak for a feature, in place of the usual ones; see `engine.routing.features`.
    """

    prefixes: frozenset[str] = frozenset()
    auto: str | None = None
    words: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


NOTHING: Final = Wanted()


class _Shape(NamedTuple):
    """Attributes:
    tools: functions that are offered.
    schema: the answer is to keep to one.
    special: the answer is more than text that another model could write on: it has a form, or says
        how likely its tokens were.
    turns: of both sides.
    session: what the client calls it; empty: nothing.
    """

    tools: int
    schema: bool
    special: bool
    turns: int
    session: str = ""


def asked_of(
    request: ClientRequest,
    codec: ClientCodec,
    body_bytes: int,
    session_id: str | None = None,
    wanted: Wanted = NOTHING,
    unresolved: tuple[FileUse, ...] = (),
) -> Asked:
    """The facts of a request. `session_id` is what a header says, and goes before the body."""
    shape = _SHAPES.get(request.protocol, _plain)(request)
    reasoning = asked_to_reason(request.document) is True
    session = session_id or shape.session
    prefix, features = None, None
    if request.model in wanted.prefixes:
        prefix = _prefix_digest(codec.prompt_texts(request))
    if request.model == wanted.auto:
        features = _features(request, codec, shape, reasoning, wanted.words)
    return Asked(
        model=request.model,
        protocol=request.protocol,
        stream=request.stream,
        choices=request.choices,
        max_output_tokens=request.max_output_tokens,
        expected_input_tokens=(
            expected_input_tokens(body_bytes, request.media)
            if request.demand is None
            else request.demand.expected_input_tokens
        ),
        media=frozenset(request.media),
        service=SERVICES[request.each or request.operation],
        tools=shape.tools > 0,
        json_schema=shape.schema,
        reasoning=reasoning,
        session=_digest(session) if session else None,
        prefix=prefix,
        features=features,
        continuable=(
            request.stream and request.choices == 1 and not shape.special and not reasoning
        ),
        unresolved=unresolved,
    )


def _digest(text: str) -> bytes:
    return blake2b(text.encode(), digest_size=_DIGEST_BYTES).digest()


def _prefix_digest(texts: Iterable[str]) -> bytes | None:
    """Of the first characters of all text together, so that it does not matter how a client cuts
    it; None: there is no text."""
    parts, left = [], PREFIX_CHARS
    for text in texts:
        parts.append(text[:left])
        left -= len(parts[-1])
        if not left:
            break
    return _digest("".join(parts)) if left < PREFIX_CHARS else None


def _features(
    request: ClientRequest,
    codec: ClientCodec,
    shape: _Shape,
    reasoning: bool,
    words: Mapping[str, tuple[str, ...]],
) -> Features:
    turns = {name: value for name, value in request.document.items() if name not in _BESIDE_TURNS}
    return features_of(
        codec.prompt_texts(replace(request, document=turns)),
        tools=shape.tools,
        schema=shape.schema,
        reasoning=reasoning,
        depth=shape.turns,
        words=words,
    )


# ---- by protocol ------------------------------------------------------------------------------


def _chat(request: ClientRequest) -> _Shape:
    document = request.document
    if _TELLING_IN_CHAT.isdisjoint(document):
        return _Shape(0, False, False, len(document["messages"]))
    form = _type_of(document.get("response_format"))
    return _Shape(
        tools=_functions(document.get("tools")) + _functions(document.get("functions")),
        schema=form == "json_schema",
        special=form not in ("", "text") or document.get("logprobs") is True,
        turns=len(document["messages"]),
        session=_session_of_openai(document),
    )


def _responses(request: ClientRequest) -> _Shape:
    document = request.document
    form = _type_of(dict_of(document.get("text")).get("format"))
    included = document.get("include")
    logprobs = isinstance(included, list) and _LOGPROBS in included
    items = document["input"]
    return _Shape(
        tools=_functions(document.get("tools")),
        schema=form == "json_schema",
        special=form not in ("", "text") or logprobs or bool(document.get("top_logprobs")),
        turns=len(items) if isinstance(items, list) else 1,
        session=_session_of_openai(document),
    )


def _completions(request: ClientRequest) -> _Shape:
    document = request.document
    special = any(document.get(name) for name in ("logprobs", "echo", "suffix", "best_of"))
    return _Shape(
        tools=0,
        schema=False,
        special=special,
        turns=1,
        session=_session_of_openai(document),
    )


def _anthropic(request: ClientRequest) -> _Shape:
    document = request.document
    asked = dict_of(document.get("output_config")).get("format") or document.get("output_format")
    schema = _type_of(asked) == "json_schema"
    user = text_of(dict_of(document.get("metadata")).get("user_id"))
    return _Shape(
        tools=_functions(document.get("tools")),
        schema=schema,
        special=schema,
        turns=len(document["messages"]),
        session=user if "session" in user else "",  # as Claude Code writes it; else it is a user
    )


def _gemini(request: ClientRequest) -> _Shape:
    prompt = prompt_of(request)
    config = get_dict(prompt, "generationConfig")
    schema = any(get(config, name) is not None for name in _GEMINI_SCHEMAS)
    form = get_text(config, "responseMimeType") or "text/plain"
    contents = get(prompt, "contents")
    return _Shape(
        tools=sum(
            len(get_dicts(tool, "functionDeclarations")) for tool in get_dicts(prompt, "tools")
        ),
        schema=schema,
        special=schema or form != "text/plain" or bool(get(config, "responseLogprobs")),
        turns=len(contents) if isinstance(contents, list) else 1,
    )


def _plain(request: ClientRequest) -> _Shape:
    """What is no chat."""
    return _Shape(tools=0, schema=False, special=True, turns=1)


_GEMINI_SCHEMAS: Final = ("responseSchema", "responseJsonSchema", "_responseJsonSchema")
_SHAPES: Final[Mapping[str, Callable[[ClientRequest], _Shape]]] = {
    "openai_chat": _chat,
    "openai_responses": _responses,
    "openai_completions": _completions,
    "anthropic": _anthropic,
    "gemini": _gemini,
}


def _type_of(value: object) -> str:
    return text_of(dict_of(value).get("type"))


def _functions(tools: object) -> int:
    if not tools:
        return 0
    return sum(1 for tool in dicts(tools) if text_of(tool.get("type")) in _FUNCTIONS)


def _session_of_openai(document: Mapping[str, Any]) -> str:
    named = dict_of(document.get("metadata")).get("session_id")
    return text_of(document.get("prompt_cache_key")) or text_of(named)
