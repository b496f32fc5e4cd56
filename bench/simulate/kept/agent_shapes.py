"""The bodies of assistants, threads, messages and runs as closed shapes, as the SDK types them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from bench.simulate.errors import ApiError
from bench.simulate.files import FileShelf
from bench.simulate.kept.desk import check_metadata
from bench.simulate.kept.shelf import Shelf
from bench.simulate.openai_fields import refusal_of
from bench.simulate.openai_tools import NAME_PATTERN
from bench.simulate.shapes import (
    BOOLEAN,
    MAPPING,
    TEXT,
    Path,
    Shape,
    Violation,
    anything,
    array,
    either,
    integer,
    literal,
    number,
    record,
    tagged,
    text,
)

TOOLS_MAX: Final = 128
FILES_MAX: Final = 20


def _metadata(path: Path, value: Any) -> Any:
    check_metadata(".".join(map(str, path)), value)
    return value


METADATA: Final[Shape] = _metadata
TOOL: Final = tagged(
    "type",
    {
        "code_interpreter": record({"type": TEXT}),
        "file_search": record({"type": TEXT, "file_search": MAPPING}),
        "function": record(
            {
                "type": TEXT,
                "function": record(
                    {
                        "name": text(NAME_PATTERN),
                        "description": TEXT,
                        "parameters": MAPPING,
                        "strict": BOOLEAN,
                    },
                    "name",
                ),
            },
            "function",
        ),
    },
)
TOOLS: Final = array(TOOL, high=TOOLS_MAX)
_STORE: Final = record(
    {"file_ids": array(TEXT), "chunking_strategy": MAPPING, "metadata": METADATA}
)
RESOURCES: Final = record(
    {
        "code_interpreter": record({"file_ids": array(TEXT, high=FILES_MAX)}),
        "file_search": record(
            {"vector_store_ids": array(TEXT, high=1), "vector_stores": array(_STORE, high=1)}
        ),
    }
)
_SAMPLING: Final[dict[str, Shape]] = {
    "temperature": number(0, 2),
    "top_p": number(0, 1),
    "response_format": anything,
    "reasoning_effort": TEXT,
}
_ASSISTANT: Final[dict[str, Shape]] = {
    "model": text(low=1),
    "name": text(high=256),
    "description": text(high=512),
    "instructions": text(high=256_000),
    "tools": TOOLS,
    "tool_resources": RESOURCES,
    "metadata": METADATA,
    **_SAMPLING,
}
ASSISTANT: Final = record(_ASSISTANT, "model")
ASSISTANT_CHANGE: Final = record(_ASSISTANT)
PARTS: Final[Mapping[str, Shape]] = {
    "text": record({"type": TEXT, "text": TEXT}, "text"),
    "image_file": record(
        {"type": TEXT, "image_file": record({"file_id": TEXT, "detail": TEXT}, "file_id")},
        "image_file",
    ),
    "image_url": record(
        {"type": TEXT, "image_url": record({"url": TEXT, "detail": TEXT}, "url")}, "image_url"
    ),
}
MESSAGE: Final = record(
    {
        "role": literal("user", "assistant"),
        "content": either(string=text(low=1), array=array(tagged("type", PARTS), low=1)),
        "attachments": array(
            record({"file_id": TEXT, "tools": array(record({"type": TEXT}, "type"))})
        ),
        "metadata": METADATA,
    },
    "role",
    "content",
)
THREAD: Final = record(
    {"messages": array(MESSAGE), "tool_resources": RESOURCES, "metadata": METADATA}
)
THREAD_CHANGE: Final = record({"tool_resources": RESOURCES, "metadata": METADATA})
CHANGE: Final = record({"metadata": METADATA})
_RUN: Final[dict[str, Shape]] = {
    "assistant_id": TEXT,
    "model": TEXT,
    "instructions": TEXT,
    "tools": TOOLS,
    "metadata": METADATA,
    "stream": BOOLEAN,
    "max_prompt_tokens": integer(256),
    "max_completion_tokens": integer(1),
    "truncation_strategy": MAPPING,
    "tool_choice": anything,
    "parallel_tool_calls": BOOLEAN,
    **_SAMPLING,
}
RUN: Final = record(
    {**_RUN, "additional_instructions": TEXT, "additional_messages": array(MESSAGE)},
    "assistant_id",
)
THREAD_AND_RUN: Final = record(
    {**_RUN, "thread": THREAD, "tool_resources": RESOURCES}, "assistant_id"
)
OUTPUTS: Final = record(
    {"tool_outputs": array(record({"tool_call_id": TEXT, "output": TEXT})), "stream": BOOLEAN},
    "tool_outputs",
)


def checked(shape: Shape, values: dict[str, Any]) -> dict[str, Any]:
    """The body without nulls.

    Raises:
        ApiError: in the words of the API.
    """
    try:
        found: dict[str, Any] = shape((), values)
    except Violation as violation:
        raise refusal_of(violation) from None
    return found


def check_named(shelf: Shelf, files: FileShelf, key: str, value: Any) -> None:
    """Whatever files and stores are named in tools, messages or resources are there.

    Raises:
        ApiError: one is not.
    """
    for name, found in _ids(value):
        if name in ("file_id", "file_ids"):
            if files.find("openai", key, found) is None:
                raise ApiError(f"No such File object: {found}", status=404, param=name)
        elif shelf.find("vector_store", key, found) is None:
            raise ApiError(f"Vector store with id '{found}' not found.", status=404)


def _ids(value: Any) -> Iterator[tuple[str, str]]:
    match value:
        case dict():
            for name, inner in value.items():
                if name == "file_id" and isinstance(inner, str):
                    yield name, inner
                elif name in ("file_ids", "vector_store_ids") and isinstance(inner, list):
                    yield from ((name, one) for one in inner)
                elif name != "metadata":
                    yield from _ids(inner)
        case list():
            for inner in value:
                yield from _ids(inner)
