"""What a provider charges for its own tools beside tokens: searches, and sessions of code.

From OpenAI's page of prices: a search of the web or of files for each call, code for each container
by the memory it has (a session with 4 GB costs what four with 1 GB do). A container that the
request names, as a tool's or in an item that it repeats, was paid for when it was made.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from types import MappingProxyType
from typing import Any, Final

from engine.owned import HeldRef
from engine.protocols.fields import dict_of, dicts, text_of
from engine.usage import MoreUnit

_GIGABYTES: Final = MappingProxyType({"1g": 1, "4g": 4, "16g": 16, "64g": 64})
_SEARCHES: Final[Mapping[str, MoreUnit]] = MappingProxyType(
    {"web_search_call": "web_searches", "file_search_call": "file_searches"}
)
_CODE: Final = "code_interpreter_call"
_CODE_ID: Final = "ci_"
CHARGED: Final = frozenset({*_SEARCHES, _CODE})
"""Items of an answer that cost something beside the tokens in them."""


def container_gigabytes(container: object) -> int:
    """The sessions that making a container costs, by the memory asked for; of a size that is not
    known, one.

    >>> container_gigabytes({"type": "auto", "memory_limit": "4g"})
    4
    """
    return _GIGABYTES.get(text_of(dict_of(container).get("memory_limit")), 1)


def sessions_of(tools: object) -> int:
    """The sessions that the tools of a request can come to: 0 where it runs no code, or runs it in
    a container that there is."""
    asked = [tool.get("container") for tool in dicts(tools) if _runs_code(tool)]
    return sum(container_gigabytes(each) for each in asked if not isinstance(each, str))


def repeated_code(refs: Iterable[HeldRef]) -> frozenset[str]:
    """Of what a request names: containers that there are, and earlier calls of code, by their
    ids."""
    return frozenset(
        ref.object_id
        for ref in refs
        if ref.kind == "container" or ref.object_id.startswith(_CODE_ID)
    )


def called_units(
    items: Iterable[Mapping[str, Any]],
    response: Mapping[str, Any],
    repeated: Set[str] = frozenset(),
) -> dict[MoreUnit, int]:
    """What these items of an answer come to, which repeats the `tools` it was asked for with;
    `repeated` as `repeated_code` has it.

    A search of files that has failed is none; several calls in one container are one session. An
    answer that goes on from earlier ones may run its code in their container, which was paid for:
    of one nobody knows whether it is new, and it is not charged.
    """
    tools = response.get("tools")
    goes_on = bool(
        response.get("previous_response_id")
        or response.get("conversation")
        or any(each.startswith(_CODE_ID) for each in repeated)
    )
    units: dict[MoreUnit, int] = {}
    containers: set[str] = set()
    for item in items:
        kind = text_of(item.get("type"))
        if (unit := _SEARCHES.get(kind)) is not None:
            if unit == "web_searches" or item.get("status") != "failed":
                units[unit] = units.get(unit, 0) + 1
        elif kind == _CODE:
            containers.add(text_of(item.get("container_id")))
    if containers:
        coded = [tool.get("container") for tool in dicts(tools) if _runs_code(tool)]
        there = {container for container in coded if isinstance(container, str)}
        sizes = [container_gigabytes(each) for each in coded if not isinstance(each, str)]
        if (made := len(containers - there - repeated) - goes_on) > 0:
            units["code_sessions"] = made * min(sizes, default=0 if there else 1)
    return {unit: count for unit, count in units.items() if count}


def _runs_code(tool: Mapping[str, Any]) -> bool:
    return tool.get("type") == "code_interpreter"
