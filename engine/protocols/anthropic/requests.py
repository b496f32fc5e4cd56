"""Requests as the gateway relies on them: what is validated, the text of a prompt, and the body
that goes on to a provider of this same protocol."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import orjson

from engine.conversation import MediaKind
from engine.errors import InvalidRequestError
from engine.events import Call
from engine.protocols.anthropic import files
from engine.protocols.anthropic.held import refuse_held
from engine.protocols.anthropic.hosting import ENVELOPES
from engine.protocols.anthropic.marks import PROTOCOL, is_marked
from engine.protocols.carried import uncarry
from engine.protocols.codec import ClientRequest
from engine.protocols.fields import dict_of, dicts, load_request, text_of
from engine.protocols.file_refs import holders_of, put_files
from engine.protocols.quirks import PLAIN, Quirks

ROLES = frozenset({"user", "assistant", "system"})

# Recorded: a prompt of n tokens of text in one message is billed as n + 7.
TOKENS_PER_MESSAGE = 4
TOKENS_OF_PRIMER = 3
# docs.claude.com, 'Tool use system prompt token count': 346 with `auto`, 313 with `any`.
TOKENS_OF_TOOLS = 346

_BUDGET_MIN_TOKENS = 1_024

_MEDIA: dict[str, MediaKind] = {"image": "image", "document": "document"}


def parse_request(call: Call) -> ClientRequest:
    """See `codec.Codec.parse_request`."""
    document = load_request(call.body)
    model = document.get("model") if call.model is None else call.model
    if not isinstance(model, str) or not model:
        raise InvalidRequestError("model: Field required.", param="model")
    _check_messages(document.get("messages"))
    stream = document.get("stream")
    if stream is not None and not isinstance(stream, bool):
        raise InvalidRequestError("stream: must be true or false.", param="stream")
    named = files.places(document)
    refuse_held(document, holders_of(named))
    uses = put_files(named, call.files, files.put)
    return ClientRequest(
        protocol=PROTOCOL,
        model=model,
        stream=bool(stream),
        include_usage=True,
        max_output_tokens=_max_tokens(document, required=call.operation == "chat"),
        choices=1,
        media=_media(document["messages"]),
        betas=_betas(call.headers),
        operation=call.operation,
        document=document,
        files=uses,
    )


def _check_messages(messages: object) -> None:
    if not isinstance(messages, list) or not messages:
        raise InvalidRequestError(
            "messages: must be an array with at least one message.", param="messages"
        )
    for index, message in enumerate(messages):
        path = f"messages[{index}]"
        if not isinstance(message, dict) or text_of(message.get("role")) not in ROLES:
            raise InvalidRequestError(
                f"{path}: must be an object whose 'role' is one of {', '.join(sorted(ROLES))}.",
                param=f"{path}.role",
            )
        content = message.get("content")
        if not isinstance(content, str) and not (
            isinstance(content, list) and all(isinstance(block, dict) for block in content)
        ):
            raise InvalidRequestError(
                f"{path}.content: must be a string or an array of content blocks.",
                param=f"{path}.content",
            )


def _betas(headers: Sequence[tuple[bytes, bytes]]) -> tuple[str, ...]:
    said = ",".join(v.decode("latin-1") for name, v in headers if name == b"anthropic-beta")
    return tuple(beta.strip() for beta in said.split(",") if beta.strip())


def _max_tokens(document: dict[str, Any], *, required: bool) -> int | None:
    value = document.get("max_tokens")
    if value is None and not required:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**31:
        raise InvalidRequestError(
            "max_tokens: Field required, a whole number."
            if value is None
            else "max_tokens: must be a whole number from 0 to 2147483647.",
            param="max_tokens",
        )
    return value


def blocks(messages: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """All content blocks, those inside tool results and documents too."""
    for message in messages:
        for block in dicts(message.get("content")):
            yield block
            for inner in dicts(block.get("content")):
                yield inner
                yield from dicts(dict_of(inner.get("source")).get("content"))
            yield from dicts(dict_of(block.get("source")).get("content"))


def _media(messages: list[dict[str, Any]]) -> Counter[MediaKind]:
    """Documents that are text do not count: any model reads them."""
    return Counter(
        kind
        for block in blocks(messages)
        if (kind := _MEDIA.get(text_of(block.get("type"))))
        and dict_of(block.get("source")).get("type") not in ("text", "content")
    )


def prompt_overhead_tokens(document: dict[str, Any]) -> int:
    """Delimiters a message, the primer of the answer, and the system prompt that tools bring."""
    tools = TOKENS_OF_TOOLS if document.get("tools") else 0
    return len(document["messages"]) * TOKENS_PER_MESSAGE + TOKENS_OF_PRIMER + tools


def prompt_texts(document: dict[str, Any]) -> Iterator[str]:
    """All text of the prompt: system, messages, calls and results, documents, tools, schema."""
    yield from _texts(document.get("system"))
    for message in document["messages"]:
        yield from _texts(message.get("content"))
    for tool in dicts(document.get("tools")):
        yield _dump({name: tool[name] for name in tool if name != "cache_control"})
    output_format = dict_of(document.get("output_config")).get("format")
    for schema in (output_format, document.get("output_format")):
        if isinstance(schema, dict):
            yield _dump(schema)


# Members of blocks that are no text, or none that becomes tokens as it stands.
_NO_TEXT = frozenset(
    {
        "type", "id", "tool_use_id", "cache_control", "caller", "signature", "data", "media_type",
        "encrypted_content", "encrypted_index", "encrypted_stdout", "role", "page_age",
    }
)  # fmt: skip


def _texts(value: object) -> Iterator[str]:
    """Strings in content; walked without recursion, as it may be nested deeply."""
    waiting = [value]
    while waiting:
        match waiting.pop():
            case str(text):
                yield text
            case list(items):
                waiting.extend(reversed(items))
            case {"type": "text", "media_type": _, "data": str(text)}:  # a document's source
                yield text
            case {"type": "base64" | "url" | "file"}:
                continue
            case {"type": "tool_use" | "server_tool_use" | "mcp_tool_use", "input": called, **rest}:
                yield text_of(rest.get("name"))
                yield _dump(called)
            case dict(block):
                members = (block[name] for name in block if name not in _NO_TEXT)
                waiting.extend(reversed(list(members)))


def _dump(value: object) -> str:
    try:
        return orjson.dumps(value).decode()
    except orjson.JSONEncodeError:  # too deep; `encode_verbatim` refuses it
        return ""


def encode_verbatim(
    request: ClientRequest,
    upstream_model: str,
    output_limit: int | None,
    quirks: Quirks = PLAIN,
) -> bytes:
    """See `codec.Codec.encode_verbatim`. A thinking budget is lowered with the limit, below which
    it has to stay, and thinking turned off where none is left."""
    document = dict(request.document)
    document["model"] = upstream_model
    limit = request.max_output_tokens
    if output_limit is not None and limit is not None and output_limit < limit:
        document["max_tokens"] = output_limit
        _lower_budget(document, output_limit)
    messages = [_stripped(message) for message in document["messages"]]
    document["messages"] = [message for message in messages if message is not None]
    if quirks.hosting is not None:
        ENVELOPES[quirks.hosting].put_around(document, request.betas, request.operation)
    try:
        return orjson.dumps(document)
    except orjson.JSONEncodeError:
        raise InvalidRequestError("The body is nested too deeply (over 254 levels).") from None


def _lower_budget(document: dict[str, Any], limit: int) -> None:
    thinking = dict_of(document.get("thinking"))
    budget = thinking.get("budget_tokens")
    if not isinstance(budget, int) or budget < limit:
        return
    if limit > _BUDGET_MIN_TOKENS:
        document["thinking"] = thinking | {"budget_tokens": limit - 1}
    else:
        document["thinking"] = {"type": "disabled"}


_ID_MEMBERS = {"tool_use": "id", "tool_result": "tool_use_id"}


def _stripped(message: dict[str, Any]) -> dict[str, Any] | None:
    """A message without what other providers signed or had carried; None if nothing is left."""
    content = message.get("content")
    if not isinstance(content, list):
        return message
    kept = [edited for block in content if (edited := _without_foreign(block)) is not None]
    if len(kept) == len(content) and all(map(_same, kept, content)):
        return message
    return message | {"content": kept} if kept else None


def _same(one: object, other: object) -> bool:
    return one is other


def _own_citations(block: dict[str, Any]) -> list[dict[str, Any]]:
    citations = dicts(block.get("citations"))
    return [citation for citation in citations if not is_marked(citation.get("encrypted_index"))]


def _without_foreign(block: dict[str, Any]) -> dict[str, Any] | None:
    match block.get("type"):
        case "thinking" if is_marked(block.get("signature")):
            return None
        case "redacted_thinking" if is_marked(block.get("data")):
            return None
        case "tool_use" | "tool_result" as kind:
            member = _ID_MEMBERS[kind]
            carried = block.get(member)
            if isinstance(carried, str) and (plain := uncarry(carried)[0]) != carried:
                return block | {member: plain}
        case "text" if block.get("citations"):
            own = _own_citations(block)
            if len(own) < sum(1 for _ in dicts(block["citations"])):
                rest = {name: block[name] for name in block if name != "citations"}
                return rest | ({"citations": own} if own else {})
    return block
