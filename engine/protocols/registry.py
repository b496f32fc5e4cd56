"""The codecs by name."""

from __future__ import annotations

import importlib
from typing import cast

from engine.protocols.codec import Codec

_OF_PROVIDER = {"openai": "openai_chat", "anthropic": "anthropic", "gemini": "gemini"}


def codec_of(protocol: str) -> Codec:
    """The codec of a client's protocol (`Call.protocol`)."""
    return cast(Codec, importlib.import_module(f"engine.protocols.{protocol}").CODEC)


def provider_codec(protocol: str) -> Codec:
    """The codec of a provider's protocol, as its configuration names it."""
    return codec_of(_OF_PROVIDER[protocol])
