"""Credentials are kept fresh beside the requests, from when a provider comes until it is gone."""

from __future__ import annotations

import trio
import trio.testing

from engine.upstream.credentials import KeyCredentials, open_credentials
from engine.wire.http import Headers


class Renewed:
    """Credentials that have to be renewed every second."""

    signs_body = False

    def __init__(self) -> None:
        self.renewals = 0

    def sign(self, method: str, path: str, body: bytes) -> Headers:
        return []

    async def keep_fresh(
        self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        while True:
            self.renewals += 1
            task_status.started()
            task_status = trio.TASK_STATUS_IGNORED
            await trio.sleep(1)


async def test_they_come_and_go(autojump_clock: trio.testing.MockClock) -> None:
    first, second, plain = Renewed(), Renewed(), KeyCredentials([])
    async with open_credentials([first, plain]) as keeper:
        assert first.renewals == 1
        await keeper.keep([first, second, plain])
        assert (first.renewals, second.renewals) == (1, 1), "once is enough"
        keeper.drop([first, plain], after_s=2.5)
        await trio.sleep(9.5)
        assert (first.renewals, second.renewals) == (3, 10)
        keeper.drop([second])
        await trio.sleep(10)
        assert second.renewals == 10
        await keeper.keep([second])
        await trio.sleep(1.5)
        assert second.renewals == 12
