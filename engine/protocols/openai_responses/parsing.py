"""A client's request: what is validated of it, and its document for a provider of this protocol."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from engine.conversation import MediaKind
from engine.errors import InvalidRequestError
from engine.events import Call
from engine.job import FOLLOWED_MAX_S, JobAsk
from engine.owned import HeldRef
from engine.protocols import carried
from engine.protocols.codec import ClientRequest
from engine.protocols.fields import dicts, load_request, text_of, write_json
from engine.protocols.file_refs import holders_of, put_files
from engine.protocols.openai_responses import files
from engine.protocols.openai_responses.held import refs_of, thoughts_of
from engine.protocols.openai_responses.marks import MARKS, NAME, is_marked, is_ours
from engine.protocols.openai_responses.tools import repeated_code
from engine.protocols.openai_shared import kind_of

ROLES = frozenset({"developer", "system", "user", "assistant"})
LIMIT = "max_output_tokens"
REPEATED = "repeated_code"


def parse_request(call: Call) -> ClientRequest:
    """Parse and validate what the gateway relies on; the rest is the provider's to judge.

    Raises:
        InvalidRequestError: not JSON, a field the gateway needs is missing or of a wrong type, or
            something that is no id.
        HeldIdError: it names something at a provider that no account can have.
    """
    document = load_request(call.body)
    named = files.places(document)
    in_tools = files.tool_places(document)
    containers = frozenset(id(place.container) for place in in_tools)
    refs = refs_of(document, holders_of(named) | containers)
    model = document.get("model") if call.model is None else call.model
    if not isinstance(model, str) or not model:
        raise InvalidRequestError("You must provide a model parameter.", param="model")
    _check_input(document.get("input"))
    uses = put_files(named, call.files, files.put) + files.put_in_tools(in_tools, call.files)
    stream = _flag(document, "stream")
    later = _flag(document, "background") and call.operation == "chat"
    return ClientRequest(
        protocol=NAME,
        model=model,
        stream=stream and call.operation == "chat",
        include_usage=True,
        max_output_tokens=_limit(document),
        choices=1,
        media=Counter(_media(document["input"])),
        document=document,
        files=uses,
        refs=refs,
        thoughts=thoughts_of(document),
        job=_later(refs) if later else None,
        stores=call.operation == "chat" and document.get("store") is not False,
    )


def _later(refs: Iterable[HeldRef]) -> JobAsk:
    """What is answered in the background: what is repeated is known at its end, too."""
    repeated = sorted(repeated_code(refs))
    params = {REPEATED: repeated} if repeated else {}
    return JobAsk("response", params, timeout_s=FOLLOWED_MAX_S)


def _check_input(items: object) -> None:
    if isinstance(items, str):
        return
    if not isinstance(items, list) or not items:
        raise InvalidRequestError(
            "'input' must be a string or an array with at least one item.", param="input"
        )
    for index, item in enumerate(items):
        path = f"input[{index}]"
        if not isinstance(item, dict):
            raise InvalidRequestError(f"'{path}' must be an object.", param=path)
        kind = item.get("type")
        if kind is not None and kind != "message":
            if not isinstance(kind, str) or not kind:
                raise InvalidRequestError(
                    f"'{path}.type' must name a type of items.", param=f"{path}.type"
                )
            continue
        role = item.get("role")
        if not isinstance(role, str) or role not in ROLES:
            raise InvalidRequestError(
                f"'{path}.role' must be one of {', '.join(sorted(ROLES))}.", param=f"{path}.role"
            )


def _flag(document: dict[str, Any], name: str) -> bool:
    value = document.get(name)
    if value is None or isinstance(value, bool):
        return bool(value)
    raise InvalidRequestError(f"'{name}' must be true or false.", param=name)


def _limit(document: dict[str, Any]) -> int | None:
    value = document.get(LIMIT)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value < 2**31:
        raise InvalidRequestError(f"'{LIMIT}' must be a whole number from 1.", param=LIMIT)
    return value


_MEDIA_PARTS: dict[str, MediaKind] = {
    "input_image": "image",
    "computer_screenshot": "image",
    "input_audio": "audio",
    "input_file": "document",
}


def _media(items: object) -> Iterator[MediaKind]:
    for item in dicts(items):
        for parts in (item.get("content"), item.get("output")):
            for part in dicts(parts):
                kind = _MEDIA_PARTS.get(text_of(part.get("type")))
                data = text_of(part.get("file_data"))[:128]
                if kind == "document" and data.startswith("data:"):
                    kind = kind_of(data[5:].partition(";")[0])
                if kind is not None:
                    yield kind


def encode_verbatim(request: ClientRequest, upstream_model: str, output_limit: int | None) -> bytes:
    """The body for a provider of this protocol.

    `output_limit` lowers (never raises) what may be generated, where funds are short. What answers
    of other providers have left in the history is taken out again: thinking that this one cannot
    read, ids that it does not know, signatures in the ids of calls.

    Raises:
        InvalidRequestError: nested deeper than can be written again (254 levels).
    """
    document = dict(request.document)
    document["model"] = upstream_model
    if output_limit is not None:
        document[LIMIT] = min(output_limit, request.max_output_tokens or output_limit)
    body = write_json(document)
    items = document["input"]
    if isinstance(items, list) and any(mark in body for mark in (*MARKS, carried.MARKER)):
        document["input"] = [_unmarked(item) for item in items if not _is_foreign_thought(item)]
        body = write_json(document)
    return body


def _is_foreign_thought(item: dict[str, Any]) -> bool:
    return item.get("type") == "reasoning" and is_marked(item.get("encrypted_content"))


def _unmarked(item: dict[str, Any]) -> dict[str, Any]:
    """The item as its provider gave it."""
    changed = dict(item)
    if is_ours(item.get("id")):
        del changed["id"]
    if isinstance(call_id := item.get("call_id"), str):
        changed["call_id"] = carried.uncarry(call_id)[0]
    return changed
