"""Recordings that are uploaded: broken ones, too large ones, and many large ones at once."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import orjson
import pytest
import trio

from tests.gateways import DOLLAR, HTTP2, settled
from tests.served import Served, open_served
from tests.sounds import wav

EARS = f"""
[providers.ears]
protocol = "openai"
base_url = "$SIM/v1"
http2 = "{HTTP2}"
[models.whisper-1]
deployments = [{{ provider = "ears", model = "whisper-1" }}]
price = {{ seconds = 0.0001 }}
"""
FORM = "multipart/form-data; boundary=cut"
MODEL = b'--cut\r\nContent-Disposition: form-data; name="model"\r\n\r\nwhisper-1\r\n'
FILE = b'--cut\r\nContent-Disposition: form-data; name="file"; filename="%b"\r\n\r\n%b\r\n'
END = b"--cut--\r\n"
SOUND = wav(500)
LARGE = wav(3_250_000)
"""26 MB: as much as is taken."""
SPOOLED_FROM_BYTES = 4 * 1024 * 1024


def head_of(served: Served, length: int, content_type: str = FORM) -> bytes:
    return (
        b"POST /v1/audio/transcriptions HTTP/1.1\r\nhost: a\r\nauthorization: Bearer %b\r\n"
        b"connection: close\r\ncontent-type: %b\r\ncontent-length: %d\r\n\r\n"
        % (served.setup.key.encode(), content_type.encode(), length)
    )


async def exchanged(served: Served, pieces: Iterable[bytes]) -> tuple[int, bytes]:
    """Status and body of what is said to a request."""
    answer = b""
    async with await trio.open_tcp_stream("127.0.0.1", served.port) as connection:
        for piece in pieces:
            await connection.send_all(piece)
        async for data in connection:
            answer += data
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), body


async def post(served: Served, body: bytes, content_type: str = FORM) -> tuple[int, bytes]:
    return await exchanged(served, [head_of(served, len(body), content_type), body])


BROKEN = {
    "no closing boundary": MODEL + FILE % (b"a.wav", SOUND),
    "nothing": b"",
    "cut within the file": (MODEL + FILE % (b"a.wav", SOUND))[:-200],
    "cut within a part's headers": MODEL + FILE[:40],
    "no sound": MODEL + FILE % (b"a.wav", b"words" * 1_000) + END,
    "a picture": MODEL + FILE % (b"a.wav", b"\x89PNG\r\n\x1a\n" + bytes(500)) + END,
    "a header of a WAV and no more": MODEL + FILE % (b"a.wav", SOUND[:44]) + END,
    "10,000 parts": MODEL * 10_000 + FILE % (b"a.wav", SOUND) + END,
    "huge headers of a part": b"--cut\r\nX: %b\r\n\r\na\r\n" % (b"x" * 100_000) + END,
    "another boundary": (MODEL + FILE % (b"a.wav", SOUND) + END).replace(b"cut", b"cat"),
    "a coded part": b"--cut\r\nContent-Disposition: form-data; name=a\r\n"
    b"Content-Transfer-Encoding: base64\r\n\r\nAAAA\r\n" + END,
}


async def test_what_is_broken_is_told_so(tmp_path: Path) -> None:
    whole = MODEL + FILE % (b"a.wav", SOUND) + END
    async with open_served(tmp_path, models=EARS) as served:
        for what, body in BROKEN.items():
            status, told = await post(served, body)
            assert status == 400, (what, told)
            error = orjson.loads(told)["error"]
            assert error["type"] == "invalid_request_error", what
            assert len(error["message"]) < 300, what
        for content_type in ("multipart/form-data", "multipart/form-data; boundary=", "text/plain"):
            status, told = await post(served, whole, content_type)
            assert status == 400, (content_type, told)
        cut = head_of(served, len(whole) - 50)
        assert (await exchanged(served, [cut, whole[:-50]]))[0] == 400, "a length that is wrong"
        assert not served.setup.sim.truth.records()
        assert (await post(served, whole))[0] == 200, "and it serves on"
        assert (await post(served, whole.replace(b"a.wav", b"../../a.wav")))[0] == 200
        assert served.setup.gateway.statistics()["parsing"]["starts"] == 1


async def test_what_is_too_large_is_not_read(tmp_path: Path) -> None:
    server = "audio_max_bytes = 1_000_000"
    async with open_served(tmp_path, models=EARS, server=server) as served:
        status, told = await exchanged(served, [head_of(served, 3_000_000)])
        assert status == 413, "no byte of the body was sent"
        assert orjson.loads(told)["error"]["code"] == "body_too_large"
        unknown = head_of(served, 0).replace(b"content-length: 0", b"transfer-encoding: chunked")
        chunk = b"10000\r\n%b\r\n" % (b"x" * 65_536)
        assert (await exchanged(served, [unknown, *[chunk] * 40]))[0] == 413
        await settled(lambda: served.setup.gateway.spool.used_bytes == 0)
        assert not served.setup.sim.truth.records()


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is not told here")
@pytest.mark.parametrize("clients", [4, pytest.param(100, marks=pytest.mark.long)])
async def test_many_large_ones_at_once_in_flat_memory(tmp_path: Path, clients: int) -> None:
    """Gateway, provider and clients are one process here; the helper is another one."""
    beside = MODEL + FILE[: FILE.index(b"%b", FILE.index(b"%b") + 1)] % b"a.wav"
    length = len(beside) + len(LARGE) + 2 + len(END)
    sound = memoryview(LARGE)
    pieces = [sound[at : at + 65_536] for at in range(0, len(LARGE), 65_536)]
    statuses: list[int] = []

    async def upload(served: Served) -> None:
        parts: list[bytes | memoryview] = [head_of(served, length), beside, *pieces, b"\r\n" + END]
        statuses.append((await exchanged(served, parts))[0])  # type: ignore[arg-type]

    async with open_served(tmp_path, models=EARS, funds_nanodollars=1_000 * DOLLAR) as served:
        await upload(served)
        before = peak = resident_bytes()
        with trio.fail_after(300):
            async with trio.open_nursery() as nursery:
                for _ in range(clients):
                    nursery.start_soon(upload, served)
                while len(nursery.child_tasks):
                    peak = max(peak, resident_bytes())
                    await trio.sleep(0.01)
        assert statuses == [200] * (clients + 1)
        assert served.setup.gateway.spool.used_bytes == 0
    print(f"{clients} uploads of {length >> 20} MiB at once: {(peak - before) >> 20} MiB more")  # noqa: T201
    assert peak - before < clients * SPOOLED_FROM_BYTES, f"{(peak - before) >> 20} MiB more"
