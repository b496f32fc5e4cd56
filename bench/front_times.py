"""Times through a front: to the first token, and from a client's leaving to its provider's note.

One client at a time asks each side in turn, so that all meet the same moments of the machine.
"""

from __future__ import annotations

import random
import socket
import time
import urllib.request
from collections.abc import Mapping
from typing import Final

import orjson

from bench.front_load import body_of, connect, request_of
from bench.upstream_load import RawClient
from engine.wire.http import Headers

_WARM_PROBES: Final = 20
_GAP_MAX_S: Final = 0.01
"""Between requests, at random: no step with the pace of the streams that are open."""
_NOTED_TIMEOUT_S: Final = 5.0
_STREAM: Final = "tokens=10000 tokens_per_second=10"


def first_tokens(ports: Mapping[str, int], key: str, probes: int) -> dict[str, list[float]]:
    """Milliseconds from a request, on a kept connection, to its first token; by side."""
    pauses = random.Random(1)  # noqa: S311 - no secret
    sockets = {side: connect(port, "") for side, port in ports.items()}
    request = request_of(key, body_of("tokens=3", stream=True))
    times: dict[str, list[float]] = {side: [] for side in ports}
    for number in range(_WARM_PROBES + probes):
        for side, sock in sockets.items():
            took_ms = _first_token_ms(sock, request)
            if number >= _WARM_PROBES:
                times[side].append(took_ms)
            time.sleep(pauses.uniform(0, _GAP_MAX_S))
    for sock in sockets.values():
        sock.close()
    return times


def _first_token_ms(sock: socket.socket, request: bytes) -> float:
    started_s = time.perf_counter()
    sock.sendall(request)
    answer, first_s = b"", 0.0
    while not answer.endswith(b"\r\n0\r\n\r\n"):
        answer += _received(sock, answer)
        if not first_s and b"data: {" in answer:
            first_s = time.perf_counter()
    return (first_s - started_s) * 1e3


def _received(sock: socket.socket, before: bytes) -> bytes:
    data = sock.recv(65_536)
    if not data:
        raise RuntimeError(f"refused: {before[-300:]!r}")
    return data


def leavings(
    ports: Mapping[str, int], key: str, provider_port: int, count: int
) -> dict[str, list[float]]:
    """Milliseconds from a client's leaving to the end of its stream in the provider's log; by side,
    and for an RST_STREAM that a raw socket sends to the provider."""
    body = body_of(_STREAM, stream=True)
    prefix = f"leaving-{time.time_ns()}"
    open_streams = {
        side: [_open_stream(port, key, body, f"{prefix}-{side}-{n}") for n in range(count)]
        for side, port in ports.items()
    }
    raw = RawClient(f"http://127.0.0.1:{provider_port}", _raw_headers(body), body)
    begun = [raw.begin(f"{prefix}-raw-{n}") for n in range(count)]
    time.sleep(0.5)
    left_at: dict[str, dict[str, float]] = {side: {} for side in (*ports, "raw RST")}
    for n in range(count):
        for side, streams in open_streams.items():
            sock, request_id = streams[n]
            left_at[side][request_id] = time.time()
            sock.close()
            time.sleep(0.005)
        left_at["raw RST"][f"{prefix}-raw-{n}"] = time.time()
        raw.reset(begun[n])
        time.sleep(0.005)
    ended_at = _ended_at(provider_port, {name for times in left_at.values() for name in times})
    raw.close()
    return {
        side: [(ended_at[name] - at) * 1e3 for name, at in times.items()]
        for side, times in left_at.items()
    }


def _open_stream(port: int, key: str, body: bytes, own_id: str) -> tuple[socket.socket, str]:
    """A stream that has begun, and the id that the provider knows it by."""
    sock = connect(port, "")
    sock.sendall(request_of(key, body, b"x-request-id: %s" % own_id.encode()))
    answer = b""
    while b"data: {" not in answer:
        answer += _received(sock, answer)
    head = answer.partition(b"\r\n\r\n")[0].decode("latin-1").lower()
    lines = dict(line.partition(": ")[::2] for line in head.split("\r\n"))
    return sock, lines.get("x-request-id", own_id)


def _raw_headers(body: bytes) -> Headers:
    return [
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":authority", b"localhost"),
        (b":path", b"/v1/chat/completions"),
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (b"x-request-id", b""),
    ]


def _ended_at(provider_port: int, names: set[str]) -> dict[str, float]:
    """When the provider's log says that these ended, once it does of all."""
    until_s = time.monotonic() + _NOTED_TIMEOUT_S
    while True:
        url = f"http://127.0.0.1:{provider_port}/_truth?text=0"
        with urllib.request.urlopen(url, timeout=30) as answer:
            records = [orjson.loads(line) for line in answer.read().splitlines()]
        ended = {
            record[name]: record["ended_at"]
            for record in records
            for name in ("request_id", "provider_request_id")  # a front's own, or passed on
            if record[name] in names and record["ended_at"] is not None
        }
        if len(ended) == len(names):
            return ended
        if time.monotonic() > until_s:
            left = sorted(names - ended.keys())
            raise RuntimeError(f"{len(left)} streams were not ended, {left[0]} among them")
        time.sleep(0.2)
