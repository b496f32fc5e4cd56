"""Thought signatures and ids of calls: what is Gemini's own, and what stands in for it.

A signature is base64 on the wire. Other providers' signatures go to Gemini clients as base64 of
`parshall:<issuer>:<value>`, so that a history that comes back tells whose they were; a redacted
thought has `!` behind its issuer. Nothing marked is ever sent to Gemini.

Sources: google-genai (`bytes` fields leave it as URL-safe base64, so both alphabets come back);
ai.google.dev/gemini-api/docs/thought-signatures for the validator's escape.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import Any, Final

from engine.conversation import Native, Signature

PROTOCOL: Final = "gemini"

_MARK = "parshall:"
_MARK_BASE64 = base64.b64encode(_MARK.encode()).decode()  # nine bytes: no padding, a true prefix
_REDACTED = "!"
_UNSIGNED = "none"

INVENTED_ID: Final = "call_ps"
"""In front of ids that we made up for calls to which Gemini gave none."""

SKIP_VALIDATOR: Final = "skip_thought_signature_validator"
"""What Gemini 3 takes in place of the signature of a call that another model made."""

# Clients send it as the text it is, or as the base64 of it.
_SKIPS = frozenset({SKIP_VALIDATOR, base64.b64encode(SKIP_VALIDATOR.encode()).decode()})

_URLSAFE = str.maketrans("-_", "+/")


def native(**fields: Any) -> Native:
    """Fields that only this protocol knows."""
    return Native(PROTOCOL, fields)


def own_fields(value: Native | None) -> dict[str, Any] | None:
    """The fields of a value of this protocol; None if it is of another one, or of none."""
    return dict(value.fields) if value is not None and value.protocol == PROTOCOL else None


def standard_base64(value: str) -> str:
    """Base64 in the standard alphabet, padded.

    >>> standard_base64("-_8"), standard_base64("+/8=")
    ('+/8=', '+/8=')
    """
    if "-" in value or "_" in value:
        value = value.translate(_URLSAFE)
    if len(value) % 4:
        value = value.rstrip("=")
        value += "=" * (-len(value) % 4)
    return value


def is_marked(value: object) -> bool:
    """Whether a signature is ours, in place of another provider's or of none."""
    return isinstance(value, str) and value.startswith(_MARK_BASE64)


def sign(signature: Signature | None, *, redacted: bool = False) -> str:
    """The base64 of a signature for a client, whoever issued it.

    >>> sign(Signature("gemini", "AbC="))
    'AbC='
    >>> read_signature(sign(Signature("anthropic", "s1"))), read_signature(sign(None))
    ((Signature(issuer='anthropic', value='s1'), False), (None, False))
    """
    if signature is not None and signature.issuer == PROTOCOL:
        return signature.value
    issuer, value = (
        (signature.issuer, signature.value) if signature is not None else (_UNSIGNED, "")
    )
    marked = f"{_MARK}{issuer}{_REDACTED if redacted else ''}:{value}"
    return base64.b64encode(marked.encode("utf-8", "surrogatepass")).decode()


def read_signature(value: object) -> tuple[Signature | None, bool]:
    """A part's signature (none if it is no base64), and whether it is all of a redacted thought."""
    if not isinstance(value, str) or not value or value in _SKIPS:
        return None, False
    try:
        raw = base64.b64decode(standard_base64(value), validate=True)
        if not raw.startswith(_MARK.encode()):
            return Signature(PROTOCOL, base64.b64encode(raw).decode()), False
        issuer, _, foreign = raw.decode().removeprefix(_MARK).partition(":")
    except (binascii.Error, ValueError):
        return None, False
    if issuer == _UNSIGNED or not foreign:
        return None, False
    return Signature(issuer.removesuffix(_REDACTED), foreign), issuer.endswith(_REDACTED)


def invent_id(*seed: object) -> str:
    """The id of a call to which Gemini gave none: the same one for the same seed."""
    digest = hashlib.sha256("\0".join(map(str, seed)).encode("utf-8", "surrogatepass"))
    return INVENTED_ID + digest.hexdigest()[:20]


def is_invented(call_id: str) -> bool:
    """Whether an id is one of ours, which Gemini has never seen."""
    return call_id.startswith(INVENTED_ID)
