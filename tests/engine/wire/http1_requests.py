"""Raw requests on which readers are known to disagree, and what ours makes of each.

Behind every one stands `CANARY`: where the request is taken, whole and to be followed by another,
the canary is the next one read; where it is refused, nobody may find a request in what follows.
"""

from __future__ import annotations

from dataclasses import dataclass

from engine.wire.http1_head import BadHead, RequestHead
from engine.wire.http1_server import BadFraming, RequestReader

CANARY = b"GET /canary HTTP/1.1\r\nHost: h\r\n\r\n"
POST = b"POST /a HTTP/1.1\r\nHost: h\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
GET = b"GET /a HTTP/1.1\r\nHost: h\r\n"

Request = tuple[str, str, bytes]
"""Method, path, body."""


@dataclass(frozen=True)
class Case:
    """Bytes, and the status they are refused with, or the body of the request they are."""

    name: str
    raw: bytes
    status: int = 0
    body: bytes = b""
    method: str = "POST"
    path: str = "/a"
    persistent: bool = True

    @property
    def expected(self) -> list[Request | int]:
        """What comes of it with the canary behind it."""
        if self.status:
            return [self.status]
        taken = (self.method, self.path, self.body)
        return [taken, ("GET", "/canary", b"")] if self.persistent else [taken]


def taken(name: str, raw: bytes, body: bytes = b"", **more: object) -> Case:
    return Case(name, raw, body=body, **more)  # type: ignore[arg-type]


def got(name: str, raw: bytes, path: str = "/a", *, persistent: bool = True) -> Case:
    return Case(name, raw, method="GET", path=path, persistent=persistent)


def refused(name: str, raw: bytes, status: int = 400) -> Case:
    return Case(name, raw, status)


def fields(name: str, lines: bytes, rest: bytes = b"x", status: int = 400) -> Case:
    """A POST with these fields is refused."""
    return refused(name, POST + lines + b"\r\n" + rest, status)


EMPTY = b"0\r\n\r\n"

