"""A relay alone: one event in, what the client gets of it out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import orjson

from bench.counts.streams import anthropic_stream, chat_stream
from engine import Call
from engine.events import Protocol
from engine.metering.tokens import counter_for
from engine.protocols.codec import Identity
from engine.protocols.registry import codec_of
from engine.relay import Relay, RelaySettings, open_relay

_BODY_MAX_BYTES: Final = 1 << 20
_STREAMS: Final[dict[Protocol, Callable[[int], tuple[list[bytes], bytes]]]] = {
    "openai_chat": chat_stream,
    "anthropic": anthropic_stream,
}


@dataclass(frozen=True, slots=True)
class RelayPath:
    """A client of one API, a provider of the same or of another."""

    client: Protocol
    provider: Protocol

    def relaying(self, tokens: int) -> Callable[[], None]:
        """A function that relays a stream of so many tokens, all but the relay made beforehand."""
        client, provider = codec_of(self.client), codec_of(self.provider)
        events, ending = _STREAMS[self.provider](tokens)
        asked = {
            "model": "m",
            "stream": True,
            "max_tokens": 100_000,
            "messages": [{"role": "user", "content": "Tell me more."}],
        }
        call = Call(body=orjson.dumps(asked), key=None, protocol=self.client)
        settings = RelaySettings(
            client=client,
            provider=provider,
            request=client.parse_request(call),
            count=counter_for("o200k_base"),
            identity=Identity("req_1", "m", 0),
            end_marker=True,
            body_max_bytes=_BODY_MAX_BYTES,
        )
        return lambda: _relay(open_relay(settings), events, ending)


def _relay(relay: Relay, events: list[bytes], ending: bytes) -> None:
    """As an attempt does it (engine/attempt.py): an event that is like the last one passes by."""
    for event in events:
        if relay.pass_by(event) is None:
            relay.feed(event)
    relay.feed(ending)
    relay.end_of_input()
    assert relay.error is None
    assert relay.terminal
    relay.finish()
