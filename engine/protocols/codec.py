"""What a codec offers: one a protocol, both directions, between wire bytes and canonical values.

The same codec serves clients (parse requests, encode answers) and providers (encode requests,
decode answers). Where both sides speak one protocol the bytes go through verbatim, and the decoder
only reads along. Everything here is pure: no I/O, no clock, no chance.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from engine.capabilities import Capabilities
from engine.conversation import Conversation, FileUse, MediaKind
from engine.demand import Demand
from engine.errors import (
    GatewayError,
    InvalidRequestError,
    NotFoundError,
    UpstreamError,
    UpstreamRejectedError,
)
from engine.events import Call, Event, Operation, Usage
from engine.job import JobAsk
from engine.media.forms import Form
from engine.owned import HeldRef, Kept
from engine.protocols.costs import ShownCost
from engine.protocols.quirks import PLAIN, Quirks

Keep = Callable[[bytes, str], str | None]


@dataclass(frozen=True, slots=True)
class ClientRequest:
    """A client's request, parsed and validated as far as the gateway relies on it.

    Attributes:
        include_usage: the client wants usage in its stream (always so but for OpenAI chat).
        max_output_tokens: of one choice; None where the client named none.
        media: how many pieces of each kind are anywhere in the prompt.
        document: the parsed body, the only form that is sent on.
        array, operation: see `Call`.
        betas: what an Anthropic client opts in to, by its header.
        demand: what it consumes at most; None: as a chat does.
        form: its body, where that is one; `document` has its fields.
        content_type: of the body as it goes on verbatim.
        files: of the gateway's that it names; what stands for them is in the document, where that
            was known.
        refs: things at a provider that it names by id; only who has them can be asked.
        stores: its provider keeps the answer, where it keeps any.
        thoughts: earlier ones that it names by id without holding them: who keeps them reads them.
        inputs: how many there are of what can be asked for in several requests.
        path: where it goes behind a provider's base URL, where its own path says a part of that.
        answer_type: of an answer that is neither JSON nor events; it cannot say that it fails.
        keep: what gives a URL for media of a type; None, or a URL of None: they go out themselves.
        job: what is asked for outlives the request; None: it is answered at once.
        each: what each of the many requests is that it asks for; None: it is one.
    """

    protocol: str
    model: str
    stream: bool
    include_usage: bool
    max_output_tokens: int | None
    choices: int
    media: Mapping[MediaKind, int] = field(default_factory=dict)
    array: bool = False
    operation: Operation = "chat"
    betas: tuple[str, ...] = ()
    document: dict[str, Any] = field(default_factory=dict, repr=False)
    demand: Demand | None = None
    form: Form | None = field(default=None, repr=False)
    content_type: str = "application/json"
    answer_type: str | None = None
    keep: Keep | None = field(default=None, repr=False, compare=False)
    inputs: int = 1
    job: JobAsk | None = None
    files: tuple[FileUse, ...] = ()
    refs: tuple[HeldRef, ...] = ()
    stores: bool = False
    thoughts: tuple[HeldRef, ...] = ()
    each: Operation | None = None
    path: str | None = None


class InexpressibleError(InvalidRequestError):
    """The target cannot say what the client asks (400). `field` is a name of `Conversation`'s
    (or `turns` with a path), which the client's own codec spells in its protocol."""

    code = "not_supported_by_model"

    def __init__(self, field: str, problem: str, *, code: str | None = None) -> None:
        super().__init__(problem, param=field)
        self.field = field
        if code is not None:
            self.code = code


def no_such_tool(field: str, label: str) -> InexpressibleError:
    """Of a tool that only another protocol knows, to be raised."""
    return InexpressibleError(
        field,
        f"This model's provider has no tool '{label}'; leave it out, declare a function in its "
        "place, or choose another model.",
    )


def spell(field: str, names: Mapping[str, str]) -> str:
    """A path of `Conversation`'s in the spelling of a client's protocol (its `field_names`).

    An index is left out: turns and tools are not counted as a client's messages and tools are.

    >>> spell("turns[2].parts[0]", {"turns": "messages"}), spell("top_k", {})
    ('messages', 'top_k')
    """
    if field in names:
        return names[field]
    indexed, _, _ = field.partition("[")
    head, dot, rest = indexed.partition(".")
    return names.get(head, head) + dot + rest


class HeldIdError(NotFoundError):
    """The body names something at a provider that no account can have (404): with a key that all
    accounts share, it would reach another's. `param` is its path."""

    def __init__(self, path: str) -> None:
        super().__init__(
            f"'{path}' names nothing that this account has at a provider; send the content itself.",
            param=path,
        )


@dataclass(frozen=True, slots=True)
class UpstreamTarget:
    """Whom a translated request is for.

    Attributes:
        output_limit: lowers (never raises) what one choice may generate, where funds are short.
    """

    model: str
    capabilities: Capabilities
    stream: bool
    output_limit: int | None = None
    quirks: Quirks = PLAIN


