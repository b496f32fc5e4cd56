"""A client's stream of several legs, fed as attempts feed it, and read by its official SDK."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import orjson

from engine.events import (
    Begin,
    Call,
    Event,
    Finish,
    FinishReason,
    Protocol,
    TextDelta,
    Usage,
    UsageReport,
)
from engine.metering.tokens import counter_for
from engine.protocols.codec import ClientRequest, Identity
from engine.protocols.registry import client_codec
from engine.relay import RelaySettings, StreamRelay, open_relay
from engine.seam import Seam
from engine.transcript import Transcript
from engine.wire.json_array import ArraySplitter
from engine.wire.sse import EventSplitter
from tests.answers import sdk
from tests.answers.reading import STOP, Choice, Reading
from tests.answers.translating import client_request
from tests.engine.protocols.anthropic.sdk import check_grammar as check_anthropic
from tests.engine.protocols.openai_responses.sdk import accumulated
from tests.engine.protocols.openai_responses.sdk import check_grammar as check_responses

COUNT = counter_for("o200k_base")
END = Finish(FinishReason.STOP)
_CREATED = 1_700_000_000

CLIENTS = ("openai_chat", "openai_responses", "anthropic", "gemini")
FIRST = ["Hel", "lo,", " wide", " "]
SECOND = [" wor", "ld", " é𝄞"]
USAGE_1 = Usage(input_tokens=10, output_tokens=4)
USAGE_2 = Usage(input_tokens=16, output_tokens=3)
BOTH = USAGE_1.plus(USAGE_2)


@functools.cache
def request_of(client: str, *, array: bool = False) -> ClientRequest:
    """A streamed request that wants usage."""
    if client != "openai_completions":
        return client_request(client, stream=True, array=array)
    document = {"model": "m", "prompt": "hello", "stream": True, "max_tokens": 1_000}
    options = {"stream_options": {"include_usage": True}}
    call = Call(body=orjson.dumps(document | options), key=None, protocol="openai_completions")
    return client_codec(client).parse_request(call)


def call_of(client: Protocol, max_output_tokens: int) -> Call:
    """A streamed call with a limit."""
    prompt = "Tell me more."
    document: dict[str, Any] = {"model": "m", "stream": True}
    match client:
        case "openai_chat":
            messages = [{"role": "user", "content": prompt}]
            document |= {"messages": messages, "max_completion_tokens": max_output_tokens}
        case "openai_responses":
            document |= {"input": prompt, "max_output_tokens": max_output_tokens}
        case "openai_completions":
            document |= {"prompt": prompt, "max_tokens": max_output_tokens}
        case "anthropic":
            messages = [{"role": "user", "content": prompt}]
            document |= {"messages": messages, "max_tokens": max_output_tokens}
        case "gemini":
            document = {
                "contents": [{"role": "user", "parts": [{"text": prompt}]}],
                "generationConfig": {"maxOutputTokens": max_output_tokens},
            }
    body = orjson.dumps(document)
    if client == "gemini":
        return Call(body=body, key=None, protocol=client, model="m", stream=True)
    return Call(body=body, key=None, protocol=client)


def answer(
    provider: str, name: str, *events: Event, usage: Usage, array: bool = False
) -> list[bytes]:
    """The frames of what a provider answers; `name` is in its id and its model."""
    begin = Begin(id_of(name), f"{name}-model", _CREATED)
    request = request_of(provider, array=array)
    encoder = client_codec(provider).open_encoder(request, Identity("id", "m", 0))
    said = (begin, *events, UsageReport(usage))
    body = b"".join(encoder.encode(event) for event in said) + encoder.finish()
    splitter = ArraySplitter() if array else EventSplitter()
    return [frame for frame in (*splitter.feed(body), splitter.finish()) if frame]


def id_of(name: str) -> str:
    """What the answer of such a name is called."""
    return f"{name}_0123456789abcdef"


def texts(pieces: Iterable[str]) -> tuple[Event, ...]:
    """An answer of nothing but text."""
    return (*map(TextDelta, pieces), END)


@dataclass(slots=True)
class Stream:
    """A client's stream, leg after leg; `out` is what has gone out."""

    client: str
    relay: StreamRelay
    array: bool
    out: bytes = b""

    @property
    def text(self) -> str | None:
        """What another leg could go on with."""
        transcript = self.relay.transcript
        return None if transcript is None else transcript.text

    def feed(self, pieces: Iterable[bytes]) -> None:
        """As an attempt does it: what is like the event before it passes by."""
        for piece in pieces:
            passed = self.relay.pass_by(piece)
            self.out += self.relay.feed(piece) if passed is None else passed

    def go_on(self, provider: str, usage: Usage) -> bool:
        """The leg breaks off here, and another provider goes on; False: nobody can."""
        text = self.text
        encoder = None if text is None else self.relay.resume(text)
        if text is None or encoder is None:
            return False
        seam = Seam(encoder, text, usage)
        self.relay = _relay(self.client, provider, self.array, self.relay.sent_bytes, seam)
        return True

    def end(self) -> bytes:
        """The leg has come to its end, and with it the stream."""
        self.out += self.relay.end_of_input()
        assert self.relay.error is None
        assert self.relay.terminal
        assert self.relay.sent_bytes == len(self.out)
        return self.out + self.relay.finish()


