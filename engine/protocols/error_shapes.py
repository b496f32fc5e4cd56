"""What the many servers of OpenAI's protocols write where it has `{"error": {"message": …}}`.

Seen, beside OpenAI's own: `error` that is words (xAI, Ollama, LM Studio); the fields without
`error` around them (Mistral, vLLM, Cerebras, Cohere); `detail` (FastAPI's: Mistral, self-hosted
servers), and lists of what is wrong in place of a message (Mistral); numbers for codes, and the
error of another provider in `metadata.raw` (OpenRouter); percent-encoded words (xAI); a list of
one (Google).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from engine.protocols.fields import dict_of, dicts, load_json, text_of

_MESSAGE_MAX_CHARS = 8_192
_NAME_MAX_CHARS = 256
_PROBLEMS_MAX = 4

_FILTER_WORDS = re.compile(r"(?i)\bflagged\b|usage guidelines|content (?:policy|filter|moderation)")


@dataclass(frozen=True, slots=True)
class ErrorShape:
    """A provider's error, bounded; what it does not say is empty.

    Attributes:
        code, kind: words; a number is a status at most.
        status: of an error that came inside a 200.
    """

    message: str = ""
    kind: str | None = None
    code: str | None = None
    param: str | None = None
    status: int | None = None

    @property
    def is_filtered(self) -> bool:
        """It is about what the prompt says, though the status may be one of credentials (xAI's and
        OpenRouter's 403)."""
        return self.code == "content_filter" or bool(_FILTER_WORDS.search(self.message))


def read_shape(body: bytes) -> ErrorShape:
    """What an error's body says, whatever it is."""
    try:
        document = load_json(body)
    except ValueError:
        return ErrorShape()
    if isinstance(document, list) and document:
        document = document[0]
    return _read(dict_of(document))


def _read(document: dict[str, Any]) -> ErrorShape:
    error = document.get("error", document)
    fields = dict_of(error)
    if not fields:
        error, fields = text_of(error), document
    message, param = _words(error)
    raw = text_of(dict_of(fields.get("metadata")).get("raw"))
    if raw:
        message = f"{message}: {_inner(raw)}"
    if "%20" in message:
        message = unquote(message)
    return ErrorShape(
        message[:_MESSAGE_MAX_CHARS],
        _name(fields.get("type")),
        _name(fields.get("code")),
        _name(fields.get("param")) or param,
        _status(fields),
    )


def _words(value: object, depth: int = 3) -> tuple[str, str | None]:
    """A message and what it is about: words, an object with them, or a list of problems."""
    if isinstance(value, str):
        return value, None
    if isinstance(value, dict):
        for name in ("message", "detail", "msg"):
            if value.get(name) and depth:
                return _words(value[name], depth - 1)
        return "", None
    problems = list(dicts(value))[:_PROBLEMS_MAX]  # FastAPI's: never their `input`, the client's
    places = [
        ".".join(str(step) for step in loc if step != "body") if isinstance(loc, list) else ""
        for loc in (problem.get("loc") for problem in problems)
    ]
    said = [
        f"{place}: {text_of(problem.get('msg'))}" if place else text_of(problem.get("msg"))
        for place, problem in zip(places, problems, strict=True)
    ]
    param = places[0][:_NAME_MAX_CHARS] if places else ""
    return "; ".join(words for words in said if words), param or None


def _inner(raw: str) -> str:
    """What the provider behind a provider says."""
    inner = read_shape(raw.encode("utf-8", "replace")) if raw.lstrip().startswith("{") else None
    return inner.message if inner is not None and inner.message else raw


def _name(value: object) -> str | None:
    if not isinstance(value, str) or value.isdecimal():
        return None
    return value[:_NAME_MAX_CHARS] or None


def _status(fields: dict[str, Any]) -> int | None:
    for name in ("status_code", "code", "status"):
        value = fields.get(name)
        if isinstance(value, str) and value.isdecimal() and len(value) == 3:
            value = int(value)
        if isinstance(value, int) and 400 <= value <= 599:
            return value
    return None