@dataclass(frozen=True, slots=True)
class Encoded:
    """A translated request.

    Attributes:
        dropped: what was harmlessly left out, as names of `Conversation`'s.
        output_limit: of one choice, where it had to be raised above what the client named, so that
            thinking finds room; else None.
        operation: what the provider is asked for.
        content_type: of the body.
        demand: what it consumes at most; None: as a chat does.
    """

    body: bytes
    dropped: tuple[str, ...] = ()
    output_limit: int | None = None
    operation: Operation = "chat"
    content_type: str = "application/json"
    demand: Demand | None = None


@dataclass(frozen=True, slots=True)
class Identity:
    """What an answer is called where its provider does not say: an id, the model, the time in
    seconds since 1970; of a job, when its client waits no longer."""

    id: str
    model: str
    created: int
    expires: int | None = None


class StreamDecoder(Protocol):
    """A provider's stream, frame by frame (an SSE event, an element of a JSON array).

    Any split of the same bytes gives the same events. After `error` or `done` nothing is decoded.
    """

    error: UpstreamError | None
    """The provider reported a failure inside its stream."""
    ending: bool
    """The frame decoded last and all after it belong to the ending: they are held back until the
    settlement is durable: from the final usage on, or the frame that says the last reason."""
    done: bool
    """The provider has said that nothing more follows; or, at the end of input, that was all."""

    @property
    def pending_bytes(self) -> int:
        """What is held back as an incomplete frame."""

    def split(self, data: bytes) -> list[bytes]:
        """Whole frames; joined with what is pending they are the bytes that came.

        Raises:
            engine.wire.sse.EventTooLargeError: the incomplete frame is over its bound.
        """

    def decode(self, frame: bytes) -> Sequence[Event]:
        """What one frame says; sets `error`, `ending`, `done`.

        Raises:
            ValueError: its data is not the JSON of this protocol.
        """

    def end_of_input(self) -> Sequence[Event]:
        """The stream has ended: what an unfinished last frame still says. Sets `done` where that
        was a whole answer, else `error`."""


class VerbatimDecoder(StreamDecoder, Protocol):
    """Reads along a stream that goes to a client of the same protocol."""

    repeatable: bool
    """The frame decoded last says no more than its one `TextDelta`, and leaves the decoder as it
    was: so does another that differs from it in nothing but the text (and OpenAI's padding)."""

    def client_frame(self, frame: bytes) -> bytes:
        """The frame decoded last, as the client gets it: untouched, spliced, or nothing.

        Called as it goes out; `cut` ends what has gone out.
        """

    def end_frame(self) -> bytes:
        """What `end_of_input` found of a last frame without its blank line, made whole."""

    def cut(self, usage: Usage) -> bytes:
        """A valid early ending: open blocks closed, the length reason, usage, terminal event."""

    def resume(self, request: ClientRequest, identity: Identity, text: str) -> StreamEncoder | None:
        """What writes on where this stream has stopped that brought so much `text` and no more: in
        the same answer, block and item, with the numbers that come next. None where it stands at a
        place that nothing goes on from. Nothing is read along any more."""


class StreamEncoder(Protocol):
    """Canonical events to a client's stream. The ending is kept for `finish`."""

    @property
    def holding(self) -> bool:
        """Something of what was encoded waits for more before it can be written."""

    def encode(self, event: Event) -> bytes:
        """The bytes of an event: whole frames, or nothing. Never anything of the ending: Finish
        and UsageReport are remembered."""

    def finish(self) -> bytes:
        """The ending: what waits, finish reasons, usage, the terminal event."""

    def cut(self, usage: Usage) -> bytes:
        """A valid early ending: open blocks closed, the length reason, usage, terminal event."""


@runtime_checkable
class FailsInPlace(Protocol):
    """A verbatim decoder or an encoder whose error ending goes on from what has gone out, where a
    protocol numbers its events or ends with the whole answer; else `encode_stream_error` does."""

    def fail(self, error: GatewayError) -> bytes:
        """The ending of a stream that has failed; never a forged normal one."""


@runtime_checkable
class EditsAnswers(Protocol):
    """A codec of operations whose whole answers do not all pass as they are."""

    def edit(self, body: bytes, events: Sequence[Event], request: ClientRequest) -> bytes:
        """An answer that says `events`, of a provider that speaks this too, as the client gets it.

        Raises:
            UpstreamError: it is not what was asked for.
        """


@runtime_checkable
class TellsKept(Protocol):
    """A verbatim decoder of answers that their provider may keep."""

    def kept(self) -> Sequence[Kept]:
        """What it keeps, as far as the answer has come."""


@runtime_checkable
class TellsFiles(Protocol):
    """A verbatim decoder of answers whose provider makes files meanwhile."""

    @property
    def files(self) -> Sequence[str]:
        """What the provider calls those that the frame which was read last tells of."""


@runtime_checkable
class KeptByProvider(Protocol):
    """A codec of answers that their provider may keep."""

    def kept_in(self, body: bytes) -> Sequence[Kept]:
        """What it keeps of a whole answer."""


@runtime_checkable
class ReadsByRequest(Protocol):
    """A codec whose answers come to what their requests say, too."""

    def decode_answer(self, body: bytes, request: ClientRequest) -> Sequence[Event]:
        """As `ClientCodec.decode_response`, of the answer to this request, in the same protocol."""


