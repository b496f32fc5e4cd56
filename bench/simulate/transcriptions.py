"""OpenAI's transcriptions and translations as dialects of the provider.

The text is as long as `tokens` says, whatever was sent; what is paid for is the length of the
sound that was really sent. Streams have CRLF and end with `[DONE]`, as recorded.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

import orjson

from bench.simulate import openai_fields as chat
from bench.simulate.answer import Finish, Segment
from bench.simulate.chat import ChatRequest, Counts
from bench.simulate.directives import find_directives
from bench.simulate.errors import ApiError
from bench.simulate.forms import Form, read_form, required, typed_values
from bench.simulate.openai_chat import SERVER_ERROR, error_object
from bench.simulate.openai_fields import Check, anything, decimal, one_of
from bench.simulate.operation import OperationDialect, material
from bench.simulate.plan import ChatPlan
from bench.simulate.replies import Request
from bench.simulate.sound_length import sound_ms
from bench.simulate.transcript_forms import (
    SEGMENT_WORDS,
    SUBTITLES,
    Cue,
    cues_of,
    segment,
    spoken,
)

FILE_MAX_BYTES: Final = 25 * 1024 * 1024
SHORTEST_MS: Final = 100
TOKEN_MS: Final = 100
"""Of sound, where it is counted in tokens."""
DIARIZED_MS: Final = 30_000
"""What is longer has to say how it is to be cut."""
_LIST: Final = chat.typed("an array", list)
_WHISPER: Final = ("json", "text", "srt", "verbose_json", "vtt")
_NEWER: Final = ("json", "text")
_DIARIZE: Final = ("json", "text", "diarized_json")
_FORMATS: Final = (*_WHISPER, "diarized_json")

TRANSLATION_FIELDS: Final[Mapping[str, Check]] = {
    "model": chat.STRING,
    "prompt": chat.STRING,
    "response_format": one_of(*_FORMATS),
    "temperature": decimal(0, 1),
}
FIELDS: Final[Mapping[str, Check]] = {
    **TRANSLATION_FIELDS,
    "chunking_strategy": anything,
    "chunking_strategy[type]": chat.STRING,
    "chunking_strategy[prefix_padding_ms]": anything,
    "chunking_strategy[silence_duration_ms]": anything,
    "chunking_strategy[threshold]": anything,
    "include[]": _LIST,
    "keywords[]": _LIST,
    "known_speaker_names[]": _LIST,
    "known_speaker_references[]": _LIST,
    "language": chat.STRING,
    "languages[]": _LIST,
    "stream": chat.BOOLEAN,
    "timestamp_granularities[]": _LIST,
}


class TranscriptionsDialect(OperationDialect):
    """OpenAI's transcriptions."""

    name = "openai-transcriptions"
    task = "transcribe"
    fields = FIELDS

    def parse(self, request: Request) -> ChatRequest:
        form = read_form(request)
        required(form, "file", "model")
        values = typed_values(form.values("file"), self.fields)
        model, wanted = values["model"], values.get("response_format", "json")
        self._check_format(model, wanted, values)
        length_ms = _length_ms(form)
        if "diarize" in model and length_ms > DIARIZED_MS and not _cut(values):
            raise ApiError(
                "chunking_strategy is required for diarization models",
                param="chunking_strategy",
            )
        by_second = model.startswith("whisper")
        tokens = 0 if by_second else math.ceil(length_ms / TOKEN_MS)
        streamed = values.get("stream") is True and not by_second
        texts = wanted in ("text", *SUBTITLES)
        prompt = values.get("prompt", "")
        units = {"milliseconds": length_ms, "input_audio_tokens": tokens}
        return ChatRequest(
            model=model,
            texts=() if by_second else (prompt,),
            framing_tokens=tokens,
            seed_material=material(request),
            directives=find_directives(prompt),
            stream=streamed,
            units={unit: amount for unit, amount in units.items() if amount},
            metered="seconds" if by_second else "tokens",
            reports=streamed or not texts,
            answer_type=b"text/plain; charset=utf-8" if texts else b"application/json",
            parts=form.described(),
            document=values | {"length_ms": length_ms, "response_format": wanted},
        )

    def _check_format(self, model: str, wanted: str, values: Mapping[str, Any]) -> None:
        known: tuple[str, ...] = _WHISPER
        if self.task == "transcribe" and model.startswith("gpt-"):
            known = _DIARIZE if "diarize" in model else _NEWER
        elif self.task == "transcribe" and not model.startswith("whisper"):
            known = _FORMATS
        if wanted not in known:
            raise ApiError(
                f"response_format '{wanted}' is not compatible with model '{model}'. "
                f"Use one of {', '.join(known)} instead.",
                param="response_format",
                code="unsupported_value",
            )
        for granularity in values.get("timestamp_granularities[]", ()):
            one_of("word", "segment")("timestamp_granularities[]", granularity)
            if wanted != "verbose_json":
                raise ApiError(
                    "The `timestamp_granularities[]` option is only available if "
                    "response_format is set to 'verbose_json'",
                    param="timestamp_granularities",
                )

    def usage(self, counts: Counts) -> dict[str, Any]:
        if counts.metered == "seconds":
            seconds = math.ceil(counts.units["milliseconds"] / 1_000)
            return {"type": "duration", "seconds": seconds}
        sound = counts.units.get("input_audio_tokens", 0)
        return {
            "type": "tokens",
            "total_tokens": counts.input_tokens + counts.output_tokens,
            "input_tokens": counts.input_tokens,
            "input_token_details": {
                "text_tokens": max(0, counts.input_tokens - sound),
                "audio_tokens": sound,
            },
            "output_tokens": counts.output_tokens,
        }

    def grammar(self, plan: ChatPlan) -> _Events:
        return _Events(self, plan)

    def unary(self, plan: ChatPlan, position: int, counts: Counts | None) -> bytes:
        words = words_of(plan, position)
        asked = plan.request.document
        length_ms, wanted = asked["length_ms"], asked["response_format"]
        text, cues = "".join(words), cues_of(words, length_ms)
        if wanted == "text":
            return f"{text}\n".encode()
        if wanted in SUBTITLES:
            return SUBTITLES[wanted](cues).encode()
        answer: dict[str, Any] = {"text": text}
        if wanted == "verbose_json":
            answer = self._verbose(asked, words, cues)
        elif wanted == "diarized_json":
            answer = {"task": self.task, "duration": length_ms / 1_000, "text": text}
            answer["segments"] = [spoken(cue) for cue in cues]
        if counts is not None:
            answer["usage"] = self.usage(counts)
        return orjson.dumps(answer)

    def _verbose(
        self, asked: Mapping[str, Any], words: list[str], cues: list[Cue]
    ) -> dict[str, Any]:
        answer: dict[str, Any] = {
            "task": self.task,
            "language": "english",
            "duration": asked["length_ms"] / 1_000,
            "text": "".join(words),
        }
        granularities = asked.get("timestamp_granularities[]") or ["segment"]
        if "segment" in granularities:
            answer["segments"] = [segment(cue) for cue in cues]
        if "word" in granularities:
            answer["words"] = [
                {"word": cue.text.strip(), "start": cue.start_s, "end": cue.end_s}
                for cue in cues_of(words, asked["length_ms"], 1)
            ]
        return answer


