"""The official SDK as the judge: what it makes of streams and messages, and of request bodies."""

from __future__ import annotations

import functools
import types
import typing
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal, Union, cast

import httpx
import orjson
import typing_extensions
from anthropic._models import construct_type
from anthropic.lib.streaming._beta_messages import accumulate_event
from anthropic.types import message_create_params
from anthropic.types.beta import BetaMessage
from anthropic.types.beta import message_create_params as beta_message_create_params

from engine.events import Event
from engine.protocols.anthropic import CODEC
from engine.protocols.codec import ClientRequest, Identity
from engine.wire.sse import EventSplitter, event_data

IDENTITY = Identity("msg_ours", "model-ours", 0)
REQUEST = ClientRequest("anthropic", "model-ours", True, True, 1024, 1)


def stream_documents(stream: bytes) -> list[dict[str, Any]]:
    """The events of a stream that are not pings; each one's name has to be its type."""
    splitter = EventSplitter()
    documents = []
    for frame in splitter.feed(stream):
        if (data := event_data(frame)) is None:
            continue
        document = orjson.loads(data)
        assert frame.startswith(f"event: {document['type']}".encode()), frame
        if document["type"] != "ping":
            documents.append(document)
    assert splitter.finish() == b""
    return documents


def accumulate(stream: bytes) -> dict[str, Any]:
    """What the SDK's own accumulator makes of a stream, which has to be whole."""
    snapshot = None
    *events, last = stream_documents(stream)
    for event in events:
        snapshot = accumulate_event(
            event=cast(Any, event), current_snapshot=snapshot, request_headers=httpx.Headers()
        )
    assert last["type"] == "message_stop"
    assert snapshot is not None
    return snapshot.to_dict()


def message(body: bytes) -> dict[str, Any]:
    """What the SDK makes of a whole message."""
    built = cast(BetaMessage, construct_type(type_=BetaMessage, value=orjson.loads(body)))
    return built.to_dict()


def without_null(value: Any) -> Any:
    """Without members that are null: to the SDK's models the same as missing."""
    if isinstance(value, dict):
        return {name: without_null(item) for name, item in value.items() if item is not None}
    return [without_null(item) for item in value] if isinstance(value, list) else value


def check_grammar(stream: bytes) -> None:
    """The strict grammar: one message_start, blocks one after another from 0, one message_delta."""
    documents = stream_documents(stream)
    kinds = [document["type"] for document in documents]
    assert kinds[0] == "message_start"
    assert kinds[-2:] == ["message_delta", "message_stop"]
    expected, at = 0, None
    for document in documents[1:-2]:
        match document["type"]:
            case "content_block_start":
                assert at is None
                assert document["index"] == expected
                at, expected = expected, expected + 1
            case "content_block_delta":
                assert document["index"] == at
            case "content_block_stop":
                assert document["index"] == at
                at = None
            case kind:
                raise AssertionError(f"{kind} inside the message")
    assert at is None


def decode_stream(stream: bytes, *, end_marker: bool = True) -> list[Event]:
    """The events of a stream that comes in one piece."""
    decoder = CODEC.open_decoder(end_marker=end_marker)
    events: list[Event] = []
    for frame in decoder.split(stream):
        events.extend(decoder.decode(frame))
    events.extend(decoder.end_of_input())
    if decoder.error is not None:
        raise decoder.error
    return events


def encode_stream(events: Iterable[Event]) -> bytes:
    """A client's stream of these events."""
    encoder = CODEC.open_encoder(REQUEST, IDENTITY)
    return b"".join([encoder.encode(event) for event in events]) + encoder.finish()


def request_problems(body: dict[str, Any], *, beta: bool = False) -> list[str]:
    """What the SDK's types have against a request body, read as closed: other keys are wrong."""
    module: Any = beta_message_create_params if beta else message_create_params
    kind = "Streaming" if body.get("stream") else "NonStreaming"
    return _problems(body, getattr(module, f"MessageCreateParams{kind}"), "")


_LISTS = (list, Iterable, Sequence)
_PLAIN: dict[Any, tuple[type, ...]] = {
    str: (str,),
    int: (int,),
    float: (int, float),
    bool: (bool,),
    type(None): (type(None),),
}


def _problems(value: object, wanted: Any, path: str) -> list[str]:
    origin, arguments = typing.get_origin(wanted), typing.get_args(wanted)
    if wanted in (object, Any):
        return []
    if wanted in _PLAIN:
        fits = isinstance(value, _PLAIN[wanted]) and (wanted is bool) >= isinstance(value, bool)
        return [] if fits else [f"{path}: {value!r} is no {wanted.__name__}"]
    if origin in (Annotated, typing_extensions.Required, typing_extensions.NotRequired):
        return _problems(value, arguments[0], path)
    if origin is Literal:
        fits = any(type(value) is type(each) and value == each for each in arguments)
        return [] if fits else [f"{path}: {value!r} is none of {arguments}"]
    if origin in (Union, types.UnionType):
        found = [_problems(value, argument, path) for argument in arguments]
        return min(found, key=len) if all(found) else []
    if typing_extensions.is_typeddict(wanted):
        return _typed_dict_problems(value, wanted, path)
    if origin in (dict, Mapping) and isinstance(value, dict):
        return [
            p for k, item in value.items() for p in _problems(item, arguments[1], f"{path}.{k}")
        ]
    is_list = origin in _LISTS or getattr(origin, "__name__", "") == "SequenceNotStr"
    if is_list and isinstance(value, list):
        items = (_problems(item, arguments[0], f"{path}[{i}]") for i, item in enumerate(value))
        return [problem for problems in items for problem in problems]
    return [f"{path}: {value!r} is no {wanted}"]


def _typed_dict_problems(value: object, wanted: Any, path: str) -> list[str]:
    if not isinstance(value, dict):
        return [f"{path}: {value!r} is no object"]
    hints, required = _hints(wanted)
    problems = [f"{path}.{name}: missing" for name in sorted(required - value.keys())]
    for name, item in value.items():
        if name in hints:
            problems += _problems(item, hints[name], f"{path}.{name}")
        else:
            problems.append(f"{path}.{name}: unknown")
    return problems


@functools.cache
def _hints(wanted: Hashable) -> tuple[dict[str, Any], frozenset[str]]:
    """The types of an object's members, and which have to be there."""
    hints = typing_extensions.get_type_hints(wanted, include_extras=True)
    return hints, frozenset(name for name in hints if _is_required(name, hints[name], wanted))


def _is_required(name: str, hint: Any, wanted: Any) -> bool:
    # Postponed annotations hide `Required` from the class itself.
    origin: Any = typing.get_origin(hint)
    return origin is typing_extensions.Required or (
        name in wanted.__required_keys__ and wanted.__total__
    )
