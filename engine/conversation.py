"""The canonical request: what a client asks of a model, in no protocol's spelling.

Codecs decode their protocol into these values and encode them into it. Media and documents are
carried as they came; what `engine.inlining` has fetched stands inline.

Field names are the vocabulary that `Encoded.dropped` and `InexpressibleError` speak; a codec's
`field_names` translates them into its own protocol's spelling for the client.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from engine.job import JobOptions

MediaKind = Literal["image", "audio", "document", "video"]
Role = Literal["system", "user", "assistant"]
Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]


@dataclass(frozen=True, slots=True)
class Native:
    """What only one protocol can say, kept for an encoder of the same protocol."""

    protocol: str
    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Signature:
    """A secret of a provider that has to come back unchanged, to the same kind of provider only.

    `issuer` is the protocol's name: Anthropic's `signature` and `redacted_thinking.data`, Gemini's
    `thoughtSignature`.
    """

    issuer: str
    value: str


@dataclass(frozen=True, slots=True)
class CacheHint:
    """The prompt up to here is worth caching; `ttl` is `5m`, `1h` or the provider's default."""

    ttl: str | None = None


@dataclass(frozen=True, slots=True)
class Text:
    """Text, with whatever hangs on it."""

    text: str
    cache: CacheHint | None = None
    signature: Signature | None = None
    native: Native | None = None


@dataclass(frozen=True, slots=True)
class Media:
    """An image, a recording, a document or a film: exactly one of `data`, `url`, `text`, `file_id`
    is set; `url` may stand beside `file_id`.

    Attributes:
        data: base64, the standard alphabet.
        text: a document that is plain text.
        file_id: what the provider that it goes to has it by: the gateway has sent it there, and
            `url` is where that provider says it is.
        detail: how closely an image is to be looked at (`low`, `high`, `auto`).
    """

    kind: MediaKind
    mime_type: str | None = None
    data: str | None = field(default=None, repr=False)
    url: str | None = None
    text: str | None = None
    name: str | None = None
    detail: str | None = None
    cache: CacheHint | None = None
    native: Native | None = None
    file_id: str | None = None


@dataclass(frozen=True, slots=True)
class Inline:
    """What was found at a URL: its type, and base64."""

    mime_type: str
    data: str = field(repr=False)


class FileUse(NamedTuple):
    """A place of a request that names a file of the gateway's: by what the client writes there,
    and the place's path in the client's spelling. With `by_id` nothing but the id of a provider's
    copy can stand there."""

    written: str
    path: str
    by_id: bool = False


@dataclass(frozen=True, slots=True)
class FileStandIn:
    """What stands for a file of the gateway's that a client names.

    Attributes:
        mime_type: by its first bytes; `text/plain` is any text.
        name: as it was uploaded.
        size_bytes: of the file.
        data: its bytes; some others while it is not known yet who is to have them.
        held: the id that the provider has it by, in place of its bytes.
        uri: its address there, where that provider wants an address.
    """

    mime_type: str
    name: str
    size_bytes: int
    data: bytes = field(default=b"?", repr=False)
    held: str | None = None
    uri: str | None = None

    @property
    def kind(self) -> MediaKind:
        """By its type.

        >>> FileStandIn("image/png", "a.png", 1).kind, FileStandIn("text/plain", "a.txt", 1).kind
        ('image', 'document')
        """
        match self.mime_type.partition("/")[0]:
            case "image":
                return "image"
            case "audio":
                return "audio"
            case "video":
                return "video"
            case _:
                return "document"

    @property
    def is_text(self) -> bool:
        """Whether it stands inline as words, where the protocol has that."""
        return self.mime_type == "text/plain"

    @property
    def inline_bytes(self) -> int:
        """What it adds to a body where it stands inline."""
        return self.size_bytes if self.is_text else (self.size_bytes + 2) // 3 * 4


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call that the model made; `arguments` is JSON text as the model wrote it, maybe invalid."""

    id: str
    name: str
    arguments: str
    signature: Signature | None = None
    cache: CacheHint | None = None
    native: Native | None = None


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a call came to. `name` is the tool's, where the protocol says it."""

    call_id: str
    content: tuple[Text | Media, ...]
    is_error: bool = False
    name: str | None = None
    cache: CacheHint | None = None
    native: Native | None = None


@dataclass(frozen=True, slots=True)
class Reasoning:
    """What the model thought before; a redacted one has a signature only."""

    text: str
    signature: Signature | None = None
    redacted: bool = False


@dataclass(frozen=True, slots=True)
class Refusal:
    """The model's own words of refusal."""

    text: str


