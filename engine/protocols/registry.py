"""The codecs by name."""

from __future__ import annotations

from collections.abc import Mapping

from engine.protocols import anthropic, gemini, openai_chat
from engine.protocols.codec import Codec

_CODECS: Mapping[str, Codec] = {
    codec.name: codec for codec in (openai_chat.CODEC, anthropic.CODEC, gemini.CODEC)
}
_OF_PROVIDER = {"openai": "openai_chat", "anthropic": "anthropic", "gemini": "gemini"}


def codec_of(protocol: str) -> Codec:
    """The codec of a client's protocol (`Call.protocol`)."""
    return _CODECS[protocol]


def provider_codec(protocol: str) -> Codec:
    """The codec of a provider's protocol, as its configuration names it."""
    return codec_of(_OF_PROVIDER[protocol])
