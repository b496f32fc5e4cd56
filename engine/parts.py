"""What every exchange uses, as the gateway wires it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import trio

from engine.admission.keys import KeyIndex
from engine.catalogue import Catalogue
from engine.clock import Clock
from engine.config import Config
from engine.drains import Drains
from engine.events import Call
from engine.idempotency import IdempotencyKeys
from engine.inlining import Inliner
from engine.ledger.ledger import Ledger
from engine.ledger.receipts import Receipt
from engine.ledger.records import ProgressEntry
from engine.load import Load
from engine.parsing.jobs import Encode, Prepared, do_here, target_of
from engine.parsing.pool import ParsingPool
from engine.routing.plan import plan
from engine.spool import Spool
from engine.stopping import Preliminaries
from engine.telemetry import Telemetry
from engine.upstream.pool import Pool
from engine.upstream.providers import Provider


class OpenExchange(Protocol):
    """An exchange under way, as the gateway's own tasks see it; see `engine.exchange`."""

    @property
    def receipt(self) -> Receipt: ...

    def cancel(self) -> None: ...

    def shut_down(self) -> None: ...

    async def wait_settled(self) -> None: ...

    def progress(self) -> ProgressEntry | None:
        """What a crash would bill now, if that has changed."""


class Alarm:
    """Wakes one waiter; set again and again."""

    def __init__(self) -> None:
        self._event = trio.Event()

    def set(self) -> None:
        """Wake the waiter, now or when it comes."""
        self._event.set()

    async def wait(self) -> None:
        """Return when it is set, and unset it."""
        await self._event.wait()
        self._event = trio.Event()


@dataclass(slots=True)
class Parts:
    """What every exchange uses; the gateway wires them."""

    config: Config
    ledger: Ledger
    keys: KeyIndex
    catalogue: Catalogue
    providers: Mapping[str, Provider]
    pool: Pool
    telemetry: Telemetry
    drains: Drains
    clock: Clock
    idempotency: IdempotencyKeys
    inliner: Inliner
    load: Load
    parsing: ParsingPool
    spool: Spool
    preliminaries: Preliminaries = field(default_factory=Preliminaries)
    open_exchanges: dict[str, OpenExchange] = field(default_factory=dict)
    draining: dict[str, OpenExchange] = field(default_factory=dict)
    """Those whose client has left and whose provider is read on."""
    counts_open: int = 0
    """Prompts whose tokens are being counted."""
    progress_due: Alarm = field(default_factory=Alarm)
    leaving: bool = False
    """Nobody should send new calls any more."""
    stopping: bool = False
    """No new calls are taken."""
    cutting: bool = False
    """What ends early from now on was cut by us, not left by its client."""

    async def prepare(self, call: Call, output_limit: int | None = None) -> Prepared:
        """The request of a call, ready to be sent to the first deployment of its model.

        Raises:
            InvalidRequestError, ModelNotFoundError: it cannot be served.
            UnavailableError, BodyTooLargeError: see `ParsingPool.do`.
            ShutdownError: all was ended meanwhile.
        """

        def ask(model: str) -> Encode:
            deployment = plan(model, self.catalogue).deployments[0]
            provider = self.providers[deployment.provider]
            target = target_of(call.protocol, deployment, provider)
            return Encode(target, output_limit, in_memory=provider.credentials.signs_body)

        if self.parsing.is_small(call):
            self.preliminaries.check()
            prepared = do_here(call, ask)
        else:
            with self.preliminaries.refused_at_end():
                prepared = await self.parsing.do(call, ask)
        assert isinstance(prepared, Prepared)
        return prepared
