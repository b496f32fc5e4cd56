"""The canonical words of one call: what was asked, what was consumed, how it ended.

Frozen values only. Protocol codecs read and write them; everything else passes them on.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import ClassVar, Literal

from engine.agent import Brief
from engine.batch import BatchFacts
from engine.conversation import FileStandIn, Inline, Native, Signature
from engine.job import JobAccepted as JobAccepted
from engine.job import JobSource
from engine.spool import SpoolFile
from engine.tuning import TuningFacts
from engine.uploads import Upload
from engine.usage import Usage as Usage
from engine.usage import is_count as is_count
from engine.usage import read_count as read_count


class Outcome(StrEnum):
    """How an admitted exchange ended; each ends in exactly one."""

    RUNNING = "running"
    COMPLETED = "completed"
    CLIENT_LEFT = "client_left"
    UPSTREAM_FAILED = "upstream_failed"
    FUNDS_EXHAUSTED = "funds_exhausted"
    DEADLINE = "deadline"
    SHUTDOWN = "shutdown"
    GATEWAY_FAILED = "gateway_failed"


class Provenance(StrEnum):
    """How the billed usage is known."""

    REPORTED = "reported"
    DRAINED = "drained"
    COUNTED = "counted"
    FLAT = "flat"
    RECOVERED = "recovered"


def new_request_id() -> str:
    """An id of milliseconds and 80 random bits; a client's own id never keys anything.

    The time in front keeps the indexes over ids local: new rows go to the same few pages.
    """
    return f"req_{time.time_ns() // 1_000_000:012x}{secrets.token_hex(10)}"


Protocol = Literal[
    "openai_chat",
    "openai_responses",
    "openai_completions",
    "openai",
    "openai_videos",
    "anthropic",
    "gemini",
]
"""The wire protocols; `openai` is that of its endpoints beside text, `openai_videos` of its own for
videos, where there is another one of that name."""

Operation = Literal[
    "chat",
    "count_tokens",
    "embed",
    "embed_batch",
    "image",
    "image_edit",
    "image_variation",
    "moderate",
    "rerank",
    "speech",
    "transcribe",
    "translate",
    "video",
    "music",
    "batch",
    "fine_tune",
    "run",
]
"""What a call asks for; with the protocol it says which codec reads it."""


@dataclass(frozen=True, slots=True)
class Call:
    """One client request as a frontend received it; the body is not parsed yet.

    Attributes:
        model: from the URL, where the protocol says it there (Gemini), or it names an agent; else
            None. It goes before what the body says.
        stream: likewise.
        array: a stream as one JSON array (Gemini without `alt=sse`), not as server-sent events.
        headers: those a provider of the same protocol has to see (`anthropic-beta`), lower case.
        idempotency_key: the client's own name of the request; providers never see it.
        content_type: of the body, as the client says it: a form has its boundary there.
        origin: what the client calls the gateway (`https://host`), for URLs that lead back to it.
    """

    body: bytes = field(repr=False)
    key: str | None = field(repr=False)
    protocol: Protocol = "openai_chat"
    operation: Operation = "chat"
    model: str | None = None
    stream: bool | None = None
    array: bool = False
    headers: tuple[tuple[bytes, bytes], ...] = ()
    peer: str = ""
    client_request_id: str | None = None
    idempotency_key: str | None = None
    request_id: str = field(default_factory=new_request_id)
    upload: Upload | None = field(default=None, repr=False)
    """In place of `body`: it goes once the provider has begun to answer."""

    inline: Mapping[str, Inline] = field(default_factory=dict, repr=False)
    """What stands for URLs of the body, by URL: the gateway has fetched it."""

    files: Mapping[str, FileStandIn] = field(default_factory=dict, repr=False)
    """What stands for files of the gateway's that the body names, by what is written there."""

    held: frozenset[str] = frozenset()
    """The ids of things at a provider that the body may name: the account has them all."""

    names: Mapping[str, str] = field(default_factory=dict, repr=False)
    """What the client calls files, by what their provider calls them: for the answer."""

    context_tokens: int = 0
    """What the prompt has before it by those: what they go on from."""

    spooled: SpoolFile | None = field(default=None, repr=False)
    """In place of `body`, where it is too large for memory; who received it closes it."""

    content_type: str = "application/json"
    origin: str = ""
    session_id: str | None = field(default=None, repr=False)
    """What the client calls the session that it belongs to; else the body may say it."""

    agent: Brief | None = None
    """What the agent adds that it names in the place of a model."""

    source: JobSource | None = None
    """What is to be made anew: from `Gateway.job_source`, which has looked whose it is."""

    batch: BatchFacts | None = None
    """Of one that asks for a batch: what its file has in it."""

    tuning: TuningFacts | None = None
    """Of one that asks for fine-tuning: what its files are."""

    at: Mapping[str, str] = field(default_factory=dict)
    """What of the path says where it goes at the provider, by name (`thread_id`)."""

    @property
    def files_bytes(self) -> int:
        """What stands for files in place of their names."""
        return sum(len(file.data) for file in self.files.values()) if self.files else 0

    def opened(self) -> Call:
        """The call with its body, taken from the upload where that has it."""
        if self.upload is None:
            return self
        data = self.upload.take()
        if isinstance(data, bytes):
            return replace(self, body=data, upload=None)
        return replace(self, spooled=data, upload=None)


