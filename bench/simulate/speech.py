"""OpenAI's text to speech as a dialect of the provider: bytes of sound, or events with them."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from typing import Any, Final

import orjson

from bench.simulate import openai_fields as chat
from bench.simulate.answer import Answer, Finish, Segment
from bench.simulate.chat import ChatRequest, Counts
from bench.simulate.dialect import Grammar
from bench.simulate.directives import Directives, find_directives
from bench.simulate.errors import ApiError
from bench.simulate.openai_chat import SERVER_ERROR, error_object
from bench.simulate.openai_fields import Check, decimal, one_of, wrong_type
from bench.simulate.operation import OperationDialect, check_fields, check_text, read_json
from bench.simulate.plan import ChatPlan
from bench.simulate.replies import Request
from bench.simulate.sounds import FORMATS, pieces_of, stretches_of

INPUT_MAX: Final = 4_096
VOICES: Final = (
    "nova",
    "shimmer",
    "echo",
    "onyx",
    "fable",
    "alloy",
    "ash",
    "sage",
    "coral",
    "verse",
    "ballad",
    "marin",
    "cedar",
)
_VOICE: Final = one_of(*VOICES)
_BY_CHARACTER: Final = "tts-"
"""Models that are paid by the character; the others by tokens, and only they stream events."""


def _voice(name: str, value: Any) -> None:
    if isinstance(value, dict):
        if not isinstance(value.get("id"), str):
            raise wrong_type(f"{name}.id", "a string", value.get("id"))
    else:
        _VOICE(name, value)


FIELDS: Final[Mapping[str, Check]] = {
    "input": chat.STRING,
    "instructions": chat.STRING,
    "model": chat.STRING,
    "response_format": one_of("mp3", "opus", "aac", "flac", "wav", "pcm"),
    "speed": decimal(0.25, 4),
    "stream_format": one_of("sse", "audio"),
    "voice": _voice,
}


class SpeechDialect(OperationDialect):
    """OpenAI's text to speech."""

    name = "openai-speech"

    def parse(self, request: Request) -> ChatRequest:
        document = read_json(request.body)
        check_fields(document, FIELDS, ("model", "input", "voice"))
        model, text = document["model"], document["input"]
        check_text("input", text, INPUT_MAX)
        kind = document.get("response_format") or "mp3"
        if kind not in FORMATS:
            raise ApiError(
                f"This simulated provider speaks {', '.join(FORMATS)}, not {kind}.",
                param="response_format",
                code="unsupported_format",
            )
        events = document.get("stream_format") == "sse"
        by_character = model.startswith(_BY_CHARACTER)
        if events and by_character:
            raise ApiError(
                f"The model '{model}' does not support the 'sse' stream format.",
                param="stream_format",
                code="unsupported_value",
            )

        def make(directives: Directives, seed: bytes) -> Answer:
            count = stretches_of(text, document.get("speed") or 1.0, directives)
            pieces = pieces_of(kind, count, seed, directives)
            return Answer((Segment("media", 0, len(pieces), pieces=pieces),), "stop")

        return ChatRequest(
            model=model,
            texts=() if by_character else (text, document.get("instructions") or ""),
            framing_tokens=0,
            seed_material=request.body,
            directives=find_directives(text),
            stream=True,
            units={"characters": len(text)},
            reports=events,
            answer_type=b"text/event-stream; charset=utf-8" if events else FORMATS[kind][0],
            document=document,
            make=make,
        )

    def stream_type(self, request: ChatRequest) -> bytes:
        return request.answer_type

    def usage(self, counts: Counts) -> dict[str, Any]:
        return {
            "input_tokens": counts.input_tokens,
            "output_tokens": counts.output_tokens,
            "total_tokens": counts.input_tokens + counts.output_tokens,
        }

    def grammar(self, plan: ChatPlan) -> Grammar:
        return _Events(self) if plan.request.document.get("stream_format") == "sse" else _Bytes()


class _Bytes:
    """The sound itself: whatever goes wrong, it just ends."""

    def begin(self) -> bytes:
        return b""

    def piece(self, segment: Segment, choice: int, start: int, end: int) -> bytes:
        return b"".join(piece.data for piece in segment.pieces[start:end])

    def finish(self, reason: Finish, counts: Counts | None) -> bytes:
        return b""

    def error(self, kind: str) -> bytes:
        return b""


class _Events(_Bytes):
    """The sound in base64, and what it took."""

    def __init__(self, dialect: SpeechDialect) -> None:
        self._dialect = dialect

    def piece(self, segment: Segment, choice: int, start: int, end: int) -> bytes:
        data = b64encode(super().piece(segment, choice, start, end))
        return b'data: {"type":"speech.audio.delta","audio":"%b"}\n\n' % data

    def finish(self, reason: Finish, counts: Counts | None) -> bytes:
        done: dict[str, Any] = {"type": "speech.audio.done"}
        if counts is not None:
            done["usage"] = self._dialect.usage(counts)
        return b"data: %b\n\n" % orjson.dumps(done)

    def error(self, kind: str) -> bytes:
        error = ApiError(SERVER_ERROR, kind="server_error")
        return b"data: %b\n\n" % orjson.dumps({"type": "error"} | error_object(error))
