"""Names, ids and marks of items: what tells a foreign value from one of this protocol.

A reasoning item keeps its secret in `encrypted_content`. Another provider's gets a mark in front,
by which the history that comes back is known: decoding restores whose it was, and a verbatim body
goes on without it. Ids of ours have a mark, too: no provider has stored anything under them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Final

from engine.conversation import Native, Reasoning, Signature

NAME: Final = "openai_responses"

_MARK = "parshall:"
_UNSIGNED = f"{_MARK}none:"
_REDACTED = f"{_MARK}redacted:"
_ID_MARK = "_ps"

MARKS = (_MARK.encode(), f"{_ID_MARK}".encode())
"""In the bytes of a body only where something in it may be ours."""

_PREFIXES = {
    "message": "msg",
    "reasoning": "rs",
    "function_call": "fc",
    "custom_tool_call": "ctc",
    "image_generation_call": "ig",
}


def native(fields: Mapping[str, Any]) -> Native:
    """Fields that only this protocol knows."""
    return Native(NAME, fields)


def own(value: Native | None) -> Mapping[str, Any]:
    """The fields of a value of this protocol; none of another one's."""
    return value.fields if value is not None and value.protocol == NAME else {}


def sign(signature: Signature | None, *, redacted: bool = False) -> str:
    """The `encrypted_content` of a reasoning item for a client.

    >>> sign(Signature("anthropic", "AbC=")), sign(None)
    ('parshall:anthropic:AbC=', 'parshall:none:')
    """
    if signature is None:
        return _UNSIGNED
    if signature.issuer == NAME:
        return signature.value
    return f"{_REDACTED if redacted else _MARK}{signature.issuer}:{signature.value}"


def read_reasoning(text: str, encrypted: str) -> Reasoning:
    """A reasoning item's visible text and what `sign` wrote beside it.

    >>> read_reasoning("", "parshall:redacted:anthropic:AbC=").redacted
    True
    """
    if not encrypted.startswith(_MARK):
        signature = Signature(NAME, encrypted) if encrypted else None
        return Reasoning(text, signature, redacted=bool(signature) and not text)
    redacted = encrypted.startswith(_REDACTED)
    rest = encrypted.removeprefix(_REDACTED if redacted else _MARK)
    issuer, _, value = rest.partition(":")
    return Reasoning(text, Signature(issuer, value) if value else None, redacted)


def is_marked(value: object) -> bool:
    """Whether an `encrypted_content` is another provider's secret, or stands for none."""
    return isinstance(value, str) and value.startswith(_MARK)


def item_id(kind: str, answer_id: str, index: int) -> str:
    """The id of an item of a translated answer; the same for the same answer.

    >>> item_id("message", "resp_1", 0)
    'msg_ps38efc5d0aa1a3a2dd6'
    """
    digest = hashlib.blake2s(f"{answer_id} {index}".encode("utf-8", "replace"), digest_size=9)
    return f"{_PREFIXES[kind]}{_ID_MARK}{digest.hexdigest()}"


def is_ours(value: object) -> bool:
    """Whether an item's id is one that `item_id` made."""
    return isinstance(value, str) and value.partition("_")[2].startswith(_ID_MARK[1:])
