"""What jobs have made becomes files of their accounts: once, whatever comes between."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import trio

from engine.errors import NotFoundError
from engine.job import JobResult
from engine.jobs import copying
from engine.ledger.file_rows import FileQuery
from engine.ledger.job_rows import JobView
from tests.engine.jobs.keepers import FILM, Making, open_both, open_making
from tests.receivers import open_receiver
from tests.webserver import answer

KEPT = JobResult("/film", needs_key=True)
THUMB = JobResult("/thumb", "image/webp", needs_key=True, variant="thumbnail")
WELL = answer(FILM, "video/mp4")


async def copied(making: Making, job_id: str) -> JobView:
    """The job once its results are files, or will be none."""
    with trio.fail_after(10):
        while True:
            view = await making.gateway.job(making.principal, job_id)
            if view.files or view.store_error is not None:
                return view
            await trio.sleep(0.01)


async def files_of(making: Making) -> list[str]:
    page = await making.gateway.files.page(making.account_id, FileQuery(order="asc"))
    return [row.filename for row in page.files]


async def test_a_result_becomes_a_file(tmp_path: Path) -> None:
    second = JobResult("/second", needs_key=True)
    answers = {"/v1/film": WELL, "/v1/second": answer(b"second", "application/octet-stream")}
    async with open_both(maker=answers) as both, open_making(tmp_path, *both) as making:
        job_id = await making.made(KEPT, THUMB, second, store_result=True)
        view = await copied(making, job_id)
        row = await making.gateway.files.find(making.account_id, view.files[0])

        assert (view.state, view.store_error) == ("succeeded", None)
        assert len(view.files) == 2
        assert await files_of(making) == ["job_1.mp4", "job_1-2.mp4"]
        assert (row.mime_type, row.size_bytes) == ("video/mp4", len(FILM))
        assert (row.origin, row.request_id, row.key_id) == ("job", view.row.request_id, "key_1")
        asked = len(making.maker.heads)
        assert await making.read(job_id) == FILM
        assert await making.read(job_id, "video", 1) == b"second"
        assert len(making.maker.heads) == asked  # the provider is asked no more

        await making.gateway.files.delete(making.account_id, view.files[0])
        assert await making.read(job_id) == FILM
        assert len(making.maker.heads) == asked + 1  # but where the file is gone


async def test_nothing_is_stored_unasked(tmp_path: Path) -> None:
    async with (
        open_both(maker={"/v1/film": WELL}) as both,
        open_making(tmp_path, *both) as making,
    ):
        unasked = await making.made(KEPT)
        await copied(making, await making.made(KEPT, store_result=True))
        assert (await making.gateway.job(making.principal, unasked)).files == ()
        assert await files_of(making) == ["job_2.mp4"]


@pytest.mark.parametrize(
    ("section", "code"),
    [
        ("[files]\naccount_max_bytes = 1000", "storage_limit_exceeded"),
        ("[files]\nfile_max_bytes = 1000", "file_too_large"),
    ],
)
@pytest.mark.parametrize("sized", [True, False])
async def test_where_there_is_no_room_the_success_stands(
    tmp_path: Path, section: str, code: str, sized: bool
) -> None:
    unsized = b"HTTP/1.1 200 OK\r\ncontent-type: video/mp4\r\n\r\n" + FILM
    async with (
        open_both(maker={"/v1/film": WELL if sized else unsized}) as both,
        open_making(tmp_path, *both, section) as making,
    ):
        job_id = await making.made(KEPT, store_result=True)
        view = await copied(making, job_id)

        assert (view.state, view.files) == ("succeeded", ())
        assert view.store_error is not None
        assert view.store_error.code == code
        assert view.price_nanodollars > 0
        assert making.gateway.files.used_bytes(making.account_id) == 0
        assert await making.read(job_id) == FILM  # where its provider keeps it


async def test_what_was_stored_of_a_part_goes_again(tmp_path: Path) -> None:
    second = JobResult("/second", needs_key=True)
    async with (
        open_both(maker={"/v1/film": WELL}) as both,
        open_making(tmp_path, *both) as making,
    ):
        view = await copied(making, await making.made(KEPT, second, store_result=True))

        assert view.store_error is not None
        assert view.store_error.code == "not_found"
        assert await files_of(making) == []
        assert making.gateway.files.used_bytes(making.account_id) == 0


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tries follow at once."""
    monkeypatch.setattr(copying, "_PAUSE_MIN_S", 0.001)
    monkeypatch.setattr(copying, "_PAUSE_MAX_S", 0.001)


FAILURES = (
    answer(status="503 Sorry"),
    b"",
    answer(FILM, "video/mp4")[:-9],
    answer(FILM, "text/html"),
    answer(b"", "video/mp4"),
)


@pytest.mark.usefixtures("quick")
async def test_a_provider_that_fails_is_asked_again(tmp_path: Path) -> None:
    left = list(FAILURES)

    async def fail_first(stream: trio.abc.Stream) -> None:
        await stream.send_all(left.pop(0) if left else WELL)

    async with (
        open_both(maker={"/v1/film": fail_first}) as both,
        open_making(tmp_path, *both) as making,
    ):
        job_id = await making.made(KEPT, store_result=True)
        view = await copied(making, job_id)
        assert await making.read(job_id) == FILM
        assert len(making.maker.heads) == len(FAILURES) + 1
        assert (len(view.files), await files_of(making)) == (1, ["job_1.mp4"])