LENGTHS = [
    taken("length", POST + b"Content-Length: 3\r\n\r\nabc", b"abc"),
    taken("length 0", POST + b"Content-Length: 0\r\n\r\n"),
    taken("length with zeros", POST + b"Content-Length: 0000003\r\n\r\nabc", b"abc"),
    taken("no length", POST + b"\r\n"),
    taken("body like a request", POST + b"Content-Length: 33\r\n\r\n" + CANARY[:33], CANARY[:33]),
    taken("GET with a body", GET + b"Content-Length: 3\r\n\r\nabc", b"abc", method="GET"),
    fields("length twice, equal", b"Content-Length: 1\r\nContent-Length: 1\r\n"),
    fields("length twice, different", b"Content-Length: 1\r\nContent-Length: 2\r\n"),
    fields("length list", b"Content-Length: 1, 1\r\n"),
    fields("length +", b"Content-Length: +1\r\n"),
    fields("length -", b"Content-Length: -1\r\n"),
    fields("length hex", b"Content-Length: 0x1\r\n"),
    fields("length _", b"Content-Length: 1_0\r\n"),
    fields("length with a space", b"Content-Length: 1 1\r\n"),
    fields("length with a vertical tab", b"Content-Length: \x0b1\r\n"),
    fields("length empty", b"Content-Length: \r\n"),
    fields("length 2^64", b"Content-Length: 18446744073709551616\r\n"),
    fields("length of 23 digits", b"Content-Length: 99999999999999999999999\r\n"),
    fields("length with an underscored name", b"Content_Length: 1\r\n"),
    fields("length not ASCII digits", "Content-Length: ١\r\n".encode()),
]
CODINGS = [
    taken("chunked", CHUNKED + b"3\r\nabc\r\n" + EMPTY, b"abc"),
    taken("chunked, in capitals", POST + b"Transfer-Encoding: CHUNKED\r\n\r\n" + EMPTY),
    fields("length, then chunked", b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", EMPTY),
    fields("chunked, then length", b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n", EMPTY),
    fields("chunked twice", b"Transfer-Encoding: chunked\r\n" * 2, EMPTY),
    fields("chunked, chunked", b"Transfer-Encoding: chunked, chunked\r\n", EMPTY),
    fields("gzip, chunked", b"Transfer-Encoding: gzip, chunked\r\n", EMPTY, 501),
    fields("empty member, chunked", b"Transfer-Encoding: ,chunked\r\n", EMPTY, 501),
    fields("chunked, identity", b"Transfer-Encoding: chunked, identity\r\n", EMPTY),
    fields("identity", b"Transfer-Encoding: identity\r\n"),
    fields("xchunked", b"Transfer-Encoding: xchunked\r\n", EMPTY),
    fields("chunked quoted", b'Transfer-Encoding: "chunked"\r\n', EMPTY),
    fields("chunked with a parameter", b"Transfer-Encoding: chunked;a=b\r\n", EMPTY),
    fields("chunked with a vertical tab", b"Transfer-Encoding: \x0bchunked\r\n", EMPTY),
    fields("no coding", b"Transfer-Encoding:\r\n", EMPTY),
    fields("coding with an underscored name", b"Transfer_Encoding: chunked\r\n", EMPTY),
    fields("coding after a space", b"Content-Length: 6\r\nTransfer-Encoding : chunked\r\n", EMPTY),
    fields("coding folded", b"Transfer-Encoding:\r\n chunked\r\n", EMPTY),
    refused(
        "chunked of HTTP/1.0",
        b"POST /a HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n" + EMPTY,
    ),
    taken(
        "a coding named by Connection",
        POST + b"Connection: transfer-encoding, content-length\r\nContent-Length: 1\r\n\r\nx",
        b"x",
    ),
]
CHUNKS = [
    taken("two chunks", CHUNKED + b"1\r\na\r\n02\r\nbc\r\n" + EMPTY, b"abc"),
    taken("chunk size in hex", CHUNKED + b"A\r\n0123456789\r\n" + EMPTY, b"0123456789"),
    taken("last chunk of many zeros", CHUNKED + b"000\r\n\r\n"),
    taken("chunk extension", CHUNKED + b"1;a=b;c\r\nx\r\n" + EMPTY, b"x"),
    taken("chunk extension, quoted", CHUNKED + b'1;a="b;\\"\tc"\r\nx\r\n' + EMPTY, b"x"),
    taken("trailer", CHUNKED + b"0\r\nX: y\r\nZ:\r\n\r\n"),
    *(
        refused(f"chunk: {name}", CHUNKED + raw)
        for name, raw in [
            ("LF after the size", b"1\nx\r\n" + EMPTY),
            ("CR after the size", b"1\rx\r\n" + EMPTY),
            ("size past 64 bits", b"fffffffffffffffff\r\nx"),
            ("size of 41 digits", b"0" * 40 + b"1\r\nx\r\n" + EMPTY),
            ("negative size", b"-1\r\nx"),
            ("size with 0x", b"0x1\r\nx\r\n" + EMPTY),
            ("size with _", b"1_\r\nx\r\n" + EMPTY),
            ("space after the size", b"1 \r\nx\r\n" + EMPTY),
            ("space before the size", b" 1\r\nx\r\n" + EMPTY),
            ("no size", b"\r\nx\r\n" + EMPTY),
            ("more data than its size", b"1\r\nxy\r\n" + EMPTY),
            ("no line end after its data", b"1\r\nx0\r\n\r\n"),
            ("LF after its data", b"1\r\nx\n" + EMPTY),
            ("CR CR after its data", b"1\r\nx\r\r\n" + EMPTY),
            ("LF in an extension", b"1;a\nb\r\nx\r\n" + EMPTY),
            ("CR LF in a quoted extension", b'1;a="\r\n"\r\nx\r\n' + EMPTY),
            ("NUL in an extension", b"1;a\0\r\nx\r\n" + EMPTY),
            ("extension without a name", b"1;\r\nx\r\n" + EMPTY),
            ("LF at the end", b"0\r\n\n"),
            ("trailer folded", b"0\r\nX: y\r\n z\r\n\r\n"),
            ("trailer without a colon", b"0\r\nGET /canary HTTP/1.1\r\n\r\n"),
            ("trailer with a length", b"0\r\nContent-Length: 5\r\n\r\n"),
            ("trailer with a coding", b"0\r\nTransfer-Encoding: chunked\r\n\r\n"),
            ("trailer with NUL", b"0\r\nX: \0\r\n\r\n"),
        ]
    ),
]
LINES = [
    got("CR LF ahead", b"\r\n" + GET + b"\r\n"),
    refused("two CR LF ahead", b"\r\n\r\n" + GET + b"\r\n"),
    refused("LF ahead", b"\n" + GET + b"\r\n"),
    refused("space ahead", b" " + GET + b"\r\n"),
    refused("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
    refused("LF after the request line", b"GET /a HTTP/1.1\nHost: h\r\n\r\n"),
    refused("LF after a field", b"GET /a HTTP/1.1\r\nHost: h\nX: y\r\n\r\n"),
    refused("LF at the end", b"GET /a HTTP/1.1\r\nHost: h\r\n\n"),
    refused("LFs alone", b"GET /a HTTP/1.1\nHost: h\n\n"),
    refused("CR for an end of line", b"GET /a HTTP/1.1\r\nHost: h\rX: y\r\n\r\n"),
    refused("CR CR LF at the end", b"GET /a HTTP/1.1\r\nHost: h\r\n\r\r\n"),
    refused("two spaces before the target", b"GET  /a HTTP/1.1\r\nHost: h\r\n\r\n"),
    refused("two spaces after the target", b"GET /a  HTTP/1.1\r\nHost: h\r\n\r\n"),
    refused("a space after the version", b"GET /a HTTP/1.1 \r\nHost: h\r\n\r\n"),
    refused("tabs for spaces", b"GET\t/a\tHTTP/1.1\r\nHost: h\r\n\r\n"),
    refused("a space in the target", b"GET /a b HTTP/1.1\r\nHost: h\r\n\r\n"),
    refused("HTTP/0.9", b"GET /a\r\n\r\n"),
    got("HTTP/1.0", b"GET /a HTTP/1.0\r\n\r\n", persistent=False),
    refused("HTTP/1.2", b"GET /a HTTP/1.2\r\nHost: h\r\n\r\n", 505),
    refused("HTTP/2.0", b"GET /a HTTP/2.0\r\nHost: h\r\n\r\n", 505),
    refused("HTTP/1.10", b"GET /a HTTP/1.10\r\nHost: h\r\n\r\n"),
    refused("http/1.1", b"GET /a http/1.1\r\nHost: h\r\n\r\n"),
    refused("RTSP", b"DESCRIBE / RTSP/1.0\r\nHost: h\r\n\r\n"),
    refused("ICE", b"SOURCE / ICE/1.0\r\nHost: h\r\n\r\n"),
    refused("PRI", b"PRI * HTTP/2.0\r\n\r\n", 505),
    refused("CONNECT", b"CONNECT h:443 HTTP/1.1\r\nHost: h\r\n\r\n", 501),
    refused("TRACE", b"TRACE / HTTP/1.1\r\nHost: h\r\n\r\n", 501),
    refused("an unknown method", b"FOO / HTTP/1.1\r\nHost: h\r\n\r\n", 501),
    refused("a method in small letters", b"get / HTTP/1.1\r\nHost: h\r\n\r\n", 501),
]
FIELDS = [
    refused("field folded", GET + b"X: a\r\n b\r\n\r\n"),
    refused("first field folded", b"GET /a HTTP/1.1\r\n X: y\r\nHost: h\r\n\r\n"),
    refused("no name", GET + b": y\r\n\r\n"),
    refused("no colon", GET + b"foo\r\n\r\n"),
    refused("a space in a name", GET + b"Foo Bar: 1\r\n\r\n"),
    refused("a space after a name", GET + b"Foo : 1\r\n\r\n"),
    *(
        refused(f"{name} in the {where}", raw % {b"x": byte})
        for name, byte in [("NUL", b"\0"), ("BEL", b"\7"), ("DEL", b"\x7f"), ("0xff", b"\xff")]
        for where, raw in [
            ("method", b"GE%(x)bT / HTTP/1.1\r\nHost: h\r\n\r\n"),
            ("target", b"GET /a%(x)b HTTP/1.1\r\nHost: h\r\n\r\n"),
            ("host", b"GET / HTTP/1.1\r\nHost: h%(x)b\r\n\r\n"),
            ("name", b"GET / HTTP/1.1\r\nHost: h\r\nX%(x)b: a\r\n\r\n"),
        ]
    ),
    refused("NUL in a value", GET + b"X: a\0b\r\n\r\n"),
    refused("a control in a value", GET + b"X: a\x01b\r\n\r\n"),
    refused("DEL in a value", GET + b"X: a\x7fb\r\n\r\n"),
    got("0xff in a value", GET + b"X: a\xffb\r\n\r\n"),
    got("a tab in a value", GET + b"X: a\tb\r\n\r\n"),
    got("an empty value", GET + b"X:\r\n\r\n"),
    refused("no host", b"GET / HTTP/1.1\r\n\r\n"),
    refused("two hosts", b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
    refused("no host's name", b"GET / HTTP/1.1\r\nHost:\r\n\r\n"),
    refused("no host at all", b"GET / HTTP/1.1\r\nHost: a b/@\r\n\r\n"),
    refused("an expectation", GET + b"Expect: 200-ok\r\n\r\n", 417),
]
TARGETS = [
    got("a URL", b"GET http://h/x?y HTTP/1.1\r\nHost: h\r\n\r\n", "/x"),
    got("a URL of another host", b"GET http://evil/x HTTP/1.1\r\nHost: h\r\n\r\n", "/x"),
    got("two slashes", b"GET //x HTTP/1.1\r\nHost: h\r\n\r\n", "//x"),
    got("an escaped slash", b"GET /org%2Fx HTTP/1.1\r\nHost: h\r\n\r\n", "/org%2Fx"),
    taken("an asterisk", b"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", method="OPTIONS", path="*"),
    *(
        refused(f"target {target.decode()}", b"GET %b HTTP/1.1\r\nHost: h\r\n\r\n" % target)
        for target in (b"*", b"x", b"/x#y", b"/%2e%2e/x", b"/x/../y", b"/x%00", b"/x%5Cy", b"/%zz")
    ),
]
ENDS = [
    got("the last one", GET + b"Connection: close\r\n\r\n", persistent=False),
    got("an upgrade", GET + b"Upgrade: x\r\nConnection: upgrade\r\n\r\n"),
    taken(
        "an upgrade with a body",
        POST + b"Upgrade: x\r\nConnection: upgrade\r\nContent-Length: 3\r\n\r\nabc",
        b"abc",
    ),
]

CASES = [*LENGTHS, *CODINGS, *CHUNKS, *LINES, *FIELDS, *TARGETS, *ENDS]


def read(*pieces: bytes) -> list[Request | int]:
    """The requests in what is read piece by piece, each as if answered at once; a status last
    where the connection has to end."""
    reader = RequestReader()
    found: list[Request | int] = []
    head: RequestHead | None = None
    body = b""
    try:
        for piece in pieces:
            reader.feed(piece)
            while (event := reader.next_event()) is not None:
                if isinstance(event, RequestHead):
                    head, body = event, b""
                else:
                    body += event.data
                    assert event.ended == reader.done
                if reader.done:
                    assert head is not None
                    found.append((head.method, head.path.decode(), body))
                    if not head.persistent:
                        return found
                    reader.next_request()
    except (BadHead, BadFraming) as bad:
        found.append(bad.status)
    return found
