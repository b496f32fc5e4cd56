"""Upstream bytes to client bytes for one attempt: verbatim or translated, with the metering tap.

A relay is pure: no I/O, no clock, no awaits. Any split of the same bytes gives the same result.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from engine.agents.telling import Telling
from engine.errors import GatewayError, UpstreamError
from engine.events import Begin, Event, Finish, FinishReason, JobAccepted, Usage, UsageReport
from engine.job import JobReport
from engine.metering.tokens import Count
from engine.metering.usage import OutputMeter, generated_texts
from engine.owned import Kept, is_storable
from engine.protocols.codec import (
    AnswersPlainly,
    ClientCodec,
    ClientRequest,
    EditsAnswers,
    Identity,
    KeptByProvider,
    ReadsByRequest,
    StreamDecoder,
    StreamEncoder,
    TellsKept,
)
from engine.protocols.file_refs import put_names
from engine.protocols.operation import OperationCodec
from engine.protocols.quirks import PLAIN, Quirks
from engine.protocols.registry import streamed_by
from engine.repeats import Repeat
from engine.seam import Seam
from engine.transcript import Transcript
from engine.wire.sse import EventTooLargeError
from engine.writers import Translation, Verbatim, Writer


class Relay(Protocol):
    """What an exchange asks of the relay of its attempt."""

    meter: OutputMeter
    error: UpstreamError | None
    """Set when the provider broke inside its answer; nothing after it is relayed."""
    terminal: bool
    """The provider has said that its answer is whole."""
    exhausted: bool
    """`output_limit` is used up: `feed` holds back what came after it."""
    output_limit: int | None
    accepted: JobAccepted | None
    """The provider has taken a job, and answers that later."""
    telling: Telling | None
    """What its client is told, where the answer is an agent's."""

    @property
    def pending_bytes(self) -> int:
        """What is held back as an incomplete event."""

    def pass_by(self, data: bytes) -> bytes | None:
        """What `feed` would give for an event that only brings more of the same text, where nothing
        about it has to be looked at; else None, and nothing has happened."""

    def feed(self, data: bytes) -> bytes:
        """Whole events for the client, never the terminal one."""

    def end_of_input(self) -> bytes:
        """The upstream stream has ended: is the answer whole? Gives what is left of it."""

    def heartbeat(self) -> bytes:
        """What keeps a silent stream alive, or nothing where the client allows nothing."""

    def finish(self) -> bytes:
        """The terminal bytes, after the settlement is durable."""

    def kept(self) -> Sequence[Kept]:
        """What the provider keeps of the answer, as far as it has come; of a verbatim one."""

    def made(self) -> Collection[str]:
        """Files that the provider has made meanwhile and the client was told of, as the provider
        calls them."""

    def cut(self, usage: Usage) -> bytes:
        """A valid early ending with the length reason and usage."""

    def fail(self, error: GatewayError) -> bytes:
        """The client protocol's own error ending."""


@dataclass(frozen=True, slots=True)
class RelaySettings:
    """What a relay is made of.

    Attributes:
        client, provider: the codecs of the two sides; the same one relays verbatim.
        identity: for what the provider's answer does not say.
        end_marker: a stream without its protocol's end marker is broken.
        quirks: of the provider.
        tap: where the canonical events go as well, for an embedder.
        sent_bytes: have gone to the client before.
        seam: this answer goes on in the stream of another one; it is translated even where both
            sides speak one protocol.
        telling: the answer is a round of an agent's; it is translated likewise.
        transcript: takes what the client gets; another answer may have to go on with it.
        names: what the client calls files, by what the provider calls them.
        call_file: what it calls one that the provider makes meanwhile.
    """

    client: ClientCodec
    provider: ClientCodec
    request: ClientRequest
    count: Count
    identity: Identity
    end_marker: bool
    body_max_bytes: int
    quirks: Quirks = PLAIN
    tap: deque[Event] | None = None
    sent_bytes: int = 0
    seam: Seam | None = None
    telling: Telling | None = None
    transcript: Transcript | None = None
    names: Mapping[str, str] = field(default_factory=dict)
    call_file: Callable[[str], str] | None = None


