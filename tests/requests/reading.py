"""What a request says, read from each protocol's body by rules of its own: the codecs' judge.

Compared are texts without their white space (blocks may be joined), calls, results and media.
"""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Said:
    """All that a request says, by kind, in order.

    Attributes:
        calls: name and arguments; None for arguments that are no JSON object.
        results: of tools, parsed where they are JSON.
        documents: texts of documents that are plain text, which may become text of the prompt.
    """

    system: str = ""
    user: str = ""
    assistant: str = ""
    calls: list[tuple[str, Any]] = field(default_factory=list)
    results: list[Any] = field(default_factory=list)
    media: Counter[str] = field(default_factory=Counter)
    tools: list[str] = field(default_factory=list)
    documents: list[str] = field(default_factory=list)

    def add(self, role: str, text: object) -> None:
        """Text of a role, squeezed."""
        squeezed = "".join(text.split()) if isinstance(text, str) else ""
        match role:
            case "system" | "developer":
                self.system += squeezed
            case "assistant" | "model":
                self.assistant += squeezed
            case _:
                self.user += squeezed


def read_said(protocol: str, body: Mapping[str, Any]) -> Said:
    """Read a body of a protocol; Gemini's in either spelling."""
    return _READERS[protocol](body)


def _parsed(arguments: object) -> Any:
    if isinstance(arguments, dict):
        return arguments
    try:
        value = json.loads(arguments or "{}") if isinstance(arguments, str) else {}
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _result(text: str) -> Any:
    """A tool's result, without what a protocol has to wrap around it."""
    try:
        value = json.loads(text)
    except ValueError:
        return "".join(text.split())
    if isinstance(value, dict) and len(value) == 1:
        (inner,) = value.values()
        if set(value) <= {"result", "error", "output"}:
            return _result(inner) if isinstance(inner, str) else inner
    return value


# OpenAI


def _read_openai(body: Mapping[str, Any]) -> Said:
    said = Said()
    for message in body["messages"]:
        role = message["role"]
        if role in ("tool", "function"):
            said.results.append(_result(_openai_text(message.get("content"))))
            continue
        for text in _openai_parts(message.get("content"), said):
            said.add(role, text)
        said.add(role, message.get("refusal"))
        calls = [
            c.get("function") or c.get("custom") or {} for c in message.get("tool_calls") or ()
        ]
        for call in [*calls, *([message["function_call"]] if message.get("function_call") else ())]:
            said.calls.append((call.get("name", ""), _parsed(call.get("arguments"))))
    functions = [tool.get("function") or {} for tool in body.get("tools") or ()]
    said.tools = [f.get("name", "") for f in [*functions, *(body.get("functions") or ())]]
    return said


def _openai_text(content: object) -> str:
    if isinstance(content, list):
        return "".join(part.get("text") or "" for part in content)
    return content if isinstance(content, str) else ""


def _openai_parts(content: object, said: Said) -> Iterator[str]:
    if not isinstance(content, list):
        yield _openai_text(content)
        return
    kinds = {"image_url": "image", "input_audio": "audio", "file": "document"}
    kinds["video_url"] = "video"  # of compatible hosts
    for part in content:
        if (kind := kinds.get(part.get("type"))) is not None:
            said.media[kind] += 1
        elif isinstance(text := part.get("text") or part.get("refusal"), str):
            yield text


def _read_responses(body: Mapping[str, Any]) -> Said:
    said = Said()
    said.add("system", body.get("instructions"))
    items = body["input"]
    for item in [{"role": "user", "content": items}] if isinstance(items, str) else items:
        match item.get("type", "message"):
            case "message":
                for text in _responses_parts(item["content"], said):
                    said.add(item["role"], text)
            case "function_call":
                said.calls.append((item["name"], _parsed(item.get("arguments"))))
            case "function_call_output":
                said.results.append(_result("".join(_responses_parts(item["output"], said))))
            case _:
                pass  # thinking, and what the provider's own tools did
    said.tools = [t["name"] for t in body.get("tools") or () if t["type"] == "function"]
    return said


