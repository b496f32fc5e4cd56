"""Signatures that prove a thought or a call came from this simulator: an HMAC by its seed."""

from __future__ import annotations

import base64
import binascii
import hmac
from hashlib import blake2b, sha256
from typing import Any, Final

import orjson

THINKING: Final = "thinking"
THOUGHT: Final = "thought"
CALL: Final = "call"
REASONING: Final = "reasoning"
"""What is signed: Anthropic's thinking blocks; Gemini's texts after thoughts, and its calls;
OpenAI's encrypted reasoning."""
_ITEM: Final = "item"
_NONCE_BYTES: Final = 8


class Signer:
    """Signs and verifies. The same seed accepts the other's signatures."""

    def __init__(self, seed: bytes) -> None:
        self._key = blake2b(seed, person=b"signatures", digest_size=32).digest()

    def sign(self, nonce: bytes, what: str, content: bytes) -> str:
        """Base64 of a nonce and the HMAC; `what` keeps kinds apart."""
        nonce = nonce[:_NONCE_BYTES].ljust(_NONCE_BYTES, b"\0")
        return base64.b64encode(nonce + self._digest(nonce, what, content)).decode()

    def verify(self, signature: str, what: str, content: bytes) -> bool:
        """Whether it was issued for that content. Standard and URL-safe base64."""
        try:
            text = signature.replace("-", "+").replace("_", "/")
            raw = base64.b64decode(
                text.rstrip("=") + "=" * (-len(text.rstrip("=")) % 4), None, True
            )
        except (binascii.Error, ValueError):
            return False
        nonce, digest = raw[:_NONCE_BYTES], raw[_NONCE_BYTES:]
        return hmac.compare_digest(digest, self._digest(nonce, what, content))

    def issue_id(self, prefix: str, nonce: bytes) -> str:
        """An id that `issued` knows again: a prefix and 50 hex digits."""
        nonce = nonce[:_NONCE_BYTES].ljust(_NONCE_BYTES, b"\0")
        return f"{prefix}_{(nonce + self._digest(nonce, _ITEM, prefix.encode())).hex()[:50]}"

    def issued(self, item_id: str) -> bool:
        """Whether it is such an id."""
        prefix, _, digits = item_id.partition("_")
        try:
            nonce = bytes.fromhex(digits[: 2 * _NONCE_BYTES])
        except ValueError:
            return False
        return item_id == self.issue_id(prefix, nonce)

    def _digest(self, nonce: bytes, what: str, content: bytes) -> bytes:
        return hmac.digest(self._key, b"\0".join((nonce, what.encode(), content)), sha256)


def call_content(name: str, arguments: Any) -> bytes:
    """What the signature of a call covers; the order of keys is not part of it."""
    return orjson.dumps([name, arguments or {}], option=orjson.OPT_SORT_KEYS)
