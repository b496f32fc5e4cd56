"""When a stream counts as stalled: a table of moments, without a clock."""

from __future__ import annotations

import math
from dataclasses import dataclass

from frontends.server.http2_stalls import Stalls


@dataclass(eq=False)
class Stream:
    sent_bytes: int = 0
    blocked: bool = True


def test_a_client_that_has_everything_is_cut_after_the_allowed_time() -> None:
    stalls, stream = Stalls(30), Stream()
    stalls.shut(stream, 100)
    assert stalls.look_at_s == 115
    assert stalls.look(115) == ([], True)
    stalls.heard(1, 116)
    assert stalls.look_at_s == 131
    assert stalls.look(131) == ([stream], False)
    assert stalls.look_at_s == math.inf


def test_a_slow_link_gives_it_more() -> None:
    """The PING waits behind what fills the windows."""
    stalls, stream = Stalls(30), Stream()
    stalls.shut(stream, 100)
    assert stalls.look(115) == ([], True)
    stalls.heard(1, 150)
    assert stalls.look(160) == ([], False)
    stream.sent_bytes += 100_000
    stalls.shut(stream, 161)
    assert stalls.look(165) == ([], False)
    assert stalls.look_at_s == 176


def test_a_client_that_answers_no_ping_is_cut_too() -> None:
    stalls, stream = Stalls(30), Stream()
    stalls.shut(stream, 100)
    assert stalls.look(115) == ([], True)
    assert stalls.look_at_s == 160
    assert stalls.look(160) == ([stream], False)


def test_nobody_is_cut_unasked() -> None:
    """The process was stopped for a while."""
    stalls, stream = Stalls(30), Stream()
    stalls.shut(stream, 100)
    assert stalls.look(1_000) == ([], True)
    assert stalls.look_at_s == 1_030
    assert stalls.look(1_030) == ([stream], False)


def test_a_few_bytes_now_and_then_are_no_progress() -> None:
    stalls, stream = Stalls(30), Stream()
    stalls.shut(stream, 100)
    stream.sent_bytes += 1
    stalls.shut(stream, 114)
    assert stalls.look(115) == ([], True)
    stalls.heard(1, 115)
    stream.sent_bytes += 1
    stalls.shut(stream, 129)
    assert stalls.look(130) == ([stream], False)


def test_an_open_window_is_not_the_clients_fault() -> None:
    """The stream waits for its turn on a socket that lags, which is cut by itself."""
    stalls, stream = Stalls(30), Stream()
    stalls.shut(stream, 100)
    stream.blocked = False
    assert stalls.look(115) == ([], False)
    assert stalls.look(200) == ([], False)
    stalls.clear(stream)
    assert stalls.look(300) == ([], False)
    assert stalls.look_at_s == math.inf


def test_one_ping_asks_after_all() -> None:
    stalls, streams = Stalls(30), [Stream() for _ in range(10)]
    for stream in streams:
        stalls.shut(stream, 100)
    late = Stream()
    stalls.shut(late, 110)
    assert stalls.look(115) == ([], True)
    stalls.heard(1, 115)
    assert stalls.look(125) == ([], True)
    stalls.heard(2, 125)
    assert stalls.look(130) == (streams, False)
    assert stalls.look(140) == ([late], False)
