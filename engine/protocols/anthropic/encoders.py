"""Answers for Anthropic's clients: streams and whole messages."""

from __future__ import annotations

from collections.abc import Sequence

import orjson

from engine.events import Event, Usage
from engine.protocols.anthropic.grammar import Documents, Grammar
from engine.protocols.anthropic.messages import whole_message
from engine.protocols.anthropic.streams import encode_event
from engine.protocols.codec import Identity

# What `encode_event` makes of a delta.
_PIECE = (
    b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,'
    b'"delta":{"type":"%b","%b":%b}}\n\n'
)


class AnthropicEncoder:
    """Canonical events to a client's stream; see `codec.StreamEncoder`."""

    def __init__(self, identity: Identity) -> None:
        self._grammar = Grammar(identity)

    @classmethod
    def resumed(cls, identity: Identity, index: int, kind: str | None) -> AnthropicEncoder:
        """For a message that has begun to go out; see `Grammar.resumed`."""
        encoder = cls(identity)
        encoder._grammar = Grammar.resumed(identity, index, kind)
        return encoder

    @property
    def holding(self) -> bool:
        """Events wait for a call whose arguments are incomplete."""
        return self._grammar.holding

    def encode(self, event: Event) -> bytes:
        """Whole stream events, or nothing."""
        if (piece := self._grammar.piece(event)) is not None:
            index, kind, member, text = piece
            return _PIECE % (index, kind, member, orjson.dumps(text))
        return _join(self._grammar.push(event))

    def finish(self) -> bytes:
        """What waits, the open block's end, `message_delta` and `message_stop`."""
        return _join(self._grammar.finish())

    def cut(self, usage: Usage) -> bytes:
        """The same, early, with the reason `max_tokens`."""
        return _join(self._grammar.cut(usage))


def _join(documents: Documents) -> bytes:
    return b"".join([encode_event(document) for document in documents])


def encode_message(events: Sequence[Event], identity: Identity) -> bytes:
    """A whole message: what its stream would add up to."""
    grammar = Grammar(identity)
    documents: Documents = []
    for event in events:
        documents += grammar.push(event)
    return orjson.dumps(whole_message(documents + grammar.finish()))