class TranslationsDialect(TranscriptionsDialect):
    """OpenAI's translations into English; none is streamed."""

    name = "openai-translations"
    task = "translate"
    fields = TRANSLATION_FIELDS


class _Events:
    """A transcript as it is understood, a word or a segment an event."""

    def __init__(self, dialect: TranscriptionsDialect, plan: ChatPlan) -> None:
        asked = plan.request.document
        self._dialect = dialect
        self._diarized = asked["response_format"] == "diarized_json"
        self._plan = plan
        self._made = 0
        self._segments = 0

    def begin(self) -> bytes:
        return b""

    def piece(self, segment: Segment, choice: int, start: int, end: int) -> bytes:
        self._made = segment.start + end
        delta = {"type": "transcript.text.delta", "delta": segment.text(choice, start, end)}
        ready = self._made // SEGMENT_WORDS
        return _event(delta) + self._spoken(ready)

    def _spoken(self, ready: int) -> bytes:
        """The segments that are whole by now."""
        if not self._diarized or ready <= self._segments:
            return b""
        length_ms = self._plan.request.document["length_ms"]
        cues = cues_of(words_of(self._plan, self._plan.limit), length_ms)
        found, self._segments = cues[self._segments : ready], ready
        return b"".join(_event(spoken(cue)) for cue in found)

    def finish(self, reason: Finish, counts: Counts | None) -> bytes:
        rest = self._spoken(-(-self._made // SEGMENT_WORDS))
        text = "".join(words_of(self._plan, self._made))
        done: dict[str, Any] = {"type": "transcript.text.done", "text": text}
        if counts is not None:
            done["usage"] = self._dialect.usage(counts)
        return rest + _event(done) + b"data: [DONE]\r\n\r\n"

    def error(self, kind: str) -> bytes:
        error = ApiError(SERVER_ERROR, kind="server_error")
        return _event({"type": "error"} | error_object(error))


def words_of(plan: ChatPlan, position: int) -> list[str]:
    """The tokens of the transcript before a position, each with its space."""
    words: list[str] = []
    for part in plan.answer.segments:
        if part.kind in ("text", "refusal"):
            words += [part.text(0, place, place + 1) for place in range(part.made(position))]
    return words


def _event(document: dict[str, Any]) -> bytes:
    return b"data: %b\r\n\r\n" % orjson.dumps(document)


def _cut(values: Mapping[str, Any]) -> bool:
    return "chunking_strategy" in values or "chunking_strategy[type]" in values


def _length_ms(form: Form) -> int:
    files = form.files("file")
    if len(files) > 1:
        raise ApiError("Duplicate parameter: 'file'.", param="file")
    data = files[0].data
    if len(data) > FILE_MAX_BYTES:
        raise ApiError(
            f"{len(data)}: Maximum content size limit ({FILE_MAX_BYTES}) exceeded "
            f"({len(data)} bytes read)",
            status=413,
        )
    length_ms = sound_ms(data)
    if length_ms is None:
        raise ApiError(
            "Invalid file format. Supported formats: ['flac', 'm4a', 'mp3', 'mp4', 'mpeg', "
            "'mpga', 'oga', 'ogg', 'wav', 'webm']"
        )
    if length_ms < SHORTEST_MS:
        raise ApiError(
            "Audio file is too short. Minimum audio length is 0.1 seconds.",
            param="file",
            code="audio_too_short",
        )
    return length_ms
