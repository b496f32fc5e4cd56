"""A request translated as the gateway does it, from a client's bytes to a provider's body."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from engine.capability_table import capabilities_of, check_media
from engine.errors import InvalidRequestError
from engine.events import Call, Protocol
from engine.protocols.codec import ClientRequest, Codec, InexpressibleError, UpstreamTarget
from engine.protocols.registry import codec_of


@dataclass(frozen=True, slots=True)
class Target:
    """A model of a provider; `protocol` is the codec's name."""

    protocol: str
    model: str


TYPICAL: Mapping[str, Target] = {
    "openai_chat": Target("openai_chat", "gpt-5.2"),
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


def call_of(protocol: Protocol, document: object, *, stream: bool = False) -> Call:
    """A call with this body; `stream` is for Gemini, whose URL says it."""
    in_url = {"model": "public-name", "stream": stream} if protocol == "gemini" else {}
    return Call(body=orjson.dumps(document), key=None, protocol=protocol, **in_url)  # type: ignore[arg-type]


def translate(call: Call, target: Target) -> Translated | Refused:
    """The body for a provider of another protocol, or why there is none."""
    client = codec_of(call.protocol)
    try:
        return _translate(client, client.parse_request(call), target)
    except InexpressibleError as error:
        field = client.field_names.get(error.field, error.field)
        return Refused(error.code, field, error.message)
    except InvalidRequestError as error:
        return Refused(error.code, error.param, error.message)


def _translate(client: Codec, request: ClientRequest, target: Target) -> Translated:
    capabilities = capabilities_of(target.protocol, target.model)
    check_media(request.media, capabilities, request.model)
    conversation = client.decode_request(request)
    for lost in conversation.unexpressed:
        if not lost.harmless:
            raise InvalidRequestError("cannot be translated", param=lost.field)
    encoded = codec_of(target.protocol).encode_request(
        conversation, UpstreamTarget(target.model, capabilities, request.stream)
    )
    body = orjson.loads(encoded.body)
    assert isinstance(body, dict)
    spelled = [client.field_names.get(field, field) for field in encoded.dropped]
    lost_fields = [lost.field for lost in conversation.unexpressed]
    return Translated(body, tuple(dict.fromkeys([*lost_fields, *spelled])))
