"""Signatures of one provider carried through the ids of tool calls.

Clients of OpenAI and Anthropic have no place for Gemini's thought signatures, but they send a
call's id back as they got it. Ids stay within `[a-zA-Z0-9_-]`, which is all that Anthropic takes.
"""

from __future__ import annotations

import base64
import binascii

from engine.conversation import Signature

_MARKER = "__g1__"
MARKER = _MARKER.encode()
"""In the bytes of a body only where an id carries something."""
_ISSUER = "gemini"


def carry(call_id: str, signature: Signature | None) -> str:
    """The id with a signature in it; as it is if there is none, or one of another provider.

    >>> carry("call_1", Signature("gemini", "+/8="))
    'call_1__g1__-_8'
    """
    if signature is None or signature.issuer != _ISSUER:
        return call_id
    try:
        raw = base64.b64decode(signature.value, validate=True)
    except binascii.Error:
        return call_id
    return call_id + _MARKER + base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def uncarry(call_id: str) -> tuple[str, Signature | None]:
    """The id as the provider gave it, and the signature in it.

    >>> uncarry("call_1__g1__-_8")
    ('call_1', Signature(issuer='gemini', value='+/8='))
    """
    plain, marker, carried = call_id.partition(_MARKER)
    if not marker:
        return call_id, None
    try:
        raw = base64.urlsafe_b64decode(carried + "=" * (-len(carried) % 4))
    except (binascii.Error, ValueError):
        return plain, None
    return plain, Signature(_ISSUER, base64.b64encode(raw).decode())
