"""The codecs by name."""

from __future__ import annotations

from collections.abc import Mapping

from engine.protocols import anthropic, gemini, openai_chat, openai_completions, openai_responses
from engine.protocols.codec import ClientCodec, Codec

_CODECS: Mapping[str, Codec] = {
    codec.name: codec
    for codec in (openai_chat.CODEC, openai_responses.CODEC, anthropic.CODEC, gemini.CODEC)
}
_OF_CLIENTS: Mapping[str, ClientCodec] = {
    **_CODECS,
    openai_completions.CODEC.name: openai_completions.CODEC,
}
_OF_PROVIDER = {
    "openai": "openai_chat",
    "openai-responses": "openai_responses",
    "anthropic": "anthropic",
    "gemini": "gemini",
}


def codec_of(protocol: str) -> Codec:
    """The codec of a protocol that both sides speak, by its name."""
    return _CODECS[protocol]


def client_codec(protocol: str) -> ClientCodec:
    """The codec of a client's protocol (`Call.protocol`)."""
    return _OF_CLIENTS[protocol]


def provider_codec(protocol: str) -> Codec:
    """The codec of a provider's protocol, as its configuration names it."""
    return _CODECS[_OF_PROVIDER[protocol]]


def upstream_codec(client: str, provider_protocol: str, also: frozenset[str]) -> ClientCodec:
    """The codec to speak with a provider, for a client of the protocol `client`.

    A provider speaks the protocol that its configuration names; `also` are those that it takes of
    clients of the same protocol, which go through verbatim.
    """
    return _OF_CLIENTS[client] if client in also else _CODECS[_OF_PROVIDER[provider_protocol]]