def open_relay(settings: RelaySettings) -> Relay:
    """The relay between a client and a provider, of one protocol or of two."""
    client, provider, request = settings.client, settings.provider, settings.request
    telling = settings.telling
    if not request.stream:
        return UnaryRelay(settings)
    if client is provider and settings.seam is None and telling is None:
        verbatim = client.open_verbatim(
            request, end_marker=settings.end_marker, quirks=settings.quirks
        )
        writer = Verbatim(verbatim, settings.names, settings.call_file)
        return StreamRelay(settings, verbatim, writer)
    translator = streamed_by(provider.name)
    decoder = translator.open_decoder(end_marker=settings.end_marker, quirks=settings.quirks)
    if settings.seam is not None:
        encoder = settings.seam.encoder
    elif telling is not None and telling.encoder is not None:
        encoder = telling.encoder
    else:
        encoder = client.open_encoder(request, settings.identity)
    return StreamRelay(settings, decoder, Translation(encoder))


class StreamRelay:
    """A stream: frames, the limit, the meter, the errors."""

    def __init__(self, settings: RelaySettings, decoder: StreamDecoder, writer: Writer) -> None:
        self.meter = OutputMeter(settings.count)
        self.error: UpstreamError | None = None
        self.terminal = False
        self.exhausted = False
        self.output_limit: int | None = None
        self.accepted: JobAccepted | None = None
        self.sent_bytes = settings.sent_bytes
        self.transcript = settings.transcript
        self.telling = settings.telling
        self._settings = settings
        self._tap = settings.tap
        self._passes = settings.telling if settings.seam is None else settings.seam
        self._decoder = decoder
        self._writer = writer
        self._frames: list[bytes] = []
        """Whole events that have yet to be read, the next one last."""
        self._decoded: tuple[bytes, Sequence[Event]] | None = None
        """What the output limit did not let through."""
        self._repeat: Repeat | None = None
        """What events may look like that pass by; None while something is unfinished."""

    @property
    def pending_bytes(self) -> int:
        """Bytes of the incomplete event held back."""
        return self._decoder.pending_bytes

    def pass_by(self, data: bytes) -> bytes | None:
        """An event of the shape that was read last, unless it has to be counted now."""
        repeat = self._repeat
        if repeat is None:
            return None
        read = repeat.read(data)
        if read is None:
            return None
        out, text = read
        sent_bytes = self.sent_bytes + len(out)
        if not self.meter.pass_by(text, sent_bytes):
            return None
        self.sent_bytes = sent_bytes
        if self.transcript is not None:
            self.transcript.add(text)
        return out

    def feed(self, data: bytes) -> bytes:
        """Whole events for the client; stops at the output limit and keeps the rest.

        After `output_limit` was raised, `feed(b"")` goes on with what was kept.
        """
        self._repeat = None
        if self.error is not None or self.terminal:
            return b""
        if data:
            try:
                self._frames[:0] = reversed(self._decoder.split(data))
            except EventTooLargeError as error:
                self.error = _broken(error)
                return b""
        return self._relay()

    def end_of_input(self) -> bytes:
        """Whether an end without a terminal event is an end or a fault is the provider's row."""
        if self.terminal or self.error is not None or self.exhausted:
            return b""
        try:
            events = self._decoder.end_of_input()
        except (ValueError, RecursionError):
            self.error = _not_json()
            return b""
        if self._decoder.error is not None:
            self.error = self._decoder.error
            return b""
        self._decoded = (b"", events)
        return self._relay()

    def heartbeat(self) -> bytes:
        """A comment, where the client's protocol allows one."""
        beat = self._settings.client.heartbeat
        self.sent_bytes += len(beat)
        return beat

    def finish(self) -> bytes:
        """The terminal bytes."""
        return self._writer.finish()

    def kept(self) -> Sequence[Kept]:
        """As its decoder knows."""
        return self._decoder.kept() if isinstance(self._decoder, TellsKept) else ()

    def made(self) -> Collection[str]:
        """As its writer has named them."""
        return self._writer.made if isinstance(self._writer, Verbatim) else ()

    def cut(self, usage: Usage) -> bytes:
        """The length reason for whatever is open, usage, the terminal event."""
        if self._tap is not None:
            self._tap.extend((Finish(FinishReason.LENGTH), UsageReport(usage)))
        return self._writer.cut(usage)

    def fail(self, error: GatewayError) -> bytes:
        """The protocol's own error ending, which its SDKs raise."""
        array = self._settings.request.array
        ending = self._writer.fail(error)
        if ending is None:
            ending = self._settings.client.encode_stream_error(error, array=array)
        if array and not self.sent_bytes:
            return b"[" + ending.lstrip(b",\r\n")
        return ending

    def resume(self, text: str) -> StreamEncoder | None:
        """What writes on in the client's stream, which has got so much `text`; None where it stands
        at a place that nothing goes on from. Nothing is written here any more."""
        settings = self._settings
        return self._writer.resume(settings.request, settings.identity, text)

    def _relay(self) -> bytes:
        out: list[bytes] = []
        self.exhausted = False
        while (following := self._next()) is not None:
            frame, events = following
            texts = generated_texts(events)
            limit = self.output_limit
            if limit is not None and texts and not self.meter.fits(texts, limit):
                self._decoded = following
                self.exhausted = True
                break
            told = events if self._passes is None else self._passes.pass_on(events)
            try:
                sent = self._writer.write(frame, told)
            except EventTooLargeError as error:
                sent, self.error = b"", _broken(error)
            except UpstreamError as error:  # it is not what was asked for
                sent, self.error = b"", error
            if sent:
                out.append(sent)
                self.sent_bytes += len(sent)
            position = self.sent_bytes + self._writer.held_bytes
            for channel, text in texts:
                self.meter.add(channel, text, position)
            self.meter.take_figures(events)
            if self.accepted is None and self._settings.request.job is not None:
                self.accepted = _begun(events)
            if self._tap is not None:
                self._tap.extend(told)
            if self.error is not None:
                break
            if self.transcript is not None:
                self.transcript.take(told)
        else:
            self.terminal = self.error is None and self._decoder.done
            self._open_pass()
        return out[0] if len(out) == 1 else b"".join(out)

    def _open_pass(self) -> None:
        repeat = self._writer.repeat
        if repeat is None or self.terminal or self.error is not None or self._tap is not None:
            return
        if not self._decoder.pending_bytes:
            self._repeat = repeat
            self.meter.open_pass(repeat.channel, self.output_limit)

    def _next(self) -> tuple[bytes, Sequence[Event]] | None:
        """The next frame and what it says; None when there is none, or it is a fault."""
        decoder = self._decoder
        if (held_back := self._decoded) is not None:
            self._decoded = None
            return held_back
        if not self._frames or decoder.done:
            return None
        frame = self._frames.pop()
        try:
            events = decoder.decode(frame)
        except (ValueError, RecursionError):
            self.error = _not_json()
            return None
        if decoder.error is not None:
            self.error = decoder.error
            return None
        return frame, events


