"""What lives at the provider and is not ours to hand out: ids of files, containers and skills.

On a shared provider key an id that somebody names may be another tenant's.
"""

from __future__ import annotations

from typing import Any

from engine.errors import InvalidRequestError
from engine.protocols.codec import HeldIdError
from engine.protocols.fields import dict_of, dicts, is_held_uri, text_of

# What of a block is the model's or the client's own JSON, where a name means nothing.
_OPAQUE = frozenset({"input", "text", "data", "thinking", "signature", "input_schema"})


def refuse_held(document: dict[str, Any], ours: frozenset[int] = frozenset()) -> None:
    """Look through a request for ids of things at the provider, and models beside its own; the
    objects `ours` name files of the gateway's.

    Raises:
        HeldIdError: there is an id; `param` is its path.
        InvalidRequestError: it names other models to fall back to, at their own prices.
    """
    _refuse_container(document.get("container"))
    if dict_of(document.get("diagnostics")).get("previous_message_id") is not None:
        raise HeldIdError("diagnostics.previous_message_id")
    if document.get("fallbacks"):
        raise InvalidRequestError(
            "fallbacks: other models than the one of the request are not admitted; "
            "the gateway has fallbacks of its own.",
            param="fallbacks",
        )
    for index, tool in enumerate(dicts(document.get("tools"))):
        if tool.get("model") is not None:
            raise InvalidRequestError(
                f"tools[{index}].model: other models than the one of the request are not admitted, "
                "as they have other prices.",
                param=f"tools[{index}].model",
            )
    if document.get("fallback_credit_token") is not None:
        raise HeldIdError("fallback_credit_token")
    for name in ("messages", "tools", "system"):
        _search(document.get(name), name, ours)


def _refuse_container(container: object) -> None:
    if isinstance(container, str):
        raise HeldIdError("container")
    if dict_of(container).get("id") is not None:
        raise HeldIdError("container.id")
    for index, skill in enumerate(dicts(dict_of(container).get("skills"))):
        if skill.get("type") != "anthropic":
            raise HeldIdError(f"container.skills[{index}].skill_id")


# Where a value stands: its parent's place and its name or index there.
Place = tuple["Place | None", str]


def _search(value: object, name: str, ours: frozenset[int]) -> None:
    """A `file_id` anywhere in it, but in the objects `ours`; walked without recursion, as it may be
    nested deeply."""
    waiting: list[tuple[object, Place]] = [(value, (None, name))]
    while waiting:
        value, place = waiting.pop()
        if isinstance(value, list):
            waiting.extend(
                (item, (place, f"[{index}]"))
                for index, item in enumerate(value)
                if isinstance(item, (dict, list))
            )
        elif isinstance(value, dict):
            if value.get("file_id") is not None and id(value) not in ours:
                raise HeldIdError(f"{_path(place)}.file_id")
            if is_held_uri(text_of(value.get("url"))):
                raise HeldIdError(f"{_path(place)}.url")
            waiting.extend(
                (item, (place, f".{name}"))
                for name, item in value.items()
                if name not in _OPAQUE and isinstance(item, (dict, list))
            )


def _path(place: Place) -> str:
    names = []
    at: Place | None = place
    while at is not None:
        at, name = at
        names.append(name)
    return "".join(reversed(names))
