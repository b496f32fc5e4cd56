"""The raw requests of `http1_requests` over a socket: nobody slips one past what is answered."""

from __future__ import annotations

from typing import Any

import trio

from frontends.server import ErrorBody
from tests.engine.wire.http1_requests import CANARY, CASES, Request
from tests.frontends.server.apps import read_all
from tests.frontends.server.http1_served import serve_http1


class Witness:
    """Answers every request alike, and remembers what it was."""

    def __init__(self) -> None:
        self.seen: list[Request] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body = b""
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message["body"]
            more = message["more_body"]
        self.seen.append((scope["method"], scope["raw_path"].decode(), body))
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def test_what_an_app_is_asked_is_what_every_strict_reader_reads() -> None:
    witness = Witness()
    async with serve_http1(witness, render_error=lambda status: ErrorBody([], b"no")) as served:
        for case in CASES:
            witness.seen.clear()
            async with served.connect() as stream:
                last = b"" if case.status or not case.persistent else LAST
                with trio.fail_after(30):
                    await stream.send_all(case.raw + CANARY + last)
                    answers = await read_all(stream)
            taken = [request for request in case.expected if not isinstance(request, int)]
            assert [seen for seen in witness.seen if seen[1] != "/last"] == taken, case.name
            lines = [line for line in answers.split(b"\r\n") if b"HTTP/1.1" in line]
            statuses = [int(line.split(b" ")[1]) for line in lines]
            assert statuses == [case.status or 204] + [204] * (len(witness.seen) - 1), case.name
            assert not answers.endswith(b"<reset>"), case.name
            assert b"connection: close\r\n" in answers, case.name


LAST = b"GET /last HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
