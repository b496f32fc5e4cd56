"""Answers as canonical events: a whole one, and chunk by chunk.

Source: google-genai's `types.GenerateContentResponse`, and what providers are seen to send: no
`candidates`, no `content`, no `parts`, no `index`, empty parts, enum values as numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from engine.conversation import Native
from engine.events import (
    Begin,
    Event,
    Finish,
    FinishReason,
    LogprobsDelta,
    NativeEvent,
    TokenLogprob,
)
from engine.protocols.fields import dict_of, dicts, text_of
from engine.protocols.gemini.answer_parts import ChoiceReader
from engine.protocols.gemini.finish import is_blocked, read_finish
from engine.protocols.gemini.grounding import read_citations
from engine.protocols.gemini.signatures import native
from engine.protocols.gemini.usage import TIERS, read_usage

_OF_ANSWER = frozenset({"candidates", "usageMetadata", "responseId", "modelVersion"})
_OF_CANDIDATE = frozenset({"content", "index", "finishReason", "logprobsResult"})
_CHOICES_MAX = 128


class AnswerReader:
    """Reads the documents of one answer: one of a whole answer, many of a stream.

    Attributes:
        id, model: as the documents said them.
        choices: by index, those that have been seen.
        blocked: the prompt was, so that there is no candidate.
    """

    def __init__(self, *, whole: bool = False, cite: bool = True) -> None:
        self.id = ""
        self.model = ""
        self.choices: dict[int, ChoiceReader] = {}
        self.blocked = False
        self._whole = whole
        self._cite = cite
        self._begun = False
        self._said: dict[str, Any] = {}
        self._cited: set[tuple[object, ...]] = set()

    @property
    def finished(self) -> bool:
        """All candidates seen have ended, and there is one; or the prompt was blocked."""
        if self.blocked and not self.choices:
            return True
        return bool(self.choices) and all(choice.finished for choice in self.choices.values())

    @property
    def identity(self) -> dict[str, Any]:
        """What every chunk of this answer repeats."""
        return {
            name: value
            for name, value in (("modelVersion", self.model), ("responseId", self.id))
            if value
        }

    def read(self, document: dict[str, Any]) -> list[Event]:
        """What a document says: its ends and usage last.

        Raises:
            ValueError: it is not of this protocol.
        """
        usage = read_usage(document)
        events = self._head(document, counted=usage is not None)
        ends: list[Event] = []
        candidates = list(dicts(document.get("candidates")))
        for position, candidate in enumerate(candidates):
            index = candidate.get("index", position)
            if not isinstance(index, int) or not 0 <= index < _CHOICES_MAX:
                raise ValueError("a candidate's index is not one")
            said, end = self._candidate(candidate, index)
            events += said
            if end is not None:
                ends.append(end)
        ends += self._blocked(document) if not candidates else ()
        return [*events, *ends, *(() if usage is None else (usage,))]

    def _head(self, document: dict[str, Any], *, counted: bool) -> list[Event]:
        self.id = text_of(document.get("responseId")) or self.id
        self.model = text_of(document.get("modelVersion")) or self.model
        rest = {
            name: value
            for name, value in document.items()
            if (name not in _OF_ANSWER or (name == "usageMetadata" and not counted))
            and self._said.get(name) != value
        }
        self._said |= rest
        if self._begun:
            return [NativeEvent(native(answer=rest), next(iter(rest)))] if rest else []
        self._begun = True
        fields: dict[str, Any] = {"answer": rest} if rest else {}
        tier = text_of(dict_of(document.get("usageMetadata")).get("serviceTier")).lower()
        if self._whole and document.get("candidates") == []:
            fields["no_candidates"] = True
        return [
            Begin(
                self.id or None,
                self.model or None,
                service_tier=tier if tier in TIERS else None,
                native=native(**fields),
            )
        ]

    def _blocked(self, document: dict[str, Any]) -> list[Event]:
        feedback = dict_of(document.get("promptFeedback"))
        if is_blocked(feedback.get("blockReason")):
            self.blocked = True
            words = text_of(feedback.get("blockReasonMessage")) or None
            reason = FinishReason.PROMPT_BLOCKED
            return [Finish(reason, explanation=words, native=native(no_candidate=True))]
        if self._whole:
            return [Finish(FinishReason.OTHER, native=native(no_candidate=True))]
        return []

    def _candidate(
        self, candidate: dict[str, Any], index: int
    ) -> tuple[list[Event], Finish | None]:
        choice = self.choices.get(index)
        if choice is None:
            choice = self.choices[index] = ChoiceReader(index, whole=self._whole)
        content = candidate.get("content")
        parts = content.get("parts") if isinstance(content, dict) else None
        events: list[Event] = []
        for part in dicts(parts):
            events += choice.part(part, self.id)
        if (logprobs := _logprobs(candidate.get("logprobsResult"), index)) is not None:
            events.append(logprobs)
        if self._cite and ("groundingMetadata" in candidate or "citationMetadata" in candidate):
            events += self._citations(candidate, choice)
        rest = {name: value for name, value in candidate.items() if name not in _OF_CANDIDATE}
        raw = candidate.get("finishReason")
        reason = read_finish(raw, called=choice.calls > 0)
        if raw is not None:
            rest = {"finishReason": raw} | rest
        if choice.finished or (reason is None and not self._whole):
            extra = NativeEvent(native(candidate=rest), next(iter(rest)), index) if rest else None
            return [*events, *(() if extra is None else (extra,))], None
        choice.finished = True
        events += choice.close_call()
        return events, Finish(
            reason or FinishReason.OTHER,
            index,
            explanation=text_of(candidate.get("finishMessage")) or None
            if reason is FinishReason.FILTERED
            else None,
            native=self._shape(candidate, rest),
        )

    def _shape(self, candidate: dict[str, Any], rest: dict[str, Any]) -> Native:
        """What an end keeps of its candidate; of a whole one, also how it was laid out."""
        if not self._whole:
            return native(candidate=rest)
        content = candidate.get("content")
        layout: dict[str, Any] = {"index": candidate.get("index")}
        if isinstance(content, dict):
            layout["content"] = {key: value for key, value in content.items() if key != "parts"}
            layout["parts"] = content.get("parts") is not None
        return native(candidate=rest, layout=layout)

    def _citations(self, candidate: dict[str, Any], choice: ChoiceReader) -> Sequence[Event]:
        found = []
        for citation in read_citations(candidate, "".join(choice.text), choice.index):
            key = (citation.choice, citation.url, citation.title, citation.start, citation.end)
            if key not in self._cited:
                self._cited.add(key)
                found.append(citation)
        return found


def _logprobs(result: object, index: int) -> LogprobsDelta | None:
    if not isinstance(result, dict):
        return None
    tops = list(dicts(result.get("topCandidates")))
    tokens = []
    for position, chosen in enumerate(dicts(result.get("chosenCandidates"))):
        top = tops[position].get("candidates") if position < len(tops) else None
        tokens.append(_token(chosen, tuple(_token(other) for other in dicts(top))))
    return LogprobsDelta(tuple(tokens), index, native=native(logprobsResult=result))


def _token(candidate: dict[str, Any], top: tuple[TokenLogprob, ...] = ()) -> TokenLogprob:
    logprob = candidate.get("logProbability", 0.0)
    number = isinstance(logprob, int | float) and not isinstance(logprob, bool)
    return TokenLogprob(text_of(candidate.get("token")), float(logprob) if number else 0.0, top=top)