@dataclass(frozen=True, slots=True)
class NativePart:
    """A part that only its own protocol knows, e.g. the call and result of a provider's tool.

    `label` says what it is, for the error that refuses it elsewhere.
    """

    native: Native
    label: str


Part = Text | Media | ToolCall | ToolResult | Reasoning | Refusal | NativePart


@dataclass(frozen=True, slots=True)
class Turn:
    """One side's say. Adjacent turns of one role are merged, unless they are named apart.

    Tool results stand in user turns.
    """

    role: Role
    parts: tuple[Part, ...]
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Tool:
    """A function the model may call; `parameters` is a JSON schema, None for no parameters."""

    name: str
    description: str | None = None
    parameters: Mapping[str, Any] | None = None
    strict: bool | None = None
    cache: CacheHint | None = None
    native: Native | None = None


@dataclass(frozen=True, slots=True)
class NativeTool:
    """A tool that the provider itself runs, e.g. Anthropic's web search."""

    native: Native
    label: str


@dataclass(frozen=True, slots=True)
class ToolChoice:
    """`names` restricts the choice; None is every tool."""

    mode: Literal["auto", "none", "required"]
    names: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class JsonObject:
    """Any JSON object."""


@dataclass(frozen=True, slots=True)
class JsonSchema:
    """JSON of this schema; `name` and `description` are for the model."""

    schema: Mapping[str, Any]
    name: str | None = None
    description: str | None = None
    strict: bool | None = None


@dataclass(frozen=True, slots=True)
class ReasoningRequest:
    """How much to think, said in one of three ways; the other two are None.

    Attributes:
        effort: a level; `none` turns it off.
        budget_tokens: a bound; 0 turns it off, -1 lets the model choose.
        adaptive: the model chooses (Anthropic's `adaptive`); may stand beside an effort.
        visible: whether the client wants to see it; None is the provider's default.
    """

    effort: Effort | None = None
    budget_tokens: int | None = None
    adaptive: bool = False
    visible: bool | None = None


@dataclass(frozen=True, slots=True)
class ImageOptions:
    """How images are to be drawn.

    Attributes:
        size: `WIDTHxHEIGHT` in pixels; None leaves it to the model.
        quality: in OpenAI's words (`low`, `medium`, `high`; `standard`, `hd`).
        format: `png`, `jpeg`, `webp`.
        compression: from 0 to 100, of what is no PNG.
        background: `transparent`, `opaque`.
        partial: how many unfinished images a stream shows before the whole one.
    """

    size: str | None = None
    quality: str | None = None
    format: str | None = None
    compression: int | None = None
    background: str | None = None
    partial: int = 0


@dataclass(frozen=True, slots=True)
class SpeechOptions:
    """How text is to be read aloud.

    Attributes:
        voice: by the name that its provider knows it by.
        format: `mp3`, `opus`, `aac`, `flac`, `wav`, `pcm` (24 kHz, 16 bits, little-endian, mono).
        speed: 1 is the voice's own.
    """

    voice: str | None = None
    format: str | None = None
    speed: float | None = None


@dataclass(frozen=True, slots=True)
class EmbeddingOptions:
    """What vectors are wanted of the turns, one each.

    Attributes:
        dimensions: how long they are to be.
        task: what for, in Gemini's words (`RETRIEVAL_QUERY`).
        title: of a document.
    """

    dimensions: int | None = None
    task: str | None = None
    title: str | None = None


@dataclass(frozen=True, slots=True)
class Unexpressed:
    """A field of the client's that the canonical form has no place for.

    Attributes:
        field: its path in the client's own spelling, e.g. `logit_bias`, `tools[2].type`.
        harmless: it may be dropped, with a header that says so; else the request is refused.
    """

    field: str
    harmless: bool


@dataclass(frozen=True, slots=True)
class Conversation:
    """Everything a client asks. What is None was not said.

    Attributes:
        top_logprobs: how many alternatives a token; 0 asks for the chosen ones' logprobs only.
        modalities: of the output, lower case, e.g. ("text", "image"); None is text.
        parallel_tool_calls: False asks for one call at a time.
    """

    turns: tuple[Turn, ...]
    choices: int = 1
    max_output_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    top_logprobs: int | None = None
    reasoning: ReasoningRequest | None = None
    verbosity: str | None = None
    output_format: JsonObject | JsonSchema | None = None
    tools: tuple[Tool | NativeTool, ...] = ()
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    modalities: tuple[str, ...] | None = None
    end_user: str | None = None
    metadata: Mapping[str, str] | None = None
    service_tier: str | None = None
    image: ImageOptions | None = None
    speech: SpeechOptions | None = None
    embedding: EmbeddingOptions | None = None
    job: JobOptions | None = None
    unexpressed: tuple[Unexpressed, ...] = ()
