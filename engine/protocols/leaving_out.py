"""Leaving out of a client's request what its provider refuses and whose loss changes no answer."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from engine.protocols.gemini.spelling import key_of


def leave_out(
    document: dict[str, Any], refused: Collection[str]
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The document without them, and which there were, in its order and spelling.

    A dot stands between a field and one of its own.

    >>> leave_out({"a": 1, "tool_config": {"some": 1, "more": 2}}, ["toolConfig.some", "b"])
    ({'a': 1, 'tool_config': {'more': 2}}, ('tool_config.some',))
    """
    order = list(document)
    dropped = []
    for name in refused:
        document, found = _without(document, name)
        dropped += [found] if found else []
    return document, tuple(sorted(dropped, key=lambda name: order.index(name.partition(".")[0])))


def _without(holder: dict[str, Any], name: str) -> tuple[dict[str, Any], str]:
    head, _, rest = name.partition(".")
    key = head if head in holder else key_of(holder, head)
    if key is None or (rest and not isinstance(holder[key], dict)):
        return holder, ""
    kept = {other: value for other, value in holder.items() if other != key}
    if not rest:
        return kept, key
    inner, found = _without(holder[key], rest)
    if not found:
        return holder, ""
    return (holder | {key: inner}) if inner else kept, f"{key}.{found}"
