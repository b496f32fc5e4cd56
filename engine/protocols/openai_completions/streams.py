"""Streams of completions: read along on their way, and made of canonical events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from engine.events import (
    Begin,
    Event,
    Finish,
    FinishReason,
    LogprobsDelta,
    RefusalDelta,
    TextDelta,
    Usage,
    UsageReport,
)
from engine.protocols.codec import ClientRequest, Identity
from engine.protocols.fields import text_of
from engine.protocols.openai_completions import answers
from engine.protocols.openai_completions.requests import choices_of, read_prompts
from engine.protocols.openai_stream import (
    DONE_EVENT,
    EventDecoder,
    encode_event,
    encode_length_ending,
    without_usage,
)
from engine.protocols.quirks import PLAIN, Quirks


class CompletionsVerbatimDecoder(EventDecoder):
    """For a stream that goes to a client of this protocol; see `codec.VerbatimDecoder`.

    Where the client did not ask for usage, the usage-only chunk is dropped and a top-level
    `"usage":null` is cut out of its event; no other byte is touched.
    """

    def __init__(self, request: ClientRequest, *, end_marker: bool, quirks: Quirks = PLAIN) -> None:
        super().__init__(end_marker=end_marker)
        self._reader = answers.AnswerReader(quirks)
        self._include_usage = request.include_usage
        self._choices = _count_choices(request)
        self._sent: set[int] = set()
        """Choices whose end has gone out."""
        self._like: dict[str, Any] = {}

    def _read(self, document: dict[str, Any], frame: bytes) -> Sequence[Event]:
        return () if self._is_error(document, frame) else self._reader.read(document)

    def client_frame(self, frame: bytes) -> bytes:
        """The event decoded last as the client gets it."""
        if self.error is not None:
            return b""
        document = self._document
        if document.get("id"):
            self._like = document
        self._sent |= self._reader.ended
        if not self._include_usage:
            return without_usage(frame, document)
        if len(self._sent) >= self._choices and document.get("usage"):
            self.ending = True
        return frame

    def end_frame(self) -> bytes:
        """What `end_of_input` found, with its blank line."""
        return self.client_frame(self._end_frame) if self._end_frame else b""

    def cut(self, usage: Usage) -> bytes:
        """`finish_reason: "length"` for every open choice, usage if it was asked for, `[DONE]`."""
        return encode_length_ending(
            self._like or self._document,
            [index for index in range(self._choices) if index not in self._sent],
            usage if self._include_usage and not self.ending else None,
            {"text": "", "logprobs": None},
        )

    def resume(self, request: ClientRequest, identity: Identity, text: str) -> CompletionsEncoder:
        """Chunks of the same completion."""
        return CompletionsEncoder.resumed(request, identity, self._like or self._document)


class CompletionsEncoder:
    """For a client of this protocol; see `codec.StreamEncoder`. A refusal is text: there is no
    other place for it. Thinking has none at all."""

    holding = False
    """Nothing that was generated waits."""

    def __init__(self, request: ClientRequest, identity: Identity) -> None:
        self._include_usage = request.include_usage
        self._choices = _count_choices(request)
        self._identity = identity
        self._usage: UsageReport | None = None
        self._finishes: dict[int, Finish] = {}
        self._seen: set[int] = set()
        self._ends: dict[int, int] = {}
        """How far the logprobs of a choice have come, in characters."""
        self._set_frame(None)

    @classmethod
    def resumed(
        cls, request: ClientRequest, identity: Identity, like: Mapping[str, Any]
    ) -> CompletionsEncoder:
        """For a completion that has begun to go out; `like` is a chunk of it."""
        encoder = cls(request, identity)
        created = like.get("created")
        encoder._set_frame(
            Begin(
                text_of(like.get("id")) or None,
                text_of(like.get("model")) or None,
                created if isinstance(created, int) and created > 0 else None,
            )
        )
        return encoder

    def _set_frame(self, begin: Begin | None) -> None:
        """What stands before and after the choices of every chunk."""
        self._head = answers.encode_identity(begin, self._identity)
        self._prefix = b"data: " + orjson.dumps(self._head)[:-1] + b',"choices":['
        self._suffix = b'],"usage":null}\n\n' if self._include_usage else b"]}\n\n"

    def encode(self, event: Event) -> bytes:
        """The chunk of an event."""
        match event:
            case TextDelta(text=text, choice=index) | RefusalDelta(text=text, choice=index):
                return self._chunk(answers.encode_choice(index, text)) if text else b""
            case LogprobsDelta(tokens=tokens, choice=index):
                columns, end = answers.encode_logprobs(tokens, self._ends.get(index, 0))
                self._ends[index] = end
                return self._chunk(answers.encode_choice(index) | {"logprobs": columns})
            case Begin():
                self._set_frame(event)
            case Finish(choice=index):
                self._finishes[index] = event
            case UsageReport():
                self._usage = event
        return b""

    def _chunk(self, choice: dict[str, Any]) -> bytes:
        return self._prefix + orjson.dumps(choice) + self._suffix

    def finish(self) -> bytes:
        """The finish reasons, usage if it was asked for, `[DONE]`."""
        usage = self._usage.usage if self._usage is not None else None
        return self._ending(self._finishes, usage)

    def cut(self, usage: Usage) -> bytes:
        """`finish_reason: "length"` for what is open, usage if it was asked for, `[DONE]`."""
        cut = {index: Finish(FinishReason.LENGTH, index) for index in range(self._choices)}
        return self._ending(cut | self._finishes, usage)

    def _ending(self, finishes: dict[int, Finish], usage: Usage | None) -> bytes:
        out = [
            self._chunk(
                answers.encode_choice(index, reason=answers.encode_reason(finishes[index].reason))
            )
            for index in sorted(finishes)
        ]
        if self._include_usage and usage is not None:
            figures = answers.encode_figures(usage)
            out.append(encode_event(self._head | {"choices": [], "usage": figures}))
        return b"".join(out) + DONE_EVENT


def _count_choices(request: ClientRequest) -> int:
    """The choices of all prompts that the client gets."""
    return choices_of(request.document) * len(read_prompts(request.document.get("prompt")))