@pytest.mark.usefixtures("quick")
async def test_and_left_after_so_many_times(tmp_path: Path) -> None:
    async with (
        open_both(maker={"/v1/film": answer(status="503 Sorry")}) as both,
        open_making(tmp_path, *both) as making,
    ):
        view = await copied(making, await making.made(KEPT, store_result=True))

        assert len(making.maker.heads) == copying.TRIES_MAX
        assert view.store_error is not None
        assert view.store_error.message.endswith("status 503.")
        assert await files_of(making) == []


async def test_a_receiver_is_told_of_files_once_there_are_some(tmp_path: Path) -> None:
    may_give = trio.Event()

    async def give(stream: trio.abc.Stream) -> None:
        await may_give.wait()
        await stream.send_all(WELL)

    async with (
        open_receiver() as receiver,
        open_both(maker={"/v1/film": give}) as (maker, elsewhere),
    ):
        port = receiver.url.split(":")[2].partition("/")[0]
        egress = f'[egress]\nhttp = true\nports = [{port}]\nprivate = ["127.0.0.0/8"]'
        async with open_making(tmp_path, maker, elsewhere, egress) as making:
            stored = await making.made(KEPT, store_result=True, webhook_url=receiver.url)
            other = await making.made(KEPT, webhook_url=receiver.url)
            await receiver.wait(lambda messages: len(messages) == 1)
            may_give.set()
            await receiver.wait(lambda messages: len(messages) == 2)
            view = await making.gateway.job(making.principal, stored)

    told = [json.loads(message.body)["data"] for message in receiver.messages]
    assert [data["job_id"] for data in told] == [other, stored]
    assert told[1]["files"] == [f"file-{file_id}" for file_id in view.files] != []


async def test_a_job_that_is_deleted_leaves_no_file(tmp_path: Path) -> None:
    asked, may_give = trio.Event(), trio.Event()

    async def give(stream: trio.abc.Stream) -> None:
        asked.set()
        await may_give.wait()
        await stream.send_all(WELL)

    async with (
        open_both(maker={"/v1/film": give}) as both,
        open_making(tmp_path, *both) as making,
    ):
        deleted = await making.made(KEPT, store_result=True)
        await asked.wait()
        await making.gateway.delete_job(making.principal, deleted)
        may_give.set()
        view = await copied(making, await making.made(KEPT, store_result=True))
        with trio.fail_after(10):
            while await files_of(making) != ["job_2.mp4"]:  # noqa: ASYNC110 - a task does it
                await trio.sleep(0.01)

        assert len(view.files) == 1
        assert making.gateway.files.used_bytes(making.account_id) == len(FILM)
        with pytest.raises(NotFoundError):
            await making.read(deleted)


_VICTIM = """
import os, signal, sys, trio
from pathlib import Path
from engine.ledger.ledger import Ledger
from tests.engine.jobs.keepers import open_making
from tests.engine.jobs.test_copying import KEPT
from tests.webserver import WebServer

folder, maker, when = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

async def main():
    if when == "stored":
        Ledger.add_job_files = die
    async with open_making(folder, WebServer(maker, {}), WebServer(1, {})) as making:
        await making.made(KEPT, store_result=True)
        if when == "made":
            die()
        await trio.sleep_forever()

trio.run(main)
"""


@pytest.mark.parametrize("when", ["made", "asked", "halfway", "stored"])
async def test_a_kill_between_success_and_copy_loses_and_leaves_nothing(
    tmp_path: Path, when: str
) -> None:
    """It is killed once the success is durable, while the provider is asked, in the middle of what
    that gives, and when the file is there but not written down as the job's."""
    process: trio.Process | None = None

    async def give(stream: trio.abc.Stream) -> None:
        if process is not None and when in ("asked", "halfway"):
            if when == "halfway":
                await stream.send_all(WELL[: len(WELL) // 2])
            process.kill()
        await stream.send_all(WELL)

    async with open_both(maker={"/v1/film": give}) as (maker, elsewhere):
        command = [sys.executable, "-c", _VICTIM, str(tmp_path), str(maker.port), when]
        process = await trio.lowlevel.open_process(command)
        try:
            with trio.fail_after(60):
                await process.wait()
        finally:
            process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()
        assert process.returncode == -9
        process = None
        async with open_making(tmp_path, maker, elsewhere) as making:
            view = await copied(making, "job_1")
            assert await making.read("job_1") == FILM
            assert (len(view.files), await files_of(making)) == (1, ["job_1.mp4"])
            assert making.gateway.files.used_bytes(making.account_id) == len(FILM)
    blobs = [path for path in (tmp_path / "files").rglob("*") if path.is_file()]
    assert [path.name for path in blobs if path.stat().st_size == len(FILM)] == list(view.files)
