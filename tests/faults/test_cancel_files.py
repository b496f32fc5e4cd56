"""An exchange whose provider is sent a file first, cancelled at every checkpoint: whatever the
provider has got is remembered, and nothing else is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
import trio

from engine import Call, Exchange, Gateway
from engine.events import Protocol
from tests.filed import PDF, Filed, again, open_filed, part_of
from tests.gateways import drain

from .cancel_everywhere import Whose
from .test_cancel_exchange import FUNDS, PACE, SEED, TOKENS, cancelled_everywhere

TOO_LARGE = "inline_max_bytes = 100"
KEY = sha256(b"key-1").hexdigest()[:16]


class Uploading:
    """A call that names a file which its provider has not got; before each is looked at what the
    last one has left."""

    def __init__(self, filed: Filed, provider: Protocol, file_id: str) -> None:
        self._filed = filed
        self._place = (file_id, f"at-{provider}", KEY)
        call = filed.call(provider, f"by-{provider}", part_of(provider, file_id))
        body = call.body.replace(b"tokens=2", f"tokens={TOKENS} {PACE}".encode())
        body = body.replace(b'"stream":false', b'"stream":true')
        self.call = replace(call, body=body, stream=True if provider == "gemini" else None)
        self.uploads = 0

    async def forget(self) -> None:
        """Have the provider without the file again."""
        gateway, shelf = self._filed.gateway, self._filed.setup.sim.files
        known = await gateway.ledger.find_copy(*self._place)
        kept = [file.file_id for file in shelf]
        names = [] if known is None else [known.provider_file_id.removeprefix("files/")]
        assert names == kept, "a copy that nobody knows of, or that is none"
        assert (gateway.referring.held_bytes, gateway.referring.sending) == (0, 0)
        if known is not None:
            self.uploads += 1
            await gateway.ledger.forget_copy(known)
        shelf.expire()

    async def ask(self, gateway: Gateway, call: Call, seen: list[Exchange]) -> None:
        """One exchange; only it is cancelled."""
        with trio.CancelScope(shield=True):
            await self.forget()
        async with gateway.open_exchange(call) as exchange:
            seen.append(exchange)
            await drain(exchange)


@pytest.mark.parametrize(("provider", "on_cancel"), [("anthropic", "stop"), ("gemini", "waive")])
async def test_nothing_is_left_half_done(
    tmp_path: Path,
    provider: Protocol,
    on_cancel: str,
    say: Callable[[str], None],
    pytestconfig: pytest.Config,
) -> None:
    """At its own steps; between those of any task with `--long`."""
    whose: Whose = "any" if pytestconfig.getoption("--long") else "own"
    policy = f'on_cancel = "{on_cancel}"'
    async with open_filed(tmp_path, TOO_LARGE, provider=policy, funds_nanodollars=FUNDS) as filed:
        asked = Uploading(filed, provider, await filed.add(PDF))
        points = await cancelled_everywhere(
            filed.setup,
            asked.ask,
            lambda: again(asked.call),
            stream=True,
            on_cancel=on_cancel,
            whose=whose,
        )
        await asked.forget()
        say(f"{provider}: {points} cancel points, {asked.uploads} uploads, seed {SEED}")
        assert points > 12
        assert asked.uploads > 8
