"""How streams and connections end: RST_STREAM, GOAWAY, and the end of the connection itself."""

from __future__ import annotations

import socket
import struct
from collections.abc import Awaitable, Callable

import pytest
import trio
from hyperframe.frame import RstStreamFrame

from engine.errors import UpstreamUnreachableError
from engine.upstream.connection import Connection, open_connection
from engine.upstream.errors import StreamLostError
from engine.wire.http2 import ErrorCodes, Http2StreamLimit

from .scripted_peer import (
    Conversation,
    Opened,
    data,
    goaway,
    kinds,
    open_conversation,
    open_listening,
    raw,
    rst,
    settings,
    window_update,
)

NO_ERROR, PROTOCOL_ERROR, CANCEL = 0, 1, 8
CODES = [*range(14), 0xFF, 2**32 - 1]


def lost(opened: Opened) -> StreamLostError:
    error = opened.answer.error
    assert isinstance(error, StreamLostError), opened.answer.__dict__
    return error


# ---- RST_STREAM --------------------------------------------------------------------------------


@pytest.mark.parametrize("code", CODES)
async def test_reset_before_an_answer(code: int) -> None:
    async with open_conversation() as talk:
        other, opened = await talk.answered(), await talk.request(bytes(100_000))
        await talk.peer.send(rst(opened.id, code))
        answer = await opened.over()
        assert (answer.reset_code, answer.ended) == (code, False)
        assert answer.unprocessed == (code == ErrorCodes.REFUSED_STREAM)
        await talk.peer.send(data(other.id, b"z", ended=True))
        assert (await other.over()).data == b"az"
        await talk.assert_works()


@pytest.mark.parametrize("code", [NO_ERROR, CANCEL, 11, 2**32 - 1])
async def test_reset_in_mid_answer(code: int) -> None:
    async with open_conversation() as talk:
        opened = await talk.request()
        await talk.peer.send(
            talk.peer.head(opened.id), data(opened.id, b"tokens"), rst(opened.id, code)
        )
        answer = await opened.over()
        assert (answer.data, answer.reset_code, answer.ended) == (b"tokens", code, False)
        assert not any(isinstance(f, RstStreamFrame) for f in await talk.peer.quiet())
        await talk.assert_works()


@pytest.mark.parametrize("end", ["ended", "reset"])
async def test_data_after_the_peers_own_end_is_dropped_and_credited(end: str) -> None:
    async with open_conversation() as talk:
        opened = await talk.answered()
        await talk.peer.send(
            data(opened.id, b"z", ended=True) if end == "ended" else rst(opened.id, CANCEL)
        )
        before = (await opened.over()).data
        await talk.peer.send(data(opened.id, b"late", ended=True))
        assert kinds(await talk.peer.quiet()) == []
        assert opened.answer.data == before
        assert restored_window(talk.connection) == 16 * 1024 * 1024
        await talk.assert_works()


async def test_a_head_after_the_answers_end() -> None:
    """RFC 9113 section 5.1, closed: STREAM_CLOSED."""
    async with open_conversation() as talk:
        opened = await talk.request()
        await talk.peer.send(talk.peer.head(opened.id), data(opened.id, b"x", ended=True))
        answer = await opened.over()
        await talk.peer.send(talk.peer.head(opened.id))
        await talk.assert_fails(ErrorCodes.STREAM_CLOSED)
        assert answer.data == b"x"


def restored_window(connection: Connection) -> int:
    """The connection's window, with what the peer is told of at the next occasion."""
    manager = connection._http2._machine._inbound_flow_control_window_manager
    return int(manager.current_window_size + manager._bytes_processed)


# ---- GOAWAY ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("last", "kept"),
    [(0, 0), (1, 1), (2, 1), (3, 2), (4, 2), (5, 3), (7, 3), (2**31 - 1, 3)],
)
@pytest.mark.parametrize("code", [NO_ERROR, ErrorCodes.ENHANCE_YOUR_CALM])
async def test_goaway_by_its_last_id(last: int, kept: int, code: int) -> None:
    """Streams 1, 3, 5 are open: those at or below the last id finish, the others go elsewhere."""
    async with open_conversation() as talk:
        opened = [await talk.answered() for _ in range(3)]
        await talk.peer.send(goaway(last, code, b"debug data"))
        for above in opened[kept:]:
            await above.over()
            assert lost(above).unprocessed
        await talk.peer.quiet()
        assert talk.connection.draining
        with pytest.raises(Http2StreamLimit):
            talk.start()
        for below in opened[:kept]:
            assert not below.answer.over
            await talk.peer.send(data(below.id, b"z", ended=True))
            assert (await below.over()).data == b"az"
        await talk.assert_finished()


async def test_goaway_twice_as_servers_shut_down() -> None:
    """RFC 9113 section 6.8: first with 2^31-1, then with the id it will go up to."""
    async with open_conversation() as talk:
        opened = [await talk.answered() for _ in range(3)]
        await talk.peer.send(goaway(2**31 - 1))
        await talk.peer.quiet()
        assert talk.connection.draining
        assert not any(one.answer.over for one in opened)
        await talk.peer.send(goaway(opened[1].id))
        await opened[2].over()
        assert lost(opened[2]).unprocessed
        await talk.peer.send(*(data(one.id, b"z", ended=True) for one in opened[:2]))
        assert [(await one.over()).data for one in opened[:2]] == [b"az", b"az"]
        await talk.assert_finished()


