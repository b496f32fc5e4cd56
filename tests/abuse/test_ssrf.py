"""URLs that a gateway which fetches images must not follow, through the whole of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest
import trio

from tests.abuse.rig import PROMPT_CANARY, Answer, Rig, check_error
from tests.webserver import PNG, answer, gzip_of_zeros, moved

INTERNAL_CANARY = b"canary-of-an-internal-service-91c2"
NO_ADDRESS = "The host of the URL has no address that may be fetched from."

Script = Callable[[trio.abc.Stream], Awaitable[None]]


def ask(rig: Rig, url: object, protocol: str = "openai_chat", *, more: int = 0) -> Answer:
    """A request with an image at a URL, for a provider that takes bytes only."""
    text = f"#sim tokens=2\n{PROMPT_CANARY}"
    urls = [url, *(f"{url}?{number}" for number in range(more))]
    match protocol:
        case "openai_chat":
            content: list[Any] = [{"type": "text", "text": text}]
            content += [{"type": "image_url", "image_url": {"url": url}} for url in urls]
            document: dict[str, Any] = {"messages": [{"role": "user", "content": content}]}
            path = "/v1/chat/completions"
        case "openai_responses":
            content = [{"type": "input_text", "text": text}]
            content += [{"type": "input_image", "image_url": url} for url in urls]
            document = {"input": [{"role": "user", "content": content}]}
            path = "/v1/responses"
        case _:
            content = [{"type": "text", "text": text}]
            content += [{"type": "image", "source": {"type": "url", "url": url}} for url in urls]
            document = {"messages": [{"role": "user", "content": content}], "max_tokens": 9}
            path = "/v1/messages"
    return rig.ask(path, {"model": "inlining-gemini", **document})


@pytest.fixture
def guarded(unpaid: Rig) -> Rig:
    """A rig with names of all sorts, and something internal that nobody should reach."""
    names = unpaid.names
    names["images.test"] = names["denied.test"] = names["sub.denied.test"] = [["127.0.0.1"]]
    names["internal.test"] = [["127.0.0.1"]]
    names["metadata.test"] = [["169.254.169.254"]]
    names["both.test"] = [["93.184.215.14", "10.0.0.1"]]
    names["many.test"] = [[f"93.184.215.{number}" for number in range(1, 40)]]
    unpaid.web.answers.clear()
    unpaid.web.answers["/internal"] = answer(INTERNAL_CANARY, "image/png")
    unpaid.web.heads.clear()
    return unpaid


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:PORT/internal",
        "http://127.0.0.2:PORT/internal",
        "http://localhost:PORT/internal",
        "http://LOCALHOST.:PORT/internal",
        "http://0.0.0.0:PORT/internal",
        "http://[::1]:PORT/internal",
        "http://[::]:PORT/internal",
        "http://[::ffff:127.0.0.1]:PORT/internal",
        "http://[::ffff:7f00:1]:PORT/internal",
        "http://[::127.0.0.1]:PORT/internal",
        "http://[64:ff9b::7f00:1]:PORT/internal",
        "http://[2002:7f00:1::]:PORT/internal",
        "http://①②⑦.⓪.⓪.①:PORT/internal",
        "http://internal.test:PORT/internal",
        "http://INTERNAL.test.:PORT/internal",
        "http://both.test:PORT/internal",
        "http://many.test:PORT/internal",
        "http://nowhere.test:PORT/internal",
        "http://metadata.test/latest/meta-data/iam/security-credentials/",
        "http://169.254.169.254/latest/meta-data/",
        "https://169.254.169.254/latest/meta-data/",
        "http://[fd00:ec2::254]/latest/meta-data/",
        "http://100.100.100.200/latest/meta-data/",
        "http://168.63.129.16/machine?comp=goalstate",
        "http://192.168.0.1/",
        "https://10.0.0.1/",
        "http://255.255.255.255/",
        "http://224.0.0.1/",
    ],
)
def test_an_internal_address_is_refused_and_not_asked(guarded: Rig, url: str) -> None:
    """All in the same words: nobody learns which of them listen, or are names."""
    refused = ask(guarded, url.replace("PORT", str(guarded.web.port)))

    assert refused.status == 400
    error = check_error(refused)
    assert (error["code"], error["message"]) == ("url_refused", NO_ADDRESS)
    assert error["param"] == "messages"
    assert guarded.web.heads == []


@pytest.mark.parametrize(
    "url",
    [
        "http://2130706433:PORT/internal",
        "http://0x7f000001:PORT/internal",
        "http://0177.0.0.1:PORT/internal",
        "http://127.1:PORT/internal",
        "http://0x7f.0.0.1:PORT/internal",
        "http://127.0.0.1.:PORT/internal",
        "http://[::1%25lo]:PORT/internal",
        "http://images.test@127.0.0.1:PORT/internal",
        "http://images.test:PORT@127.0.0.1/internal",
        "http://images.test%2f@127.0.0.1:PORT/internal",
        "http://127.0.0.1\\@images.test:PORT/internal",
        "http://127.0.0.1%00.images.test:PORT/internal",
        "http://images.test:PORT\r\nhost: internal.test/internal",
        "http://images.test:PORT/internal HTTP/1.1\r\nx: y",
        "http://denied.test:PORT/internal",
        "http://sub.denied.test:PORT/internal",
        "http://images.test:22/internal",
        "http://images.test:0/internal",
        "http://:PORT/internal",
        "http:///internal",
        "https:internal.test",
    ],
)
def test_a_url_that_two_could_read_differently(guarded: Rig, url: str) -> None:
    refused = ask(guarded, url.replace("PORT", str(guarded.web.port)))

    assert refused.status == 400
    assert check_error(refused)["code"] in {"url_refused", "invalid_request"}
    assert guarded.web.heads == []


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "FILE:/etc/passwd",
        "ftp://127.0.0.1/",
        "gopher://127.0.0.1:6379/_FLUSHALL",
        "dict://127.0.0.1:11211/stats",
        "jar:http://127.0.0.1!/",
        "//127.0.0.1/internal",
        "unix:///run/parshall.sock",
        "javascript:alert(1)",
    ],
)
@pytest.mark.parametrize("protocol", ["openai_chat", "anthropic"])
def test_what_is_no_web_address_is_not_opened(rig: Rig, url: str, protocol: str) -> None:
    """It is left to the provider, whose own network it would be, or refused."""
    answered = ask(rig, url, protocol)

    assert answered.status in {200, 400}
    assert b"root:" not in answered.body


REDIRECTS = {
    "loopback": "http://127.0.0.1:PORT/internal",
    "a name": "http://internal.test:PORT/internal",
    "metadata": "http://169.254.169.254/latest/meta-data/",
    "mapped": "http://[::ffff:127.0.0.1]:PORT/internal",
    "no scheme": "//127.0.0.1:PORT/internal",
    "file": "file:///etc/passwd",
    "gopher": "gopher://127.0.0.1:6379/_FLUSHALL",
    "user": "http://user:pass@images.test:PORT/internal",
    "another port": "http://images.test:22/",
    "denied": "http://denied.test:PORT/internal",
}


@pytest.mark.parametrize("name", REDIRECTS)
@pytest.mark.parametrize("status", ["302 Found", "307 Temporary Redirect"])
def test_a_redirect_is_checked_from_the_start(guarded: Rig, name: str, status: str) -> None:
    port = guarded.web.port
    location = REDIRECTS[name].replace("PORT", str(port))
    guarded.web.answers["/moved"] = moved(location, status)

    refused = ask(guarded, f"http://images.test:{port}/moved")

    assert refused.status == 400
    assert check_error(refused)["code"] == "url_refused"
    assert guarded.web.paths == ["/moved"]


def test_redirects_end(guarded: Rig) -> None:
    guarded.web.answers["/moved"] = moved("/moved")

    assert ask(guarded, f"http://images.test:{guarded.web.port}/moved").status == 400
    assert len(guarded.web.paths) == 4


def test_a_name_that_is_bound_again_is_not_asked_again(guarded: Rig) -> None:
    """Checked as one address, connected to as another: there is no second question."""
    guarded.names["rebinding.test"] = [["93.184.215.14"], ["127.0.0.1"]]
    guarded.names.asked.clear()

    refused = ask(guarded, f"http://rebinding.test:{guarded.web.port}/internal")

    assert refused.status in {400, 502}
    assert check_error(refused)["code"] in {"url_refused", "url_unavailable"}
    assert guarded.names.asked == ["rebinding.test"]
    assert guarded.web.heads == []


async def endless(stream: trio.abc.Stream) -> None:
    await stream.send_all(b"HTTP/1.1 200 OK\r\ncontent-type: image/png\r\n\r\n" + PNG)
    while True:
        await stream.send_all(b"\x00" * 16_384)


async def endless_chunks(stream: trio.abc.Stream) -> None:
    await stream.send_all(
        b"HTTP/1.1 200 OK\r\ncontent-type: image/png\r\ntransfer-encoding: chunked\r\n\r\n"
    )
    while True:
        await stream.send_all(b"1\r\nx\r\n" * 1_000)


async def endless_head(stream: trio.abc.Stream) -> None:
    await stream.send_all(b"HTTP/1.1 200 OK\r\n")
    while True:
        await stream.send_all(b"x-y: z\r\n" * 1_000)


async def endless_hints(stream: trio.abc.Stream) -> None:
    while True:
        await stream.send_all(b"HTTP/1.1 103 Early Hints\r\n\r\n")


async def silent(stream: trio.abc.Stream) -> None:
    await stream.receive_some()


@dataclass(frozen=True, slots=True)
class Hostile:
    """What a server answers, and what becomes of it."""

    given: bytes | Script
    status: int = 400


HOSTILE = {
    "endless body": Hostile(endless),
    "endless chunks": Hostile(endless_chunks),
    "endless head": Hostile(endless_head, 502),
    "endless hints": Hostile(endless_hints, 502),
    "silent": Hostile(silent, 502),
    "gzip bomb": Hostile(answer(gzip_of_zeros(200), content_encoding="gzip")),
    "gzip in gzip": Hostile(answer(PNG, content_encoding="gzip, gzip")),
    "deflate of nothing": Hostile(answer(b"\x00" * 99, content_encoding="deflate")),
    "a lie about its length": Hostile(answer(content_length="99"), 502),
    "a large length": Hostile(answer(content_length="9999999999")),
    "a length that is none": Hostile(answer(content_length="9" * 40), 502),
    "a negative length": Hostile(answer(content_length="-1"), 502),
    "two lengths": Hostile(
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nxx", 502
    ),
    "not HTTP": Hostile(b"SSH-2.0-OpenSSH_9.2p1\r\n", 502),
    "nothing": Hostile(b"", 502),
    "a page": Hostile(answer(b"<html>" + INTERNAL_CANARY, "text/html")),
    "a page that says it is an image": Hostile(answer(b"%PDF-" + INTERNAL_CANARY)),
    "a drawing with scripts": Hostile(answer(b"<svg onload='x'/>", "image/svg+xml")),
    "an error with a page": Hostile(answer(INTERNAL_CANARY, "text/html", "404 Not Found")),
    "a fault with a page": Hostile(answer(INTERNAL_CANARY, "text/html", "500 Oops"), 502),
    "an upgrade": Hostile(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n", 502),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_server_that_means_harm(guarded: Rig, name: str) -> None:
    guarded.web.answers["/a"] = HOSTILE[name].given

    refused = ask(guarded, f"http://images.test:{guarded.web.port}/a")

    assert refused.status == HOSTILE[name].status, refused.body
    error = check_error(refused)
    assert error["code"] == {400: "url_refused", 502: "url_unavailable"}[refused.status]
    assert INTERNAL_CANARY not in refused.body
    assert guarded.web.paths == ["/a"]


def test_more_urls_than_a_request_may_have(guarded: Rig) -> None:
    refused = ask(guarded, f"http://images.test:{guarded.web.port}/a", more=3)

    assert refused.status == 400
    assert guarded.web.heads == []


@pytest.mark.parametrize("url", [None, 5, [], {}, {"url": "x"}, True, "", "\x00", "x" * 100_000])
@pytest.mark.parametrize("protocol", ["openai_chat", "openai_responses", "anthropic"])
def test_a_url_that_is_none(rig: Rig, url: object, protocol: str) -> None:
    assert ask(rig, url, protocol).status in {200, 400}


@pytest.mark.parametrize("protocol", ["openai_chat", "openai_responses", "anthropic"])
def test_an_image_that_may_be_fetched_is(rig: Rig, protocol: str) -> None:
    """Else the refusals above would prove nothing."""
    rig.names["images.test"] = [["127.0.0.1"]]
    rig.web.answers["/cat"] = answer()
    rig.web.heads.clear()

    answered = ask(rig, f"http://images.test:{rig.web.port}/cat", protocol)

    assert answered.status == 200, answered.body
    assert rig.web.paths == ["/cat"]
    assert rig.key.encode() not in rig.web.heads[0]
    assert PROMPT_CANARY.encode() not in rig.web.heads[0]
