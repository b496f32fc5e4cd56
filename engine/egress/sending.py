"""One message to an address that a user has named, and nothing of what is answered but whether it
was taken."""

from __future__ import annotations

from typing import Final

import trio

from engine.egress.downloading import READ_MAX_BYTES
from engine.egress.errors import EgressFailedError
from engine.egress.policy import EgressPolicy
from engine.egress.reaching import FAILED, TOO_SLOW, reach
from engine.egress.targets import Target, parse_target
from engine.wire.http import Headers
from engine.wire.http1 import Http1Connection, Http1Error
from engine.wire.http2_fields import MalformedFieldsError

_ANSWER_MAX_BYTES: Final = 65_536
_ANSWER_MAX_S: Final = 1.0
"""So much of an answer's body is read, and dropped: a server that is cut off may take it for a
failure of its own."""


async def send(url: str, policy: EgressPolicy, body: bytes, headers: Headers) -> int:
    """Post a message; returns the status of the answer.

    A redirect is an answer like any other: what was meant for one server goes to no other.

    Args:
        headers: in lower case, beside those of HTTP itself.

    Raises:
        EgressRefusedError: the policy refuses the URL, or where it leads; nothing was sent.
        EgressFailedError: there was no answer, in time or at all.
    """
    target = parse_target(url)
    try:
        with trio.fail_after(policy.timeout_s):
            async with reach(target, policy) as stream:
                return await _post(stream, _request(target, headers), body)
    except trio.TooSlowError:
        raise EgressFailedError(TOO_SLOW) from None
    except (OSError, trio.BrokenResourceError, Http1Error, MalformedFieldsError) as error:
        raise EgressFailedError(FAILED) from error


def _request(target: Target, headers: Headers) -> Headers:
    return [
        (b":method", b"POST"),
        (b":scheme", target.scheme.encode()),
        (b":authority", target.authority.encode()),
        (b":path", target.path.encode()),
        (b"accept-encoding", b"identity"),
        (b"user-agent", b"parshall"),
        *headers,
    ]


async def _post(stream: trio.abc.Stream, request: Headers, body: bytes) -> int:
    http = Http1Connection()
    http.next_stream(request, body_bytes=len(body))
    await stream.send_all(http.outgoing() + body)
    while True:
        data = bytes(await stream.receive_some(READ_MAX_BYTES))
        try:
            delivery = http.receive(data) if data else http.receive_eof()
        except Http1Error as error:
            if (delivery := error.delivery) is None or delivery.head is None:
                raise
        if delivery is not None and delivery.head is not None:
            status = int(dict(delivery.head)[b":status"])
            if not delivery.ended:
                await _drop_rest(stream, http)
            return status


async def _drop_rest(stream: trio.abc.Stream, http: Http1Connection) -> None:
    """Whatever comes, and however it ends, the status is known."""
    left_bytes = _ANSWER_MAX_BYTES
    with trio.move_on_after(_ANSWER_MAX_S):
        while left_bytes > 0:
            try:
                data = bytes(await stream.receive_some(READ_MAX_BYTES))
                delivery = http.receive(data) if data else None
            except (OSError, trio.BrokenResourceError, Http1Error):
                return
            if not data or (delivery is not None and delivery.ended):
                return
            left_bytes -= len(data)