def _begun(events: Sequence[Event]) -> JobAccepted | None:
    """That the provider has taken a job which it answers as a stream: it says what it calls it."""
    for event in events:
        if isinstance(event, Begin) and event.id is not None and is_storable(event.id):
            return JobAccepted(event.id, JobReport("running"))
    return None


def _broken(error: EventTooLargeError) -> UpstreamError:
    return UpstreamError(f"The provider's stream is broken: {error}.")


def _not_json() -> UpstreamError:
    return UpstreamError("The provider sent a stream event that is not JSON.")


class UnaryRelay:
    """An answer in one piece: gathered, metered, passed on untouched or translated.

    Its terminal bytes are all of it: who has nearly all of an answer has it, and would leave.
    """

    def __init__(self, settings: RelaySettings) -> None:
        self.meter = OutputMeter(settings.count)
        self.error: UpstreamError | None = None
        self.terminal = False
        self.exhausted = False
        self.output_limit: int | None = None
        self.accepted: JobAccepted | None = None
        self.telling = settings.telling
        self._settings = settings
        self._parts: list[bytes] = []
        self._gathered_bytes = 0
        self._ending = b""

    @property
    def pending_bytes(self) -> int:
        """Bytes gathered so far."""
        return self._gathered_bytes

    def pass_by(self, data: bytes) -> None:
        """Nothing passes an answer in one piece by."""

    def feed(self, data: bytes) -> bytes:
        """Gathers; the body comes out of `finish`."""
        self._gathered_bytes += len(data)
        if self._gathered_bytes > self._settings.body_max_bytes:
            self.error = UpstreamError("The provider's answer is larger than the gateway accepts.")
            self._parts.clear()
        else:
            self._parts.append(data)
        return b""

    def end_of_input(self) -> bytes:
        """Decides whether it is an answer; nothing of it goes out before the settlement."""
        if self.error is not None:
            return b""
        settings, body = self._settings, b"".join(self._parts)
        self._parts.clear()
        try:
            events = self._read(body)
        except (ValueError, RecursionError):
            self.error = UpstreamError("The provider's answer is not a JSON object.")
            return b""
        except UpstreamError as error:
            self.error = error
            return b""
        told = events if self.telling is None else self.telling.pass_on(events)
        try:
            body = self._for_client(body, told)
        except EventTooLargeError as error:
            self.error = UpstreamError(f"The provider's answer is broken: {error}.")
            return b""
        except UpstreamError as error:
            self.error = error
            return b""
        for channel, text in generated_texts(events):
            self.meter.add(channel, text, len(body))
        self.meter.take_figures(events)
        if settings.tap is not None:
            settings.tap.extend(told)
        if settings.request.job is not None:
            self.accepted = next((e for e in events if isinstance(e, JobAccepted)), None)
        self.terminal = True
        self._ending = body
        return b""

    def _for_client(self, body: bytes, events: Sequence[Event]) -> bytes:
        client, request = self._settings.client, self._settings.request
        if self.telling is not None:
            if self.telling.awaits:
                return b""
            whole = self.telling.whole(events)
            return client.encode_response(whole, request, self._settings.identity)
        if client is not self._settings.provider:
            return client.encode_response(events, request, self._settings.identity)
        if request.demand is not None and isinstance(client, EditsAnswers):
            return client.edit(body, events, request)
        return put_names(body, names) if (names := self._settings.names) else body

    def _read(self, body: bytes) -> Sequence[Event]:
        """Raises ValueError, UpstreamRejectedError."""
        settings = self._settings
        provider = settings.provider
        if settings.request.answer_type is not None and isinstance(provider, AnswersPlainly):
            return provider.decode_plain(body)
        if (
            settings.client is provider
            and settings.tap is None
            and self.telling is None
            and isinstance(provider, OperationCodec)
        ):
            return provider.skim_response(body, settings.quirks)
        if (
            settings.request.refs
            and settings.client is provider
            and isinstance(provider, ReadsByRequest)
        ):
            return provider.decode_answer(body, settings.request)
        return provider.decode_response(body, settings.quirks)

    def heartbeat(self) -> bytes:
        """An answer in one piece cannot be kept alive."""
        return b""

    def finish(self) -> bytes:
        """The terminal bytes."""
        return self._ending

    def kept(self) -> Sequence[Kept]:
        """As its codec reads it."""
        client = self._settings.client
        whole = self.terminal and client is self._settings.provider
        return client.kept_in(self._ending) if whole and isinstance(client, KeptByProvider) else ()

    def made(self) -> Collection[str]:
        """What is made behind an answer in one piece is asked after."""
        return ()

    def replace(self, body: bytes) -> None:
        """Its terminal bytes are these: what came is a part of them."""
        self._ending = body

    def end_with(self, told: Sequence[Event]) -> None:
        """An agent's answer ends with this round, of which the client is told so much."""
        assert self.telling is not None, "it is a round"
        settings, whole = self._settings, self.telling.whole(told)
        self._ending = settings.client.encode_response(whole, settings.request, settings.identity)

    def cut(self, usage: Usage) -> bytes:
        """An answer in one piece cannot end early: nothing of it has gone out."""
        return b""

    def fail(self, error: GatewayError) -> bytes:
        """Once its head is out, an answer can only break off."""
        return b""
