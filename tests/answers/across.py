"""An answer before and after translation: what has to be equal, what may be lost and by which rule.

Text, reasoning, calls, finish reason and usage have to be equal, up to the rules of this file.
Everything else that is not as it was is a loss, and goes into the table of losses by its name.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import jiter

from engine.events import Usage
from tests.answers import reading
from tests.answers.reading import Call, Choice, InvalidJson, Reading

# What a client's protocol says of an end that it has no word for (WIRE-FACTS section 8).
FINISHES = {
    "openai_chat": {
        reading.STOP_SEQUENCE: reading.STOP,
        reading.CONTEXT: reading.LENGTH,
        reading.BLOCKED: reading.FILTERED,
        reading.PAUSED: reading.STOP,
        reading.MALFORMED: reading.STOP,
        reading.OTHER: reading.STOP,
    },
    "openai_responses": {
        reading.STOP_SEQUENCE: reading.STOP,
        reading.CONTEXT: reading.LENGTH,
        reading.BLOCKED: reading.FILTERED,
        reading.PAUSED: reading.STOP,
        reading.MALFORMED: reading.STOP,
        reading.OTHER: reading.STOP,
    },
    "anthropic": {
        reading.BLOCKED: reading.FILTERED,
        reading.MALFORMED: reading.STOP,
        reading.OTHER: reading.STOP,
    },
    "gemini": {
        reading.STOP_SEQUENCE: reading.STOP,
        reading.CONTEXT: reading.LENGTH,
        reading.PAUSED: reading.STOP,
    },
}
_ONE_CHOICE = frozenset({"anthropic", "openai_responses"})
_NO_REFUSAL_TEXT = frozenset({"anthropic", "gemini"})
_NO_CACHE_WRITES = frozenset({"gemini"})
_OBJECTS_ONLY = frozenset({"anthropic", "gemini"})

_EQUAL = ("text", "reasoning", "refusal", "calls", "finish")
_MAYBE_LOST = (
    "citations",
    "media",
    "transcript",
    "logprobs",
    "stop_sequence",
    "explanation",
    "redacted",
    "signatures",
)
_MAYBE_LOST_OF_ANSWER = ("id", "model", "service_tier")


@dataclass(frozen=True, slots=True)
class Comparison:
    """What is wrong, and what is lost; names and numbers only, nothing of the answer."""

    wrong: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)


def compare(original: Reading, got: Reading, target: str) -> Comparison:
    """Hold what a client of `target` reads against what the provider's own SDK reads."""
    found = Comparison()
    choices, theirs_all = original.choices, got.choices
    if original.failed and got.failed:  # an empty choice may have begun, or none
        choices, theirs_all = tuple(filter(_says, choices)), tuple(filter(_says, theirs_all))
    if target in _ONE_CHOICE and len(choices) > 1:
        found.lost.append("choices beyond the first")
        choices = choices[:1]
    if len(choices) != len(theirs_all):
        found.wrong.append(f"{len(choices)} choices are {len(theirs_all)}")
    for mine, theirs in zip(choices, theirs_all, strict=False):
        wanted = _fitted(_as_parsed(mine, theirs), target, found)
        for name in _EQUAL:
            if getattr(wanted, name) != getattr(theirs, name):
                found.wrong.append(_unequal(name, getattr(wanted, name), getattr(theirs, name)))
        for name in _MAYBE_LOST:
            _note(name, getattr(wanted, name), getattr(theirs, name), found)
    for name in _MAYBE_LOST_OF_ANSWER:
        _note(name, getattr(original, name), getattr(got, name), found)
    if original.failed != got.failed:
        found.wrong.append(f"failed: {original.failed} is {got.failed}")
    _compare_usage(original.usage, got.usage, target, found)
    return found


def _says(choice: Choice) -> bool:
    return choice != Choice(finish=choice.finish)


def _as_parsed(mine: Choice, theirs: Choice) -> Choice:
    """Arguments that the limit has cut off, as Anthropic's SDK parses what there is of them."""
    if mine.finish != reading.LENGTH or len(mine.calls) != len(theirs.calls):
        return mine
    calls = [
        got if isinstance(call.arguments, InvalidJson) and _is_begun(call, got) else call
        for call, got in zip(mine.calls, theirs.calls, strict=True)
    ]
    return replace(mine, calls=tuple(calls))


def _is_begun(call: Call, got: Call) -> bool:
    begun = jiter.from_json(call.arguments.text.encode(), partial_mode=True)
    return got == Call(call.name, begun)


def _fitted(choice: Choice, target: str, found: Comparison) -> Choice:
    """The choice as its target can say it; what that changes is lost."""
    finish = FINISHES[target].get(choice.finish, choice.finish)
    if finish == reading.STOP and choice.calls:
        finish = reading.TOOLS
    if finish != choice.finish:
        found.lost.append(f"finish: '{choice.finish}' said as '{finish}'")
        choice = replace(choice, finish=finish)
    if choice.refusal and target in _NO_REFUSAL_TEXT:
        found.lost.append("refusal: its words said as text, the end as a filter's")
        filtered = reading.FILTERED if finish == reading.STOP else finish
        choice = replace(choice, text=choice.text + choice.refusal, refusal="", finish=filtered)
    if target in _OBJECTS_ONLY:
        calls = tuple(_with_object(call) for call in choice.calls)
        if calls != choice.calls:
            found.lost.append("arguments that are no JSON object: wrapped in one")
            choice = replace(choice, calls=calls)
    return choice


def _with_object(call: Call) -> Call:
    match call.arguments:
        case InvalidJson(text):
            return Call(call.name, {"arguments": text})
        case _:
            return call


def _note(name: str, mine: Any, theirs: Any, found: Comparison) -> None:
    if name == "citations":  # a source may be named once for all that it is the source of
        mine, theirs = tuple(dict.fromkeys(mine)), tuple(dict.fromkeys(theirs))
    if mine == theirs or not mine:
        return
    count = len(mine) if isinstance(mine, tuple) else 1
    kept = len(set(mine) & set(theirs)) if isinstance(mine, tuple) else 0
    if not theirs:
        found.lost.append(name)
    elif count > 1 and kept:
        found.lost.append(f"{name}: some")
    else:
        found.lost.append(f"{name}: another")


def _compare_usage(
    mine: Usage | None, theirs: Usage | None, target: str, found: Comparison
) -> None:
    if mine is None:
        # A protocol may have to say something: then that nothing was reported.
        if theirs not in (None, Usage()):
            found.wrong.append("usage where there was no report")
        return
    if target in _NO_CACHE_WRITES and mine.cache_write_tokens:
        found.lost.append("usage: tokens written to the cache are plain input")
        mine = replace(mine, cache_write_tokens=0)
    if mine != theirs:
        found.wrong.append(f"usage {mine} is {theirs}")


def _unequal(name: str, mine: Any, theirs: Any) -> str:
    """Lengths and the place of the first difference: enough to find it, nothing of the answer."""
    if name == "finish":
        return f"finish: '{mine}' is '{theirs}'"
    at = next(
        (at for at, (a, b) in enumerate(zip(mine, theirs, strict=False)) if a != b),
        min(len(mine), len(theirs)),
    )
    return f"{name}: of {len(mine)} there are {len(theirs)}, different from {at} on"