def _responses_parts(content: object, said: Said) -> Iterator[str]:
    if isinstance(content, str):
        yield content
        return
    kinds = {"input_image": "image", "input_audio": "audio", "input_file": "document"}
    for part in content if isinstance(content, list) else ():
        plain = str(part.get("file_data")).partition("data:text/plain;base64,")[2]
        if plain:
            said.documents.append(base64.b64decode(plain).decode())
        elif (kind := kinds.get(part.get("type"))) is not None:
            said.media[kind] += 1
        elif isinstance(text := part.get("text") or part.get("refusal"), str):
            yield text


# Anthropic


def _read_anthropic(body: Mapping[str, Any]) -> Said:
    said = Said()
    for block in _blocks(body.get("system")):
        said.add("system", block.get("text"))
    for message in body["messages"]:
        for block in _blocks(message["content"]):
            _read_block(message["role"], block, said)
    said.tools = [
        tool.get("name", "") for tool in body.get("tools") or () if "input_schema" in tool
    ]
    return said


def _blocks(content: object) -> list[dict[str, Any]]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return [block for block in content if isinstance(block, dict)] if content else []  # type: ignore[attr-defined]


def _read_block(role: str, block: dict[str, Any], said: Said) -> None:
    match block.get("type"):
        case "text":
            said.add(role, block["text"])
        case "image":
            said.media["image"] += 1
        case "document" if block["source"]["type"] in ("base64", "url"):
            said.media["document"] += 1
        case "search_result":
            said.documents += [str(piece.get("text")) for piece in _blocks(block["content"])]
        case "document":
            source = block["source"]
            pieces = _blocks(source.get("content")) or [{"text": source.get("data")}]
            said.documents += [str(piece.get("text")) for piece in pieces]
        case "tool_use":
            said.calls.append((block["name"], block["input"]))
        case "tool_result":
            texts = []
            for inner in _blocks(block.get("content")):
                if inner.get("type") == "text":
                    texts.append(inner["text"])
                else:
                    _read_block(role, inner, said)
            said.results.append(_result("".join(texts)))
        case _:
            pass  # thinking, and what the provider's own tools did


# Gemini


def _get(value: Mapping[str, Any], camel: str) -> Any:
    snake = "".join(f"_{c.lower()}" if c.isupper() else c for c in camel)
    return value.get(camel, value.get(snake))


def _read_gemini(body: Mapping[str, Any]) -> Said:
    said = Said()
    system = _get(body, "systemInstruction") or {}
    for part in _list(system.get("parts") if isinstance(system, dict) else None):
        said.add("system", part.get("text"))
    for content in _list(body.get("contents")):
        for part in _list(content.get("parts")):
            _read_part(content.get("role") or "user", part, said)
    for tool in _list(body.get("tools")):
        for declaration in _list(_get(tool, "functionDeclarations")):
            said.tools.append(declaration["name"])
    return said


def _list(value: object) -> list[dict[str, Any]]:
    """Protobuf's JSON takes one for a list of one."""
    return [value] if isinstance(value, dict) else list(value) if isinstance(value, list) else []


def _read_part(role: str, part: dict[str, Any], said: Said) -> None:
    if call := _get(part, "functionCall"):
        said.calls.append((call["name"], _parsed(call.get("args"))))
    elif result := _get(part, "functionResponse"):
        response = result.get("response")
        said.results.append(_result(json.dumps(response)))
        for piece in _list(result.get("parts")):
            _read_part(role, piece, said)
    elif data := _get(part, "inlineData") or _get(part, "fileData"):
        kind = str(_get(data, "mimeType") or "document/").partition("/")[0]
        if kind == "text" and data.get("data") is not None:
            said.documents.append(base64.b64decode(data["data"]).decode())
        else:
            said.media[kind if kind in ("image", "audio", "video") else "document"] += 1
    elif not part.get("thought"):
        said.add(role, part.get("text"))


_READERS: dict[str, Callable[[Mapping[str, Any]], Said]] = {
    "openai_chat": _read_openai,
    "openai_responses": _read_responses,
    "anthropic": _read_anthropic,
    "gemini": _read_gemini,
}
