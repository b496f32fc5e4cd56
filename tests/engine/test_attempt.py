"""What an attempt makes of its provider's bytes after a fault of our own."""

from __future__ import annotations

import orjson
import pytest

from engine.attempt import Attempt
from engine.events import Call
from engine.metering.tokens import counter_for
from engine.protocols.codec import Identity
from engine.protocols.registry import codec_of
from engine.relay import Relay, RelaySettings, open_relay
from engine.sink import PullSink
from engine.wire.http import Delivery
from tests.scripted import DONE, word

CHAT = codec_of("openai_chat")
HEAD = [(b":status", b"200")]


def a_relay() -> Relay:
    document = {"model": "m", "messages": [{"role": "user", "content": "x"}], "stream": True}
    return open_relay(
        RelaySettings(
            client=CHAT,
            provider=CHAT,
            request=CHAT.parse_request(Call(body=orjson.dumps(document), key=None)),
            count=counter_for("o200k_base"),
            identity=Identity("req_1", "m", 0),
            end_marker=True,
            body_max_bytes=1_000_000,
        )
    )


@pytest.mark.parametrize("piece", [word(" three"), word('"'), word(" four") + DONE])
async def test_nothing_goes_out_behind_what_a_fault_has_swallowed(piece: bytes) -> None:
    """The reader may have more before the exchange's own task has ended it."""

    def metered(_relay: Relay) -> bool:
        if faulty:
            raise RuntimeError
        return False

    faulty: list[bool] = []
    sink = PullSink(1_000_000, lambda: None)
    attempt = Attempt(a_relay(), sink, CHAT, unary=False, metered=metered)
    attempt.deliver(Delivery(1, HEAD, word("one"), len(word("one"))))
    faulty.append(True)
    attempt.deliver(Delivery(1, None, word(" two") * 2, len(word(" two") * 2)))
    assert attempt.crash is not None
    faulty.clear()
    attempt.deliver(Delivery(1, None, piece, len(piece)))
    assert sink.take() == word("one")
    assert attempt.over


async def test_what_was_not_paid_for_goes_on_once_it_is() -> None:
    """Of two attempts only one is; it may have come to the limit before it is known which."""

    def metered(relay: Relay) -> bool:
        if not paid:
            return False
        relay.output_limit = 1_000
        return relay.exhausted

    paid: list[bool] = []
    sink = PullSink(1_000_000, lambda: None)
    relay = a_relay()
    relay.output_limit = 2
    attempt = Attempt(relay, sink, CHAT, unary=False, metered=metered)
    pieces = word("one") + word(" two") + word(" three") + word(" four")
    attempt.deliver(Delivery(1, HEAD, pieces, len(pieces)))
    was_over = attempt.over
    assert sink.take() == word("one") + word(" two")
    paid.append(True)
    attempt.go_on()
    assert (was_over, attempt.over) == (True, False)
    assert sink.take() == word(" three") + word(" four")