def _relay(
    client: str, provider: str, array: bool, sent_bytes: int = 0, seam: Seam | None = None
) -> StreamRelay:
    relay = open_relay(
        RelaySettings(
            client=client_codec(client),
            provider=client_codec(provider),
            request=request_of(client, array=array),
            count=COUNT,
            identity=Identity("req_1", "m", 0),
            end_marker=True,
            body_max_bytes=1_000_000,
            sent_bytes=sent_bytes,
            seam=seam,
            transcript=Transcript("" if seam is None else seam.text),
        )
    )
    assert isinstance(relay, StreamRelay)
    return relay


def broken_off(
    client: str, provider: str, frames: Iterable[bytes], *, array: bool = False
) -> Stream:
    """A stream whose first leg has brought so much."""
    stream = Stream(client, _relay(client, provider, array), array)
    stream.feed(frames)
    return stream


def read(client: str, body: bytes) -> Reading:
    """What the client's SDK reads, after the stream was found to keep its protocol's rules."""
    if client == "openai_completions":
        return _read_completions(body)
    if client == "anthropic":
        check_anthropic(body)
    elif client == "openai_responses":
        check_responses(body)
        accumulated(body)
    return sdk.read(client, body, stream=True)


def _read_completions(body: bytes) -> Reading:
    """By hand: chunk after chunk of one answer, its end, and then its usage."""
    assert body.endswith(b"data: [DONE]\n\n")
    chunks = [
        orjson.loads(frame.removeprefix(b"data: "))
        for frame in EventSplitter().feed(body)
        if frame.startswith(b"data: {")
    ]
    [(answer_id, model)] = {(chunk["id"], chunk["model"]) for chunk in chunks}
    choices = [choice for chunk in chunks for choice in chunk["choices"]]
    assert [choice["finish_reason"] for choice in choices] == [None] * (len(choices) - 1) + ["stop"]
    text = "".join(choice["text"] for choice in choices)
    usage = chunks[-1]["usage"]
    consumed = Usage(usage["prompt_tokens"], output_tokens=usage["completion_tokens"])
    return Reading((Choice(text, finish=STOP),), consumed, answer_id, model)


def first_leg(provider: str, *, array: bool = False) -> list[bytes]:
    """What the first provider answers."""
    return answer(provider, "first", *texts(FIRST), usage=USAGE_1, array=array)


def second_leg(provider: str) -> bytes:
    """What the second provider answers."""
    return b"".join(answer(provider, "second", *texts(SECOND), usage=USAGE_2))


def through(frames: list[bytes], part: bytes) -> list[bytes]:
    """The frames up to the first one with this in it."""
    at = next(at for at, frame in enumerate(frames) if part in frame)
    return frames[: at + 1]


def broken_off_at(client: str, part: bytes) -> Stream:
    """A stream whose first leg, verbatim, has come so far."""
    return broken_off(client, client, through(first_leg(client), part))


def joined(first: str) -> str:
    """With what the second leg says, which was given the first one without the spaces at its end,
    and says them again."""
    second = "".join(SECOND)
    return first + (second.lstrip(" ") if first.endswith(" ") else second)


def check(client: str, body: bytes, text: str, usage: Usage) -> None:
    """The whole text, one end, all that was consumed, and the names of the first leg."""
    answered = read(client, body)
    [choice] = answered.choices
    assert (choice.text, choice.finish, answered.failed) == (text, STOP, False)
    assert answered.usage == usage
    assert (answered.id, answered.model) == (id_of("first"), "first-model")


def through_event(frames: list[bytes], is_it: Callable[[dict[str, Any]], bool]) -> list[bytes]:
    """The frames up to the first event of which this holds."""
    documents = [orjson.loads(frame.partition(b"data: ")[2]) for frame in frames]
    at = next(at for at, document in enumerate(documents) if is_it(document))
    return frames[: at + 1]
