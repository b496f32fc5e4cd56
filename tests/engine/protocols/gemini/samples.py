"""Requests and streams to test with."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import orjson

from engine.capabilities import UNKNOWN, Capabilities
from engine.conversation import Conversation, Text, Turn
from engine.errors import UpstreamError
from engine.events import Call, Event, Operation
from engine.protocols.codec import ClientRequest, Identity, UpstreamTarget, VerbatimDecoder
from engine.protocols.gemini import CODEC

IDENTITY = Identity(id="gen_1", model="a-model", created=1_700_000_000)
HELLO: dict[str, Any] = {"contents": [{"role": "user", "parts": [{"text": "hello"}]}]}
ASK = Turn("user", (Text("hello"),))


def call(
    document: object,
    *,
    stream: bool = False,
    array: bool = False,
    operation: Operation = "chat",
    model: str | None = "gemini-2.5-flash",
) -> Call:
    """A Gemini client's call."""
    body = document if isinstance(document, bytes) else orjson.dumps(document)
    return Call(body, None, "gemini", operation=operation, model=model, stream=stream, array=array)


def request(
    document: object = HELLO, *, stream: bool = False, array: bool = False
) -> ClientRequest:
    """The same, parsed."""
    return CODEC.parse_request(call(document, stream=stream, array=array))


def decoded(fields: dict[str, Any]) -> Conversation:
    """What a client's request asks, of fields beside or instead of a greeting."""
    return CODEC.decode_request(request(HELLO | fields))


def encoded(
    conversation: Conversation, capabilities: Capabilities = UNKNOWN, **target: Any
) -> dict[str, Any]:
    """The body for a Gemini model."""
    body = CODEC.encode_request(
        conversation, UpstreamTarget("m", capabilities, stream=False, **target)
    ).body
    document = orjson.loads(body)
    assert isinstance(document, dict)
    return document


def ask(**fields: Any) -> Conversation:
    """A greeting with these fields."""
    return Conversation(turns=fields.pop("turns", (ASK,)), **fields)


def sse(*documents: dict[str, Any]) -> bytes:
    """An event stream."""
    return b"".join(b"data: " + orjson.dumps(document) + b"\r\n\r\n" for document in documents)


def array_of(*documents: dict[str, Any]) -> bytes:
    """The same as one array."""
    return b"[" + b"\n,\r\n".join(map(orjson.dumps, documents)) + b"\n]"


def chunk(*parts: dict[str, Any], index: int = 0, **candidate: Any) -> dict[str, Any]:
    """A chunk of one candidate."""
    content = {"content": {"parts": list(parts), "role": "model"}} if parts else {}
    return {
        "candidates": [content | {"index": index} | candidate],
        "modelVersion": "gemini-2.5-flash",
        "responseId": "r1",
    }


class Read:
    """A stream decoded as the relay does it."""

    def __init__(
        self,
        pieces: Iterable[bytes],
        verbatim: VerbatimDecoder | None = None,
        *,
        end_marker: bool = True,
    ) -> None:
        decoder = verbatim or CODEC.open_decoder(end_marker=end_marker)
        self.events: list[Event] = []
        self.frames: list[bytes] = []
        self.client_bytes = b""
        self.ending_at: int | None = None
        """The frame at which the ending began."""
        for piece in pieces:
            for frame in decoder.split(piece):
                if decoder.error is not None:
                    break
                self.events += decoder.decode(frame)
                self.frames.append(frame)
                if verbatim is not None and decoder.error is None:
                    self.client_bytes += verbatim.client_frame(frame)
                if decoder.ending and self.ending_at is None:
                    self.ending_at = len(self.frames) - 1
        assert not decoder.done
        self.events += decoder.end_of_input()
        if verbatim is not None:
            self.client_bytes += verbatim.end_frame()
        self.error: UpstreamError | None = decoder.error
        self.done: bool = decoder.done


def verbatim(*, array: bool = False, document: object = HELLO) -> VerbatimDecoder:
    """For a client that streams."""
    return CODEC.open_verbatim(request(document, stream=True, array=array), end_marker=True)
