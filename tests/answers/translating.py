"""Codecs driven as the relay drives them: bytes in pieces to events, events to a client's bytes."""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import jiter
import orjson

from engine.errors import UpstreamError
from engine.events import Begin, Call, Event, ToolCallDelta
from engine.protocols.codec import ClientRequest, Codec, Identity, StreamDecoder
from engine.protocols.registry import codec_of

IDENTITY = Identity(id="gen_0123456789abcdef", model="the-model", created=1_700_000_000)

# Inside a character, and inside a line end or a blank line.
_HARD = re.compile(rb"[\x80-\xbf]|(?<=[\r\n])[\r\n]")

_BODIES: dict[str, dict[str, Any]] = {
    "openai_chat": {"model": "the-model"},
    "openai_responses": {"model": "the-model", "input": "hello"},
    "anthropic": {"model": "the-model", "max_tokens": 1_000},
    "gemini": {},
}


def client_request(
    protocol: str, *, stream: bool, array: bool = False, usage: bool = True
) -> ClientRequest:
    """A plain request of a client, usage wanted or not where the protocol leaves the choice."""
    messages = [{"role": "user", "content": "hello"}]
    if protocol == "gemini":
        body: dict[str, Any] = {"contents": [{"role": "user", "parts": [{"text": "hello"}]}]}
        call = Call(
            body=orjson.dumps(body),
            key=None,
            protocol="gemini",
            model="the-model",
            stream=stream,
            array=array,
        )
        return codec_of("gemini").parse_request(call)
    document = _BODIES[protocol] | {"stream": stream}
    if protocol != "openai_responses":
        document["messages"] = messages
    if stream and usage and protocol == "openai_chat":
        document["stream_options"] = {"include_usage": True}
    assert protocol in ("openai_chat", "openai_responses", "anthropic")
    call = Call(body=orjson.dumps(document), key=None, protocol=protocol)  # type: ignore[arg-type]
    return codec_of(protocol).parse_request(call)


@dataclass(frozen=True, slots=True)
class Decoded:
    """What a stream said, and how it ended."""

    events: tuple[Event, ...]
    error: UpstreamError | None = None
    done: bool = False


def decode_stream(codec: Codec, pieces: Iterable[bytes], *, end_marker: bool = False) -> Decoded:
    """Decode as the relay does: frame by frame, nothing after the end or an error.

    Raises:
        ValueError: as the decoder says.
    """
    return run_decoder(codec.open_decoder(end_marker=end_marker), pieces)


def run_decoder(decoder: StreamDecoder, pieces: Iterable[bytes]) -> Decoded:
    """See `decode_stream`."""
    events: list[Event] = []
    for piece in pieces:
        for frame in decoder.split(piece):
            if decoder.done or decoder.error is not None:
                break
            events += decoder.decode(frame)
    if not decoder.done and decoder.error is None:
        events += decoder.end_of_input()
    return Decoded(tuple(events), decoder.error, decoder.done)


def encode_stream(
    codec: Codec,
    events: Sequence[Event],
    request: ClientRequest,
    *,
    error: UpstreamError | None = None,
) -> bytes:
    """The whole stream that a client gets; with an error, its ending is that of a failure."""
    encoder = codec.open_encoder(request, IDENTITY)
    out = b"".join(encoder.encode(event) for event in events)
    if error is not None:
        return out + codec.encode_stream_error(error, array=request.array)
    return out + encoder.finish()


def translate(source: str, target: str, body: bytes, *, stream: bool) -> bytes:
    """A provider's answer as a client of another protocol gets it."""
    request = client_request(target, stream=stream)
    if not stream:
        events = codec_of(source).decode_response(body)
        return codec_of(target).encode_response(events, request, IDENTITY)
    decoded = decode_stream(codec_of(source), [body])
    return encode_stream(codec_of(target), decoded.events, request, error=decoded.error)


def begin_of(events: Sequence[Event]) -> Begin:
    """The event that must be there, first and once."""
    found = [event for event in events if isinstance(event, Begin)]
    assert len(found) == 1, found
    assert events[0] is found[0]
    return found[0]


def split(body: bytes, seed: int) -> list[bytes]:
    """A body in pieces. Seed 0 is one piece, seed 1 single bytes, others cut at random and
    wherever it is hard: inside characters, inside CRLF, inside blank lines."""
    if seed == 0:
        return [body]
    if seed == 1:
        return [body[at : at + 1] for at in range(len(body))]
    chance = random.Random(seed)
    hard = [match.start() for match in _HARD.finditer(body, 1)]
    cuts = set(chance.sample(hard, min(len(hard), chance.choice((1, 8, 64)))))
    cuts |= {chance.randrange(len(body) + 1) for _ in range(chance.choice((1, 8, 64)))}
    ordered = [0, *sorted(cuts), len(body)]
    return [body[a:b] for a, b in itertools.pairwise(ordered)]


def has_broken_arguments(events: Sequence[Event]) -> bool:
    """Whether a call's arguments, as they come, are at some time not the beginning of JSON.

    In a stream to an Anthropic client they have gone out in pieces before they broke; its SDK
    raises, as it does where the model itself has written such.
    """
    calls: dict[int, str] = {}
    for event in events:
        if isinstance(event, ToolCallDelta) and event.choice == 0 and event.arguments:
            calls[event.index] = calls.get(event.index, "") + event.arguments
            if not _is_beginning(calls[event.index]):
                return True
    return False


def _is_beginning(text: str) -> bool:
    """By the anthropic package's own parser."""
    try:
        jiter.from_json(text.encode(), partial_mode=True)
    except ValueError:
        return False
    return True
