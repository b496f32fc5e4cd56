"""Requests: what is validated, what is sent on verbatim, and the text of a prompt."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from engine.conversation import MediaKind
from engine.errors import InvalidRequestError
from engine.events import Call
from engine.protocols.codec import ClientRequest
from engine.protocols.fields import load_request
from engine.protocols.file_refs import holders_of, put_files
from engine.protocols.gemini import files
from engine.protocols.gemini.held_ids import refuse_held_ids
from engine.protocols.gemini.hosting import for_vertex
from engine.protocols.gemini.signatures import PROTOCOL, SKIP_VALIDATOR, is_marked
from engine.protocols.gemini.spelling import (
    dump_json,
    get,
    get_dict,
    get_dicts,
    get_text,
    key_of,
    said_twice,
)
from engine.protocols.quirks import PLAIN, Quirks

_CHOICES_MAX = 128
_INT_MAX = 2**31 - 1

_TEXTS_OF_PART = ("functionCall", "functionResponse", "toolCall", "toolResponse")

TOKENS_PER_MEDIA = 258
"""Of an image up to 384 pixels, by Gemini's documentation of tokens; larger ones cost tiles."""

TOKENS_OF_PRIMER = 1

_YOUTUBE = ("youtube.com/", "youtu.be/")


def parse_request(call: Call) -> ClientRequest:
    """Parse and validate what the gateway relies on; the rest is the provider's to judge.

    Raises:
        InvalidRequestError: not JSON, a field the gateway needs is missing or of a wrong type, or
            an id that lives at the provider.
    """
    document = load_request(call.body)
    model = call.model if call.model is not None else document.get("model")
    if not isinstance(model, str) or not model.removeprefix("models/"):
        raise InvalidRequestError("You must name a model in the path.", param="model")
    if (twice := said_twice(document)) is not None:
        raise InvalidRequestError(f"'{twice}' is given in both of its spellings.", param=twice)
    prompt, at = document, ""
    if (key := key_of(document, "generateContentRequest")) is not None:
        _check_counted(call.operation, document, key)
        prompt, at = document[key], f"{key}."
    _check_contents(prompt, at)
    named = files.places(prompt, at)
    refuse_held_ids(prompt, at, holders_of(named))
    uses = put_files(named, call.files, files.put)
    config = get(prompt, "generationConfig")
    if config is not None and not isinstance(config, dict):
        raise InvalidRequestError("'generationConfig' must be an object.", param="generationConfig")
    config = config or {}
    return ClientRequest(
        protocol=PROTOCOL,
        model=model.removeprefix("models/"),
        stream=bool(call.stream),
        include_usage=True,
        max_output_tokens=whole(config, "maxOutputTokens", 1, _INT_MAX),
        choices=whole(config, "candidateCount", 1, _CHOICES_MAX) or 1,
        media=Counter(kind for part in _parts(prompt) for kind in _kinds(part)),
        array=call.array,
        operation=call.operation,
        document=document,
        files=uses,
    )


def _check_counted(operation: str, document: dict[str, Any], key: str) -> None:
    """A prompt one level deeper, which only a count has, and nothing beside it."""
    beside = [name for name in document if name not in (key, "model")]
    if operation != "count_tokens" or beside or not isinstance(document[key], dict):
        raise InvalidRequestError(
            f"'{key}' must be all that a request to count tokens holds.", param=key
        )


def prompt_of(request: ClientRequest) -> dict[str, Any]:
    """What is to be generated from; for a count it may stand one level deeper."""
    inner = get(request.document, "generateContentRequest")
    return inner if isinstance(inner, dict) else request.document


def _check_contents(prompt: dict[str, Any], at: str) -> None:
    contents = prompt.get("contents")
    listed = contents if isinstance(contents, list) else [contents]
    if not listed or contents is None:
        raise InvalidRequestError(
            f"'{at}contents' must hold at least one content.", param=f"{at}contents"
        )
    for index, content in enumerate(listed):
        parts = content.get("parts") if isinstance(content, dict) else content
        for part in parts if isinstance(parts, list) else ():
            if not isinstance(part, dict):
                raise InvalidRequestError(
                    f"'{at}contents[{index}].parts' must hold objects.",
                    param=f"{at}contents[{index}].parts",
                )
        if not isinstance(content, dict) or not isinstance(parts, list | dict | None):
            raise InvalidRequestError(
                f"'{at}contents[{index}]' must be an object with a list of parts.",
                param=f"{at}contents[{index}]",
            )


def whole(holder: dict[str, Any], name: str, least: int, most: int) -> int | None:
    """A whole number, which proto3's JSON also allows as 10.0 or "10".

    Raises:
        InvalidRequestError: it is none, or out of bounds.
    """
    value = get(holder, name)
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 10:
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise InvalidRequestError(
            f"'{name}' must be a whole number from {least} to {most}.",
            param=f"generationConfig.{name}",
        )
    return value


