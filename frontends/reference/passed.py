"""What is passed through to a provider with state: a row for each route of the table."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from engine.config_state import Family
from engine.passing.service import served_routes
from engine.passing.table import Route
from frontends.reference.rows import (
    BYTES,
    EVENTS,
    FORM,
    JSON,
    Answer,
    Example,
    Parameter,
    Row,
    Schema,
    anything,
    either,
    exactly,
    file_bytes,
    flag,
    listed,
    nullable,
    one_of,
    ref,
    text,
    thing,
    whole,
)

TAGS: Final[Mapping[Family, str]] = {
    "assistants": "Assistants",
    "threads": "Threads",
    "vector_stores": "Vector stores",
    "batches": "Batches",
    "conversations": "Conversations",
    "responses": "Kept responses",
    "fine_tuning": "Fine-tuning",
    "containers": "Containers",
}
_MODEL: Final = text("Of this account.", examples=["sim-openai"])
_METADATA: Final = nullable(thing({}))
_TOOLS: Final = listed(thing({"type": text("`code_interpreter`, `file_search`, `function`")}))
_MESSAGES: Final = listed(ref("ThreadMessage"))
_RUN: Final[Mapping[str, Schema]] = {
    "assistant_id": text(),
    "model": nullable(_MODEL),
    "instructions": nullable(text()),
    "stream": nullable(flag()),
    "max_prompt_tokens": nullable(whole(256)),
    "max_completion_tokens": nullable(whole(256)),
    "metadata": _METADATA,
}
_HELLO: Final = {"role": "user", "content": "Hello"}
_DETAIL: Final = "As OpenAI's API reference has it; ids of other accounts are not found."
_VARIABLE: Final = re.compile(r"<(\w+)>")
_VERBS: Final = {"GET": "show", "POST": "change", "DELETE": "delete"}

SCHEMAS: Final[Mapping[str, Schema]] = {
    "Kept": thing({"id": text(), "object": text()}, detail="As OpenAI's API reference has it."),
    "KeptList": thing(
        {
            "object": text(),
            "data": listed(ref("Kept")),
            "has_more": flag(),
            "first_id": nullable(text()),
            "last_id": nullable(text()),
        },
        "data",
    ),
    "KeptChange": thing(
        {"metadata": nullable(thing({}))},
        detail="As OpenAI's API reference has it; ids in it are those of this account.",
    ),
    "ThreadMessage": thing(
        {
            "role": one_of("user", "assistant"),
            "content": either(text(), listed(thing({"type": text()}, "type"))),
            "attachments": nullable(listed(thing({"file_id": text(), "tools": listed({})}))),
            "metadata": _METADATA,
        },
        "role",
        "content",
    ),
    "AssistantRequest": thing(
        {
            "model": _MODEL,
            "name": nullable(text(maxLength=256)),
            "instructions": nullable(text()),
            "tools": _TOOLS,
            "tool_resources": nullable(thing({})),
            "metadata": _METADATA,
        },
        "model",
    ),
    "ThreadRequest": thing(
        {
            "messages": _MESSAGES,
            "tool_resources": nullable(thing({})),
            "metadata": _METADATA,
        }
    ),
    "RunRequest": thing(_RUN, "assistant_id"),
    "ThreadRunRequest": thing({**_RUN, "thread": ref("ThreadRequest")}, "assistant_id"),
    "ToolOutputs": thing(
        {
            "tool_outputs": listed(thing({"tool_call_id": text(), "output": text()})),
            "stream": nullable(flag()),
        },
        "tool_outputs",
    ),
    "VectorStoreRequest": thing(
        {"name": text(), "file_ids": listed(text()), "metadata": _METADATA}
    ),
    "VectorStoreFileRequest": thing({"file_id": text(), "attributes": _METADATA}, "file_id"),
    "FileBatchRequest": thing({"file_ids": listed(text()), "attributes": _METADATA}),
    "SearchRequest": thing(
        {"query": either(text(), listed(text())), "max_num_results": whole(1, 50)}, "query"
    ),
    "BatchRequest": thing(
        {
            "input_file_id": text("A file of the purpose `batch`."),
            "endpoint": text("`/v1/chat/completions`, `/v1/responses`, `/v1/embeddings`, …"),
            "completion_window": exactly("24h"),
            "metadata": _METADATA,
        },
        "input_file_id",
        "endpoint",
        "completion_window",
    ),
    "ConversationRequest": thing(
        {"items": nullable(listed(ref("ResponseInput"))), "metadata": _METADATA}
    ),
    "ItemsRequest": thing({"items": listed(ref("ResponseInput"))}, "items"),
    "FineTuningRequest": thing(
        {
            "model": _MODEL,
            "training_file": text("A file of the purpose `fine-tune`."),
            "validation_file": nullable(text()),
            "method": thing({"type": text()}),
            "suffix": nullable(text(maxLength=64)),
        },
        "model",
        "training_file",
    ),
    "AttributesChange": thing({"attributes": _METADATA}, "attributes"),
    "ContainerFileRequest": thing({"file_id": text()}, "file_id"),
    "ContainerRequest": thing({"name": text(), "file_ids": listed(text())}, "name"),
    "ContainerFileForm": thing({"file": file_bytes(), "file_id": text("In the place of a file.")}),
}


_THREAD: Final = "/v1/threads/<thread_id>"
_STORE: Final = "/v1/vector_stores/<vector_store_id>"
_ASKS: Final[Mapping[str, tuple[str, Mapping[str, Any]]]] = {
    "/v1/assistants": ("AssistantRequest", {"model": "sim-openai", "name": "Helper"}),
    "/v1/threads": ("ThreadRequest", {"messages": [_HELLO]}),
    f"{_THREAD}/messages": ("ThreadMessage", _HELLO),
    f"{_THREAD}/runs": ("RunRequest", {"assistant_id": "{assistant_id}"}),
    "/v1/threads/runs": (
        "ThreadRunRequest",
        {"assistant_id": "{assistant_id}", "thread": {"messages": [_HELLO]}},
    ),
    f"{_THREAD}/runs/<run_id>/submit_tool_outputs": ("ToolOutputs", {"tool_outputs": []}),
    "/v1/vector_stores": ("VectorStoreRequest", {"name": "Notes", "file_ids": ["{file_id}"]}),
    f"{_STORE}/search": ("SearchRequest", {"query": "water"}),
    f"{_STORE}/files": ("VectorStoreFileRequest", {"file_id": "{file_id}"}),
    f"{_STORE}/files/<file_id>": ("AttributesChange", {"attributes": {"of": "water"}}),
    f"{_STORE}/file_batches": ("FileBatchRequest", {"file_ids": ["{file_id}"]}),
    "/v1/batches": (
        "BatchRequest",
        {
            "input_file_id": "{batch_file_id}",
            "endpoint": "/v1/chat/completions",
            "completion_window": "24h",
        },
    ),
    "/v1/conversations": ("ConversationRequest", {"items": [_HELLO]}),
    "/v1/conversations/<conversation_id>/items": ("ItemsRequest", {"items": [_HELLO]}),
    "/v1/fine_tuning/jobs": (
        "FineTuningRequest",
        {"model": "sim-openai", "training_file": "{training_file_id}"},
    ),
    "/v1/containers": ("ContainerRequest", {"name": "Sums"}),
    "/v1/containers/<container_id>/files": ("ContainerFileRequest", {"file_id": "{file_id}"}),
}
"""By path: the schema of what a POST says, and an example, which names things as paths do."""
_CHANGE: Final = ("KeptChange", {"metadata": {"of": "water"}})
_NO_BODY: Final = ("cancel", "pause", "resume")
_RUNS: Final = frozenset(
    {
        f"{_THREAD}/runs/<run_id>/cancel",
        f"{_THREAD}/runs/<run_id>/submit_tool_outputs",
        "/v1/batches/<batch_id>/cancel",
        "/v1/responses/<response_id>/cancel",
        *(f"/v1/fine_tuning/jobs/<job_id>/{word}" for word in _NO_BODY),
    }
)
"""What can be done with what runs only: examples are of something that has ended, and a 400."""


def _row(route: Route) -> Row:
    asks: dict[str, Schema] = {}
    value: Mapping[str, Any] | None = None
    if route.method == "POST" and route.path.rpartition("/")[2] not in _NO_BODY:
        name, value = _ASKS.get(route.path, _CHANGE)
        asks[JSON] = ref(name)
    if route.body == "form":
        asks[FORM] = ref("ContainerFileForm")
    return Row(
        route.method,
        route.path,
        _name(route),
        TAGS[route.family],
        _summary(route),
        {200: _answer(route)},
        detail=_DETAIL,
        asks=asks,
        asks_required=False,
        parameters=_parameters(route),
        examples=(Example("one", value, status=400 if route.path in _RUNS else None),),
        refuses=(404,),
        relays=True,
    )


def _answer(route: Route) -> Answer:
    if route.answer == "bytes":
        return Answer("The bytes.", {BYTES: text(format="binary")})
    schema = ref("Kept" if route.lists is None else "KeptList")
    content = (
        {JSON: schema, EVENTS: anything("Events, as OpenAI's.")}
        if route.streams
        else {JSON: schema}
    )
    return Answer("What the provider says.", content)


def _parameters(route: Route) -> tuple[Parameter, ...]:
    found: list[Parameter] = []
    if route.lists is not None:
        found += [Parameter("limit", whole(1, 100)), Parameter("order", one_of("asc", "desc"))]
    found += [Parameter(name, text("An id.")) for name in route.query]
    if route.streams and route.method == "GET":
        found += [Parameter("stream", flag()), Parameter("starting_after", whole(0))]
    return tuple(found)


def _name(route: Route) -> str:
    """Of the operation: `listThreadMessages`."""
    words = [_word(part) for part in route.path.removeprefix("/v1/").split("/")]
    verb = "list" if route.lists is not None else _VERBS[route.method]
    if route.method == "POST" and route.creates is not None:
        verb = "create"
    return verb + "".join(words)


def _word(part: str) -> str:
    found = _VARIABLE.fullmatch(part)
    if found is not None:
        return "One"
    return "".join(each.title() for each in part.split("_"))


def _summary(route: Route) -> str:
    last = route.path.rpartition("/")[2]
    if route.lists is not None:
        return f"A page: {last.replace('_', ' ')}."
    if route.creates is not None:
        return f"Make a {route.creates.replace('_', ' ')}."
    what = last if _VARIABLE.fullmatch(last) is None else last[1:-4]
    words = {"GET": "Show", "POST": "Change", "DELETE": "Delete"}
    return f"{words[route.method]}: {what.replace('_', ' ')}."


ROWS: Final = tuple(_row(route) for route in served_routes())
