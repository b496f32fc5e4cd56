"""A provider's answer on its way to the client: nothing is read that nobody takes."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import trio

from engine.errors import UpstreamError, UpstreamTimeoutError
from engine.passing.answers import Reading
from engine.passing.asking import worded
from engine.protocols.registry import client_codec
from engine.upstream.answers import Answer
from engine.wire.sse import EventSplitter, EventTooLargeError


async def events_of(
    answer: Answer, reading: Reading, beat_s: float, silent_max_s: float
) -> AsyncGenerator[bytes]:
    """Whole events as the account is told them, and heartbeats while there are none.

    Raises:
        UpstreamError: the provider breaks off, or is silent for so long.
        GatewayError: as `Reading.event`.
    """
    splitter, beat = EventSplitter(), client_codec("openai_chat").heartbeat
    silent_s = 0.0
    while True:
        with trio.move_on_after(beat_s) as waiting:
            await answer.wait_ready()
        if waiting.cancelled_caught:
            silent_s += beat_s
            if silent_s >= silent_max_s:
                raise UpstreamTimeoutError("The provider was silent for too long.")
            yield beat
            continue
        silent_s = 0.0
        with worded():
            data = await anext(answer, None)
        if data is None:
            break
        try:
            events = splitter.feed(data)
        except EventTooLargeError:
            raise UpstreamError("An event of the provider's answer is too large.") from None
        if events:
            yield b"".join([await reading.event(event) for event in events])
    if rest := splitter.finish():
        yield await reading.event(rest)


async def pieces_of(answer: Answer) -> AsyncGenerator[bytes]:
    """Bytes that are no JSON, as they come. Raises UpstreamError: the provider breaks off."""
    while True:
        with worded():
            piece = await anext(answer, None)
        if piece is None:
            return
        yield piece
