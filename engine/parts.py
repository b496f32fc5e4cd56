"""What every exchange uses, as the gateway wires it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Protocol

from engine.admission.keys import KeyIndex
from engine.admission.limits import Limiter
from engine.admission.switches import Switches
from engine.agents.book import Agents
from engine.alarm import Alarm
from engine.catalogue import Catalogue
from engine.clock import Clock
from engine.config import Config
from engine.drains import Drains
from engine.events import Call
from engine.idempotency import IdempotencyKeys
from engine.inlining import Inliner
from engine.jobs.book import JobBook
from engine.ledger.ledger import Ledger
from engine.ledger.receipts import Receipt
from engine.ledger.records import ProgressEntry
from engine.load import Load
from engine.metering.pricing import Rates
from engine.owning import Owners
from engine.parsing.jobs import Encode, Prepared, do_here, target_of
from engine.parsing.pool import ParsingPool
from engine.plan_budgets import PlanBudgets
from engine.protocols.prefix import Prefix
from engine.protocols.registry import client_codec
from engine.referring import Referring
from engine.routing.health import HealthBook
from engine.routing.values import Asked, Candidate, Plan
from engine.rules import Rules
from engine.spool import Spool
from engine.stopping import Preliminaries
from engine.storage.files import FileStore
from engine.storage.media import MediaStore
from engine.storage.sessions import UploadSessions
from engine.telemetry import Telemetry
from engine.upstream.pool import Pool
from engine.upstream.providers import Provider


class OpenExchange(Protocol):
    """An exchange under way, as the gateway's own tasks see it; see `engine.exchange`."""

    @property
    def receipt(self) -> Receipt: ...

    def cancel(self) -> None: ...

    def shut_down(self) -> None: ...

    def end_by_operator(self) -> None: ...

    async def wait_settled(self) -> None: ...

    def progress(self) -> ProgressEntry | None:
        """What a crash would bill now, if that has changed."""


@dataclass(slots=True)
class State:
    """What the process is doing: the same for all generations of rules."""

    counts_open: int = 0
    """Prompts whose tokens are being counted."""
    leaving: bool = False
    """Nobody should send new calls any more."""
    stopping: bool = False
    """No new calls are taken."""
    cutting: bool = False
    """What ends early from now on was cut by us, not left by its client."""


class Parts:
    """What every exchange uses; the gateway wires them.

    `rules` is replaced when they change, by `renew`. An exchange has parts of its own, `pinned`:
    they keep the rules that it was admitted by, and share all else.

    Attributes:
        config: what the gateway is told.
        catalogue: the models, with their prices.
        providers: by their names in the configuration.
    """

    def __init__(
        self,
        *,
        rules: Rules,
        ledger: Ledger,
        keys: KeyIndex,
        limiter: Limiter,
        switches: Switches,
        pool: Pool,
        telemetry: Telemetry,
        drains: Drains,
        clock: Clock,
        idempotency: IdempotencyKeys,
        inliner: Inliner,
        jobs: JobBook,
        referring: Referring,
        load: Load,
        parsing: ParsingPool,
        spool: Spool,
        media: MediaStore,
        files: FileStore,
        uploads: UploadSessions,
        agents: Agents,
        health: HealthBook,
        chance: Random,
    ) -> None:
        self.renew(rules)
        self.ledger = ledger
        self.keys = keys
        self.limiter = limiter
        self.switches = switches
        self.pool = pool
        self.telemetry = telemetry
        self.drains = drains
        self.clock = clock
        self.idempotency = idempotency
        self.inliner = inliner
        self.jobs = jobs
        self.referring = referring
        self.load = load
        self.parsing = parsing
        self.spool = spool
        self.media = media
        self.files = files
        self.uploads = uploads
        self.agents = agents
        self.health = health
        self.chance = chance
        self.owners = Owners(ledger, lambda: self.config.state)
        self.plan_budgets = PlanBudgets(ledger, lambda: self.rules.plans)
        self.state = State()
        self.preliminaries = Preliminaries()
        self.open_exchanges: dict[str, OpenExchange] = {}
        self.draining: dict[str, OpenExchange] = {}
        """Those whose client has left and whose provider is read on."""
        self.progress_due = Alarm()
        self._pinned: Parts | None = None

    def pinned(self, rules: Rules) -> Parts:
        """The same parts, with rules that stay as they are: one for all exchanges of a generation,
        which would each take a kilobyte."""
        pinned = self._pinned
        if pinned is None or pinned.rules is not rules:
            pinned = Parts.__new__(Parts)
            pinned.__dict__.update(self.__dict__)
            pinned._pinned = None
            pinned.renew(rules)
            self._pinned = pinned
        return pinned

    def renew(self, rules: Rules) -> None:
        """Other rules hold from now on."""
        self.rules = rules
        self.config: Config = rules.config
        self.catalogue: Catalogue = rules.catalogue
        self.providers: Mapping[str, Provider] = rules.providers

    @property
    def counts_open(self) -> int:
        """See `State`."""
        return self.state.counts_open

    @counts_open.setter
    def counts_open(self, counts: int) -> None:
        self.state.counts_open = counts

    @property
    def leaving(self) -> bool:
        """See `State`."""
        return self.state.leaving

    @property
    def stopping(self) -> bool:
        """See `State`."""
        return self.state.stopping

    @property
    def cutting(self) -> bool:
        """See `State`."""
        return self.state.cutting

    async def prepare(
        self,
        call: Call,
        choose: Callable[[Asked], Plan[Rates]],
        output_limit: int | None = None,
        only: Candidate[Rates] | None = None,
        prefix: Prefix | None = None,
    ) -> Prepared:
        """The request of a call, ready to be sent to the first of the planned candidates that can
        say it (`Prepared.target` is its index); or to `only` one, and no plan is asked for. With a
        `prefix` it is to go on with an answer, and is translated whatever its provider speaks.

        Raises:
            InvalidRequestError: it cannot be served; and whatever `choose` raises.
            UnavailableError, BodyTooLargeError: see `ParsingPool.do`.
            ShutdownError: all was ended meanwhile.
        """

        def ask(asked: Asked) -> Encode:
            candidates = choose(asked).candidates if only is None else (only,)
            client = client_codec(call.protocol, call.operation).name
            targets, in_memory = [], False
            translated = prefix is not None or call.agent is not None
            for each in candidates:
                by = self.providers[each.deployment.provider]
                targets.append(target_of(client, each.deployment, by, translated=translated))
                in_memory = in_memory or by.credentials_of(each.key).signs_body
            return Encode(tuple(targets), output_limit, in_memory=in_memory, prefix=prefix)

        if self.parsing.is_small(call):
            self.preliminaries.check()
            prepared = do_here(call, ask, self.rules.wanted)
        else:
            with self.preliminaries.refused_at_end():
                prepared = await self.parsing.do(call, ask, self.rules.wanted)
        assert isinstance(prepared, Prepared)
        return prepared