@runtime_checkable
class AnswersPlainly(Protocol):
    """A codec whose answers may be neither JSON nor events, and not in pieces
    (`ClientRequest.answer_type`)."""

    def decode_plain(self, body: bytes) -> Sequence[Event]:
        """As `ClientCodec.decode_response`."""


class ClientCodec(Protocol):
    """One protocol of clients, with what passes their requests on to providers that speak it too.
    Stateless."""

    name: str
    heartbeat: bytes
    """What keeps a silent stream alive; empty where the clients allow nothing."""
    request_id_headers: tuple[bytes, ...]
    """Where providers say their own id of the request; the first that is there counts."""
    field_names: Mapping[str, str]
    """Names of `Conversation`'s fields in this protocol's spelling; what is missing is the same."""

    # requests

    def parse_request(self, call: Call) -> ClientRequest:
        """Parse and validate what the gateway relies on; the rest is the provider's to judge.

        Raises:
            InvalidRequestError: no JSON, a field that is missing or wrong, or an id that lives at
                the provider (stored conversations, caches, files where none of the gateway's can
                be named).
        """

    def prompt_texts(self, request: ClientRequest) -> Iterator[str]:
        """All text of the prompt that becomes input tokens."""

    def prompt_overhead_tokens(self, request: ClientRequest) -> int:
        """Input tokens beside the text: delimiters, the primer of the answer."""

    def encode_verbatim(
        self,
        request: ClientRequest,
        upstream_model: str,
        output_limit: int | None,
        quirks: Quirks = PLAIN,
    ) -> bytes:
        """The body for a provider of this same protocol: its model name, usage asked for, the
        output limit lowered, what another provider had signed or carried left out.

        Raises:
            InvalidRequestError: nested deeper than can be written again.
        """

    def decode_request(self, request: ClientRequest) -> Conversation:
        """The canonical form.

        Raises:
            InvalidRequestError: what the provider of this protocol would refuse.
        """

    def answered(self, request: ClientRequest) -> ClientRequest:
        """What of a request its answer is made with: for all of `answers`; without its prompt."""

    def path(
        self,
        upstream_model: str,
        operation: Operation,
        *,
        stream: bool,
        array: bool,
        quirks: Quirks = PLAIN,
    ) -> str | None:
        """Path and query behind a provider's base URL; None if it has no such operation."""

    def provider_headers(
        self, sent: Sequence[tuple[bytes, bytes]] = (), quirks: Quirks = PLAIN
    ) -> list[tuple[bytes, bytes]]:
        """Versions, beside the provider's credentials; `sent` is `Call.headers` of a client of this
        protocol."""

    # answers

    def open_verbatim(
        self, request: ClientRequest, *, end_marker: bool, quirks: Quirks = PLAIN
    ) -> VerbatimDecoder:
        """For a stream that goes to a client of this protocol."""

    def open_encoder(self, request: ClientRequest, identity: Identity) -> StreamEncoder:
        """For a client of this protocol."""

    def stream_type(self, request: ClientRequest) -> bytes:
        """The content type of such a stream."""

    def decode_response(self, body: bytes, quirks: Quirks = PLAIN) -> Sequence[Event]:
        """A whole answer as its events, Finish and UsageReport last.

        Raises:
            ValueError: it is not a JSON object of this protocol.
            UpstreamRejectedError: it is an error all the same.
        """

    def encode_response(
        self, events: Sequence[Event], request: ClientRequest, identity: Identity
    ) -> bytes:
        """A whole answer for a client of this protocol."""

    def add_cost(self, ending: bytes, cost: ShownCost, request: ClientRequest) -> bytes:
        """The end of a stream, or a whole answer, with the cost in its usage where it has one; see
        `engine.protocols.costs`."""

    # errors

    def read_error(
        self, status: int, body: bytes, retry_after_s: float | None = None
    ) -> UpstreamRejectedError:
        """A provider's error answer, as any client may see it."""

    def error_status(self, error: GatewayError) -> int:
        """The HTTP status that this protocol's clients expect of an error."""

    def encode_error(self, error: GatewayError, request_id: str | None = None) -> bytes:
        """An error answer in this protocol's shape."""

    def encode_stream_error(self, error: GatewayError, *, array: bool = False) -> bytes:
        """The ending of a stream that has failed; never a forged normal one."""


class RequestCodec(ClientCodec, Protocol):
    """One protocol that requests of another are translated to."""

    def encode_request(self, conversation: Conversation, target: UpstreamTarget) -> Encoded:
        """The body for a provider of this protocol, streamed or not as `target` says.

        Raises:
            InexpressibleError: this protocol or model cannot say it.
        """


class StreamCodec(RequestCodec, Protocol):
    """One that answers in streams too."""

    def open_decoder(self, *, end_marker: bool, quirks: Quirks = PLAIN) -> StreamDecoder:
        """For a stream to be translated. Without `end_marker` it may end without one."""


class Codec(StreamCodec, Protocol):
    """One protocol that clients of any other are translated to."""

    def encode_token_count(self, tokens: int) -> bytes:
        """The answer to `count_tokens`."""
