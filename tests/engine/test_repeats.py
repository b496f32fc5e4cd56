"""Events that pass a relay unread: as if each had been read, to the byte and to the token."""

from __future__ import annotations

import random
from collections import deque

import orjson
import pytest

from engine.events import Call, Event, Protocol, Usage
from engine.metering.tokens import counter_for
from engine.protocols.codec import Identity
from engine.protocols.registry import codec_of
from engine.relay import Relay, RelaySettings, open_relay
from engine.repeats import Repeat, learn
from tests import recordings


def a_relay(
    *,
    usage: bool,
    limit_tokens: int | None = None,
    tap: deque[Event] | None = None,
    protocol: Protocol = "openai_chat",
) -> Relay:
    codec = codec_of(protocol)
    document = {"model": "m", "messages": [{"role": "user", "content": "x"}], "stream": True}
    if usage:
        document["stream_options"] = {"include_usage": True}
    if protocol == "anthropic":
        document["max_tokens"] = 1_000
    call = Call(body=orjson.dumps(document), key=None, protocol=protocol)
    relay = open_relay(
        RelaySettings(
            client=codec,
            provider=codec,
            request=codec.parse_request(call),
            count=counter_for("o200k_base"),
            identity=Identity("req_1", "m", 0),
            end_marker=True,
            body_max_bytes=1_000_000,
            tap=tap,
        )
    )
    relay.output_limit = limit_tokens
    return relay


def event(text: str, **more: object) -> bytes:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    document = {"id": "c1", "model": "m", "choices": [choice], "usage": None} | more
    return b"data: " + orjson.dumps(document) + b"\n\n"


def learned(frame: bytes, text: str, client_frame: bytes | None = None) -> Repeat:
    repeat = learn(frame, text, "0.text", frame if client_frame is None else client_frame)
    assert repeat is not None
    return repeat


def test_the_same_bytes_around_another_plain_string_say_the_same_of_it() -> None:
    repeat = learned(event("one"), "one")
    assert repeat.read(event("two")) == (event("two"), "two")
    assert repeat.read(event("né 東")) == (event("né 東"), "né 東")


def test_the_edit_that_the_client_gets_is_made_again() -> None:
    shown = event("one").replace(b',"usage":null', b"")
    repeat = learned(event("one"), "one", shown)
    assert repeat.read(event("two")) == (shown.replace(b"one", b"two"), "two")


@pytest.mark.parametrize("last", [False, True])
def test_padding_may_differ(last: bool) -> None:
    def padded(text: str, padding: str) -> bytes:
        plain, pad = event(text)[6:-3].decode(), f'"obfuscation":"{padding}"'
        usage = ',"usage":null'
        body = f"{plain},{pad}" if last else plain.replace(usage, f",{pad}{usage}")
        return b"data: " + body.encode() + b"}\n\n"

    frame = padded("one", "aZ9")
    shown = frame.replace(b',"usage":null', b"")
    repeat = learned(frame, "one", shown if last else frame)
    for padding in ("", "x", "Q1q2Q3q4"):
        other = padded("two", padding)
        expected = other.replace(b',"usage":null', b"") if last else other
        assert repeat.read(other) == (expected, "two")
    assert repeat.read(padded("two", "a b")) is None
    assert repeat.read(padded("two", 'a","usage":{},"b":"')) is None


@pytest.mark.parametrize(
    "other",
    [
        event("two", usage={"prompt_tokens": 1}),
        event('tw"o'),
        event("tw\no"),
        event("two\\"),
        event(""),
        event("two").replace(b"two", b"t\x01o"),
        event("two").replace(b"two", b"t\xffo"),
        event("two")[:-1],
        event("two") + b"\n",
        event("two") * 2,
        b": ping\n\n",
        b"data: [DONE]\n\n",
        b"",
    ],
    ids=lambda other: other[-40:].decode("latin-1"),
)
def test_whatever_else_is_read(other: bytes) -> None:
    assert learned(event("one"), "one").read(other) is None


