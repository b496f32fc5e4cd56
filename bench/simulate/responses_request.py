"""A responses request, checked as OpenAI checks it, reduced to what the provider acts on.

What it refers to has to be kept (see `kept.responses`), and counts as input like its own items. Of
those, encrypted reasoning has to be the simulator's own, unchanged, and in its place.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any, Final

import orjson

from bench.simulate.chat import ChatRequest, Keeping, ReasoningShown, Signed, Tool
from bench.simulate.directives import find_directives
from bench.simulate.errors import ApiError
from bench.simulate.kept.responses import ResponseStore
from bench.simulate.openai_fields import missing, refusal_of
from bench.simulate.openai_request import NOT_JSON
from bench.simulate.openai_tools import ANY_JSON
from bench.simulate.responses_fields import COUNTED, FIELDS, NESTED
from bench.simulate.shapes import Violation
from bench.simulate.signatures import REASONING, Signer

ITEM_TOKENS: Final = 3
ANSWER_TOKENS: Final = 4
"""What an item costs besides its role and its text, and what the answer does; recorded."""
_RESULTS: Final = frozenset({"function_call_output", "custom_tool_call_output"})

Items = list[dict[str, Any]]


def parse_responses_request(
    body: bytes, store: ResponseStore, key: str = "", *, counting: bool = False
) -> ChatRequest:
    """Check a request body as OpenAI does; `counting`: of the endpoint that counts its tokens.

    `key` is whose responses and conversations it may refer to.

    Raises:
        ApiError: 400 or 404, with the API's own message, param and code.
    """
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise ApiError(NOT_JSON) from None
    if not isinstance(document, dict):
        raise ApiError(NOT_JSON)
    request = _checked(document, COUNTED if counting else FIELDS)
    _check_prompt(request)
    context, conversation = store.context_of(key, request)
    own = [_referred(item, store, key) for item in _items(request["input"])]
    items: Items = [*context, *own]
    _check_order(items)
    signed = _check_reasoning(request, own, store.signer)
    _check_choice(request)
    try:
        material = [request["model"], items, request.get("instructions")]
        seed_material = orjson.dumps(material, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError:  # nested deeper than 254
        raise ApiError(NOT_JSON) from None
    cited = store.cited_by(key, request)
    keeping = Keeping(key, context, own, conversation, len(body), cited)
    return _reduced(request, items, seed_material, signed, keeping)


def _checked(document: dict[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
    """The request without nulls."""
    if document.get("model") in (None, ""):
        raise missing("model")
    if document.get("input") is None:
        raise missing("input")
    request: dict[str, Any] = {}
    for name, value in document.items():
        check = fields.get(name)
        if check is None:
            raise ApiError(f"Unknown parameter: '{name}'.", param=name, code="unknown_parameter")
        if value is None:
            continue
        check(name, value)
        shape = NESTED.get(name)
        try:
            request[name] = value if shape is None else shape((name,), value)
        except Violation as violation:
            raise refusal_of(violation) from None
    if "stream_options" in request and not request.get("stream"):
        raise ApiError(
            "The 'stream_options' parameter is only allowed when 'stream' is enabled.",
            param="stream_options",
        )
    return request


def _items(given: str | Items) -> Items:
    if isinstance(given, str):
        return [{"type": "message", "role": "user", "content": given}]
    return [{"type": "message", **item} for item in given]


def _check_prompt(request: Mapping[str, Any]) -> None:
    """No prompts are kept."""
    if "prompt" in request:
        raise ApiError(
            f"Prompt with id '{request['prompt'].get('id')}' not found.",
            param="prompt",
            code="prompt_not_found",
            status=404,
        )


def _referred(item: dict[str, Any], store: ResponseStore, key: str) -> dict[str, Any]:
    """The item, or the one that it stands for."""
    if item["type"] != "item_reference":
        return item
    found = store.find_item(key, item["id"])
    if found is None:
        raise _lost(item["id"])
    return found


def _lost(item_id: str) -> ApiError:
    return ApiError(
        f"Item with id '{item_id}' not found. Items are not persisted when `store` is set to "
        "false. Try again with `store` set to true, or remove this item from your input.",
        param="input",
        status=404,
    )


def _check_order(items: Items) -> None:
    """A call has its output and the other way round; reasoning comes before what it led to."""
    called: set[str] = set()
    awaited: dict[str, str] = {}
    for item, following in pairwise([*items, {"type": "nothing"}]):
        kind = item["type"]
        if kind in ("function_call", "custom_tool_call"):
            called.add(item["call_id"])
            awaited[item["call_id"]] = kind.removesuffix("_tool_call").removesuffix("_call")
        elif kind in _RESULTS:
            if item["call_id"] not in called:
                what = "custom tool" if kind == "custom_tool_call_output" else "function"
                raise ApiError(
                    f"No tool call found for {what} call output with call_id {item['call_id']}.",
                    param="input",
                )
            awaited.pop(item["call_id"], None)
        elif kind == "reasoning" and not _made_by_model(following):
            raise ApiError(
                f"Item '{item.get('id')}' of type 'reasoning' was provided without its required "
                "following item.",
                param="input",
            )
    for call_id, what in awaited.items():
        raise ApiError(f"No tool output found for {what} call {call_id}.", param="input")


def _made_by_model(item: Mapping[str, Any]) -> bool:
    if item["type"] == "message":
        role: str = item["role"]
        return role == "assistant"
    kind: str = item["type"]
    return kind == "reasoning" or kind.endswith("_call")


def _check_reasoning(request: Mapping[str, Any], items: Items, signer: Signer) -> Signed | None:
    """Encrypted reasoning is ours and whole; without it there is only an id, which has to be."""
    signed: Signed | None = None
    for item in items:
        if item["type"] != "reasoning":
            continue
        encrypted = item.get("encrypted_content")
        if encrypted is None:
            if request.get("store") is False or not signer.issued(item.get("id", "")):
                raise _lost(item.get("id", ""))
            continue
        parts = [*item["summary"], *item.get("content", ())]
        text = "".join(part["text"] for part in parts)
        if not signer.verify(encrypted, REASONING, text.encode(errors="surrogatepass")):
            raise ApiError(
                f"The encrypted content for item {item.get('id')} could not be verified.",
                code="invalid_encrypted_content",
            )
        signed = "verified"
    return signed


def _check_choice(request: Mapping[str, Any]) -> None:
    choice = request.get("tool_choice")
    named = isinstance(choice, dict) and choice["type"] in ("function", "custom")
    declared = [(tool["type"], tool.get("name")) for tool in request.get("tools", ())]
    if isinstance(choice, dict) and named and (choice["type"], choice["name"]) not in declared:
        raise ApiError(
            f"Tool choice '{choice['type']}' with name '{choice['name']}' not found in 'tools' "
            "parameter.",
            param="tool_choice",
        )
    if choice == "required" and not declared:
        raise ApiError(
            "Tool choice 'required' must be specified with 'tools' parameter.", param="tool_choice"
        )


def _reduced(
    request: Mapping[str, Any],
    items: Items,
    seed_material: bytes,
    signed: Signed | None,
    keeping: Keeping,
) -> ChatRequest:
    texts = [text for item in items for text in _texts(item)]
    texts += [orjson.dumps(tool).decode() for tool in request.get("tools", ())]
    instructions = request.get("instructions", "")
    texts.append(instructions)
    choice = request.get("tool_choice")
    tools = tuple(_declared(request))
    reasoning = request.get("reasoning", {})
    shown: ReasoningShown = "none"
    encrypted = "reasoning.encrypted_content" in request.get("include", ())
    if reasoning.get("summary") or reasoning.get("generate_summary"):
        shown = "text"
    elif encrypted:
        shown = "signature"
    return ChatRequest(
        model=request["model"],
        stream=bool(request.get("stream")),
        max_output_tokens=request.get("max_output_tokens"),
        texts=tuple(texts),
        framing_tokens=ITEM_TOKENS * (len(items) + bool(instructions)) + ANSWER_TOKENS,
        seed_material=seed_material,
        directives=find_directives(_last_user_text(items)),
        tools=tools,
        may_call=bool(tools) and choice != "none",
        forced=_forced(choice, tools),
        parallel=request.get("parallel_tool_calls") is not False,
        rounds=_rounds(items),
        reasoning=shown,
        answer_schema=_answer_schema(request),
        signatures=signed,
        document=request,
        keeping=keeping,
    )


def _declared(request: Mapping[str, Any]) -> Iterator[Tool]:
    """The tools that the client runs."""
    for tool in request.get("tools", ()):
        match tool["type"]:
            case "function":
                empty = {"type": "object", "properties": {}}
                yield Tool(tool["name"], tool.get("parameters") or empty)
            case "custom":
                yield Tool(tool["name"], {}, custom=True)


def _texts(item: Mapping[str, Any]) -> Iterator[str]:
    """What of an item counts as input."""
    for name in ("role", "name", "arguments", "input"):
        if isinstance(item.get(name), str):
            yield item[name]
    for name in ("content", "output", "summary"):
        match item.get(name):
            case str() as text:
                yield text
            case list() as parts:
                found = (part for part in parts if isinstance(part, dict))
                texts = (part.get("text", part.get("refusal")) for part in found)
                yield from (text for text in texts if isinstance(text, str))


def _last_user_text(items: Items) -> str:
    for item in reversed(items):
        if item["type"] == "message" and item["role"] == "user":
            content = item["content"]
            if isinstance(content, str):
                return content
            return next((part["text"] for part in content if part["type"] == "input_text"), "")
    return ""


def _rounds(items: Items) -> int:
    """Turns of tool results since the last message of a user."""
    kinds = [
        "user" if item["type"] == "message" and item["role"] == "user" else item["type"]
        for item in items
    ]
    since = kinds[len(kinds) - kinds[::-1].index("user") :] if "user" in kinds else kinds
    return sum(
        kind in _RESULTS and following not in _RESULTS for kind, following in pairwise([*since, ""])
    )


def _forced(choice: Any, tools: tuple[Tool, ...]) -> tuple[str, ...]:
    """The tools of which one has to be called."""
    match choice:
        case "required":
            return tuple(tool.name for tool in tools)
        case {"type": "function" | "custom", "name": name}:
            return (name,)
        case {"type": "allowed_tools", "mode": "required", "tools": allowed}:
            names = [tool.get("name") for tool in allowed]
            return tuple(tool.name for tool in tools if tool.name in names)
    return ()


def _answer_schema(request: Mapping[str, Any]) -> Mapping[str, Any] | None:
    match request.get("text", {}).get("format"):
        case {"type": "json_schema", "schema": dict() as schema}:
            return schema
        case {"type": "json_object"}:
            return ANY_JSON
    return None
