"""What the peer lets us send, and how many streams: it may change at any time."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from hyperframe.frame import DataFrame, RstStreamFrame, WindowUpdateFrame

from engine.upstream.connection import ConnectionSettings
from engine.wire.http2 import ErrorCodes, Http2StreamLimit

from .scripted_peer import (
    WITHIN_S,
    Conversation,
    ScriptedPeer,
    data,
    open_conversation,
    raw,
    settings,
    window_update,
)

MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE = 3, 4, 5


async def assert_sent(peer: ScriptedPeer, sizes: dict[int, int]) -> None:
    """So much of each body comes, and no more of any."""

    def seen() -> dict[int, int]:
        sizes: dict[int, int] = {}
        for frame in peer.seen:
            if isinstance(frame, DataFrame):
                sizes[frame.stream_id] = sizes.get(frame.stream_id, 0) + len(frame.data)
        return sizes

    while sum(seen().values()) < sum(sizes.values()):
        await peer.expect(DataFrame)
    await peer.quiet()  # the pong may have come before what the same read set free
    await peer.quiet()
    assert seen() == sizes


# ---- windows -----------------------------------------------------------------------------------


async def test_a_window_of_zero_and_its_return() -> None:
    async with open_conversation(settings({INITIAL_WINDOW_SIZE: 0})) as talk:
        opened = await talk.request(b"x" * 1_000)
        await assert_sent(talk.peer, {})
        await talk.peer.send(window_update(opened.id, 1))
        await assert_sent(talk.peer, {opened.id: 1})
        await talk.peer.send(window_update(opened.id, 998))
        await assert_sent(talk.peer, {opened.id: 999})
        await talk.peer.send(window_update(opened.id, 1))
        await assert_sent(talk.peer, {opened.id: 1_000})
        last = [frame for frame in talk.peer.seen if isinstance(frame, DataFrame)][-1]
        assert "END_STREAM" in last.flags


async def test_a_connection_window_of_zero_and_its_return() -> None:
    async with open_conversation(settings({INITIAL_WINDOW_SIZE: 1_000_000})) as talk:
        first, second = await talk.request(bytes(60_000)), await talk.request(bytes(60_000))
        await assert_sent(talk.peer, {first.id: 60_000, second.id: 5_535})
        await talk.peer.send(window_update(first.id, 100_000))
        await assert_sent(talk.peer, {first.id: 60_000, second.id: 5_535})
        await talk.peer.send(window_update(0, 120_000 - 65_535))
        await assert_sent(talk.peer, {first.id: 60_000, second.id: 60_000})


async def test_an_empty_body_needs_no_window() -> None:
    async with open_conversation(settings({INITIAL_WINDOW_SIZE: 0})) as talk:
        await talk.assert_works()


async def test_the_initial_window_grows_while_streams_are_open() -> None:
    """RFC 9113 section 6.9.2: the difference counts for streams that are open."""
    async with open_conversation(settings({INITIAL_WINDOW_SIZE: 100})) as talk:
        opened = await talk.request(bytes(1_000))
        await assert_sent(talk.peer, {opened.id: 100})
        await talk.peer.send(settings({INITIAL_WINDOW_SIZE: 1_000}))
        await assert_sent(talk.peer, {opened.id: 1_000})


async def test_the_initial_window_shrinks_below_what_was_sent() -> None:
    """The window is negative then, and has to be made up for (RFC 9113 section 6.9.2)."""
    async with open_conversation(settings({INITIAL_WINDOW_SIZE: 1_000})) as talk:
        opened = await talk.request(bytes(2_000))
        await assert_sent(talk.peer, {opened.id: 1_000})
        await talk.peer.send(settings({INITIAL_WINDOW_SIZE: 100}))
        await talk.peer.send(window_update(opened.id, 900))
        await assert_sent(talk.peer, {opened.id: 1_000})
        await talk.peer.send(window_update(opened.id, 1))
        await assert_sent(talk.peer, {opened.id: 1_001})
        await talk.peer.send(settings({INITIAL_WINDOW_SIZE: 65_535}))
        await assert_sent(talk.peer, {opened.id: 2_000})


async def test_the_initial_window_shrinks_and_new_streams_start_with_it() -> None:
    async with open_conversation() as talk:
        await talk.peer.send(settings({INITIAL_WINDOW_SIZE: 10}))
        await talk.peer.quiet()
        opened = await talk.request(bytes(50))
        await assert_sent(talk.peer, {opened.id: 10})


@pytest.mark.parametrize("frame_max", [16_384, 20_000, 2**24 - 1])
async def test_no_frame_is_larger_than_the_peer_takes(frame_max: int) -> None:
    first = settings({MAX_FRAME_SIZE: frame_max, INITIAL_WINDOW_SIZE: 1_000_000})
    async with open_conversation(first) as talk:
        await talk.peer.send(window_update(0, 1_000_000))
        opened = await talk.request(bytes(300_000))
        assert await talk.peer.expect_body(opened.id, 300_000) == bytes(300_000)
        frames = [frame for frame in talk.peer.seen if isinstance(frame, DataFrame)]
        assert max(len(frame.data) for frame in frames) <= frame_max


async def test_a_slow_consumer_gets_no_more_than_its_window() -> None:
    """And the credit comes as it consumes, for stream and connection alike."""
    window = ConnectionSettings(stream_window_bytes=10_000, connection_window_bytes=65_535)
    async with open_conversation(connection_settings=window) as talk:
        opened = await talk.request()
        await talk.peer.send(talk.peer.head(opened.id), data(opened.id, bytes(10_000)))
        await opened.answer.wait_bytes(10_000)
        await talk.peer.quiet()
        credits_seen = [f for f in talk.peer.seen if isinstance(f, WindowUpdateFrame)]
        assert credits_seen == []
        opened.stream.acknowledge(10_000)
        credit = await talk.peer.expect(WindowUpdateFrame)
        assert (credit.stream_id, credit.window_increment) == (opened.id, 10_000)


async def test_late_data_after_our_reset_is_credited_and_not_answered() -> None:
    """Plain and padded DATA, trailers and an end, all in flight when we reset."""
    window = ConnectionSettings(connection_window_bytes=65_535, stream_window_bytes=65_535)
    async with open_conversation(connection_settings=window) as talk:
        late = 0
        for _ in range(6):
            opened = await talk.answered()
            opened.stream.reset_nowait()
            await talk.peer.expect(RstStreamFrame, lambda f: f.error_code == ErrorCodes.CANCEL)
            await talk.peer.send(
                data(opened.id, bytes(10_000)),
                raw(0, 0x8, opened.id, b"\xff" + bytes(10_000)),
                talk.peer.head(opened.id, [(b"x", b"y")], ended=True),
            )
            late += 20_002
            assert [type(f) for f in await talk.peer.quiet()] in ([], [WindowUpdateFrame])
        credited = sum(
            f.window_increment
            for f in talk.peer.seen
            if isinstance(f, WindowUpdateFrame) and f.stream_id == 0
        )
        assert late - 65_535 // 2 <= credited <= late + 6
        await talk.assert_works()


async def test_a_reset_in_mid_upload_sends_no_more_of_it() -> None:
    async with open_conversation() as talk:
        opened = await talk.request(bytes(200_000))
        await assert_sent(talk.peer, {opened.id: 65_535})
        opened.stream.reset_nowait()
        await talk.peer.expect(RstStreamFrame)
        await talk.peer.send(window_update(0, 1_000_000))
        await assert_sent(talk.peer, {opened.id: 65_535})
        await talk.assert_works()


async def test_a_refusal_of_half_a_body_is_final() -> None:
    """The peer resets a stream whose body waits for its window."""
    async with open_conversation() as talk:
        opened = await talk.request(bytes(200_000))
        await assert_sent(talk.peer, {opened.id: 65_535})
        await talk.peer.send(raw(3, 0, opened.id, (7).to_bytes(4, "big")))
        assert (await opened.over()).unprocessed
        await talk.peer.send(window_update(0, 1_000_000))
        await assert_sent(talk.peer, {opened.id: 65_535})
        await talk.assert_works()


# ---- streams -----------------------------------------------------------------------------------


async def changed_to(talk: Conversation, limit: int) -> int:
    """Tell the client how many streams it may have; how many are free then."""
    await talk.peer.send(settings({MAX_CONCURRENT_STREAMS: limit}))
    await talk.peer.quiet()
    return talk.connection.free_streams


async def test_no_streams_at_all_and_then_some() -> None:
    async with open_conversation(settings({MAX_CONCURRENT_STREAMS: 0})) as talk:
        assert talk.connection.free_streams == 0
        assert not talk.connection.draining
        with pytest.raises(Http2StreamLimit):
            talk.start()
        changed = trio.Event()
        talk.connection.on_change = changed.set
        await talk.peer.send(settings({MAX_CONCURRENT_STREAMS: 2}))
        with trio.fail_after(WITHIN_S):
            await changed.wait()
        assert talk.connection.free_streams == 2
        await talk.assert_works()


async def test_the_limit_shrinks_below_what_is_open_and_grows_back() -> None:
    async with open_conversation(settings({MAX_CONCURRENT_STREAMS: 4})) as talk:
        opened = [await talk.answered() for _ in range(4)]
        assert await changed_to(talk, 2) == 0
        for one in opened[:2]:
            await talk.peer.send(data(one.id, b"z", ended=True))
            assert (await one.over()).ended
        assert talk.connection.free_streams == 0
        await talk.peer.send(data(opened[2].id, b"z", ended=True))
        assert (await opened[2].over()).data == b"az"
        assert talk.connection.free_streams == 1
        assert await changed_to(talk, 0) == 0
        assert await changed_to(talk, 10) == 9
        await talk.peer.send(data(opened[3].id, b"z", ended=True))
        assert (await opened[3].over()).data == b"az"
        await talk.assert_works()


async def test_no_limit_is_bounded_by_ours() -> None:
    async with open_conversation(settings({MAX_CONCURRENT_STREAMS: 2**32 - 1})) as talk:
        assert talk.connection.free_streams == 100


async def test_a_reset_stream_frees_its_slot_at_once() -> None:
    async with open_conversation(settings({MAX_CONCURRENT_STREAMS: 1})) as talk:
        for _ in range(5):
            opened = await talk.answered()
            assert talk.connection.free_streams == 0
            opened.stream.reset_nowait()
            assert talk.connection.free_streams == 1
