"""One request to an address that a user has named, and as much of its answer as is wanted."""

from __future__ import annotations

from dataclasses import dataclass, field

import trio

from engine.egress.downloading import READ_MAX_BYTES
from engine.egress.errors import EgressFailedError
from engine.egress.policy import EgressPolicy
from engine.egress.reaching import FAILED, TOO_SLOW, reach
from engine.egress.targets import Target, parse_target
from engine.wire.http import Headers
from engine.wire.http1 import Http1Connection, Http1Error
from engine.wire.http2_fields import MalformedFieldsError


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server has said.

    Attributes:
        content_type: in lower case, without parameters.
        coded: its body is compressed, and was not read.
        cut: it has more than this.
    """

    status: int
    content_type: str
    body: bytes = field(repr=False)
    coded: bool = False
    cut: bool = False


async def ask(
    method: str, url: str, policy: EgressPolicy, headers: Headers, body: bytes = b""
) -> Answer:
    """Make a request; `policy.max_bytes` of the answer's body are read, and no more.

    A redirect is an answer like any other: what was meant for one server goes to no other.

    Args:
        headers: in lower case, beside those of HTTP itself.

    Raises:
        EgressRefusedError: the policy refuses the URL, or where it leads; nothing was sent.
        EgressFailedError: there was no whole answer, in time or at all.
    """
    target = parse_target(url)
    try:
        with trio.fail_after(policy.timeout_s):
            async with reach(target, policy) as stream:
                http = Http1Connection()
                http.next_stream(_request(method, target, headers), body_bytes=len(body))
                await stream.send_all(http.outgoing() + body)
                return await _receive(stream, http, policy.max_bytes)
    except trio.TooSlowError:
        raise EgressFailedError(TOO_SLOW) from None
    except (OSError, trio.BrokenResourceError, Http1Error, MalformedFieldsError) as error:
        raise EgressFailedError(FAILED) from error


def _request(method: str, target: Target, headers: Headers) -> Headers:
    return [
        (b":method", method.encode()),
        (b":scheme", target.scheme.encode()),
        (b":authority", target.authority.encode()),
        (b":path", target.path.encode()),
        (b"accept-encoding", b"identity"),
        *([] if any(name == b"user-agent" for name, _ in headers) else _NAMED),
        *headers,
    ]


_NAMED: Headers = [(b"user-agent", b"parshall")]


async def _receive(stream: trio.abc.Stream, http: Http1Connection, max_bytes: int) -> Answer:
    head: dict[bytes, bytes] | None = None
    parts: list[bytes] = []
    size_bytes, ended = 0, False
    while not ended and size_bytes <= max_bytes:
        data = bytes(await stream.receive_some(READ_MAX_BYTES))
        delivery = http.receive(data) if data else http.receive_eof()
        if delivery is None and not data:
            raise EgressFailedError(FAILED)
        if delivery is None:
            continue
        if delivery.head is not None:
            head = dict(delivery.head)
            if head.get(b"content-encoding", b"identity").lower() != b"identity":
                return Answer(int(head[b":status"]), _content_type(head), b"", coded=True)
        parts.append(delivery.data)
        size_bytes += len(delivery.data)
        ended = delivery.ended
    assert head is not None, "a body comes behind its head"
    body = b"".join(parts)
    return Answer(
        int(head[b":status"]), _content_type(head), body[:max_bytes], cut=len(body) > max_bytes
    )


def _content_type(head: dict[bytes, bytes]) -> str:
    kind = head.get(b"content-type", b"").decode("latin-1")
    return kind.partition(";")[0].strip().lower()
