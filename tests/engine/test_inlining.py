"""What clients name by URL is fetched within the bounds of a configuration, over real sockets."""

from __future__ import annotations

import base64
from collections import Counter
from dataclasses import replace

import pytest
import trio
import trio.testing

from engine.config import EgressConfig
from engine.conversation import Inline, MediaKind
from engine.egress import EgressRefusedError
from engine.errors import InvalidRequestError, UnavailableError
from engine.inlining import Inliner, egress_policy
from tests.webserver import PNG, Answer, WebServer, answer, open_webserver

PDF = b"%PDF-1.7\n%%EOF\n"
JPEG = b"\xff\xd8\xff\xe0" + bytes(20)
WEBP = b"RIFF\x00\x00\x00\x00WEBPVP8 "
HEIC = b"\x00\x00\x00\x18ftypheic"


def config_for(server: WebServer) -> EgressConfig:
    return EgressConfig(http=True, ports=frozenset({server.port}), private=frozenset({"127.0.0.1"}))


def inline(mime_type: str, data: bytes) -> Inline:
    return Inline(mime_type, base64.b64encode(data).decode())


@pytest.mark.parametrize(
    ("kind", "body", "content_type", "mime_type"),
    [
        ("image", PNG, "image/png", "image/png"),
        ("image", JPEG, "image/png", "image/jpeg"),
        ("image", WEBP, "application/octet-stream", "image/webp"),
        ("image", b"GIF89a...", "binary/octet-stream", "image/gif"),
        ("image", HEIC, "image/heic", "image/heic"),
        ("document", PDF, "application/pdf", "application/pdf"),
        ("document", PDF, "application/octet-stream", "application/pdf"),
    ],
)
async def test_its_type_is_what_its_first_bytes_say(
    kind: MediaKind, body: bytes, content_type: str, mime_type: str
) -> None:
    async with open_webserver({"/a": answer(body, content_type)}) as server:
        url = f"http://127.0.0.1:{server.port}/a"
        found = await Inliner(config_for(server)).fetch_all({url: kind}, "a")

    assert found == {url: inline(mime_type, body)}


@pytest.mark.parametrize(
    ("kind", "body", "content_type"),
    [
        ("image", PDF, "application/pdf"),
        ("image", PDF, "image/png"),
        ("image", b"<html>", "text/html"),
        ("image", b"<html>", "application/octet-stream"),
        ("image", b"<svg/>", "image/svg+xml"),
        ("document", PNG, "application/pdf"),
        ("document", b"root:x:0:0", "text/plain"),
    ],
)
async def test_what_is_of_another_kind_is_refused(
    kind: MediaKind, body: bytes, content_type: str
) -> None:
    async with open_webserver({"/a": answer(body, content_type)}) as server:
        with pytest.raises(EgressRefusedError, match="is none of"):
            await Inliner(config_for(server)).fetch_all(
                {f"http://127.0.0.1:{server.port}/a": kind}, "a"
            )


async def test_many_are_fetched_some_at_once() -> None:
    open_now = most = 0
    two = trio.Event()

    async def serve(stream: trio.abc.Stream) -> None:
        nonlocal open_now, most
        open_now += 1
        most = max(most, open_now)
        if most > 1:
            two.set()
        await two.wait()
        await trio.testing.wait_all_tasks_blocked(0.01)
        open_now -= 1
        await stream.send_all(answer())

    async with open_webserver({f"/{n}": serve for n in range(12)}) as server:
        urls: dict[str, MediaKind] = {
            f"http://127.0.0.1:{server.port}/{n}": "image" for n in range(12)
        }
        with trio.fail_after(30):
            found = await Inliner(config_for(server)).fetch_all(urls, "a")

    assert set(found) == set(urls)
    assert 1 < most <= 4


async def test_a_request_with_too_many_fetches_none() -> None:
    async with open_webserver({"/a": answer()}) as server:
        config = replace(config_for(server), urls_max=2)
        urls: dict[str, MediaKind] = {
            f"http://127.0.0.1:{server.port}/a?{n}": "image" for n in range(3)
        }
        with pytest.raises(InvalidRequestError, match="can have 2 URLs"):
            await Inliner(config).fetch_all(urls, "a")

    assert server.heads == []


async def test_what_all_of_them_weigh_is_bounded() -> None:
    answers = {f"/{n}": answer(PNG + bytes(1_000)) for n in range(3)}
    async with open_webserver(answers) as server:
        config = replace(config_for(server), total_max_bytes=2_500)
        urls: dict[str, MediaKind] = {
            f"http://127.0.0.1:{server.port}/{n}": "image" for n in range(3)
        }
        with pytest.raises(InvalidRequestError, match="2500 bytes in all"):
            await Inliner(config).fetch_all(urls, "a")


