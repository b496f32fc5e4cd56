"""A batch that is asked for, cancelled at every checkpoint: whatever its provider has taken is
found, followed and charged once; nothing else is left."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from engine.events import new_request_id
from tests.batched import POLLED, batch_call, file_of, keep_input, open_batched, told
from tests.gateways import DOLLAR, drain, settled

from .cancel_everywhere import CancelPoint, cancel_everywhere
from .test_cancel_exchange import SEED


async def test_nothing_is_left_half_done(tmp_path: Path, say: Callable[[str], None]) -> None:
    async with open_batched(tmp_path, jobs=POLLED) as filed:
        gateway, account_id, sim = filed.gateway, filed.setup.account_id, filed.setup.sim
        call = batch_call(filed, await keep_input(filed, file_of(told(0, "tokens=2"))))

        async def ask() -> None:
            again = replace(call, request_id=new_request_id())
            async with gateway.open_exchange(again) as exchange:
                await drain(exchange)

        async def check(point: CancelPoint) -> None:
            await settled(lambda: gateway.open_exchanges == 0)
            await settled(lambda: not gateway.ledger.open_jobs_of(account_id))
            assert gateway.spool.used_bytes == 0, point

        points = await cancel_everywhere(ask, check, seed=SEED, whose="own")

        say(f"{points} cancel points, {len(sim.kept)} batches, seed {SEED}")
        assert points > 20
        spent = DOLLAR - await filed.setup.balance()
        answers = [answer for kept in sim.kept for answer in kept.more.answers]
        assert len(answers) == len(sim.kept) > 0, "all that were taken have ended"
        used = [body["usage"] for _, body in answers]
        assert spent == sum(500 * u["prompt_tokens"] + 1_000 * u["completion_tokens"] for u in used)