@pytest.mark.parametrize(
    ("frame", "text"),
    [
        (event("m"), "m"),  # so is the model
        (event("id"), "id"),  # so is a key
        (event(""), ""),
        (event("one").replace(b"c1", b"c\\u0031"), "one"),
        (event("one").replace(b"one", b"\\u006fne"), "one"),
        (event("one").replace(b"\n\n", b"\r\r"), "one"),
    ],
)
def test_of_an_event_that_is_not_plain_to_see_nothing_is_learned(frame: bytes, text: str) -> None:
    assert learn(frame, text, "0.text", frame) is None


def test_an_event_of_which_the_client_gets_something_else_is_no_pattern() -> None:
    assert learn(event("one"), "one", "0.text", b"") is None
    assert learn(event("one"), "one", "0.text", b"data: {}\n\n") is None


# -- in a relay ----------------------------------------------------------------------------------


def fed(relay: Relay, piece: bytes, *, passing: bool) -> tuple[bytes, bool]:
    """What the relay gives, and whether the piece has passed unread."""
    if passing and (out := relay.pass_by(piece)) is not None:
        return out, True
    return relay.feed(piece), False


def assert_equal(
    pieces: list[bytes],
    *,
    usage: bool,
    limit_tokens: int | None = None,
    protocol: Protocol = "openai_chat",
) -> int:
    """Two relays, one of which lets pass what it may; returns how much has."""
    read = a_relay(usage=usage, limit_tokens=limit_tokens, protocol=protocol)
    passed = a_relay(usage=usage, limit_tokens=limit_tokens, protocol=protocol)
    count = sent = 0
    for index, piece in enumerate(pieces):
        expected, _ = fed(read, piece, passing=False)
        given, unread = fed(passed, piece, passing=True)
        count += unread
        sent += len(given)
        assert given == expected
        assert (passed.terminal, passed.exhausted) == (read.terminal, read.exhausted)
        assert (passed.error is None) == (read.error is None)
        if index % 7 == 0:
            for relay in (read, passed):
                relay.meter.delivered_to(sent * 2 // 3)
            assert passed.meter.received_tokens() == read.meter.received_tokens()
            assert passed.meter.delivered_tokens() == read.meter.delivered_tokens()
    assert passed.end_of_input() + passed.finish() == read.end_of_input() + read.finish()
    assert passed.meter.received_tokens() == read.meter.received_tokens()
    assert passed.meter.has_output == read.meter.has_output
    return count


STREAMS = recordings.names("openai-chat", stream=True, status=200)


@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.parametrize("usage", [False, True])
def test_recorded_streams(name: str, usage: bool) -> None:
    body = recordings.load(name).body
    frames = [frame + b"\n\n" for frame in body.split(b"\n\n") if frame]
    assert_equal(frames, usage=usage)
    assert_equal([body[at : at + 700] for at in range(0, len(body), 700)], usage=usage)


@pytest.mark.parametrize("name", recordings.names("anthropic-messages", stream=True, status=200))
def test_recorded_streams_of_anthropic(name: str) -> None:
    body = recordings.load(name).body
    blank = b"\r\n\r\n" if b"\r\n\r\n" in body else b"\n\n"
    frames = [frame + blank for frame in body.split(blank) if frame]
    assert_equal(frames, usage=False, protocol="anthropic")


def test_nearly_all_of_an_ordinary_stream_passes() -> None:
    words = [f" word{number}" for number in range(500)]
    finish = event("", choices=[{"index": 0, "delta": {}, "finish_reason": "stop"}])
    frames = [event(text) for text in words] + [finish, b"data: [DONE]\n\n"]
    assert assert_equal(frames, usage=False) > 450
    assert assert_equal(frames, usage=True, limit_tokens=10_000) > 450


def test_nearly_all_of_an_ordinary_stream_of_anthropic_passes_whatever_pads_it() -> None:
    def message(kind: str, padding: str = "", **fields: object) -> bytes:
        data = orjson.dumps({"type": kind, **fields}).decode()
        return f"event: {kind}\ndata: {data[:-1]}{padding}}}\n\n".encode()

    frames = [
        message("message_start", message={"id": "m", "usage": {"input_tokens": 5}}),
        message("content_block_start", index=0, content_block={"type": "text", "text": ""}),
    ]
    for number in range(300):
        delta = {"type": "text_delta", "text": f" word{number}"}
        frames.append(message("content_block_delta", " " * (number % 9), index=0, delta=delta))
    frames += [message("content_block_stop", index=0), message("message_stop")]
    assert assert_equal(frames, usage=False, protocol="anthropic") > 270


@pytest.mark.parametrize("padding", [{}, {"obfuscation": "aZ9"}], ids=["bare", "padded"])
@pytest.mark.parametrize("last", [False, True])
def test_a_cut_tells_the_names_of_the_event_before_it(
    last: bool, padding: dict[str, object]
) -> None:
    """Also where names change and come back, at an event from which no shape is learned."""

    def named(text: str, name: str) -> bytes:
        whole: dict[str, object] = orjson.loads(event(text)[6:]) | padding
        name_last = {key: value for key, value in whole.items() if key != "id"} | {"id": name}
        document = name_last if last else whole | {"id": name}
        return b"data: " + orjson.dumps(document) + b"\n\n"

    pieces = [named("one", "c1"), named(" two", "c1"), named('"', "c2"), named(" three", "c1")]
    read, passed = a_relay(usage=True), a_relay(usage=True)
    for piece in pieces:
        assert fed(passed, piece, passing=True)[0] == fed(read, piece, passing=False)[0]
    ending = read.cut(Usage(output_tokens=3))
    assert b'"id":"c1"' in ending
    assert passed.cut(Usage(output_tokens=3)) == ending


def test_an_escaped_string_does_not_keep_the_next_event_from_passing() -> None:
    relay = a_relay(usage=True)
    for text in ("one", " two", "\n"):
        relay.feed(event(text, obfuscation="aZ9"))
    assert relay.pass_by(event(" three", obfuscation="bY")) is not None


@pytest.mark.parametrize("seed", range(40))
def test_streams_of_all_kinds_of_events(seed: int) -> None:
    """Also where the limit ends them; the seed is the test's name."""
    chance = random.Random(seed)
    texts = [" a", "é", "東京", '"', "\\", "\n", "", " word" * 30, "m", "x" * 250, "id"]
    frames = []
    for _ in range(300):
        text = chance.choice([*texts, " plain", " words", " that", " pass"])
        match chance.randrange(20):
            case 0:
                frames.append(event(text, usage={"completion_tokens": 3, "prompt_tokens": 2}))
            case 1:
                frames.append(b": comment\n\n")
            case 2:
                delta = {"index": 1, "delta": {"content": text}, "finish_reason": None}
                frames.append(event(text, choices=[delta]))
            case 3:
                frames.append(event(text, obfuscation="abc"[: chance.randrange(4)]))
            case 4:
                whole = event(text)
                cut = chance.randrange(1, len(whole))
                frames += [whole[:cut], whole[cut:]]
            case 5:
                frames.append(event(text) + event(" two"))
            case 6 if chance.random() < 0.1:
                frames.append(event(text).replace(b'"content"', b'"content'))
            case _:
                frames.append(event(text))
    limit_tokens = chance.choice([None, 100, 700, 1_500, 5_000])
    assert_equal(frames, usage=chance.random() < 0.5, limit_tokens=limit_tokens)


def test_events_for_an_embedder_are_read() -> None:
    relay = a_relay(usage=True, tap=deque())
    relay.feed(event("one"))
    relay.feed(event(" two"))
    assert relay.pass_by(event(" three")) is None
