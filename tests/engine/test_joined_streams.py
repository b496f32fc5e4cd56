"""One well-formed stream of two legs: the first breaks off anywhere, another provider's goes on.

The first leg passes verbatim, or is translated; the second is always translated. What the client
gets is read by its official SDK.
"""

from __future__ import annotations

import orjson
import pytest

from engine.errors import UpstreamError
from tests.answers import sdk
from tests.answers.reading import LENGTH
from tests.joined import (
    BOTH,
    CLIENTS,
    COUNT,
    SECOND,
    USAGE_1,
    USAGE_2,
    answer,
    broken_off,
    broken_off_at,
    check,
    first_leg,
    joined,
    read,
    second_leg,
    texts,
    through,
)

# Whom the first leg of each client's stream comes from, where it does not pass verbatim.
ANOTHER = {
    "openai_chat": "anthropic",
    "openai_responses": "gemini",
    "anthropic": "openai_chat",
    "gemini": "openai_responses",
    "openai_completions": "anthropic",
}
VERBATIM = [(client, client) for client in ANOTHER]
TRANSLATED = list(ANOTHER.items())

# Of a client's stream and its second leg; a frame's boundaries do not depend on the client.
SPLIT = [
    pytest.param(client, second, marks=[] if index % 2 == 0 else pytest.mark.long)
    for client in CLIENTS
    for index, second in enumerate(("anthropic", "gemini"), CLIENTS.index(client))
]


@pytest.mark.parametrize(("client", "provider"), VERBATIM + TRANSLATED)
def test_cut_after_every_event(client: str, provider: str) -> None:
    frames, more = first_leg(provider), second_leg("anthropic")
    went_on = set()
    for cut in range(len(frames) + 1):
        stream = broken_off(client, provider, frames[:cut])
        text = stream.text
        if text not in went_on and stream.go_on("anthropic", USAGE_1):
            assert text is not None
            stream.feed([more])
            check(client, stream.end(), joined(text), BOTH)
            assert stream.text is None, "it has ended"
            went_on.add(text)
    assert went_on == {"Hel", "Hello,", "Hello, wide", "Hello, wide "}


@pytest.mark.parametrize("second", CLIENTS)
@pytest.mark.parametrize("client", ANOTHER)
def test_every_provider_goes_on(client: str, second: str) -> None:
    stream = broken_off_at(client, b"wide")
    assert stream.go_on(second, USAGE_1)
    stream.feed([second_leg(second)])
    check(client, stream.end(), "Hello, wide world é𝄞", BOTH)


@pytest.mark.parametrize(("client", "second"), SPLIT)
def test_the_second_leg_may_be_split_at_every_byte(client: str, second: str) -> None:
    frames = through(first_leg(client), b"Hel")
    more = b"".join(answer(second, "second", *texts([" é𝄞"]), usage=USAGE_2))

    def whole(*pieces: bytes) -> bytes:
        stream = broken_off(client, client, frames)
        assert stream.go_on(second, USAGE_1)
        stream.feed(pieces)
        return stream.end()

    expected = whole(more)
    assert whole(*(more[at : at + 1] for at in range(len(more)))) == expected
    for at in range(1, len(more)):
        assert whole(more[:at], more[at:]) == expected, at


@pytest.mark.parametrize("client", ANOTHER)
def test_the_first_leg_may_break_off_at_every_byte(client: str) -> None:
    """Of an event that is not whole nothing has gone out, and nothing is gone on with."""
    stream, frames = broken_off(client, client, []), first_leg(client)
    for frame in frames:
        out, text = stream.out, stream.text
        for at in range(len(frame) - 1):
            stream.feed([frame[at : at + 1]])
            assert (stream.out, stream.text) == (out, text)
        stream.feed([frame[-1:]])
    assert stream.text is None


