"""A client's request: what is validated of it, and its document for a provider of this protocol."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from engine.conversation import MediaKind
from engine.errors import InvalidRequestError
from engine.events import Call
from engine.protocols import carried
from engine.protocols.codec import ClientRequest
from engine.protocols.fields import dict_of, dicts, load_request, text_of, write_json
from engine.protocols.file_refs import holders_of, put_files
from engine.protocols.openai_chat import files
from engine.protocols.openai_chat.calls import NAME
from engine.protocols.openai_chat.held import refuse_held_ids
from engine.protocols.openai_values import flag, whole
from engine.protocols.quirks import PLAIN, Quirks

ROLES = frozenset({"developer", "system", "user", "assistant", "tool", "function"})

_CHOICES_MAX = 128

# What one choice may generate; the older name is still what many providers know.
LIMITS = ("max_completion_tokens", "max_tokens")


def parse_request(call: Call) -> ClientRequest:
    """Parse and validate what the gateway relies on; the rest is the provider's to judge.

    Raises:
        InvalidRequestError: not JSON, a field the gateway needs is missing or of a wrong type, or
            an id that lives at the provider.
    """
    document = load_request(call.body)
    model = document.get("model") if call.model is None else call.model
    if not isinstance(model, str) or not model:
        raise InvalidRequestError("You must provide a model parameter.", param="model")
    _check_messages(document.get("messages"))
    options = document.get("stream_options")
    if options is not None and not isinstance(options, dict):
        raise InvalidRequestError("'stream_options' must be an object.", param="stream_options")
    named = files.places(document)
    refuse_held_ids(document, holders_of(named))
    uses = put_files(named, call.files, files.put)
    return ClientRequest(
        protocol=NAME,
        model=model,
        stream=flag(document, "stream"),
        include_usage=flag(options or {}, "include_usage"),
        max_output_tokens=_max_output_tokens(document),
        choices=whole(document, "n", 1, _CHOICES_MAX) or 1,
        media=Counter(_media(document)),
        document=document,
        files=uses,
    )


def _check_messages(messages: object) -> None:
    if not isinstance(messages, list) or not messages:
        raise InvalidRequestError(
            "'messages' must be an array with at least one message.", param="messages"
        )
    for index, message in enumerate(messages):
        role = message.get("role") if isinstance(message, dict) else None
        if not isinstance(role, str) or role not in ROLES:
            raise InvalidRequestError(
                f"'messages[{index}]' must be an object whose 'role' is one of "
                f"{', '.join(sorted(ROLES))}.",
                param=f"messages[{index}].role",
            )


def _max_output_tokens(document: dict[str, Any]) -> int | None:
    limits = [
        value for name in LIMITS if (value := whole(document, name, 1, 2**31 - 1)) is not None
    ]
    return min(limits, default=None)


_MEDIA_PARTS: dict[str, MediaKind] = {
    "image_url": "image",
    "image": "image",
    "input_image": "image",
    "input_audio": "audio",
    "audio_url": "audio",
    "video_url": "video",
    "file": "document",
    "input_file": "document",
}


def kind_of(mime_type: str) -> MediaKind:
    """What a file is by its type."""
    match mime_type.partition("/")[0].strip().lower():
        case "image":
            return "image"
        case "audio":
            return "audio"
        case "video":
            return "video"
        case _:
            return "document"


def _media(document: dict[str, Any]) -> Iterator[MediaKind]:
    for message in document["messages"]:
        for part in dicts(message.get("content")):
            kind = _MEDIA_PARTS.get(text_of(part.get("type")))
            if kind == "document":
                data = text_of(dict_of(part.get("file")).get("file_data"))[:128]
                is_url = data.startswith("data:")
                kind = kind_of(data[5:].partition(";")[0]) if is_url else kind
            if kind is not None:
                yield kind


def encode_verbatim(
    request: ClientRequest,
    upstream_model: str,
    output_limit: int | None,
    quirks: Quirks = PLAIN,
) -> bytes:
    """The body for a provider of this protocol: its model name, usage asked for on every stream.

    `output_limit` lowers (never raises) what one choice may generate, where funds are short. What
    another provider's signatures added to the ids of tool calls is taken out again. The limit has
    the only name that this one knows.

    Raises:
        InvalidRequestError: nested deeper than can be written again (254 levels).
    """
    document = dict(request.document)
    document["model"] = upstream_model
    if not quirks.include_usage:
        document.pop("stream_options", None)
    elif request.stream and not request.include_usage:
        document["stream_options"] = {
            **(document.get("stream_options") or {}),
            "include_usage": True,
        }
    if output_limit is not None:
        names = [name for name in LIMITS if document.get(name) is not None]
        for name in names or LIMITS[:1]:
            document[name] = min(output_limit, request.max_output_tokens or output_limit)
    if (only := quirks.output_limit_field) is not None:
        said = [limit for name in LIMITS if (limit := document.pop(name, None)) is not None]
        document |= {only: min(said)} if said else {}
    body = write_json(document)
    if carried.MARKER in body:
        document["messages"] = [_uncarried(message) for message in document["messages"]]
        body = write_json(document)
    return body


def _uncarried(message: dict[str, Any]) -> dict[str, Any]:
    """The message with tool-call ids as their provider gave them."""
    changed = dict(message)
    if isinstance(call_id := message.get("tool_call_id"), str):
        changed["tool_call_id"] = carried.uncarry(call_id)[0]
    if isinstance(calls := message.get("tool_calls"), list):
        changed["tool_calls"] = [
            call | {"id": carried.uncarry(call["id"])[0]}
            if isinstance(call, dict) and isinstance(call.get("id"), str)
            else call
            for call in calls
        ]
    return changed
