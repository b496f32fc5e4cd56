"""Gemini generateContent: chunks of a stream in both framings, unary answers, usage, errors.

Shapes and key order are those of recorded traffic: usage as running totals on every chunk, no
`candidatesTokenCount` while there are only thoughts, CRLF between events, an empty text part last.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from typing import Any, Final

import orjson

from bench.simulate.answer import Finish, Segment, ToolCall, parsed
from bench.simulate.chat import Counts
from bench.simulate.errors import ApiError, retry_headers
from bench.simulate.plan import ChatPlan

FINISH_REASONS: Final[dict[Finish, str]] = {
    "stop": "STOP",
    "length": "MAX_TOKENS",
    "calls": "STOP",
    "refusal": "SAFETY",
    "filter": "PROHIBITED_CONTENT",
}
_TEXT: Final = "@text@"
_OUTPUT: Final = 987_654_321_001
_TOTAL: Final = 987_654_321_002
"""Stand in a template for what changes from one chunk to the next."""
_STATUSES: Final[dict[int, tuple[str, str]]] = {
    400: ("INVALID_ARGUMENT", "Request contains an invalid argument."),
    401: ("UNAUTHENTICATED", "Request had invalid authentication credentials."),
    403: ("PERMISSION_DENIED", "The caller does not have permission"),
    404: ("NOT_FOUND", "Requested entity was not found."),
    429: ("RESOURCE_EXHAUSTED", "You exceeded your current quota, please check your plan."),
    499: ("CANCELLED", "The operation was cancelled."),
    500: ("INTERNAL", "An internal error has occurred. Please retry."),
    503: ("UNAVAILABLE", "The model is overloaded. Please try again later."),
    504: ("DEADLINE_EXCEEDED", "The request timed out. Please try again."),
}


class _Template:
    """A chunk with gaps for a text, the candidates' tokens and the total.

    `output_more` and `total_more` are what those counts have beyond the tokens made so far.
    """

    __slots__ = ("_format", "_gaps", "_output_more", "_total_more")

    def __init__(self, chunk: bytes, output_more: int, total_more: int) -> None:
        self._output_more = output_more
        self._total_more = total_more
        # The gaps come in this order, since that is the order of the keys.
        pieces = re.split(rb"@text@|98765432100[12]", chunk.replace(b"%", b"%%"))
        self._gaps = len(pieces) - 1
        self._format = b"%d".join([b"%b".join(pieces[:2]), *pieces[2:]])

    def fill(self, text: bytes, made: int) -> bytes:
        """The chunk once so many tokens are made."""
        if self._gaps == 1:
            return self._format % text
        if self._gaps == 2:
            return self._format % (text, made + self._total_more)
        return self._format % (text, made + self._output_more, made + self._total_more)


class GeminiGrammar:
    """Chunks of one stream."""

    def __init__(self, plan: ChatPlan) -> None:
        self._plan = plan
        self._choices = plan.request.choices
        self._as_array = plan.request.as_array
        self._reported = plan.counts(0)
        self._templates: dict[tuple[int, int], _Template] = {}
        self._begun = False

    def begin(self) -> bytes:
        """Nothing: the first chunk is the first token's."""
        return b""

    def piece(self, segment: Segment, choice: int, start: int, end: int) -> bytes:
        """One chunk with a piece of text, or with the calls that are whole by now."""
        if segment.kind == "calls":
            done = [unit.index for unit in segment.units[start:end] if unit.last]
            if not done:
                return b""
            parts = [call_part(segment.calls[index]) for index in done]
            return self._frame(self._chunk(choice, parts, segment.start + end))
        if segment.kind == "media":
            parts = media_parts(segment, start, end)
            return self._frame(self._chunk(choice, parts, segment.start + end))
        if segment.kind == "reasoning" and self._plan.request.reasoning != "text":
            return b""
        template = self._templates.get((segment.start, choice))
        if template is None:
            template = self._templates[segment.start, choice] = self._template(segment, choice)
        text = segment.sources[choice].escaped(start, end)
        made = (segment.start + start) * self._choices + (end - start) * (choice + 1)
        return self._frame(template.fill(text, made))

    def _template(self, segment: Segment, choice: int) -> _Template:
        part: dict[str, Any] = {"text": _TEXT}
        if segment.kind == "reasoning":
            part["thought"] = True
        chunk = chunk_object(self._plan, [candidate(choice, [part])])
        reported, output_more, total_more = self._reported, 0, 0
        if reported is not None:
            wrong = reported.output_tokens  # what `usage=wrong` adds
            thoughts = self._plan.answer.count("reasoning", segment.start) * self._choices
            output_more, total_more = wrong - thoughts, wrong + reported.input_tokens
            usage: dict[str, Any] = {"promptTokenCount": reported.input_tokens}
            if segment.kind != "reasoning":
                usage["candidatesTokenCount"] = _OUTPUT
            usage["totalTokenCount"] = _TOTAL
            usage["promptTokensDetails"] = prompt_details(reported)
            if thoughts:
                usage["thoughtsTokenCount"] = thoughts
            chunk["usageMetadata"] = usage
        return _Template(self._json(chunk), output_more, total_more)

    def _chunk(self, choice: int, parts: list[dict[str, Any]], position: int, **more: Any) -> bytes:
        chunk = chunk_object(self._plan, [candidate(choice, parts, **more)])
        counts = self._plan.counts(position)
        if counts is not None:
            chunk["usageMetadata"] = usage_metadata(counts)
        return self._json(chunk)

    def _json(self, chunk: dict[str, Any]) -> bytes:
        if "usageMetadata" in chunk:  # before the version and the id
            chunk |= {key: chunk.pop(key) for key in ("modelVersion", "responseId")}
        if self._as_array:
            return orjson.dumps(chunk, option=orjson.OPT_INDENT_2) + b"\n"
        return json.dumps(chunk, separators=(",", ": ")).encode()

    def _frame(self, chunk: bytes) -> bytes:
        if not self._as_array:
            return b"data: %b\r\n\r\n" % chunk
        before = b",\r\n" if self._begun else b"["
        self._begun = True
        return before + chunk

    def finish(self, reason: Finish, counts: Counts | None) -> bytes:
        """A last chunk of each candidate with its reason; an array ends."""
        plan = self._plan
        last: dict[str, Any] = {"text": ""}
        thoughts = [s for s in plan.answer.segments if s.kind == "reasoning" and s.signature]
        if thoughts and not any(s.kind == "calls" for s in plan.answer.segments):
            last["thoughtSignature"] = thoughts[0].signature
        chunks = []
        for choice in range(self._choices):
            if plan.answer.blocked:
                chunk = blocked_object(plan)
            else:
                more = {"finishReason": FINISH_REASONS[reason]}
                chunk = chunk_object(plan, [candidate(choice, [last], **more)])
            if counts is not None:
                chunk["usageMetadata"] = usage_metadata(counts)
            chunks.append(self._frame(self._json(chunk)))
        return b"".join(chunks) + (b"]" if self._as_array else b"")

    def error(self, kind: str) -> bytes:
        """An error object in place of a chunk: framed as one, or bare and pretty-printed."""
        error = error_object(status_error(503, None))
        if self._as_array:
            return self._frame(orjson.dumps(error, option=orjson.OPT_INDENT_2) + b"\n") + b"]"
        if kind == "error_bare":
            return orjson.dumps(error, option=orjson.OPT_INDENT_2) + b"\n"
        return self._frame(json.dumps(error, separators=(",", ": ")).encode())