def test_elements_of_an_array() -> None:
    """Gemini without `alt=sse`: one JSON array to the end."""
    frames = through(first_leg("gemini", array=True), b"lo,")
    stream = broken_off("gemini", "gemini", frames, array=True)
    assert stream.text == "Hello,"
    assert stream.go_on("anthropic", USAGE_1)
    stream.feed([second_leg("anthropic")])
    chunks = orjson.loads(stream.end())
    found = [each for chunk in chunks for each in chunk["candidates"]]
    parts = [part["text"] for each in found for part in each["content"]["parts"]]
    assert "".join(parts) == "Hello, world é𝄞"
    assert chunks[-1]["usageMetadata"]["promptTokenCount"] == BOTH.input_tokens
    assert {chunk["modelVersion"] for chunk in chunks} == {"first-model"}


@pytest.mark.parametrize("client", CLIENTS)
def test_the_second_leg_may_break_off_too(client: str) -> None:
    """A third goes on from what both have said."""
    stream = broken_off_at(client, b"Hel")
    assert stream.go_on("openai_chat", USAGE_1)
    frames = answer("openai_chat", "second", *texts(SECOND), usage=USAGE_2)
    stream.feed(through(frames, b" wor"))
    assert stream.text == "Hel wor"
    assert stream.go_on("anthropic", BOTH)
    third = answer("anthropic", "third", *texts(["d", "s"]), usage=USAGE_2)
    stream.feed([b"".join(third)])
    check(client, stream.end(), "Hel words", BOTH.plus(USAGE_2))


@pytest.mark.parametrize("client", CLIENTS)
def test_a_leg_that_has_said_nothing_changes_nothing(client: str) -> None:
    stream = broken_off_at(client, b"Hel")
    before = stream.out
    assert stream.go_on("anthropic", USAGE_1)
    frames = answer("anthropic", "second", *texts(SECOND), usage=USAGE_2)
    stream.feed(through(frames, b"content_block_start"))
    assert (stream.text, stream.out) == ("Hel", before)
    assert stream.go_on("gemini", USAGE_1)
    stream.feed([second_leg("gemini")])
    check(client, stream.end(), "Hel world é𝄞", BOTH)


@pytest.mark.parametrize("client", CLIENTS)
def test_the_second_leg_may_fail(client: str) -> None:
    stream = broken_off_at(client, b"wide")
    assert stream.go_on("openai_chat", USAGE_1)
    frames = answer("openai_chat", "second", *texts(SECOND), usage=USAGE_2)
    stream.feed(through(frames, b" wor"))
    ending = stream.relay.fail(UpstreamError("The provider is gone."))
    failed = sdk.read(client, stream.out + ending, stream=True)
    assert (failed.choices[0].text, failed.failed) == ("Hello, wide wor", True)


@pytest.mark.parametrize("client", CLIENTS)
def test_the_second_leg_may_end_early(client: str) -> None:
    stream = broken_off_at(client, b"wide")
    assert stream.go_on("openai_chat", USAGE_1)
    frames = answer("openai_chat", "second", *texts(SECOND), usage=USAGE_2)
    stream.feed(through(frames, b" wor"))
    cut = read(client, stream.out + stream.relay.cut(BOTH))
    assert (cut.choices[0].text, cut.choices[0].finish) == ("Hello, wide wor", LENGTH)
    assert cut.usage == BOTH


def test_each_leg_is_measured_by_itself_in_one_stream() -> None:
    """What of a leg is delivered is known by where it stands in the stream of both."""
    stream = broken_off_at("openai_chat", b"wide")
    first, before = stream.relay, len(stream.out)
    assert stream.go_on("anthropic", USAGE_1)
    stream.feed([second_leg("anthropic")])
    assert (first.sent_bytes, first.meter.received_tokens()) == (before, COUNT("Hello, wide"))
    meter = stream.relay.meter
    assert meter.received_tokens() == USAGE_2.output_tokens, "its provider's own figures"
    meter.delivered_to(before)
    assert meter.delivered_tokens() < USAGE_2.output_tokens
    meter.delivered_to(len(stream.out))
    assert meter.delivered_tokens() == USAGE_2.output_tokens