async def test_one_that_fails_ends_the_others() -> None:
    asked, left = trio.Event(), trio.Event()

    async def wait(stream: trio.abc.Stream) -> None:
        asked.set()
        assert await stream.receive_some() == b""
        left.set()

    async def refuse(stream: trio.abc.Stream) -> None:
        await asked.wait()
        await stream.send_all(answer(status="404 Not Found"))

    async with open_webserver({"/slow": wait, "/gone": refuse}) as server:
        base = f"http://127.0.0.1:{server.port}"
        with pytest.raises(EgressRefusedError, match="status 404"):
            await Inliner(config_for(server)).fetch_all(
                {f"{base}/gone": "image", f"{base}/slow": "image"}, "a"
            )
        with trio.fail_after(30):
            await left.wait()


@pytest.mark.parametrize(
    ("accounts", "expected"),
    [
        ([str(number) for number in range(17)], {"served": 16, "refused": 1}),
        (["greedy"] * 6 + ["other"], {"served": 5, "refused": 2}),
    ],
    ids=["all", "of one account"],
)
async def test_requests_wait_for_one_another_but_not_for_ever(
    autojump_clock: trio.testing.MockClock, accounts: list[str], expected: dict[str, int]
) -> None:
    autojump_clock.autojump_threshold = 0.05  # sockets are real: give them a moment
    outcomes: list[tuple[str, str]] = []

    async def serve_slowly(stream: trio.abc.Stream) -> None:
        await trio.sleep(4)
        await stream.send_all(answer())

    async def ask(inliner: Inliner, urls: dict[str, MediaKind], account_id: str) -> None:
        try:
            found = await inliner.fetch_all(urls, account_id)
            assert set(found) == set(urls)
            outcomes.append((account_id, "served"))
        except UnavailableError:
            outcomes.append((account_id, "refused"))

    async with open_webserver({f"/{n}": serve_slowly for n in range(8)}) as server:
        inliner = Inliner(replace(config_for(server), timeout_s=5.0))
        urls: dict[str, MediaKind] = {
            f"http://127.0.0.1:{server.port}/{n}": "image" for n in range(8)
        }
        async with trio.open_nursery() as nursery:
            for account_id in accounts:
                nursery.start_soon(ask, inliner, urls, account_id)

    assert Counter(outcome for _, outcome in outcomes) == expected
    assert ("other", "refused") not in outcomes


async def test_what_is_being_fetched_for_all_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The room of one is taken by another, and given back."""
    monkeypatch.setattr("engine.inlining._ROOM_BYTES", 1_000)
    begun, go_on = trio.Event(), trio.Event()

    async def serve_half(stream: trio.abc.Stream) -> None:
        await stream.send_all(answer(PNG + bytes(600), content_length="1000"))
        begun.set()
        await go_on.wait()

    answers: dict[str, Answer] = {"/half": serve_half, "/whole": answer(PNG + bytes(600))}
    async with open_webserver(answers) as server, trio.open_nursery() as nursery:
        inliner = Inliner(replace(config_for(server), total_max_bytes=900))
        half, whole = (f"http://127.0.0.1:{server.port}{path}" for path in answers)
        urls: dict[str, MediaKind] = {half: "image"}
        nursery.start_soon(inliner.fetch_all, urls, "a")
        await begun.wait()
        await trio.testing.wait_all_tasks_blocked(0.01)
        with pytest.raises(UnavailableError):
            await inliner.fetch_all({whole: "image"}, "b")
        nursery.cancel_scope.cancel()
        with trio.CancelScope(shield=True):
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert list(await inliner.fetch_all({whole: "image"}, "b")) == [whole]


def test_the_policy_is_the_configurations() -> None:
    policy = egress_policy(
        EgressConfig(
            ports=frozenset({8443}),
            private=frozenset({"10.0.0.0/8"}),
            denied=frozenset({"evil.example"}),
            proxy="http://user:secret@proxy:3128",
        )
    )

    assert policy.allows("https", "a.example", 8443)
    assert not policy.allows("http", "a.example", 80)
    assert not policy.allows("https", "x.evil.example", 443)
    assert policy.proxy is not None
    assert policy.proxy.authority == "proxy:3128"
    assert "secret" not in repr(policy)
