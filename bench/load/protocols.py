"""How each protocol asks, and by what its answers' tokens are known: one row a protocol."""

from __future__ import annotations

import functools
import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

import orjson

from bench.load.plan import Planned
from bench.simulate.directives import PREFIX
from bench.simulate.words import WORDS
from bench.suite.scenario import Http, Protocol

Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Target:
    """Whom a load is for.

    Attributes:
        base_url: `http://host:port`, with a path before the protocols' own where there is one.
        headers: of every request: keys, routing. Names are written as they stand.
        models: provider's API → the model name that leads there.
        http: HTTP/2 is by prior knowledge.
        run: what tags begin with; one for each start, since numbers begin anew.
    """

    base_url: str
    headers: Headers = field(repr=False)
    models: Mapping[Protocol, str]
    http: Http
    run: str

    @property
    def address(self) -> tuple[str, int]:
        """Host and port.

        Raises:
            ValueError: the address is not of plain HTTP.
        """
        parts = urlsplit(self.base_url)
        if parts.scheme != "http" or not parts.hostname:
            raise ValueError(f"the load is sent to http:// addresses, not to {self.base_url!r}")
        return parts.hostname, parts.port or 80

    @property
    def authority(self) -> str:
        """Of the `host` header."""
        return urlsplit(self.base_url).netloc

    @property
    def prefix(self) -> str:
        """Before the path of a protocol."""
        return urlsplit(self.base_url).path.rstrip("/")


@dataclass(frozen=True, slots=True)
class Dialect:
    """One protocol.

    Attributes:
        path, body: of a request for a model; the body's text is the user's only message.
        headers: that the protocol demands.
        token: what stands in each event that brings text, and nowhere else; within one line.
        done: what the event that ends an answer has, and no other.
        usage: how many tokens the provider says the answer had; the last one counts.
    """

    path: Callable[[str, bool], str]
    body: Callable[[str, str, Planned], dict[str, Any]]
    headers: Headers
    token: re.Pattern[bytes]
    done: re.Pattern[bytes]
    usage: re.Pattern[bytes]


FAILED: Final = re.compile(rb'"error": ?\{|"type": ?"error"')
"""What an event that reports a failure has; all four protocols call it so."""


def _chat(model: str, text: str, planned: Planned) -> dict[str, Any]:
    messages = [{"role": "user", "content": text}]
    body = {"model": model, "stream": planned.stream, "messages": messages}
    return body | {"stream_options": {"include_usage": True}} if planned.stream else body


def _responses(model: str, text: str, planned: Planned) -> dict[str, Any]:
    return {"model": model, "stream": planned.stream, "input": text}


def _anthropic(model: str, text: str, planned: Planned) -> dict[str, Any]:
    messages = [{"role": "user", "content": text}]
    limit = max(1, planned.tokens)
    return {"model": model, "max_tokens": limit, "stream": planned.stream, "messages": messages}


def _gemini(model: str, text: str, planned: Planned) -> dict[str, Any]:
    return {"contents": [{"role": "user", "parts": [{"text": text}]}]}


def _gemini_path(model: str, stream: bool) -> str:
    method = "streamGenerateContent?alt=sse" if stream else "generateContent"
    return f"/v1beta/models/{model}:{method}"


DIALECTS: Final[Mapping[Protocol, Dialect]] = {
    "openai_chat": Dialect(
        path=lambda model, stream: "/v1/chat/completions",
        body=_chat,
        headers=(),
        token=re.compile(rb'"content": ?"[^"]'),
        done=re.compile(rb"data: ?\[DONE\]"),
        usage=re.compile(rb'"completion_tokens": ?(\d{1,9})'),
    ),
    "openai_responses": Dialect(
        path=lambda model, stream: "/v1/responses",
        body=_responses,
        headers=(),
        token=re.compile(rb'"delta": ?"[^"]'),
        done=re.compile(rb'"type": ?"response\.(?:completed|incomplete)"'),
        usage=re.compile(rb'"output_tokens": ?(\d{1,9})'),
    ),
    "anthropic": Dialect(
        path=lambda model, stream: "/v1/messages",
        body=_anthropic,
        headers=(("anthropic-version", "2023-06-01"),),
        token=re.compile(rb'"text": ?"[^"]'),
        done=re.compile(rb'"type": ?"message_stop"'),
        usage=re.compile(rb'"output_tokens": ?(\d{1,9})'),
    ),
    "gemini": Dialect(
        path=_gemini_path,
        body=_gemini,
        headers=(),
        token=re.compile(rb'"text": ?"[^"]'),
        done=re.compile(rb'"finishReason": ?"'),
        usage=re.compile(rb'"candidatesTokenCount": ?(\d{1,9})'),
    ),
}


@dataclass(frozen=True, slots=True)
class Message:
    """A request, ready to be framed by either HTTP."""

    authority: str
    path: str
    headers: Headers = field(repr=False)
    body: bytes = field(repr=False)
    tag: str


def message_of(planned: Planned, target: Target, number: str = "") -> Message:
    """A planned request as this target takes it; `number` in place of its own, in the tag.

    Raises:
        KeyError: the target has no model for the provider that is asked for.
    """
    dialect = DIALECTS[planned.protocol]
    model = target.models[planned.provider]
    tag = f"{target.run}-{number or planned.number}"
    body = orjson.dumps(dialect.body(model, _text(planned, tag), planned))
    return Message(
        authority=target.authority,
        path=target.prefix + dialect.path(model, planned.stream),
        headers=(*dialect.headers, *target.headers, ("content-type", "application/json")),
        body=body,
        tag=tag,
    )


def _text(planned: Planned, tag: str) -> str:
    words = [
        PREFIX,
        f"tokens={planned.tokens}",
        f"tokens_per_second={planned.tokens_per_second:g}",
        f"first_token_ms={planned.first_token_ms:.3f}",
        f"tag={tag}",
        planned.directives,
    ]
    line = " ".join(words) + "\n"
    return line + filler(max(4, planned.prompt_bytes - len(line)))


@functools.lru_cache(maxsize=256)
def filler(length: int) -> str:
    """Words, the same for the same length."""
    chance = random.Random(1)  # noqa: S311 - no secret
    return " ".join(chance.choices(WORDS, k=length // 3 + 1))[:length]
