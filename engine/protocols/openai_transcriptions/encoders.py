"""Transcripts of providers that speak another protocol, for clients of this one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from engine.events import Event, TextDelta, Usage, UsageReport


def encode_usage(usage: Usage) -> dict[str, Any]:
    """In the words of this endpoint."""
    sound = usage.more.get("input_audio_tokens", 0)
    return {
        "type": "tokens",
        "input_tokens": usage.input_tokens,
        "input_token_details": {
            "text_tokens": usage.input_tokens - sound,
            "audio_tokens": sound,
        },
        "output_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
    }


def encode_response(events: Sequence[Event], *, plain: bool) -> bytes:
    """A whole answer: a text, or an object with it."""
    text = "".join(event.text for event in events if isinstance(event, TextDelta)).strip()
    if plain:
        return f"{text}\n".encode(errors="replace")
    answer: dict[str, Any] = {"text": text}
    for event in events:
        if isinstance(event, UsageReport):
            answer["usage"] = encode_usage(event.usage)
    return orjson.dumps(answer)


def encode_event(document: Mapping[str, Any]) -> bytes:
    """One event, with the line ends of this endpoint."""
    return b"data: %b\r\n\r\n" % orjson.dumps(document)


class TranscriptEncoder:
    """See `codec.StreamEncoder`."""

    holding = False

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._usage: Usage | None = None

    def encode(self, event: Event) -> bytes:
        """The event of a piece of text."""
        match event:
            case TextDelta(text=text) if text:
                self._texts.append(text)
                return encode_event({"type": "transcript.text.delta", "delta": text})
            case UsageReport(usage=usage):
                self._usage = usage
        return b""

    def finish(self) -> bytes:
        """The whole text, what it took, `[DONE]`."""
        return self._done(self._usage)

    def cut(self, usage: Usage) -> bytes:
        """The text until here, what it took, `[DONE]`."""
        return self._done(usage)

    def _done(self, usage: Usage | None) -> bytes:
        told = {} if usage is None else {"usage": encode_usage(usage)}
        text = "".join(self._texts)
        done = encode_event({"type": "transcript.text.done", "text": text, **told})
        return done + b"data: [DONE]\r\n\r\n"
