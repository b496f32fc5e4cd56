"""A request translated as the gateway does it, from a client's bytes to a provider's body."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from engine.capability_table import capabilities_of
from engine.errors import InvalidRequestError, NotFoundError
from engine.events import Call, Protocol
from engine.metering.pricing import FREE, Rates
from engine.parsing.jobs import prepare_here, target_of
from engine.routing.values import Deployment
from engine.upstream.providers import Provider


@dataclass(frozen=True, slots=True)
class Target:
    """A model of a provider; `protocol` is the codec's name."""

    protocol: str
    model: str


TYPICAL: Mapping[str, Target] = {
    "openai_chat": Target("openai_chat", "gpt-5.2"),
    "openai_responses": Target("openai_responses", "gpt-5.1"),
    "anthropic": Target("anthropic", "claude-sonnet-4-5"),
    "gemini": Target("gemini", "gemini-2.5-flash"),
}
"""One by protocol: with reasoning, tools, schemas, images and documents."""


@dataclass(frozen=True, slots=True)
class Translated:
    """The provider's body; `dropped` in the client's spelling."""

    body: dict[str, Any]
    dropped: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Refused:
    """A 400; `field` in the client's spelling."""

    code: str
    field: str | None
    message: str


_PROVIDERS = {
    "openai_chat": Provider("openai_chat", "openai", "https://openai.invalid/v1"),
    "openai_responses": Provider(
        "openai_responses", "openai-responses", "https://openai.invalid/v1"
    ),
    "anthropic": Provider("anthropic", "anthropic", "https://anthropic.invalid/v1"),
    "gemini": Provider("gemini", "gemini", "https://gemini.invalid/v1beta"),
}


def call_of(protocol: Protocol, document: object, *, stream: bool = False) -> Call:
    """A call with this body; `stream` is for Gemini, whose URL says it."""
    in_url = {"model": "public-name", "stream": stream} if protocol == "gemini" else {}
    return Call(body=orjson.dumps(document), key=None, protocol=protocol, **in_url)  # type: ignore[arg-type]


def translate(call: Call, target: Target) -> Translated | Refused:
    """The body for a provider of another protocol, or why there is none."""
    try:
        aimed = target_of(call.protocol, _deployment(target), _PROVIDERS[target.protocol])
        assert aimed.spoken != call.protocol
        prepared = prepare_here(call, aimed)
        assert isinstance(prepared.body, bytes), "only large bodies are files"
        body = orjson.loads(prepared.body)
    except (InvalidRequestError, NotFoundError) as error:
        return Refused(error.code, error.param, error.message)
    assert isinstance(body, dict)
    return Translated(body, prepared.dropped)


def _deployment(target: Target) -> Deployment[Rates]:
    return Deployment(
        provider=target.protocol,
        upstream_model=target.model,
        cost=FREE,
        encoding="o200k_base",
        capabilities=capabilities_of(target.protocol, target.model),
    )
