"""Clients' receivers are told how jobs ended: signed, in order, again until they have it, and
nobody waits for another's."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import trio
from standardwebhooks import Webhook

from engine.config import Config, EgressConfig, WebhooksConfig
from engine.egress import EgressRefusedError
from engine.errors import ClientError, InvalidRequestError
from engine.job import JobError, JobResult
from engine.ledger import Ledger, open_ledger
from engine.ledger.queries import reading
from engine.ledger.records import Ticket
from engine.webhooks import Webhooks, check_webhook_url, open_webhooks
from tests.ended_jobs import PRICE_NANODOLLARS, end_job, take_job
from tests.engine.ledger.samples import funded_ledger, settings_for, wait_until
from tests.receivers import open_receiver
from tests.webserver import answer, moved, open_webserver

QUICK = WebhooksConfig(retry_min_s=0.01, retry_max_s=0.05)
START_MS = 1_767_323_045_000


def config_for(*urls: str, webhooks: WebhooksConfig = QUICK, **egress: Any) -> Config:
    """Receivers of this machine may be reached, at these ports."""
    ports = frozenset(port for url in urls if (port := urlsplit(url).port))
    values: dict[str, Any] = {"http": True, "ports": ports, "private": frozenset({"127.0.0.0/8"})}
    return Config(webhooks=webhooks, egress=EgressConfig(**(values | egress)))


@dataclass(slots=True)
class Hooks:
    """A ledger, and who sends what its jobs leave."""

    ledger: Ledger
    account_id: str
    webhooks: Webhooks
    path: Path
    jobs: int = 0

    def end(self, url: str | None, state: Any = "succeeded", **ending: Any) -> str:
        """A job has ended, and this receiver is to know; its id."""
        return self.end_of(self.account_id, url, state, **ending)

    def end_of(
        self, account_id: str, url: str | None, state: Any = "succeeded", **ending: Any
    ) -> str:
        self.jobs += 1
        taken = take_job(self.ledger, account_id, self.jobs, webhook_url=url)
        self.webhooks.ended(end_job(self.ledger, taken, state, **ending))
        return taken[0].job_id

    def outcomes(self) -> list[tuple[str, int]]:
        with reading(self.path) as db:
            rows = db.query("SELECT outcome, tries FROM webhook_ends ORDER BY seq")
            return [(row["outcome"], row["tries"]) for row in rows]

    async def wait_ends(self, count: int) -> None:
        with trio.fail_after(30):
            while len(self.outcomes()) < count:  # noqa: ASYNC110 - a thread makes it true
                await trio.sleep(0.02)


@asynccontextmanager
async def open_hooks(folder: Path, config: Config, **changes: Any) -> AsyncIterator[Hooks]:
    path = folder / "ledger.db"
    async with (
        funded_ledger(path, **changes) as (ledger, account_id),
        open_webhooks(ledger, lambda: config, ledger.clock) as webhooks,
    ):
        yield Hooks(ledger, account_id, webhooks, path)


async def secret_of(hooks: Hooks) -> str:
    return (await hooks.ledger.webhook_secrets(hooks.account_id, 0)).secret


async def test_a_receiver_is_told_what_came_of_a_job(tmp_path: Path) -> None:
    """Verified by the reference library, and by the formula of the specification."""
    async with open_receiver() as receiver, open_hooks(tmp_path, config_for(receiver.url)) as hooks:
        result = JobResult("/videos/prov_1/content", needs_key=True)
        job_id = hooks.end(receiver.url, results=(result, JobResult("https://p.example/b.mp4")))
        await receiver.wait(lambda messages: len(messages) == 1)
        secret = await secret_of(hooks)
        await hooks.wait_ends(1)
        assert hooks.outcomes() == [("delivered", 1)]

    (message,) = receiver.messages
    body = Webhook(secret).verify(message.body, message.headers)
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"{message.headers['webhook-id']}.{message.headers['webhook-timestamp']}.".encode()
    digest = hmac.new(key, signed + message.body, hashlib.sha256).digest()
    assert message.headers["webhook-signature"] == "v1," + base64.b64encode(digest).decode()
    assert message.headers["content-type"] == "application/json"
    assert (body["type"], body["timestamp"][-1]) == ("job.succeeded", "Z")
    assert body["data"] == {
        "job_id": job_id,
        "kind": "video",
        "status": "succeeded",
        "model": "film",
        "results": [
            {"url": None, "content_type": "video/mp4", "variant": "video"},
            {"url": "https://p.example/b.mp4", "content_type": "video/mp4", "variant": "video"},
        ],
        "files": [],
        "error": None,
        "cost": {"nanodollars": PRICE_NANODOLLARS, "usd": "0.000000400"},
    }
    assert b"secret plan" not in message.body


async def test_a_failure_says_why_and_costs_nothing(tmp_path: Path) -> None:
    async with open_receiver() as receiver, open_hooks(tmp_path, config_for(receiver.url)) as hooks:
        hooks.end(receiver.url, "failed", error=JobError("moderation_blocked", "Not this."))
        hooks.end(None)
        hooks.end(receiver.url, "cancelled")
        await hooks.wait_ends(2)

    failed, cancelled = [json.loads(message.body) for message in receiver.messages]
    assert (failed["type"], cancelled["type"]) == ("job.failed", "job.cancelled")
    assert failed["data"]["error"] == {"code": "moderation_blocked", "message": "Not this."}
    assert failed["data"]["cost"]["nanodollars"] == 0


async def test_a_message_is_sent_until_it_is_taken(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    failing = (500, 429, 302, 404)
    async with (
        open_receiver(*failing) as receiver,
        open_hooks(tmp_path, config_for(receiver.url)) as hooks,
    ):
        hooks.end(receiver.url)
        await hooks.wait_ends(1)
        assert hooks.outcomes() == [("delivered", 5)]

    assert len(receiver.messages) == 5
    assert len({(m.headers["webhook-id"], m.body) for m in receiver.messages}) == 1
    assert "status 500" in caplog.text
    assert "/hooks" not in caplog.text  # it may hold a secret of the receiver's


async def test_a_receiver_that_wants_no_more_is_left(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_receiver(410) as receiver, open_hooks(tmp_path, config_for(receiver.url)) as h:
        h.end(receiver.url)
        await h.wait_ends(1)
        assert h.outcomes() == [("given_up", 1)]

    assert "is given up after 1 tries: status 410" in caplog.text


@pytest.mark.parametrize(
    "given",
    [
        b"",
        b"HTTP/1.1 200 OK\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        moved("http://169.254.169.254/latest/meta-data/"),
        moved("http://127.0.0.1:1/"),
        answer(status="503 Service Unavailable"),
    ],
)
async def test_whatever_else_is_answered_is_a_failure(tmp_path: Path, given: bytes) -> None:
    """A redirect, inward or anywhere, is not followed."""
    give_up = replace(QUICK, give_up_after_s=0.001)
    async with open_webserver({"/hook": given}) as server:
        url = f"http://127.0.0.1:{server.port}/hook"
        async with open_hooks(tmp_path, config_for(url, webhooks=give_up)) as hooks:
            hooks.end(url)
            await hooks.wait_ends(1)
            assert [outcome for outcome, _ in hooks.outcomes()] == ["given_up"]


async def test_ten_megabytes_of_an_answer_are_not_read(tmp_path: Path) -> None:
    async with open_webserver({"/hook": answer(bytes(10_000_000), "text/html")}) as server:
        url = f"http://127.0.0.1:{server.port}/hook"
        async with open_hooks(tmp_path, config_for(url)) as hooks:
            hooks.end(url)
            await hooks.wait_ends(1)
            assert hooks.outcomes() == [("delivered", 1)]


async def test_private_receivers_are_reached_where_the_operator_allows(tmp_path: Path) -> None:
    give_up = replace(QUICK, give_up_after_s=0.001)
    async with open_receiver() as receiver:
        closed = config_for(receiver.url, webhooks=give_up, private=frozenset())
        async with open_hooks(tmp_path, closed) as hooks:
            hooks.end(receiver.url)
            await hooks.wait_ends(1)
            assert [outcome for outcome, _ in hooks.outcomes()] == ["given_up"]

    assert receiver.messages == []


async def test_pauses_grow_and_end(tmp_path: Path) -> None:
    """By the defaults: from a second to an hour, for a day."""
    now_ms = START_MS

    def due() -> list[tuple[int, int]]:
        with reading(tmp_path / "ledger.db") as db:
            return list(db.execute("SELECT tries, due_at_ms FROM pending_webhooks"))

    def tried(times: int) -> bool:
        return [tries for tries, _ in due()] == [times]

    async with open_webserver({"/hook": answer(status="500 Sorry")}) as server:
        url = f"http://127.0.0.1:{server.port}/hook"
        config = config_for(url, webhooks=WebhooksConfig())
        async with open_hooks(tmp_path, config, clock=lambda: now_ms) as hooks:
            hooks.end(url)
            for tries in range(1, 15):
                await wait_until(partial(tried, tries))
                ((_, due_at_ms),) = due()
                longest_ms = min(1_000 * 2 ** (tries - 1), 3_600_000)
                assert longest_ms / 2 - 1 <= due_at_ms - now_ms <= longest_ms
                assert len(server.heads) == tries
                now_ms = due_at_ms
                hooks.webhooks.ended(Ticket(0))
            now_ms = START_MS + 86_400_000
            hooks.webhooks.ended(Ticket(0))
            await hooks.wait_ends(1)
            assert hooks.outcomes()[0][0] == "given_up"


async def test_order_is_kept(tmp_path: Path) -> None:
    async with open_receiver() as receiver, open_hooks(tmp_path, config_for(receiver.url)) as hooks:
        ended = [hooks.end(receiver.url) for _ in range(60)]
        await hooks.wait_ends(60)

    assert [json.loads(message.body)["data"]["job_id"] for message in receiver.messages] == ended


async def test_who_hangs_holds_up_nobody_else(tmp_path: Path) -> None:
    """Neither receivers of the same account, nor those of others."""
    slow = replace(QUICK, timeout_s=60.0)
    async with (
        open_receiver(*[0] * 20) as hanging,
        open_receiver() as well,
        open_hooks(tmp_path, config_for(hanging.url, well.url, webhooks=slow)) as hooks,
    ):
        other = (await hooks.ledger.create_account("other")).account_id
        await hooks.ledger.fund(other, 1_000_000, "second")
        for _ in range(20):
            hooks.end(hanging.url)
        await hanging.wait(lambda messages: len(messages) == 1)
        mine, theirs = hooks.end(well.url), hooks.end_of(other, well.url)
        theirs_there = hooks.end_of(other, hanging.url)
        await well.wait(lambda messages: len(messages) == 2)
        await hanging.wait(lambda messages: len(messages) == 2)
        told = {json.loads(message.body)["data"]["job_id"] for message in well.messages}
        assert told == {mine, theirs}
        assert json.loads(hanging.messages[1].body)["data"]["job_id"] == theirs_there


async def test_many_slow_receivers_of_one_account_leave_room_for_others(tmp_path: Path) -> None:
    few = replace(QUICK, timeout_s=60.0, at_once=3, at_once_per_account=2)
    async with (
        open_receiver(0) as first,
        open_receiver(0) as second,
        open_receiver(0) as third,
        open_receiver() as well,
    ):
        urls = [each.url for each in (first, second, third)]
        async with open_hooks(tmp_path, config_for(*urls, well.url, webhooks=few)) as hooks:
            other = (await hooks.ledger.create_account("other")).account_id
            await hooks.ledger.fund(other, 1_000_000, "second")
            for url in urls:
                hooks.end(url)
            await first.wait(lambda messages: len(messages) == 1)
            await second.wait(lambda messages: len(messages) == 1)
            hooks.end_of(other, well.url)
            await well.wait(lambda messages: len(messages) == 1)
            assert third.messages == []


async def test_a_secret_that_was_replaced_signs_for_a_while(tmp_path: Path) -> None:
    async with open_receiver() as receiver, open_hooks(tmp_path, config_for(receiver.url)) as hooks:
        first = await secret_of(hooks)
        assert await secret_of(hooks) == first
        rotated = await hooks.ledger.rotate_webhook_secret(hooks.account_id, 86_400_000)
        hooks.end(receiver.url)
        await hooks.wait_ends(1)
        assert rotated.former == first
        assert rotated.secret != first
        late = await hooks.ledger.webhook_secrets(hooks.account_id, 0)
        assert (late.secret, late.former) == (rotated.secret, None)

    (message,) = receiver.messages
    for secret in (first, rotated.secret):
        assert Webhook(secret).verify(message.body, message.headers)


async def test_what_waits_is_sent_after_a_restart_and_old_ones_are_forgotten(
    tmp_path: Path,
) -> None:
    async with open_receiver() as receiver:
        off = config_for(receiver.url, webhooks=replace(QUICK, enabled=False))
        async with open_hooks(tmp_path, off) as hooks:
            ended = [hooks.end(receiver.url) for _ in range(3)]
        on = config_for(receiver.url)
        async with (
            open_ledger(settings_for(hooks.path)) as ledger,
            open_webhooks(ledger, lambda: on, ledger.clock),
        ):
            await hooks.wait_ends(3)
            assert await ledger.prune_webhooks(0) == 0
            assert await ledger.prune_webhooks(ledger.clock() + 1) == 3

    assert [json.loads(message.body)["data"]["job_id"] for message in receiver.messages] == ended
    assert hooks.outcomes() == []


async def test_a_database_that_refuses_their_ends_ends_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_receiver() as receiver, open_hooks(tmp_path, config_for(receiver.url)) as hooks:
        with closing(sqlite3.connect(hooks.path)) as connection:
            connection.execute(
                "CREATE TRIGGER refused BEFORE INSERT ON webhook_ends"
                " BEGIN SELECT RAISE(ABORT, 'no'); END"
            )
        hooks.end(receiver.url)
        await wait_until(lambda: "webhooks wait: no" in caplog.text)
        hooks.end(None)  # and jobs end as before


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("https://Example.com/hook?x=1#y", "https://example.com/hook?x=1"),
        ("https://example.com", "https://example.com/"),
        ("https://example.com:443/a b", EgressRefusedError),
        ("http://example.com/", EgressRefusedError),
        ("https://example.com:8443/", EgressRefusedError),
        ("https://user:secret@example.com/", EgressRefusedError),
        ("ftp://example.com/", EgressRefusedError),
        ("", EgressRefusedError),
        ("https://" + "a" * 9_000, EgressRefusedError),
    ],
)
def test_urls_are_judged_when_they_are_named(url: str, kept: str | type[ClientError]) -> None:
    if isinstance(kept, str):
        assert check_webhook_url(url, Config()) == kept
    else:
        with pytest.raises(kept) as caught:
            check_webhook_url(url, Config())
        assert "secret" not in caught.value.message


def test_none_are_taken_where_none_are_sent() -> None:
    with pytest.raises(InvalidRequestError, match="webhook_url"):
        check_webhook_url("https://example.com/", Config(webhooks=WebhooksConfig(enabled=False)))


_VICTIM = """
import sys, trio
from pathlib import Path
from tests.engine.test_webhooks import config_for, open_hooks

