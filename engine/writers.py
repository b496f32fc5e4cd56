"""The two ways from a provider's frames to a client's bytes: as they are, or translated."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol

from engine.errors import GatewayError
from engine.events import Event, TextDelta, Usage
from engine.metering.usage import text_channel
from engine.protocols.codec import (
    ClientRequest,
    FailsInPlace,
    Identity,
    StreamEncoder,
    TellsFiles,
    VerbatimDecoder,
)
from engine.protocols.file_refs import put_names
from engine.repeats import Repeat, learn

# An ending is a few chunks; a provider that goes on and on after it is relayed as it comes.
_ENDING_MAX_BYTES = 1024 * 1024
_MADE_MAX: Final = 100


class Writer(Protocol):
    """One of the two ways from a provider's frames to a client's bytes."""

    repeat: Repeat | None
    """The shape of what was written last, where more of it can pass without being read."""

    @property
    def held_bytes(self) -> int:
        """How much more goes out until what was written last is with the client."""

    def write(self, frame: bytes, events: Sequence[Event]) -> bytes:
        """What goes out for a frame and what it says; the last one, of the end, may be empty."""

    def finish(self) -> bytes:
        """The terminal bytes."""

    def cut(self, usage: Usage) -> bytes:
        """A valid early ending."""

    def fail(self, error: GatewayError) -> bytes | None:
        """An error ending; None where the protocol's own says all."""

    def resume(self, request: ClientRequest, identity: Identity, text: str) -> StreamEncoder | None:
        """What writes on where this one has stopped; see `codec.VerbatimDecoder`."""


class Verbatim:
    """The provider's own bytes, with the few edits that its codec makes."""

    def __init__(
        self,
        decoder: VerbatimDecoder,
        names: Mapping[str, str],
        call_file: Callable[[str], str] | None = None,
    ) -> None:
        """`names` are what the client calls files, by what the provider calls them; those that the
        provider makes meanwhile it calls as `call_file` says."""
        self._decoder = decoder
        self._names = names
        self._call_file = call_file if isinstance(decoder, TellsFiles) else None
        self.made: dict[str, None] = {}
        """Such files, by what the provider calls them; the first ones."""
        self._ending: list[bytes] = []
        self.held_bytes = 0
        self.repeat: Repeat | None = None

    def write(self, frame: bytes, events: Sequence[Event]) -> bytes:
        """The frame; from the one that begins the ending on, they are kept for `finish`."""
        decoder = self._decoder
        client_bytes = decoder.client_frame(frame) if frame else decoder.end_frame()
        client_bytes = put_names(client_bytes, self._names)
        if self._call_file is not None:
            client_bytes = self._name_made(client_bytes, self._call_file)
        if not decoder.ending:
            if not decoder.repeatable:
                self.repeat = None
            elif (shape := _shape(frame, events, client_bytes)) is not None:
                self.repeat = shape
            elif self.repeat is not None and not self.repeat.like(frame):
                self.repeat = None  # a cut tells the names of what went out last: it is read again
            return client_bytes
        self.repeat = None
        self._ending.append(client_bytes)
        self.held_bytes += len(client_bytes)
        if self.held_bytes <= _ENDING_MAX_BYTES or len(self._ending) == 1:
            return b""  # the first event may be a picture
        ending, self._ending, self.held_bytes = self._ending, [], 0
        return b"".join(ending)

    def _name_made(self, data: bytes, call: Callable[[str], str]) -> bytes:
        """With the client's names for what it is told of first here."""
        assert isinstance(self._decoder, TellsFiles), "it is asked only then"
        told = [name for name in self._decoder.files if name not in self._names]
        if not told:
            return data
        if len(self.made) < _MADE_MAX:
            self.made |= dict.fromkeys(told[:_MADE_MAX])
        return put_names(data, {name: call(name) for name in told})

    def finish(self) -> bytes:
        """The ending as the provider sent it."""
        return b"".join(self._ending)

    def cut(self, usage: Usage) -> bytes:
        """As the codec ends what has gone out; an ending that has begun goes out first."""
        return self.finish() + put_names(self._decoder.cut(usage), self._names)

    def fail(self, error: GatewayError) -> bytes | None:
        """Where the decoder knows how."""
        if not isinstance(self._decoder, FailsInPlace):
            return None
        return put_names(self._decoder.fail(error), self._names)

    def resume(self, request: ClientRequest, identity: Identity, text: str) -> StreamEncoder | None:
        """An encoder in the place of the provider's own bytes."""
        return self._decoder.resume(request, identity, text)


def _shape(frame: bytes, events: Sequence[Event], client_bytes: bytes) -> Repeat | None:
    match events:
        case [TextDelta(text=text, choice=choice)]:
            return learn(frame, text, text_channel(choice), client_bytes)
        case _:
            return None


class Translation:
    """The provider's events in the client's protocol."""

    def __init__(self, encoder: StreamEncoder) -> None:
        self._encoder = encoder
        self.repeat: Repeat | None = None

    @property
    def held_bytes(self) -> int:
        """What waits for more goes out with the next bytes, at the earliest."""
        return 1 if self._encoder.holding else 0

    def write(self, frame: bytes, events: Sequence[Event]) -> bytes:
        """The events."""
        return b"".join([self._encoder.encode(event) for event in events])

    def finish(self) -> bytes:
        """Finish reasons, usage, the terminal event."""
        return self._encoder.finish()

    def cut(self, usage: Usage) -> bytes:
        """As the encoder ends what has gone out."""
        return self._encoder.cut(usage)

    def fail(self, error: GatewayError) -> bytes | None:
        """Where the encoder knows how."""
        return self._encoder.fail(error) if isinstance(self._encoder, FailsInPlace) else None

    def resume(self, request: ClientRequest, identity: Identity, text: str) -> StreamEncoder | None:
        """The same encoder."""
        return self._encoder