@dataclass(frozen=True, slots=True)
class Head:
    """Status and headers of the answer, for the frontend to encode."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]


# What a provider generates, as it comes. A unary answer is the sequence of its events.
# `choice` is the index of the answer among several; `native` is what only one protocol knows.


class FinishReason(StrEnum):
    """Why a choice ended."""

    STOP = "stop"
    STOP_SEQUENCE = "stop_sequence"
    LENGTH = "length"
    CONTEXT_LENGTH = "context_length"
    TOOL_CALLS = "tool_calls"
    FILTERED = "filtered"
    """Cut by a filter, or refused (OpenAI's `content_filter`, Anthropic's `refusal`)."""
    PROMPT_BLOCKED = "prompt_blocked"
    PAUSED = "paused"
    """A provider's own tool is at work; the conversation is to be sent again as it is."""
    MALFORMED_CALL = "malformed_call"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Begin:
    """The answer has begun: first event, once. `usage` is what is known of the input so far.

    `created` is in seconds since 1970; None where the protocol does not say. `service_tier` is how
    it is served, in the words that Anthropic and Gemini share: `standard`, `priority`, `flex`,
    `batch`; None for anything else.
    """

    id: str | None
    model: str | None
    created: int | None = None
    usage: Usage | None = None
    service_tier: str | None = None
    native: Native | None = None


@dataclass(frozen=True, slots=True)
class TextDelta:
    """Text of the answer; an empty one opens a text block that may stay empty."""

    text: str
    choice: int = 0
    signature: Signature | None = None
    native: Native | None = None


@dataclass(frozen=True, slots=True)
class RefusalDelta:
    """Text of a refusal."""

    text: str
    choice: int = 0


@dataclass(frozen=True, slots=True)
class ReasoningDelta:
    """Visible thinking; a signature is of the whole block and comes with or after its text."""

    text: str
    choice: int = 0
    signature: Signature | None = None
    native: Native | None = None


@dataclass(frozen=True, slots=True)
class RedactedReasoning:
    """Thinking that only its issuer can read, whole."""

    signature: Signature
    choice: int = 0


@dataclass(frozen=True, slots=True)
class ToolCallBegin:
    """A call of a tool; `index` counts the calls of a choice from 0.

    Its arguments follow in `ToolCallDelta`s of the same index, other calls' maybe in between.
    """

    index: int
    id: str
    name: str
    choice: int = 0
    signature: Signature | None = None
    native: Native | None = None


@dataclass(frozen=True, slots=True)
class ToolCallDelta:
    """A piece of the JSON text of a call's arguments."""

    index: int
    arguments: str
    choice: int = 0
    native: Native | None = None


@dataclass(frozen=True, slots=True)
class BlockEnd:
    """The block that is open has ended: what follows of its kind is another one.

    Only protocols with blocks say it (Anthropic); elsewhere a change of kind is the end.
    """

    choice: int = 0


@dataclass(frozen=True, slots=True)
class Citation:
    """A source of the text block that is open. Positions are in characters of the answer."""

    url: str | None = None
    title: str | None = None
    cited_text: str | None = None
    start: int | None = None
    end: int | None = None
    choice: int = 0
    native: Native | None = None


@dataclass(frozen=True, slots=True)
class MediaDelta:
    """Generated media, base64, whole or the next piece of it; `transcript` is its text."""

    kind: Literal["image", "audio", "video"]
    mime_type: str | None = None
    data: str = field(default="", repr=False)
    transcript: str = ""
    choice: int = 0
    native: Native | None = None


@dataclass(frozen=True, slots=True)
class Vector:
    """The embedding of an input; `index` counts the inputs of the request from 0."""

    index: int
    values: Sequence[float] = field(repr=False)
    choice: ClassVar[int] = 0


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """A token's log probability; `bytes_` are its UTF-8, `top` the alternatives."""

    token: str
    logprob: float
    bytes_: tuple[int, ...] | None = None
    top: tuple[TokenLogprob, ...] = ()


@dataclass(frozen=True, slots=True)
class LogprobsDelta:
    """Logprobs of the tokens of the text that came just before; `refusal` is of a refusal."""

    tokens: tuple[TokenLogprob, ...]
    choice: int = 0
    refusal: bool = False
    native: Native | None = None


@dataclass(frozen=True, slots=True)
class NativeEvent:
    """What only one protocol knows: a provider's tool at work, grounding, safety ratings.

    `generated` is the generated text in it, for the meter; `label` says what it is.
    """

    native: Native
    label: str
    choice: int = 0
    generated: str = ""


@dataclass(frozen=True, slots=True)
class Finish:
    """A choice has ended. `explanation` is the provider's words for a filter or a refusal."""

    reason: FinishReason
    choice: int = 0
    stop_sequence: str | None = None
    explanation: str | None = None
    native: Native | None = None


@dataclass(frozen=True, slots=True)
class UsageReport:
    """The provider's figures for the whole answer so far; the last one counts."""

    usage: Usage
    native: Native | None = None
    service_tier: str | None = None
    """As `Begin`'s, where it is known only now."""


Event = (
    Begin
    | TextDelta
    | RefusalDelta
    | ReasoningDelta
    | RedactedReasoning
    | ToolCallBegin
    | ToolCallDelta
    | BlockEnd
    | Citation
    | MediaDelta
    | LogprobsDelta
    | NativeEvent
    | Vector
    | Finish
    | UsageReport
    | JobAccepted
)
