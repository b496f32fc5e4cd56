"""A chat request, checked as OpenAI checks it, reduced to what the provider acts on."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import orjson

from bench.simulate.chat import ChatRequest
from bench.simulate.directives import find_directives
from bench.simulate.errors import ApiError
from bench.simulate.openai_fields import (
    FIELDS,
    OBJECT,
    OBJECTS,
    PART,
    ROLE,
    STREAM_OPTIONS,
    STRING,
    missing,
    wrong_type,
)
from bench.simulate.openai_tools import answer_schema, check_nested, forced_tools, tools_of

MESSAGES_MAX = 100_000


NOT_JSON = (
    "We could not parse the JSON body of your request. (HINT: This likely means you aren't using "
    "your HTTP library correctly. The OpenAI API expects a JSON payload, but what was sent was not "
    "valid JSON. If you have trouble figuring out how to fix this, please contact us through our "
    "help center at help.openai.com.)"
)


def parse_chat_request(body: bytes) -> ChatRequest:
    """Check a request body as OpenAI does.

    Raises:
        ApiError: 400, with the API's own message, param and code.
    """
    try:
        request = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise ApiError(NOT_JSON) from None
    if not isinstance(request, dict):
        raise ApiError(NOT_JSON)
    _check_fields(request)
    messages = request["messages"]
    texts, framing_tokens = _check_messages(messages)
    check_nested(request)
    tools = tuple(tools_of(request))
    choice = request.get("tool_choice")
    texts += [orjson.dumps(tool).decode() for tool in request.get("tools") or ()]
    options = request.get("stream_options") or {}
    limits = [request.get(name) for name in ("max_completion_tokens", "max_tokens")]
    try:
        seed_material = orjson.dumps(
            [request["model"], messages, request.get("seed")], option=orjson.OPT_SORT_KEYS
        )
    except orjson.JSONEncodeError:  # nested deeper than 254
        raise ApiError(NOT_JSON) from None
    return ChatRequest(
        model=request["model"],
        stream=bool(request.get("stream")),
        include_usage=bool(options.get("include_usage")),
        choices=request.get("n") or 1,
        max_output_tokens=next((limit for limit in limits if limit is not None), None),
        texts=tuple(texts),
        framing_tokens=framing_tokens,
        seed_material=seed_material,
        directives=find_directives(_last_user_text(messages)),
        tools=tools,
        may_call=bool(tools) and choice != "none",
        forced=forced_tools(request),
        named=isinstance(choice, dict) and choice.get("type") in ("function", "custom"),
        parallel=request.get("parallel_tool_calls") is not False,
        rounds=_rounds(messages),
        reasoning="none" if request.get("reasoning_effort") in (None, "none") else "text",
        answer_schema=answer_schema(request),
    )


def _check_fields(request: dict[str, Any]) -> None:
    if request.get("model") in (None, ""):
        raise ApiError("you must provide a model parameter")
    if request.get("messages") is None:
        raise missing("messages")
    for name, value in request.items():
        check = FIELDS.get(name)
        if check is None:
            raise ApiError(f"Unknown parameter: '{name}'.", param=name, code="unknown_parameter")
        if value is not None:
            check(name, value)
    check_stream_options(request)
    if request.get("max_tokens") is not None and request.get("max_completion_tokens") is not None:
        raise ApiError(
            "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported.",
            code="invalid_parameter_combination",
        )


def check_stream_options(request: Mapping[str, Any]) -> None:
    """Check what a stream of chat or completions is asked for besides.

    Raises:
        ApiError: 400.
    """
    options = request.get("stream_options")
    if options is None:
        return
    if not request.get("stream"):
        raise ApiError(
            "The 'stream_options' parameter is only allowed when 'stream' is enabled.",
            param="stream_options",
        )
    for name, value in options.items():
        path = f"stream_options.{name}"
        if name not in STREAM_OPTIONS:
            raise ApiError(f"Unknown parameter: '{path}'.", param=path, code="unknown_parameter")
        if value is not None:
            STREAM_OPTIONS[name](path, value)


def _check_messages(messages: list[Any]) -> tuple[list[str], int]:
    """Check each message; give the texts that count as input and the tokens of their framing."""
    if not messages or len(messages) > MESSAGES_MAX:
        short = not messages
        raise ApiError(
            "Invalid 'messages': empty array. Expected an array with minimum length 1, "
            "but got an empty array instead."
            if short
            else f"Invalid 'messages': array too long. Expected an array with maximum length "
            f"{MESSAGES_MAX}, but got an array with length {len(messages)} instead.",
            param="messages",
            code="empty_array" if short else "array_above_max_length",
        )
    texts: list[str] = []
    framing_tokens = 3
    awaited: set[str] = set()
    for index, message in enumerate(messages):
        path = f"messages[{index}]"
        OBJECT(path, message)
        if "role" not in message:
            raise missing(f"{path}.role")
        role = message["role"]
        ROLE(f"{path}.role", role)
        _check_turn(index, message, awaited)
        framing_tokens += 3
        texts.append(role)
        texts.extend(_content_texts(path, message))
        name = message.get("name")
        if name is not None:
            STRING(f"{path}.name", name)
            texts.append(name)
            framing_tokens += 1
        for call in message.get("tool_calls") or ():
            for function in (call.get("function"), call.get("custom")):
                if isinstance(function, dict):
                    texts.extend(text for text in function.values() if isinstance(text, str))
    if awaited:
        raise _unanswered(len(messages), awaited)
    return texts, framing_tokens


def _check_turn(index: int, message: dict[str, Any], awaited: set[str]) -> None:
    """Tool calls are answered by the tool messages that follow them, each by its id."""
    path = f"messages[{index}]"
    if message["role"] == "tool":
        call_id = message.get("tool_call_id")
        if call_id is None:
            raise missing(f"{path}.tool_call_id")
        STRING(f"{path}.tool_call_id", call_id)
        if call_id not in awaited:
            raise ApiError(
                "Invalid parameter: messages with role 'tool' must be a response to a preceeding "
                "message with 'tool_calls'.",
                param=f"messages.[{index}].role",
            )
        awaited.discard(call_id)
        return
    if awaited:
        raise _unanswered(index, awaited)
    calls = message.get("tool_calls")
    if calls is None:
        return
    OBJECTS(f"{path}.tool_calls", calls)
    for number, call in enumerate(calls):
        OBJECT(f"{path}.tool_calls[{number}]", call)
        if not isinstance(call.get("id"), str):
            raise missing(f"{path}.tool_calls[{number}].id")
        awaited.add(call["id"])


def _content_texts(path: str, message: dict[str, Any]) -> list[str]:
    content = message.get("content")
    match content:
        case str():
            return [content]
        case None if message["role"] == "assistant":
            return []
        case None:
            raise ApiError(
                "Invalid value for 'content': expected a string, got null.",
                param=f"{path.replace('[', '.[')}.content",
            )
        case list():
            return _part_texts(f"{path}.content", content)
        case _:
            raise wrong_type(f"{path}.content", "a string or an array of objects", content)


def _part_texts(path: str, parts: list[Any]) -> list[str]:
    texts = []
    for number, part in enumerate(parts):
        where = f"{path}[{number}]"
        OBJECT(where, part)
        if "type" not in part:
            raise missing(f"{where}.type")
        kind = part["type"]
        PART(f"{where}.type", kind)
        if kind in ("text", "refusal"):
            if kind not in part:
                raise missing(f"{where}.{kind}")
            STRING(f"{where}.{kind}", part[kind])
            texts.append(part[kind])
    return texts


def _last_user_text(messages: list[dict[str, Any]]) -> str:
    for message in reversed(messages):
        if message["role"] == "user":
            content = message["content"]
            if isinstance(content, str):
                return content
            texts = (part["text"] for part in content if part["type"] == "text")
            return next(texts, "")
    return ""


def _rounds(messages: list[dict[str, Any]]) -> int:
    """Turns of tool results since the last message of a user."""
    roles = [message["role"] for message in messages]
    since = roles[len(roles) - roles[::-1].index("user") :] if "user" in roles else roles
    pairs = pairwise([*since, ""])
    return sum(role == "tool" and following != "tool" for role, following in pairs)


def _unanswered(index: int, call_ids: set[str]) -> ApiError:
    listed = ", ".join(sorted(call_ids))
    return ApiError(
        "An assistant message with 'tool_calls' must be followed by tool messages responding to "
        "each 'tool_call_id'. The following tool_call_ids did not have response messages: "
        f"{listed}",
        param=f"messages.[{index}].role",
    )
