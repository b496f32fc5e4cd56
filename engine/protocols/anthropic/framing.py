"""How events stand in a stream: as server-sent events, or each in a message of Bedrock's.

Bedrock's messages hold `{"bytes": BASE64, "p": PADDING}` with the JSON that Anthropic's own stream
has, or an exception, after which nothing comes
(docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ResponseStream.html).
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Mapping
from typing import Any, Final, Protocol

import orjson

from engine.errors import UpstreamError
from engine.protocols.anthropic.errors import read_error
from engine.protocols.fields import dict_of, load_json, text_of
from engine.protocols.quirks import Quirks
from engine.wire.event_stream import EventStreamError, Message, MessageSplitter, read_message
from engine.wire.sse import EventSplitter, event_data

_EVENT: Final = b"event: "
_DATA: Final = b"data: "

_EXCEPTION_STATUSES: Final[Mapping[str, int]] = {
    "internalServerException": 500,
    "modelStreamErrorException": 424,
    "modelTimeoutException": 408,
    "serviceUnavailableException": 503,
    "throttlingException": 429,
    "validationException": 400,
}
"""As the reference says."""

_OPERATORS: Final = "amazon-bedrock-"
"""Begins members that Bedrock adds: metrics of the call, traces of the operator's guardrails."""


class Framing(Protocol):
    """Of one stream."""

    @property
    def pending_bytes(self) -> int:
        """What is held back as an incomplete frame."""

    def split(self, data: bytes) -> list[bytes]:
        """Whole frames.

        Raises:
            engine.wire.sse.EventTooLargeError: the incomplete frame is over its bound.
        """

    def finish(self) -> bytes:
        """A last frame that the end of the stream has left incomplete; empty if there is none."""

    def data(self, frame: bytes) -> bytes | None:
        """The JSON of the frame's event, if it holds one.

        Raises:
            UpstreamError: it is broken, or reports a failure.
        """

    def client_event(self, frame: bytes, document: Mapping[str, Any]) -> bytes:
        """The frame that was read last as a server-sent event; `document` is its JSON."""


class ServerSentEvents:
    """Anthropic's own."""

    def __init__(self) -> None:
        self._splitter = EventSplitter()
        self.split = self._splitter.feed

    @property
    def pending_bytes(self) -> int:
        """What is held back as an incomplete event."""
        return self._splitter.pending_bytes

    def finish(self) -> bytes:
        """The last event, with the blank line that it lacks."""
        rest = self._splitter.finish()
        return rest.rstrip(b"\r\n") + b"\n\n" if rest.strip() else b""

    def data(self, frame: bytes) -> bytes | None:
        """The data of an event, which nearly always is its second line."""
        if frame.startswith(_EVENT):
            at = frame.find(b"\n") + 1
            if (
                frame.startswith(_DATA, at)
                and frame.find(b"\n", at) == len(frame) - 2
                and b"\r" not in frame
            ):
                return frame[at + 6 : -2]
        return event_data(frame)

    def client_event(self, frame: bytes, document: Mapping[str, Any]) -> bytes:
        """The frame, untouched."""
        return frame


class BedrockMessages:
    """Bedrock's."""

    def __init__(self) -> None:
        self._splitter = MessageSplitter()
        self._data = b""
        self.split = self._splitter.feed

    @property
    def pending_bytes(self) -> int:
        """What is held back as an incomplete message."""
        return self._splitter.pending_bytes

    def finish(self) -> bytes:
        """An incomplete message, which `data` refuses."""
        return self._splitter.finish()

    def data(self, frame: bytes) -> bytes | None:
        """The JSON of a chunk; None for a message of another kind."""
        self._data = b""
        try:
            message = read_message(frame)
        except EventStreamError as error:
            raise UpstreamError(f"The provider's stream is broken: {error}.") from None
        kind = message.headers.get(":message-type")
        if kind != "event":
            raise _failure(message)
        if message.headers.get(":event-type") != "chunk":
            return None
        said = dict_of(load_json(message.payload)).get("bytes")
        if not isinstance(said, str):
            raise ValueError("a chunk without bytes")
        # White space of JSON alone: a line break would end the data of a server-sent event.
        data = b64decode(said, validate=True)
        self._data = data.replace(b"\n", b" ").replace(b"\r", b" ") if b"\n" in data else data
        return self._data

    def client_event(self, frame: bytes, document: Mapping[str, Any]) -> bytes:
        """The JSON as it came, under the name that it has as an event, without what is the
        operator's."""
        data = self._data
        if not data:
            return b""
        if b'"amazon-bedrock-' in data:
            kept = {name: v for name, v in document.items() if not name.startswith(_OPERATORS)}
            data = orjson.dumps(kept) if len(kept) < len(document) else data
        kind = text_of(document.get("type"))
        name = kind.encode() if kind.isascii() and kind.isidentifier() else b"message"
        return _EVENT + name + b"\n" + _DATA + data + b"\n\n"


def _failure(message: Message) -> UpstreamError:
    """An exception, or an error that the service has no name for."""
    headers = message.headers
    name = headers.get(":exception-type") or headers.get(":error-code") or ""
    body = message.payload
    if headers.get(":message-type") == "error":
        body = orjson.dumps({"message": headers.get(":error-message") or ""})
    status = _EXCEPTION_STATUSES.get(name[:1].lower() + name[1:], 500)
    return read_error(status, body)


def framing_of(quirks: Quirks) -> Framing:
    """A new stream's."""
    return BedrockMessages() if quirks.event_stream else ServerSentEvents()
