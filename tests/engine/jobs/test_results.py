"""What jobs have made is had from where it is, and the provider's key stays with the provider."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio

from engine.errors import (
    GatewayError,
    JobNotEndedError,
    NotFoundError,
    UpstreamError,
    UpstreamTimeoutError,
)
from engine.job import JobError, JobResult
from tests.ended_jobs import end_job, take_job
from tests.engine.jobs.keepers import FILM, KEYS, open_both, open_making
from tests.webserver import answer, moved

KEPT = JobResult("/videos/prov_1/content?variant=video", needs_key=True)
MP4: dict[str, Any] = {"content_type": "video/mp4"}


def authorizations(heads: list[bytes]) -> list[str]:
    """The keys that a server was shown."""
    return [
        line.partition(": ")[2]
        for head in heads
        for line in head.decode().split("\r\n")
        if line.lower().startswith("authorization:")
    ]


def has_key(heads: list[bytes]) -> bool:
    return any(key.encode() in head for head in heads for key in KEYS)


async def test_what_the_provider_keeps_is_asked_for_with_the_key_of_the_job(tmp_path: Path) -> None:
    path = "/v1/videos/prov_1/content?variant=video"
    async with (
        open_both(maker={path: answer(FILM, **MP4)}) as (maker, elsewhere),
        open_making(tmp_path, maker, elsewhere) as making,
    ):
        job_id = await making.made(KEPT)
        async with making.gateway.open_job_result(making.principal, job_id) as result:
            assert (result.content_type, result.size_bytes) == ("video/mp4", len(FILM))
        assert await making.read(job_id.replace("job_", "video_")) == FILM

        assert maker.paths == [path, path]
        assert authorizations(maker.heads) == [f"Bearer {KEYS[1]}"] * 2


async def test_a_whole_url_of_the_provider_is_its_own_too(tmp_path: Path) -> None:
    async with (
        open_both(maker={"/files/a%20b.mp4?alt=media": answer(FILM, **MP4)}) as (maker, elsewhere),
        open_making(tmp_path, maker, elsewhere) as making,
    ):
        url = f"http://127.0.0.1:{maker.port}/files/a%20b.mp4?alt=media"
        assert await making.read(await making.made(JobResult(url, needs_key=True))) == FILM
        assert authorizations(maker.heads) == [f"Bearer {KEYS[1]}"]


@pytest.mark.parametrize("needs_key", [True, False])
async def test_what_is_elsewhere_is_asked_for_without_a_key(
    tmp_path: Path, needs_key: bool
) -> None:
    async with (
        open_both(elsewhere={"/b.mp4": answer(FILM, "application/octet-stream")}) as both,
        open_making(tmp_path, *both) as making,
    ):
        url = f"http://127.0.0.1:{both[1].port}/b.mp4"
        assert await making.read(await making.made(JobResult(url, needs_key=needs_key))) == FILM
        assert len(making.elsewhere.heads) == 1
        assert not has_key(making.elsewhere.heads)
        assert making.maker.heads == []


async def test_a_redirect_elsewhere_loses_the_key_and_one_within_keeps_it(tmp_path: Path) -> None:
    async with open_both(elsewhere={"/signed": moved("/b.mp4"), "/b.mp4": answer(FILM, **MP4)}) as (
        maker,
        elsewhere,
    ):
        maker.answers["/v1/videos/prov_1/content?variant=video"] = moved("/files/1")
        maker.answers["/files/1"] = moved(f"http://127.0.0.1:{elsewhere.port}/signed")
        async with open_making(tmp_path, maker, elsewhere) as making:
            assert await making.read(await making.made(KEPT)) == FILM

    assert authorizations(maker.heads) == [f"Bearer {KEYS[1]}"] * 2
    assert elsewhere.paths == ["/signed", "/b.mp4"]
    assert not has_key(elsewhere.heads)


async def test_a_way_back_to_the_provider_has_no_key_either(tmp_path: Path) -> None:
    """Whoever the provider has sent us to is not trusted with where the key goes."""
    async with open_both(maker={"/v1/account": answer(FILM, **MP4)}) as (maker, elsewhere):
        elsewhere.answers["/a"] = moved(f"http://127.0.0.1:{maker.port}/v1/account")
        async with open_making(tmp_path, maker, elsewhere) as making:
            url = f"http://127.0.0.1:{elsewhere.port}/a"
            await making.read(await making.made(JobResult(url, needs_key=True)))

    assert len(maker.heads) == 1
    assert not has_key(maker.heads)


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/latest/meta-data/",
        "http://[::1]:{port}/b",
        "http://localhost:{port}/b",
        "https://127.0.0.1:1/",
        "file:///etc/passwd",
        "http://user:secret@127.0.0.1:{port}/b",
        "http:\\\\127.0.0.1:{port}/b",
    ],
)
@pytest.mark.parametrize("by", ["url", "redirect"])
async def test_a_provider_leads_nowhere_inside(tmp_path: Path, url: str, by: str) -> None:
    async with open_both(elsewhere={"/b": answer(FILM, **MP4)}) as (maker, elsewhere):
        closed = f'[egress]\nhttp = true\nports = [{elsewhere.port}]\nprivate = ["192.0.2.0/24"]'
        url = url.format(port=elsewhere.port)
        maker.answers["/v1/videos/prov_1/content?variant=video"] = moved(url)
        async with open_making(tmp_path, maker, elsewhere, closed) as making:
            job_id = await making.made(KEPT if by == "redirect" else JobResult(url))
            with pytest.raises(UpstreamError, match="cannot be had") as caught:
                await making.read(job_id)

    assert caught.value.status == 502
    assert "secret" not in caught.value.message
    assert elsewhere.heads == []


async def test_nothing_elsewhere_is_fetched_where_the_operator_fetches_nothing(
    tmp_path: Path,
) -> None:
    async with (
        open_both(elsewhere={"/b": answer(FILM, **MP4)}) as (maker, elsewhere),
        open_making(tmp_path, maker, elsewhere, "[egress]\nenabled = false") as making,
    ):
        job_id = await making.made(JobResult(f"http://127.0.0.1:{elsewhere.port}/b"))
        with pytest.raises(UpstreamError, match="does not fetch"):
            await making.read(job_id)
        assert elsewhere.heads == []


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        (answer(status="404 Not Found"), NotFoundError, "no more"),
        (answer(status="410 Gone"), NotFoundError, "no more"),
        (answer(status="401 Unauthorized"), UpstreamError, "status 401"),
        (answer(status="500 Sorry"), UpstreamError, "status 500"),
        (moved("/v1/videos/prov_1/content?variant=video"), UpstreamError, "too often"),
        (answer(FILM, "text/html"), UpstreamError, "else than media"),
        (answer(FILM, "image/svg+xml"), UpstreamError, "else than media"),
        (answer(b"{}", "application/json"), UpstreamError, "else than media"),
        (answer(FILM, content_encoding="gzip", **MP4), UpstreamError, "packed"),
        (answer(b"", content_length=str(10**12), **MP4), UpstreamError, "larger"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nshort", UpstreamError, "breaks off"),
        (b"", UpstreamError, "breaks off"),
    ],
)
async def test_a_provider_that_fails(
    tmp_path: Path, given: bytes, error: type[GatewayError], words: str
) -> None:
    async with (
        open_both(maker={"/v1/videos/prov_1/content?variant=video": given}) as both,
        open_making(tmp_path, *both) as making,
    ):
        job_id = await making.made(KEPT)
        with pytest.raises(error, match=words):
            await making.read(job_id)


async def test_a_provider_that_says_nothing_is_left(tmp_path: Path) -> None:
    async def hang(stream: trio.abc.Stream) -> None:
        await stream.receive_some()

    async with (
        open_both(maker={"/v1/videos/prov_1/content?variant=video": hang}) as (maker, elsewhere),
        open_making(tmp_path, maker, elsewhere, "idle_timeout_s = 0.2") as making,
    ):
        with pytest.raises(UpstreamTimeoutError):
            await making.read(await making.made(KEPT))


async def test_each_of_several_is_had(tmp_path: Path) -> None:
    results = (
        JobResult("/a", needs_key=True),
        JobResult("/b", "image/webp", needs_key=True, variant="thumbnail"),
        JobResult("/c", needs_key=True),
    )
    answers = {
        "/v1/a": answer(b"first", **MP4),
        "/v1/b": answer(b"thumb", "image/webp"),
        "/v1/c": answer(b"second", **MP4),
    }
    async with open_both(maker=answers) as both, open_making(tmp_path, *both) as making:
        job_id = await making.made(*results)
        assert await making.read(job_id, "video", 1) == b"second"
        assert await making.read(job_id, "thumbnail") == b"thumb"
        for variant, number in (("video", 2), ("video", -1), ("spritesheet", 0)):
            with pytest.raises(NotFoundError, match="nothing of the kind"):
                await making.read(job_id, variant, number)


async def test_what_is_not_made_is_not_there(tmp_path: Path) -> None:
    async with open_both() as both, open_making(tmp_path, *both) as making:
        ledger = making.gateway.ledger
        running = take_job(ledger, making.account_id, 90)
        failed = take_job(ledger, making.account_id, 91)
        await ledger.wait_durable(
            end_job(ledger, failed, "failed", error=JobError("failed", "It did."))
        )
        with pytest.raises(JobNotEndedError):
            await making.read(running[0].job_id)
        with pytest.raises(NotFoundError):
            await making.read(failed[0].job_id)


async def test_it_is_its_accounts_alone(tmp_path: Path) -> None:
    async with open_both() as both, open_making(tmp_path, *both) as making:
        job_id = await making.made(KEPT)
        other = await making.gateway.ledger.create_account("other")
        making.account_id = other.account_id
        with pytest.raises(NotFoundError):
            await making.read(job_id)
        assert making.maker.heads == []