def _parts(prompt: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for content in (*get_dicts(prompt, "contents"), get_dict(prompt, "systemInstruction")):
        for part in get_dicts(content, "parts"):
            yield part
            yield from get_dicts(get_dict(part, "functionResponse"), "parts")


def media_kind(mime_type: str | None, uri: str | None = None) -> MediaKind:
    """What a blob or file is, by its type; YouTube's addresses have none."""
    match (mime_type or "").partition("/")[0].strip().lower():
        case "image":
            return "image"
        case "audio":
            return "audio"
        case "video":
            return "video"
    youtube = uri is not None and any(host in uri for host in _YOUTUBE)
    return "video" if youtube else "document"


def _kinds(part: dict[str, Any]) -> Iterator[MediaKind]:
    for name in ("inlineData", "fileData"):
        if blob := get_dict(part, name):
            yield media_kind(get_text(blob, "mimeType"), get_text(blob, "fileUri"))


def encode_verbatim(
    request: ClientRequest,
    upstream_model: str,
    output_limit: int | None,
    quirks: Quirks = PLAIN,
) -> bytes:
    """The body as it is, but for the output limit, the model's name where one stands, signatures
    that are not Gemini's, and what Vertex wants otherwise.

    Raises:
        InvalidRequestError: nested deeper than can be written again.
    """
    document = dict(request.document)
    if quirks.hosting == "vertex":
        document = for_vertex(prompt_of(request), counted=request.operation == "count_tokens")
    document.pop("model", None)  # the path says it
    if (key := key_of(document, "generateContentRequest")) is not None:
        inner = _unmarked(dict(document[key]))
        document[key] = inner | {"model": model_path(upstream_model)}
    else:
        document = _unmarked(document)
    if output_limit is not None:
        key = key_of(document, "generationConfig") or "generationConfig"
        config = dict(document.get(key) or {})
        limit = key_of(config, "maxOutputTokens") or "maxOutputTokens"
        config[limit] = min(output_limit, request.max_output_tokens or output_limit)
        document[key] = config
    try:
        return dump_json(document)
    except ValueError:
        raise InvalidRequestError("The body is nested too deeply (over 254 levels).") from None


def model_path(model: str) -> str:
    """A model's resource name.

    >>> model_path("gemini-2.5-flash"), model_path("tunedModels/mine")
    ('models/gemini-2.5-flash', 'tunedModels/mine')
    """
    return model if model.startswith(("models/", "tunedModels/")) else f"models/{model}"


def _unmarked(prompt: dict[str, Any]) -> dict[str, Any]:
    """Without what another provider signed: its thoughts go, its calls get the validator's escape,
    which Gemini 3 wants where it did not sign itself."""
    if not any(_is_foreign(part) for part in _parts(prompt)):
        return prompt
    contents = [_content_unmarked(content) for content in get_dicts(prompt, "contents")]
    return prompt | {"contents": contents}


def _is_foreign(part: dict[str, Any]) -> bool:
    return is_marked(get(part, "thoughtSignature"))


def _content_unmarked(content: dict[str, Any]) -> dict[str, Any]:
    parts = []
    for part in get_dicts(content, "parts"):
        if not _is_foreign(part):
            parts.append(part)
            continue
        key = key_of(part, "thoughtSignature")
        plain = {name: value for name, value in part.items() if name != key}
        if key_of(part, "functionCall") is not None:
            parts.append(plain | {"thoughtSignature": SKIP_VALIDATOR})
        elif not part.get("thought"):
            parts.append(plain)
    return content | {"parts": parts or [{"text": ""}]}


def prompt_texts(request: ClientRequest) -> Iterator[str]:
    """All text of the prompt that becomes input tokens: texts, calls, results, code, functions."""
    prompt = prompt_of(request)
    for part in _parts(prompt):
        if isinstance(text := part.get("text"), str):
            yield text
        for name in _TEXTS_OF_PART:
            if value := get_dict(part, name):
                yield _json_text({key: item for key, item in value.items() if key != "parts"})
        for name, field in (("executableCode", "code"), ("codeExecutionResult", "output")):
            if (found := get_text(get_dict(part, name), field)) is not None:
                yield found
    for tool in get_dicts(prompt, "tools"):
        for function in get_dicts(tool, "functionDeclarations"):
            yield _json_text(function)


def _json_text(value: dict[str, Any]) -> str:
    try:
        return dump_json(value).decode()
    except ValueError:
        return ""  # nested too deeply: it is refused when it is to be sent


def prompt_overhead_tokens(request: ClientRequest) -> int:
    """Input tokens beside the text: of media, and one that Gemini counts for every prompt."""
    kinds = sum(1 for part in _parts(prompt_of(request)) for _ in _kinds(part))
    return TOKENS_OF_PRIMER + kinds * TOKENS_PER_MEDIA
