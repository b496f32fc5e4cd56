"""Completions as canonical events, and made of them: streams and whole answers alike."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from engine.events import (
    Begin,
    Event,
    Finish,
    FinishReason,
    LogprobsDelta,
    RefusalDelta,
    TextDelta,
    TokenLogprob,
    Usage,
    UsageReport,
)
from engine.protocols.codec import ClientRequest, Identity
from engine.protocols.fields import dict_of, dicts, load_object, text_of
from engine.protocols.openai_completions.requests import PROMPTS_MAX
from engine.protocols.openai_shared import read_error
from engine.protocols.openai_usage import encode_usage, read_usage
from engine.protocols.quirks import PLAIN, Quirks

_CHOICES_MAX: Final = PROMPTS_MAX * 128

_READ: Final = {
    "stop": FinishReason.STOP,
    "length": FinishReason.LENGTH,
    "content_filter": FinishReason.FILTERED,
    "eos": FinishReason.STOP,  # Together
}
_SPELLED: Final = {
    FinishReason.LENGTH: "length",
    FinishReason.CONTEXT_LENGTH: "length",
    FinishReason.FILTERED: "content_filter",
    FinishReason.PROMPT_BLOCKED: "content_filter",
}
"""Any other reason is `stop`, the only one left of the three."""


@dataclass(slots=True)
class AnswerReader:
    """Reads the chunks of one answer in order, or its only document.

    Attributes:
        ended: the choices that have ended; the reason comes twice where the limit cut.
    """

    quirks: Quirks = PLAIN
    ended: set[int] = field(default_factory=set)
    _begun: bool = False

    def read(self, document: dict[str, Any]) -> list[Event]:
        """The events of one chunk or one whole answer."""
        events: list[Event] = []
        if not self._begun and (document.get("id") or document.get("choices")):
            self._begun = True
            created = document.get("created")
            events.append(
                Begin(
                    text_of(document.get("id")) or None,
                    text_of(document.get("model")) or None,
                    created if isinstance(created, int) and created > 0 else None,
                )
            )
        for position, choice in enumerate(dicts(document.get("choices"))):
            events.extend(self._read_choice(position, choice))
        if (usage := read_usage(document, self.quirks)) is not None:
            events.append(UsageReport(usage))
        return events

    def _read_choice(self, position: int, choice: dict[str, Any]) -> Iterator[Event]:
        index = choice.get("index")
        if not isinstance(index, int) or not 0 <= index < _CHOICES_MAX:
            index = position
        if text := text_of(choice.get("text")):
            yield TextDelta(text, index)
        if tokens := tuple(_read_logprobs(dict_of(choice.get("logprobs")))):
            yield LogprobsDelta(tokens, index)
        reason = choice.get("finish_reason")
        if reason and index not in self.ended:
            self.ended.add(index)
            yield Finish(_READ.get(text_of(reason), FinishReason.OTHER), index)


def _read_logprobs(logprobs: dict[str, Any]) -> Iterator[TokenLogprob]:
    """Columns as rows. The first token of an echoed prompt has no figure, and is passed over."""
    tokens, figures = logprobs.get("tokens"), logprobs.get("token_logprobs")
    if not isinstance(tokens, list) or not isinstance(figures, list):
        return
    tops = logprobs.get("top_logprobs")
    tops = tops if isinstance(tops, list) and len(tops) == len(tokens) else [None] * len(tokens)
    for token, figure, top in zip(tokens, figures, tops, strict=False):
        if isinstance(token, str) and isinstance(figure, (int, float)):
            others = [
                TokenLogprob(other, float(value))
                for other, value in dict_of(top).items()
                if isinstance(value, (int, float))
            ]
            yield TokenLogprob(token, float(figure), top=tuple(others))


def decode_response(body: bytes, quirks: Quirks = PLAIN) -> Sequence[Event]:
    """The events of a whole answer, the choices' ends and the usage last.

    Raises:
        ValueError: it is not a JSON object.
        UpstreamRejectedError: it is an error all the same.
    """
    document = load_object(body)
    if document.get("error") or ("choices" not in document and document.get("object") == "error"):
        raise read_error(200, body)
    events = AnswerReader(quirks).read(document)
    return sorted(events, key=lambda event: isinstance(event, (Finish, UsageReport)))


def encode_response(events: Sequence[Event], request: ClientRequest, identity: Identity) -> bytes:
    """A whole answer for a client of this protocol."""
    begin: Begin | None = None
    usage: dict[str, Any] = {}
    choices: dict[int, dict[str, Any]] = {}
    ends: dict[int, int] = {}
    for event in events:
        match event:
            case Begin():
                begin = event
            case UsageReport(usage=reported):
                usage = {"usage": encode_figures(reported)}
            case TextDelta() | RefusalDelta() | LogprobsDelta() | Finish():
                choice = choices.setdefault(event.choice, encode_choice(event.choice))
                _add(choice, event, ends)
    document = encode_identity(begin, identity)
    document["choices"] = [choices[index] for index in sorted(choices)]
    return orjson.dumps(document | usage)


def _add(
    choice: dict[str, Any],
    event: TextDelta | RefusalDelta | LogprobsDelta | Finish,
    ends: dict[int, int],
) -> None:
    match event:
        case Finish(reason=reason):
            choice["finish_reason"] = encode_reason(reason)
        case LogprobsDelta(tokens=tokens):
            more, ends[event.choice] = encode_logprobs(tokens, ends.get(event.choice, 0))
            said = choice["logprobs"] or {}
            choice["logprobs"] = {name: said.get(name, []) + more[name] for name in more}
        case _:
            choice["text"] += event.text


def encode_identity(begin: Begin | None, identity: Identity) -> dict[str, Any]:
    """What every chunk of an answer carries."""
    begin = begin or Begin(None, None)
    return {
        "id": begin.id or identity.id,
        "object": "text_completion",
        "created": identity.created if begin.created is None else begin.created,
        "model": begin.model or identity.model,
    }


def encode_choice(index: int, text: str = "", reason: str | None = None) -> dict[str, Any]:
    """A choice, or a piece of one."""
    return {"text": text, "index": index, "logprobs": None, "finish_reason": reason}


def encode_reason(reason: FinishReason) -> str:
    """One of this protocol's three words."""
    return _SPELLED.get(reason, "stop")


def encode_logprobs(
    tokens: Sequence[TokenLogprob], offset: int
) -> tuple[dict[str, list[Any]], int]:
    """Rows as this protocol's columns; `offset` is where the first token begins in the text, in
    characters. Gives where the next one does."""
    columns: dict[str, list[Any]] = {
        "tokens": [],
        "token_logprobs": [],
        "top_logprobs": [],
        "text_offset": [],
    }
    for token in tokens:
        columns["tokens"].append(token.token)
        columns["token_logprobs"].append(token.logprob)
        columns["top_logprobs"].append({other.token: other.logprob for other in token.top})
        columns["text_offset"].append(offset)
        offset += len(token.token)
    return columns, offset


def encode_figures(usage: Usage) -> dict[str, Any]:
    """Usage; this protocol's own has no details, so they are said only where there is something."""
    encoded = encode_usage(usage)
    for name in ("prompt_tokens_details", "completion_tokens_details"):
        if not any(encoded[name].values()):
            del encoded[name]
    return encoded