async def test_goaway_whose_last_id_rises_takes_nothing_back() -> None:
    async with open_conversation() as talk:
        opened = [await talk.answered() for _ in range(2)]
        await talk.peer.send(goaway(1), goaway(3))
        await opened[1].over()
        assert lost(opened[1]).unprocessed
        await talk.peer.send(data(1, b"z", ended=True))
        assert (await opened[0].over()).data == b"az"
        await talk.assert_finished()


async def test_goaway_without_a_stream_finishes_at_once() -> None:
    async with open_conversation() as talk:
        await talk.peer.send(goaway(0))
        await talk.assert_finished()


async def test_goaway_lets_an_upload_finish() -> None:
    async with open_conversation() as talk:
        opened = await talk.request(bytes(100_000))
        assert len(await talk.peer.expect_body(opened.id, 65_535)) == 65_535
        await talk.peer.send(goaway(opened.id), window_update(0, 50_000))
        await talk.peer.send(window_update(opened.id, 50_000))
        await talk.peer.expect_body(opened.id, 100_000 - 65_535)
        await talk.peer.send(talk.peer.head(opened.id), data(opened.id, b"done", ended=True))
        assert (await opened.over()).data == b"done"
        await talk.assert_finished()


async def test_goaway_and_the_end_of_the_last_stream_in_one_read() -> None:
    async with open_conversation() as talk:
        opened = await talk.answered()
        await talk.peer.send(goaway(opened.id), data(opened.id, b"z", ended=True))
        assert (await opened.over()).data == b"az"
        await talk.assert_finished()


async def test_settings_and_pings_are_answered_while_draining() -> None:
    async with open_conversation() as talk:
        opened = await talk.answered()
        await talk.peer.send(goaway(opened.id), settings({3: 50}))
        frames = await talk.peer.quiet()
        assert any("ACK" in frame.flags for frame in frames)
        assert talk.connection.free_streams == 0


# ---- the end of the connection -----------------------------------------------------------------

State = Callable[[Conversation], Awaitable[list[Opened]]]


async def with_nothing(talk: Conversation) -> list[Opened]:
    return []


async def with_a_request(talk: Conversation) -> list[Opened]:
    return [await talk.request()]


async def with_half_a_body(talk: Conversation) -> list[Opened]:
    return [await talk.request(bytes(200_000))]


async def with_1xx(talk: Conversation) -> list[Opened]:
    opened = await talk.request()
    await talk.peer.send(talk.peer.head(opened.id, [(b":status", b"103")]))
    return [opened]


async def with_a_head(talk: Conversation) -> list[Opened]:
    opened = await talk.request()
    await talk.peer.send(talk.peer.head(opened.id))
    return [opened]


async def with_half_an_answer(talk: Conversation) -> list[Opened]:
    return [await talk.answered()]


async def with_half_a_frame_head(talk: Conversation) -> list[Opened]:
    opened = await talk.answered()
    await talk.peer.send(data(opened.id, b"whole"), data(opened.id, b"cut")[:5])
    return [opened]


async def with_half_a_frame(talk: Conversation) -> list[Opened]:
    opened = await talk.answered()
    await talk.peer.send(data(opened.id, b"never seen")[:15])
    return [opened]


async def with_half_a_block(talk: Conversation) -> list[Opened]:
    opened = await talk.request()
    await talk.peer.send(raw(1, 0, opened.id, talk.peer.encoder.encode([(b":status", b"200")])))
    return [opened]


async def with_several(talk: Conversation) -> list[Opened]:
    return [await talk.answered(), await talk.request(), await talk.request(bytes(100_000))]


async def while_draining(talk: Conversation) -> list[Opened]:
    opened = await talk.answered()
    await talk.peer.send(goaway(opened.id))
    return [opened]


async def after_an_answer(talk: Conversation) -> list[Opened]:
    await talk.assert_works()
    return []


async def after_our_reset(talk: Conversation) -> list[Opened]:
    opened = await talk.answered()
    opened.stream.reset_nowait()
    await talk.peer.expect(RstStreamFrame)
    return []


STATES: list[State] = [
    with_nothing, with_a_request, with_half_a_body, with_1xx, with_a_head, with_half_an_answer,
    with_half_a_frame_head, with_half_a_frame, with_half_a_block, with_several, while_draining,
    after_an_answer, after_our_reset,
]  # fmt: skip


@pytest.mark.parametrize("by", ["FIN", "RST"])
@pytest.mark.parametrize("state", STATES, ids=lambda state: state.__name__)
async def test_the_connection_ends(state: State, by: str) -> None:
    async with open_conversation() as talk:
        opened = await state(talk)
        if by == "FIN":
            await talk.peer.close()
        else:
            linger = struct.pack("ii", 1, 0)
            talk.peer.stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            await trio.aclose_forcefully(talk.peer.stream)
        for one in opened:
            await one.over()
            assert not lost(one).unprocessed, "it may have been acted on"
            assert one.answer.data in (b"", b"a", b"awhole")
        await talk.assert_finished()
        assert talk.connection.open_streams == 0


@pytest.mark.parametrize("said", [b"", settings()[:5], settings({3: 1})[:-1]])
async def test_the_connection_ends_before_settings(said: bytes) -> None:
    async with open_listening() as (origin, accept), trio.open_nursery() as nursery:

        async def hang_up() -> None:
            peer = await accept()
            await peer.send(said)
            await peer.close()

        nursery.start_soon(hang_up)
        with pytest.raises(UpstreamUnreachableError):
            async with open_connection(origin):
                pass