def candidate(choice: int, parts: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    """One candidate of a chunk."""
    return {"content": {"parts": parts, "role": "model"}, **more, "index": choice}


def chunk_object(plan: ChatPlan, candidates: list[dict[str, Any]]) -> dict[str, Any]:
    """A response without its usage."""
    return {
        "candidates": candidates,
        "modelVersion": plan.request.model,
        "responseId": plan.answer_id,
    }


def blocked_object(plan: ChatPlan) -> dict[str, Any]:
    """The answer to a prompt that is not accepted: no candidates."""
    return {
        "promptFeedback": {"blockReason": "PROHIBITED_CONTENT"},
        "modelVersion": plan.request.model,
        "responseId": plan.answer_id,
    }


def call_part(call: ToolCall) -> dict[str, Any]:
    """The part of a whole call; without `args` where there are none."""
    function: dict[str, Any] = {"name": call.name}
    arguments = parsed(call.arguments)
    if arguments:
        function["args"] = arguments
    if call.call_id:
        function["id"] = call.call_id
    part: dict[str, Any] = {"functionCall": function}
    if call.signature is not None:
        part["thoughtSignature"] = call.signature
    return part


def usage_metadata(counts: Counts) -> dict[str, Any]:
    """Gemini's usage object: thoughts are beside the candidates' tokens, not among them."""
    output = counts.output_tokens - counts.reasoning_tokens
    usage: dict[str, Any] = {"promptTokenCount": counts.input_tokens}
    if output or not counts.reasoning_tokens:
        usage["candidatesTokenCount"] = output
    usage["totalTokenCount"] = counts.input_tokens + counts.output_tokens
    if counts.cached_tokens:
        usage["cachedContentTokenCount"] = counts.cached_tokens
    usage["promptTokensDetails"] = prompt_details(counts)
    if counts.cached_tokens:
        usage["cacheTokensDetails"] = [{"modality": "TEXT", "tokenCount": counts.cached_tokens}]
    if made := _details(counts, "output"):
        usage["candidatesTokensDetails"] = made
    if counts.reasoning_tokens:
        usage["thoughtsTokenCount"] = counts.reasoning_tokens
    return usage


def prompt_details(counts: Counts) -> list[dict[str, Any]]:
    """The input by what it is; what is no media is text."""
    media = _details(counts, "input")
    text = counts.input_tokens - sum(one["tokenCount"] for one in media)
    return [{"modality": "TEXT", "tokenCount": text}, *media]


def _details(counts: Counts, side: str) -> list[dict[str, Any]]:
    return [
        {"modality": kind.upper(), "tokenCount": counts.units[unit]}
        for kind in ("image", "audio")
        if (unit := f"{side}_{kind}_tokens") in counts.units
    ]


def media_parts(segment: Segment, start: int, end: int) -> list[dict[str, Any]]:
    """Pictures are a part each, sound is one."""
    found = [piece.data for piece in segment.pieces[start:end]]
    if segment.media_type.startswith("audio/"):
        found = [b"".join(found)]
    return [
        {"inlineData": {"mimeType": segment.media_type, "data": b64encode(data).decode()}}
        for data in found
    ]


def error_object(error: ApiError) -> dict[str, Any]:
    """The error in Google's shape."""
    fallback = _STATUSES[500 if error.status >= 500 else 400]
    word = error.kind or _STATUSES.get(error.status, fallback)[0]
    found: dict[str, Any] = {"code": error.status, "message": error.message, "status": word}
    details: list[dict[str, Any]] = []
    if error.reason is not None:
        details.append(
            {
                "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                "reason": error.reason,
                "domain": "googleapis.com",
                "metadata": {"service": "generativelanguage.googleapis.com"},
            }
        )
    for name, value in error.headers:
        if name == b"retry-after":
            kind = "type.googleapis.com/google.rpc.RetryInfo"
            details.append({"@type": kind, "retryDelay": f"{value.decode()}s"})
    if details:
        found["details"] = details
    return {"error": found}


def status_error(status: int, retry_after_s: float | None) -> ApiError:
    """The error answer of a status."""
    fallback = _STATUSES[500 if status >= 500 else 400]
    kind, message = _STATUSES.get(status, fallback)
    headers = retry_headers(status, retry_after_s)
    return ApiError(message, status=status, kind=kind, headers=headers)


def generate_body(plan: ChatPlan, position: int, counts: Counts | None) -> bytes:
    """A whole response."""
    if plan.answer.blocked:
        response = blocked_object(plan)
    else:
        more = {"finishReason": FINISH_REASONS[plan.finish]}
        response = chunk_object(
            plan,
            [
                candidate(choice, parts_of(plan, choice, position), **more)
                for choice in range(plan.request.choices)
            ],
        )
    if counts is not None:
        response["usageMetadata"] = usage_metadata(counts)
    response |= {key: response.pop(key) for key in ("modelVersion", "responseId")}
    return orjson.dumps(response, option=orjson.OPT_INDENT_2) + b"\n"


def parts_of(plan: ChatPlan, choice: int, position: int) -> list[dict[str, Any]]:
    """The parts of one candidate, as far as they were generated."""
    parts: list[dict[str, Any]] = []
    signature: str | None = None
    for segment in plan.answer.segments:
        made = segment.made(position)
        if segment.kind == "calls":
            done = [unit.index for unit in segment.units[:made] if unit.last]
            parts += [call_part(segment.calls[index]) for index in done]
            signature = None
        elif segment.kind == "media":
            parts += media_parts(segment, 0, made)
        elif segment.kind == "reasoning":
            signature = segment.signature
            if made and plan.request.reasoning == "text":
                parts.append({"text": segment.text(choice, 0, made), "thought": True})
        elif made:
            parts.append({"text": segment.text(choice, 0, made)})
            if signature is not None:
                parts[-1]["thoughtSignature"] = signature
    return parts
