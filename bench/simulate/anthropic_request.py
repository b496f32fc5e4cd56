"""A messages request, checked as Anthropic checks it, reduced to what the provider acts on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import orjson

from bench.simulate.anthropic_fields import BETA_FIELDS, COUNTED_ONLY, FIELDS
from bench.simulate.chat import ChatRequest, ReasoningShown, Signed, Tool
from bench.simulate.directives import find_directives
from bench.simulate.errors import ApiError
from bench.simulate.shapes import Violation, record
from bench.simulate.signatures import THINKING, Signer

_NOT_JSON: Final = "The request body is not valid JSON: {}"
_SIMPLE: Final[Mapping[str, Any]] = {"type": "object", "properties": {}}

_RECORDS: Final = {
    (beta, counting): record(
        {name: shape for name, shape in fields.items() if not (counting and name in COUNTED_ONLY)},
        *(("model", "messages") if counting else ("model", "messages", "max_tokens")),
    )
    for beta, fields in ((False, FIELDS), (True, BETA_FIELDS))
    for counting in (False, True)
}


def parse_messages_request(
    body: bytes,
    headers: Mapping[bytes, bytes],
    signer: Signer,
    *,
    beta: bool = False,
    counting: bool = False,
) -> ChatRequest:
    """Check a request body as Anthropic does.

    Raises:
        ApiError: 400, with the API's own message.
    """
    if b"anthropic-version" not in headers:
        raise ApiError("anthropic-version: header is required")
    try:
        document = orjson.loads(body)
        beta = beta or b"anthropic-beta" in headers
        request = _RECORDS[beta, counting]((), document)
    except orjson.JSONDecodeError as error:
        raise ApiError(_NOT_JSON.format(error.msg)) from None
    except Violation as violation:
        raise _refusal(violation) from None
    messages = request["messages"]
    _check_options(request)
    _check_turns(messages)
    signed = _check_thoughts(request, messages, signer)
    try:
        material = [request["model"], messages, request.get("system")]
        seed_material = orjson.dumps(material, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError:
        raise ApiError(_NOT_JSON.format("it is nested too deeply")) from None
    return _reduced(request, seed_material, signed)


def _reduced(
    request: Mapping[str, Any], seed_material: bytes, signed: Signed | None
) -> ChatRequest:
    messages = request["messages"]
    place = _last_text_place(messages)
    choice = request.get("tool_choice") or {}
    kind = choice.get("type", "auto")
    tools = tuple(
        Tool(tool["name"], tool.get("input_schema", _SIMPLE))
        for tool in request.get("tools") or ()
        if tool.get("type") in (None, "custom")
    )
    forced = {"any": tuple(tool.name for tool in tools), "tool": (choice.get("name", ""),)}
    formatted = request.get("output_config") or {}
    schema = (formatted.get("format") or request.get("output_format") or {}).get("schema")
    thinking = request.get("thinking") or {}
    return ChatRequest(
        model=request["model"],
        texts=tuple(_all_texts(request)),
        framing_tokens=3 * len(messages) + 3,
        seed_material=seed_material,
        directives=find_directives(_first_text(messages[place])) if place is not None else None,
        stream=bool(request.get("stream")),
        max_output_tokens=request.get("max_tokens"),
        tools=tools,
        may_call=bool(tools) and kind != "none",
        forced=forced.get(kind, ()),
        named=kind == "tool",
        parallel=not choice.get("disable_parallel_tool_use"),
        rounds=sum(_has(message, "tool_result") for message in messages[place or 0 :]),
        reasoning=_shown(thinking),
        answer_schema=schema,
        always_thinks=thinking.get("type") == "enabled",
        signatures=signed,
    )


def _shown(thinking: Mapping[str, Any]) -> ReasoningShown:
    if thinking.get("type") not in ("enabled", "adaptive"):
        return "none"
    return "signature" if thinking.get("display") == "omitted" else "text"


# -- what the shapes cannot say --------------------------------------------------------------------


def _check_options(request: Mapping[str, Any]) -> None:
    thinking = request.get("thinking") or {}
    limit = request.get("max_tokens")
    if thinking.get("type") == "enabled":
        if limit is not None and thinking["budget_tokens"] >= limit:
            raise ApiError(
                "`max_tokens` must be greater than `thinking.budget_tokens`. Please consult our "
                "documentation at https://docs.claude.com/en/docs/build-with-claude/"
                "extended-thinking#max-tokens-and-context-window-size"
            )
        _check_sampling(request)
    choice = request.get("tool_choice")
    names = [tool.get("name") for tool in request.get("tools") or ()]
    if choice is not None:
        if not names and choice["type"] != "none":
            raise ApiError("tool_choice: tool_choice may only be specified while providing tools.")
        if choice["type"] == "tool" and choice["name"] not in names:
            raise ApiError(f"Tool '{choice['name']}' not found in provided tools")
    named = [name for name in names if name is not None]
    if len(set(named)) != len(named):
        raise ApiError("tools: Tool names must be unique.")


def _check_sampling(request: Mapping[str, Any]) -> None:
    """What a model that thinks does not let one choose."""
    if request.get("temperature", 1) != 1:
        raise ApiError("`temperature` may only be set to 1 when thinking is enabled.")
    if "top_k" in request:
        raise ApiError("`top_k` must be unset when thinking is enabled.")
    if request.get("top_p", 1) < 0.95:
        raise ApiError(
            "`top_p` must be greater than or equal to 0.95 or unset when thinking is enabled."
        )
    if (request.get("tool_choice") or {}).get("type") in ("any", "tool"):
        raise ApiError("Thinking may not be enabled when tool_choice forces tool use.")


def _blocks(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    content = message["content"]
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _has(message: Mapping[str, Any], kind: str) -> bool:
    return any(block["type"] == kind for block in _blocks(message))


def _check_turns(messages: list[dict[str, Any]]) -> None:
    """Roles, empty contents, and that every call is answered in the next message."""
    if messages[0]["role"] != "user":
        raise ApiError('messages: first message must use the "user" role')
    awaited: list[str] = []
    for index, message in enumerate(messages):
        _check_content(index, message, last=index == len(messages) - 1)
        results = [b["tool_use_id"] for b in _blocks(message) if b["type"] == "tool_result"]
        if message["role"] == "user":
            _check_results(index, message, awaited, results)
            awaited = []
        elif awaited and message["role"] == "system":
            continue
        elif message["role"] == "assistant":
            if results:
                raise ApiError(
                    f"messages.{index}: `tool_result` blocks can only be in `user` messages"
                )
            awaited += [b["id"] for b in _blocks(message) if b["type"] == "tool_use"]
    if awaited:
        raise _unanswered(len(messages) - 1, awaited)


def _check_content(index: int, message: Mapping[str, Any], *, last: bool) -> None:
    blocks, role = _blocks(message), message["role"]
    final = last and role == "assistant"
    if not final and (not blocks or message["content"] == ""):
        raise ApiError(
            f"messages.{index}: all messages must have non-empty content except for the optional "
            "final assistant message"
        )
    texts = [block["text"] for block in blocks if block["type"] == "text"]
    if isinstance(message["content"], list) and "" in texts:
        raise ApiError("messages: text content blocks must be non-empty")
    if role != "assistant" and texts and not "".join(texts).strip() and len(texts) == len(blocks):
        raise ApiError("messages: text content blocks must contain non-whitespace text")
    if final and texts and texts[-1] != texts[-1].rstrip():
        raise ApiError("messages: final assistant content cannot end with trailing whitespace")
    allowed = _PLACES.get(role)
    for place, block in enumerate(blocks):
        if allowed is not None and block["type"] in allowed:
            raise ApiError(
                f"messages.{index}.content.{place}: `{block['type']}` blocks can only be in "
                f"`{allowed[block['type']]}` messages"
            )


_OF_ASSISTANT: Final = dict.fromkeys(
    ("tool_use", "thinking", "redacted_thinking", "server_tool_use"), "assistant"
)
_OF_USER: Final = dict.fromkeys(("tool_result", "image", "document"), "user")
_PLACES: Final = {"user": _OF_ASSISTANT, "assistant": _OF_USER, "system": _OF_ASSISTANT | _OF_USER}
"""Blocks that a role may not have → the role that may."""


def _check_results(
    index: int, message: Mapping[str, Any], awaited: list[str], results: list[str]
) -> None:
    for place, block in enumerate(_blocks(message)):
        if block["type"] == "tool_result" and block["tool_use_id"] not in awaited:
            raise ApiError(
                f"messages.{index}.content.{place}: unexpected `tool_use_id` found in "
                f"`tool_result` blocks: {block['tool_use_id']}. Each `tool_result` block must have "
                "a corresponding `tool_use` block in the previous message."
            )
    if len(set(results)) != len(results):
        raise ApiError(
            f"messages.{index}: each tool_use must have a single result. Found multiple "
            f"`tool_result` blocks with id: {max(results, key=results.count)}"
        )
    first = [block["type"] for block in _blocks(message)[: len(results)]]
    missing = [call_id for call_id in awaited if call_id not in results]
    if missing or (results and set(first) != {"tool_result"}):
        raise _unanswered(index - 1, missing or awaited)


def _unanswered(index: int, call_ids: list[str]) -> ApiError:
    return ApiError(
        f"messages.{index}: `tool_use` ids were found without `tool_result` blocks immediately "
        f"after: {', '.join(call_ids)}. Each `tool_use` block must have a corresponding "
        "`tool_result` block in the next message."
    )


def _check_thoughts(
    request: Mapping[str, Any], messages: list[dict[str, Any]], signer: Signer
) -> Signed | None:
    """Thoughts are ours, and stand first where the calls of the last turn were thought about."""
    signed: Signed | None = None
    for index, message in enumerate(messages):
        for place, block in enumerate(_blocks(message)):
            if block["type"] != "thinking":
                continue
            content = block["thinking"].encode("utf-8", "surrogatepass")
            if not signer.verify(block["signature"], THINKING, content):
                raise ApiError(
                    f"messages.{index}.content.{place}: Invalid `signature` in `thinking` block"
                )
            signed = "verified"
    if (request.get("thinking") or {}).get("type") != "enabled":
        return signed
    calls = [i for i, message in enumerate(messages) if _has(message, "tool_use")]
    if not calls or not _has(messages[-1], "tool_result"):
        return signed
    first = _blocks(messages[calls[-1]])[0]["type"]
    if first not in ("thinking", "redacted_thinking"):
        raise ApiError(
            f"messages.{calls[-1]}.content.0.type: Expected `thinking` or `redacted_thinking`, but "
            f"found `{first}`. When `thinking` is enabled, a final `assistant` message must start "
            "with a thinking block (preceding the lastmost set of `tool_use` and `tool_result` "
            "blocks). We recommend you include thinking blocks from previous turns. To avoid this "
            "requirement, disable `thinking`. Please consult our documentation at "
            "https://docs.claude.com/en/docs/build-with-claude/extended-thinking"
        )
    return signed


# -- reading ---------------------------------------------------------------------------------------


def _last_text_place(messages: list[dict[str, Any]]) -> int | None:
    """The last message of a user that says something."""
    for index in range(len(messages) - 1, -1, -1):
        if messages[index]["role"] == "user" and _has(messages[index], "text"):
            return index
    return None


def _first_text(message: Mapping[str, Any]) -> str:
    return "".join([b["text"] for b in _blocks(message) if b["type"] == "text"][:1])


def _all_texts(request: Mapping[str, Any]) -> Iterator[str]:
    system = request.get("system") or []
    yield from [system] if isinstance(system, str) else [block["text"] for block in system]
    for message in request["messages"]:
        yield message["role"]
        for block in _blocks(message):
            match block["type"]:
                case "text":
                    yield block["text"]
                case "tool_use":
                    yield block["name"]
                    yield orjson.dumps(block["input"]).decode()
                case "tool_result":
                    content = block.get("content", "")
                    if isinstance(content, str):
                        yield content
                    else:
                        yield from (one["text"] for one in content if one["type"] == "text")
    for tool in request.get("tools") or ():
        yield orjson.dumps(tool).decode()


def _refusal(violation: Violation) -> ApiError:
    """In the words of the API, which names a place by dots."""
    where = ".".join(str(step) for step in violation.path)
    match violation.problem:
        case "missing":
            what = "Field required"
        case "extra":
            what = "Extra inputs are not permitted"
        case "type" if not violation.path:
            return ApiError("Input should be a valid dictionary")
        case "type":
            what = f"Input should be a valid {violation.expected}"
        case "range":
            what = _range(violation.expected)
        case "pattern":
            what = f"String should match pattern '{violation.expected}'"
        case "value":
            what = f"Input should be {violation.expected}"
        case _:
            what = f"Input should have {violation.expected}"
    return ApiError(f"{where}: {what}")


def _range(expected: str) -> str:
    low, _, high = expected.partition("..")
    if low and high:
        return f"range: {low}..{high}"
    return f"Input should be greater than or equal to {low}"
