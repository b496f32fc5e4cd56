"""What the protocols share: a request reduced to what is acted on, and the counts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from bench.simulate.answer import Answer
from bench.simulate.directives import Directives

Make = Callable[[Directives, bytes], Answer]
"""The answer of an endpoint that is no chat, from the directives and a seed."""

Signed = Literal["verified", "skipped"]
"""Signatures in a request: all were issued here, or one asked not to be checked."""

ReasoningShown = Literal["none", "text", "signature"]
"""Nothing of it, its text, or only the proof that there was some."""


class Keeping(NamedTuple):
    """What is kept with an answer, where the API keeps answers.

    `context` are the items that came before those of the request, `items` its own; `cited` are the
    ids and names of files that it lets be searched.
    """

    key: str
    context: Sequence[dict[str, Any]]
    items: Sequence[dict[str, Any]]
    conversation: str | None
    size_bytes: int
    cited: Sequence[tuple[str, str]] = ()


class Tool(NamedTuple):
    """A declared function; `schema` is a JSON schema of an object. A custom tool takes any text."""

    name: str
    schema: Mapping[str, Any]
    custom: bool = False


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A valid request of any protocol."""

    model: str
    texts: tuple[str, ...]
    """Every text that counts as input: contents, roles, names, tool calls."""
    framing_tokens: int
    """What the provider adds a message, a name, and for the answer."""
    seed_material: bytes
    directives: str | None
    """The words after `#sim` in the last text of a user."""
    stream: bool = False
    include_usage: bool = True
    """OpenAI's `stream_options`; the others always report."""
    choices: int = 1
    max_output_tokens: int | None = None
    tools: tuple[Tool, ...] = ()
    may_call: bool = True
    """Whether tools are declared and not forbidden."""
    forced: tuple[str, ...] = ()
    """Tools of which one has to be called."""
    named: bool = False
    """The one tool is forced by its name, which OpenAI does not call `tool_calls`."""
    parallel: bool = True
    rounds: int = 0
    """Turns of tool results since the last text of the user."""
    reasoning: ReasoningShown = "none"
    answer_schema: Mapping[str, Any] | None = None
    """The text is to be JSON of this schema."""
    always_thinks: bool = False
    """An answer opens with reasoning even when that is empty (Anthropic's `enabled`)."""
    signatures: Signed | None = None
    as_array: bool = False
    """Gemini: a stream as one JSON array."""
    document: Mapping[str, Any] = field(default_factory=dict)
    """OpenAI's other APIs: the checked request, which their answers repeat or depend on."""
    keeping: Keeping | None = None
    make: Make | None = None
    """None: the answer is composed of text and calls."""
    units: Mapping[str, int] = field(default_factory=dict)
    """What the request consumes beside its tokens: characters, milliseconds, searches …"""
    parts: Sequence[Mapping[str, Any]] = ()
    """Of a form: the values, and what its files are known by."""
    metered: str = "tokens"
    """The unit of the usage, by the name of the model."""
    reports: bool = True
    """Whether the API reports any usage, unless told to."""
    answer_type: bytes = b"application/json"
    """The content type of a whole answer; of media, of a streamed one too."""


@dataclass(frozen=True, slots=True)
class Counts:
    """Tokens, by OpenAI's rules: input includes cached, output includes reasoning.

    `units` is what was consumed in others, of the request and of the answer so far; `metered` the
    unit that is reported.
    """

    input_tokens: int
    output_tokens: int
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    metered: str = "tokens"
    units: Mapping[str, int] = field(default_factory=dict)
