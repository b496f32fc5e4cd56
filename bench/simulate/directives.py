"""`#sim name=value …`: how one request asks the simulated provider to behave.

The line is the first line of the last text of a user, so it passes through any SDK, any gateway
and any translation between protocols.
What a request does not say is as the provider was told (see `behaviour`).
One table, `DIRECTIVES`, is both the parser and the help text.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, get_args

from bench.simulate.directive_values import (
    TAG_MAX,
    Directive,
    choice,
    decimal,
    flag,
    integer,
    names,
    optional,
    word,
)
from bench.simulate.errand_directives import ERRAND_DIRECTIVES, CancelKind, JobEnd

FaultKind = Literal[
    "cut",
    "rst",
    "goaway",
    "goaway_refused",
    "refused",
    "error_event",
    "error_bare",
    "corrupt",
    "oversized",
    "truncated",
    "stall",
    "eof",
    "error_ok",
    "html",
    "cut_body",
]
UsageKind = Literal["normal", "none", "wrong", "always"]
ThoughtsKind = Literal["summary", "text"]
MeteredKind = Literal["auto", "tokens", "seconds", "searches"]
MediaKind = Literal["whole", "half", "html", "empty"]
RefuseKind = Literal["0", "1", "filter", "prompt"]

TOKENS_MAX = 1_000_000
DELAY_MS_MAX = 600_000.0
ANSWER_BYTES_MAX = 1 << 28


class DirectiveError(ValueError):
    """The line is not understood; the message says what and offers a correction."""


@dataclass(frozen=True, slots=True)
class Directives:
    """What one request asks for. The fields are the directives, documented in `DIRECTIVES`."""

    tokens: int = 64
    tokens_per_second: float = 0.0
    tokens_per_event: int = 1
    head_ms: float = 0.0
    first_token_ms: float = 0.0
    ignore_max_tokens: bool = False
    cut_after: int | None = None
    fault: FaultKind | None = None
    exception: str = "throttlingException"
    stall_ms: float | None = None
    status: int | None = None
    retry_after: float | None = None
    chance: float = 1.0
    times: int | None = None
    remaining: int | None = None
    reset: float | None = None
    usage: UsageKind = "normal"
    cached: int = 0
    reasoning: int = 0
    thoughts: ThoughtsKind = "summary"
    summary_parts: int = 1
    tools: tuple[str, ...] | None = None
    preamble: int = 0
    steps: int = 1
    interleave: bool = False
    ids: bool = False
    refuse: RefuseKind = "0"
    metered: MeteredKind = "auto"
    flagged: tuple[str, ...] | None = None
    media: MediaKind = "whole"
    media_ms: int | None = None
    answer_bytes: int = 0
    recording: str | None = None
    split_seed: int = 0
    max_split: int = 64
    split_at: int | None = None
    gap_ms: float = 0.0
    tag: str | None = None
    file_s: float | None = None
    file_polls: int = 0
    file_fails: bool = False
    run_polls: int = 0
    run_s: float = 0.0
    end_polls: int = 1
    end_s: float = 0.0
    job: JobEnd = "succeeded"
    job_code: str | None = None
    late_polls: int | None = None
    progress: int | None = None
    poll_retry_after: float | None = None
    poll_errors: int = 0
    poll_status: int = 500
    poll_fault: FaultKind | None = None
    result_errors: int = 0
    result_status: int = 500
    result_fault: FaultKind | None = None
    told_seconds: int | None = None
    told_size: str | None = None
    cancel: CancelKind = "done"
    told_bytes: int | None = None
    codes: int = 0
    searches: int = 0
    pictures: int = 0


_FAULTS: Final[tuple[str, ...]] = get_args(FaultKind)
_USAGES: Final[tuple[str, ...]] = get_args(UsageKind)
_THOUGHTS: Final[tuple[str, ...]] = get_args(ThoughtsKind)
_METERED: Final[tuple[str, ...]] = get_args(MeteredKind)
_MEDIA: Final[tuple[str, ...]] = get_args(MediaKind)
_REFUSALS: Final[tuple[str, ...]] = get_args(RefuseKind)
_DELAY = decimal(0.0, DELAY_MS_MAX)
_COUNT = integer(0, TOKENS_MAX)

DIRECTIVES: Final[tuple[Directive, ...]] = (
    Directive("tokens", _COUNT, "0…1000000", "length of the answer, in tokens of each choice"),
    Directive(
        "tokens_per_second",
        decimal(0.0, 1e6),
        "0…1000000",
        "pace of each choice; 0: as fast as the network takes it",
    ),
    Directive("tokens_per_event", integer(1, 40), "1…40", "tokens in one streamed event"),
    Directive("head_ms", _DELAY, "0…600000", "delay of the response head"),
    Directive("first_token_ms", _DELAY, "0…600000", "delay of the first token, after the request"),
    Directive("ignore_max_tokens", flag, "0|1", "generate `tokens` whatever the request's limit"),
    Directive(
        "cut_after",
        optional(_COUNT),
        "0…1000000|none",
        "the answer ends after this many tokens, by `fault` (cut when none is named)",
    ),
    Directive(
        "fault",
        optional(choice(*_FAULTS)),
        "|".join((*_FAULTS, "none")),
        "how it fails, after `cut_after` tokens or half-way: cut closes the connection; rst resets "
        "the stream (HTTP/1.1: the TCP connection); goaway sends GOAWAY, without `cut_after` as a "
        "graceful drain and with it closing the connection there; goaway_refused sends a GOAWAY "
        "that excludes this request, refused resets it with REFUSED_STREAM, both before any "
        "answer; error_event is the protocol's in-stream error, error_bare the same but in Gemini "
        "pretty-printed without `data:`, in Bedrock an error without a name; corrupt, oversized "
        "and truncated are messages of Bedrock's that cannot be read, elsewhere the protocol's "
        "error; stall falls silent; eof ends the body cleanly without a "
        "terminal event, by itself after all tokens; with status 200, error_ok is an error in JSON "
        "in the place of the answer, html a page; cut_body closes the connection half-way through "
        "the body of a whole answer",
    ),
    Directive("exception", str, "NAME", "of Bedrock, in a stream that fails by error_event"),
    Directive(
        "stall_ms",
        optional(_DELAY),
        "0…600000|none",
        "fault=stall resumes after this long; otherwise silent until the client leaves",
    ),
    Directive(
        "status",
        optional(integer(400, 599)),
        "400…599|none",
        "answer with this error status, after `head_ms`",
    ),
    Directive(
        "retry_after",
        optional(decimal(0.0, 86_400.0)),
        "seconds|none",
        "the Retry-After of `status`; 429, 503 and 529 say 1 unless told",
    ),
    Directive(
        "chance",
        decimal(0.0, 1.0),
        "0…1",
        "share of the requests, by the seed and the number of each, that `status`, `fault` and "
        "`cut_after` strike; where none of them is set, that `first_token_ms` delays more than the "
        "provider's default does",
    ),
    Directive(
        "times",
        optional(_COUNT),
        "0…1000000|none",
        "how many requests `status`, `fault` and `cut_after` strike, from when the provider was "
        "told so for their model; then no more",
    ),
    Directive(
        "remaining",
        optional(_COUNT),
        "0…1000000|none",
        "OpenAI, Anthropic: requests left, as the headers of the answer or the error say",
    ),
    Directive(
        "reset",
        optional(decimal(0.0, 86_400.0)),
        "seconds|none",
        "OpenAI, Anthropic: until there are more, as the headers say",
    ),
    Directive(
        "usage",
        choice(*_USAGES),
        "|".join(_USAGES),
        "none never reports it; wrong adds 7 to the input and 100 to the output; always reports "
        "it on streams that did not ask",
    ),
    Directive("cached", _COUNT, "0…1000000", "cached input tokens in the usage, at most all"),
    Directive(
        "reasoning",
        _COUNT,
        "0…1000000",
        "tokens of reasoning before the answer; shown when the request asks for it "
        "(reasoning_effort, reasoning.summary, thinking, includeThoughts), otherwise only counted",
    ),
    Directive(
        "thoughts",
        choice(*_THOUGHTS),
        "|".join(_THOUGHTS),
        "OpenAI responses: shown reasoning is a summary or, as hosts of open models have it, text",
    ),
    Directive("summary_parts", integer(1, 16), "1…16", "of a summary of OpenAI responses"),
    Directive(
        "tools",
        optional(names),
        "NAME[,NAME]|auto|none",
        "the answer calls these tools at once, all that are declared with auto; arguments by their "
        "schemas, a few lines of text for custom tools. When their results have come it is text. "
        "None: only what tool_choice forces",
    ),
    Directive("preamble", _COUNT, "0…1000000", "tokens of text before the calls"),
    Directive("steps", integer(0, 100), "0…100", "rounds of calls before the text"),
    Directive("interleave", flag, "0|1", "OpenAI: the fragments of parallel calls alternate"),
    Directive("ids", flag, "0|1", "Gemini: function calls have an id"),
    Directive(
        "refuse",
        choice(*_REFUSALS),
        "|".join(_REFUSALS),
        "1: the answer is a refusal (refusal, SAFETY); filter: a filter ends it; prompt: the "
        "prompt is not accepted (400, a refusal without content, blockReason)",
    ),
    Directive(
        "metered",
        choice(*_METERED),
        "|".join(_METERED),
        "transcripts and rerank: the unit of the usage; auto: by the name of the model (whisper "
        "seconds, jina tokens, otherwise tokens of transcripts and searches of rerank)",
    ),
    Directive(
        "flagged",
        optional(names),
        "NAME[,NAME]|none",
        "moderations: the categories that every input violates",
    ),
    Directive(
        "media",
        choice(*_MEDIA),
        "|".join(_MEDIA),
        "what images and sound consist of: half of the bytes, a page of HTML in their place, none",
    ),
    Directive(
        "media_ms",
        optional(integer(0, 3_600_000)),
        "0…3600000|none",
        "length of generated sound; none: by the characters of the input",
    ),
    Directive(
        "answer_bytes",
        integer(0, ANSWER_BYTES_MAX),
        f"0…{ANSWER_BYTES_MAX}",
        "the answer is at least so long: JSON by spaces, images and sound by zeros at their end",
    ),
    Directive("recording", optional(str), "PATH|none", "replay this file of the recordings folder"),
    Directive("split_seed", integer(0, 2**63), "integer", "how a replay is cut into writes"),
    Directive("max_split", integer(1, 1 << 20), "1…1048576", "longest write of a replay, bytes"),
    Directive(
        "split_at",
        optional(integer(0, 1 << 30)),
        "bytes|none",
        "cut a replay into two writes, here, whatever the seed",
    ),
    Directive("gap_ms", _DELAY, "0…600000", "pause between the writes of a replay"),
    Directive(
        "tag",
        optional(word),
        "NAME|none",
        "kept in the truth record, where the sender finds its request by it whatever ids a gateway "
        f"makes anew; at most {TAG_MAX} characters",
    ),
    *ERRAND_DIRECTIVES,
)

_BY_NAME: Final = {directive.name: directive for directive in DIRECTIVES}
PREFIX: Final = "#sim"


def parse_directives(text: str, defaults: Directives) -> Directives:
    """Read `name=value` words over the defaults.

    Raises:
        DirectiveError: an unknown name, a repeated one, or a value out of range.
    """
    values: dict[str, Any] = {}
    for pair in text.split():
        name, equals, value = pair.partition("=")
        directive = _BY_NAME.get(name)
        if directive is None:
            near = difflib.get_close_matches(name, _BY_NAME, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(_BY_NAME)}."
            raise DirectiveError(f"Unknown directive {name!r}: {hint}")
        if name in values:
            raise DirectiveError(f"Directive {name!r} is given twice.")
        try:
            if not equals:
                raise ValueError(pair)
            values[name] = directive.parse(value)
        except (ValueError, KeyError):
            raise DirectiveError(
                f"Directive {name!r} takes {directive.values}, not {value!r}."
            ) from None
    return replace(defaults, **values)


def find_directives(text: str) -> str | None:
    """The words after `#sim` on the first line of a user message, if it starts so."""
    first, _, _ = text.partition("\n")
    if first != PREFIX and not first.startswith((PREFIX + " ", PREFIX + "\r")):
        return None
    return first[len(PREFIX) :].strip()


def describe_directives(defaults: Directives | None = None) -> str:
    """The table as help text, one directive a paragraph, with its default."""
    shown = defaults or Directives()
    lines = []
    for directive in DIRECTIVES:
        default = getattr(shown, directive.name)
        if default is None:
            default = "none"
        elif isinstance(default, tuple):
            default = ",".join(default)
        elif isinstance(default, bool):
            default = int(default)
        elif isinstance(default, float):
            default = f"{default:g}"
        lines.append(f"{directive.name}={directive.values}  (default {default})")
        lines.append(f"    {directive.help}")
    return "\n".join(lines)
