"""Names, ids and marks: what makes a foreign value one that Anthropic's clients take.

A thinking block needs a signature and a web citation an encrypted index. What another provider's
answer does not have gets a mark in its place, by which the history that comes back is known:
decoding restores whose it was, and a verbatim body goes on without it.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any, Final

from engine.conversation import CacheHint, Native, Signature

PROTOCOL: Final = "anthropic"

_MARK = "parshall:"
_UNSIGNED = f"{_MARK}none:"

_ID = re.compile(r"[a-zA-Z0-9_-]+")
_ID_OTHER = re.compile(r"[^a-zA-Z0-9_-]")


def native(fields: dict[str, Any]) -> Native | None:
    """Fields that only this protocol knows; None if there are none."""
    return Native(PROTOCOL, fields) if fields else None


def own_fields(value: Native | None) -> dict[str, Any]:
    """The fields of a value of this protocol; none of another one's."""
    return dict(value.fields) if value is not None and value.protocol == PROTOCOL else {}


def sign(signature: Signature | None) -> str:
    """The signature of a thinking block (or the data of a redacted one) for a client.

    >>> sign(Signature("gemini", "AbC=")), sign(None)
    ('parshall:gemini:AbC=', 'parshall:none:')
    """
    if signature is None:
        return _UNSIGNED
    if signature.issuer == PROTOCOL:
        return signature.value
    return f"{_MARK}{signature.issuer}:{signature.value}"


def read_signature(value: str) -> Signature | None:
    """What `sign` wrote.

    >>> read_signature("parshall:gemini:AbC="), read_signature("parshall:none:")
    (Signature(issuer='gemini', value='AbC='), None)
    """
    if not value.startswith(_MARK):
        return Signature(PROTOCOL, value) if value else None
    issuer, _, foreign = value.removeprefix(_MARK).partition(":")
    return Signature(issuer, foreign) if foreign else None


def is_marked(value: object) -> bool:
    """Whether a signature, the data of a block or an index is ours, of another provider's value."""
    return isinstance(value, str) and value.startswith(_MARK)


def plain_id(call_id: str) -> str:
    """The id of a call within Anthropic's alphabet: as it is, or the same one every time.

    >>> plain_id("toolu_1"), plain_id("functions.f:0")
    ('toolu_1', 'functions_f_0_d6bdd4de')
    """
    if _ID.fullmatch(call_id):
        return call_id
    digest = hashlib.sha256(call_id.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{_ID_OTHER.sub('_', call_id) or 'toolu'}_{digest}"


def cache_control(hint: CacheHint | None) -> dict[str, Any]:
    """The member `cache_control` of a block, or nothing."""
    if hint is None:
        return {}
    ttl = {} if hint.ttl is None else {"ttl": hint.ttl}
    return {"cache_control": {"type": "ephemeral"} | ttl}
