"""What tools of OpenAI's do in a response: searches of files and code, as told, before all else.

Events and items are those of recorded traffic. Files that the code has drawn lie in its container.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from bench.simulate.plan import ChatPlan
from bench.simulate.signatures import Signer
from bench.simulate.text import seed_of

Object = dict[str, Any]
CODE: Final = "print('done')"
_EMPTY: Final[dict[str, Object]] = {
    "file_search_call": {"queries": []},
    "code_interpreter_call": {"code": ""},
}
"""What an item has while nothing has been done."""


def hosted_items(plan: ChatPlan, signer: Signer) -> list[Object]:
    """The calls, all of them done."""
    told, items = plan.directives, list[Object]()
    if _tool(plan, "file_search") is not None:
        for number in range(told.searches):
            search = {"queries": ["rivers"], "results": None}
            items.append(_item(plan, signer, "fs", "file_search_call", number, search))
    container_id = container_of(plan, signer)
    if container_id is not None:
        for number in range(told.codes):
            code = {"code": CODE, "container_id": container_id, "outputs": None}
            items.append(_item(plan, signer, "ci", "code_interpreter_call", number, code))
    return items


def container_of(plan: ChatPlan, signer: Signer) -> str | None:
    """Where code runs: in the container that is named, or a new one; None: no code is run."""
    tool = _tool(plan, "code_interpreter")
    if tool is None or not plan.directives.codes:
        return None
    container = tool.get("container")
    if isinstance(container, str):
        return container
    return signer.issue_id("cntr", seed_of(plan.answer_id.encode(), b"container"))


def drawn_files(plan: ChatPlan, signer: Signer) -> list[str]:
    """The ids of the files that code has left in its container."""
    if container_of(plan, signer) is None:
        return []
    return [
        signer.issue_id("cfile", seed_of(plan.answer_id.encode(), str(number).encode()))
        for number in range(plan.directives.pictures)
    ]


def citations(plan: ChatPlan, signer: Signer) -> list[Object]:
    """What the text refers to: files that were found, files that were drawn."""
    keeping, found = plan.request.keeping, list[Object]()
    if keeping is not None and plan.directives.searches:
        found += [
            {"type": "file_citation", "file_id": file_id, "filename": filename, "index": 0}
            for file_id, filename in keeping.cited
        ]
    found += [
        {
            "type": "container_file_citation",
            "container_id": container_of(plan, signer),
            "file_id": file_id,
            "filename": f"{file_id}.png",
            "start_index": 0,
            "end_index": 0,
        }
        for file_id in drawn_files(plan, signer)
    ]
    return found


def hosted_events(item: Object) -> Iterator[tuple[str, Object]]:
    """The types of the events of one, in their order, and what they have beside its place."""
    kind = item["type"]
    begun = {"status": "in_progress", **_EMPTY[kind]}
    yield "response.output_item.added", {"item": item | begun}
    yield f"response.{kind}.in_progress", {"item_id": item["id"]}
    if kind == "file_search_call":
        yield f"response.{kind}.searching", {"item_id": item["id"]}
    else:
        code = {"item_id": item["id"]}
        yield f"response.{kind}_code.delta", code | {"delta": item["code"]}
        yield f"response.{kind}_code.done", code | {"code": item["code"]}
        yield f"response.{kind}.interpreting", code
    yield f"response.{kind}.completed", {"item_id": item["id"]}
    yield "response.output_item.done", {"item": item}


def _item(
    plan: ChatPlan, signer: Signer, prefix: str, kind: str, number: int, more: Object
) -> Object:
    nonce = seed_of(plan.answer_id.encode(), prefix.encode(), str(number).encode())
    own_id = signer.issue_id(prefix, nonce)
    return {"id": own_id, "type": kind, "status": "completed", **more}


def _tool(plan: ChatPlan, kind: str) -> Object | None:
    tools = plan.request.document.get("tools", ())
    return next((tool for tool in tools if tool["type"] == kind), None)
