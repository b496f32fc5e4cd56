"""What the simulated model answers: the segments of one answer, from request and directives."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final

import toktok

from bench.simulate.answer import Answer, Finish, Kind, Segment, ToolCall, Unit
from bench.simulate.arguments import make_input, make_value
from bench.simulate.chat import ChatRequest
from bench.simulate.dialect import Dialect
from bench.simulate.directives import DirectiveError, Directives
from bench.simulate.text import FixedText, TextSource, WordSource, seed_of
from bench.simulate.tokens import ENCODING

CALLS_MAX: Final = 64
PIECES_MAX: Final = 4_096
"""Tokens of one JSON text; what is longer comes in one last piece."""
_FINISHES: Final[dict[str, tuple[Kind, Finish]]] = {
    "0": ("text", "stop"),
    "1": ("refusal", "refusal"),
    "filter": ("text", "filter"),
    "prompt": ("refusal", "refusal"),
}


def compose(request: ChatRequest, directives: Directives, seed: bytes, dialect: Dialect) -> Answer:
    """Reasoning, text, calls: whichever there are, in this order.

    Raises:
        DirectiveError: a tool is to be called that is not declared.
    """
    if request.make is not None:
        return request.make(directives, seed)
    if directives.refuse == "prompt":
        return Answer((), "refusal", blocked=True)
    calls = _calls(request, directives, seed, dialect)
    kind, finish = _FINISHES[directives.refuse]
    segments: list[Segment] = []
    if directives.reasoning or request.always_thinks:
        segments.append(_reasoning(request, directives.reasoning, seed, dialect))
    start = segments[-1].end if segments else 0
    sources, tokens = _text(request, directives, seed, calling=bool(calls))
    if tokens:
        segments.append(Segment(kind, start, tokens, sources))
        start += tokens
    if calls:
        units = _units(calls, interleaved=directives.interleave)
        segments.append(Segment("calls", start, len(units), calls=calls, units=units))
        finish = "calls"
    return Answer(tuple(segments), finish)


def _reasoning(request: ChatRequest, tokens: int, seed: bytes, dialect: Dialect) -> Segment:
    sources = [
        WordSource(seed_of(seed, b"reasoning", str(choice).encode()))
        for choice in range(request.choices)
    ]
    shown = request.reasoning == "text"
    signature = None
    if request.reasoning != "none":
        text = sources[0].text(0, tokens) if shown else ""
        signature = dialect.sign_reasoning(text, seed)
    return Segment("reasoning", 0, tokens, sources, shown=shown, signature=signature)


def _text(
    request: ChatRequest, directives: Directives, seed: bytes, *, calling: bool
) -> tuple[list[TextSource], int]:
    """The text of each choice and its tokens; JSON where the request has a schema for it."""
    if calling:
        tokens = directives.preamble
    elif request.answer_schema is not None and directives.refuse == "0":
        document = make_value(request.answer_schema, seed)
        pieces = _pieces(json.dumps(document, ensure_ascii=False))
        return [FixedText(pieces)] * request.choices, len(pieces)
    else:
        tokens = directives.tokens
    return [
        WordSource(seed_of(seed, str(choice).encode())) for choice in range(request.choices)
    ], tokens


def _calls(
    request: ChatRequest, directives: Directives, seed: bytes, dialect: Dialect
) -> list[ToolCall]:
    tools = {tool.name: tool for tool in request.tools}
    calls: list[ToolCall] = []
    for number, name in enumerate(_names(request, directives)):
        own = seed_of(seed, b"call", str(number).encode())
        call_id = dialect.call_id(own.hex(), given=directives.ids)
        if tools[name].custom:
            calls.append(ToolCall(call_id, name, make_input(own), custom=True))
            continue
        arguments = make_value({"type": "object"} | dict(tools[name].schema), own)
        if not isinstance(arguments, dict):
            arguments = {}
        signature = None if number else dialect.sign_call(name, arguments, own)
        text = json.dumps(arguments, ensure_ascii=False)
        calls.append(ToolCall(call_id, name, text, signature))
    return calls


def _names(request: ChatRequest, directives: Directives) -> Sequence[str]:
    """The tools to call now, by what is wished, allowed and forced."""
    if request.rounds >= directives.steps or directives.refuse != "0":
        return ()
    wished = directives.tools
    declared = [tool.name for tool in request.tools]
    if wished not in (None, ("auto",)):
        for name in wished or ():
            if name not in declared:
                raise DirectiveError(f"Directive 'tools' names {name!r}, which is not declared.")
    if not request.may_call:
        return ()
    if wished is None:
        return request.forced[:1]
    allowed = request.forced or declared
    names = [n for n in (declared if wished == ("auto",) else wished) if n in allowed]
    return (names or list(request.forced[:1]))[: CALLS_MAX if request.parallel else 1]


def _units(calls: Sequence[ToolCall], *, interleaved: bool) -> list[Unit]:
    """A token for each name, then those of the arguments; interleaved: one of each in turn."""
    rows: list[list[Unit]] = []
    for index, call in enumerate(calls):
        pieces = _pieces(call.arguments)
        row = [Unit(index, "", first=True)]
        row += [Unit(index, piece, last=i == len(pieces)) for i, piece in enumerate(pieces, 1)]
        rows.append(row)
    if not interleaved:
        return [unit for row in rows for unit in row]
    longest = max(len(row) for row in rows)
    return [row[place] for place in range(longest) for row in rows if place < len(row)]


def _pieces(text: str) -> list[str]:
    """A text cut where the tokenizer cuts it; no character is cut in two."""
    pieces: list[str] = []
    rest = text
    while rest and len(pieces) < PIECES_MAX:
        size = 1
        piece, _ = toktok.truncate(rest[:64], size, ENCODING)
        while not piece:  # a character of several tokens
            size += 1
            piece, _ = toktok.truncate(rest[:64], size, ENCODING)
        pieces.append(piece)
        rest = rest[len(piece) :]
    return [*pieces, rest] if rest else pieces