async def main(folder, url):
    async with open_hooks(folder, config_for(url)) as hooks:
        while True:
            hooks.end(url)
            await trio.sleep(0.001)

trio.run(main, Path(sys.argv[1]), sys.argv[2])
"""


@pytest.mark.parametrize("after", [10])
async def test_nothing_is_lost_by_a_kill(tmp_path: Path, after: int) -> None:
    """Each job that ended durably is told, by the same id however often, the first times in their
    order."""
    async with open_receiver() as receiver:
        command = [sys.executable, "-c", _VICTIM, str(tmp_path), receiver.url]
        process = await trio.lowlevel.open_process(command)
        try:
            await receiver.wait(lambda messages: len(messages) >= after)
        finally:
            process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()
        path, config = tmp_path / "ledger.db", config_for(receiver.url)
        with reading(path) as db:
            closed = [
                row["job_id"] for row in db.query("SELECT job_id FROM job_records ORDER BY seq")
            ]
        async with (
            open_ledger(settings_for(path)) as ledger,
            open_webhooks(ledger, lambda: config, ledger.clock),
        ):
            hooks = Hooks(ledger, "", None, path)  # type: ignore[arg-type]
            await hooks.wait_ends(len(closed))
    told = [
        (json.loads(message.body)["data"]["job_id"], message.headers["webhook-id"])
        for message in receiver.messages
    ]

    assert list(dict.fromkeys(job_id for job_id, _ in told)) == closed
    assert len(set(told)) == len(closed)
