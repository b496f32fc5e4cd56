"""One planned attempt of an exchange, with all that is its own.

An exchange has one leg as a rule; another one after a failure, beside a leg that is slow to begin,
or to write on where one has broken off.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from engine.agents.telling import Telling
from engine.alarm import Alarm
from engine.attempt import Attempt
from engine.clock import wall_ms
from engine.events import Call, Event
from engine.file_ids import made_file_id, shown_file_id
from engine.measuring import Measuring
from engine.metering.pricing import Rates
from engine.owned import Pin
from engine.parsing.jobs import Prepared
from engine.parts import Parts
from engine.passage import Passage
from engine.relay import Relay
from engine.routing.health import Visit
from engine.routing.values import Candidate, Role
from engine.seam import Seam
from engine.sink import PullSink
from engine.storage.media import StoreFullError
from engine.upstream.bodies import Body, close_body
from engine.upstream.providers import Provider
from engine.watch import Watch


class Leg:
    """Of one exchange. It has not been dispatched when it is made.

    Attributes:
        prepared: what was made of the request for it, but for the body.
        body: what goes to the provider; empty once nobody sends it any more.
        number: counts from 1 within the exchange, in the order of the dispatches; 0 before.
        begun_at: when it was dispatched, in Trio's time; 0 before.
        dispatched: what has become of that is known: the request is on its way, or has failed.
        tap: where the canonical events gather as well, for an embedder.
        closed: there is nothing left of it to let go of.
        visit: what the deployment's health learns by; None before the dispatch.
    """

    __slots__ = (
        "attempt",
        "begun_at",
        "body",
        "candidate",
        "closed",
        "dispatched",
        "measuring",
        "number",
        "passage",
        "prepared",
        "provider",
        "role",
        "tap",
        "visit",
        "watch",
    )

    def __init__(
        self,
        parts: Parts,
        passage: Passage,
        candidate: Candidate[Rates],
        prepared: Prepared,
        measuring: Measuring,
        *,
        role: Role,
        deadline: float,
        changed: Alarm,
        metered: Callable[[Relay], bool],
        tap: deque[Event] | None = None,
        sent_bytes: int = 0,
        relay: Relay | None = None,
    ) -> None:
        """`deadline` is of the whole exchange, in Trio's time; `changed` is set when there is
        something of the attempt to be looked at; `sent_bytes` have gone to the client before.
        `relay` stands for the one that the passage would make."""

        def drained() -> None:
            attempt.drained()

        provider = parts.providers[candidate.deployment.provider]
        buffer_max_bytes = parts.config.server.buffered_output_max_bytes
        self.candidate = candidate
        self.provider: Provider = provider
        self.body: Body = prepared.body
        self.prepared = prepared._replace(body=b"")
        self.passage = passage
        self.measuring = measuring
        self.role: Role = role
        self.tap = tap
        self.attempt = attempt = Attempt(
            passage.open_relay(tap, sent_bytes) if relay is None else relay,
            PullSink(buffer_max_bytes, drained),  # of what the client does not get yet
            passage.provider_codec,
            unary=not prepared.request.stream,
            metered=metered,
            changed=changed,
            of_job=prepared.request.job is not None,
        )
        self.watch = Watch(attempt, provider, deadline)
        self.number = 0
        self.begun_at = 0.0
        self.dispatched = False
        self.visit: Visit | None = None
        self.closed = False

    @property
    def path(self) -> str:
        """Its deployment, as people call it: `PROVIDER/UPSTREAM_MODEL`."""
        return self.candidate.deployment.path

    @property
    def brought_at(self) -> float | None:
        """Since when there is something of it that a client can have: output, or a whole answer."""
        attempt = self.attempt
        if attempt.first_output_at is not None:
            return attempt.first_output_at
        whole = attempt.over and attempt.error is None and attempt.crash is None
        return attempt.last_activity if whole else None

    def take_body(self) -> Body:
        """What it would send, for another leg that sends it."""
        body, self.body = self.body, b""
        return body

    def drop_body(self) -> None:
        """Nobody sends it any more: a file without a name is gone."""
        close_body(self.take_body())

    def note_head(self, now: float) -> None:
        """What its provider says of limits, its deployment's health learns."""
        if self.visit is not None and self.attempt.status is not None:
            self.visit.answered(self.attempt.headers, now, wall_ms())

    def note_begin(self, now: float) -> None:
        """It has begun to answer, or has answered: its deployment's health learns it."""
        attempt, visit = self.attempt, self.visit
        if visit is None:
            return
        self.note_head(now)
        if attempt.first_output_at is not None and self.prepared.request.stream:
            visit.generated(attempt.first_output_at)
        elif attempt.relay.terminal and attempt.error is None:
            visit.succeeded(now)

    def close(self, now: float) -> None:
        """Reset its stream where that has not ended; late bytes are dropped. Again and again, if
        need be."""
        self.attempt.close()
        if self.visit is not None:
            self.visit.close(now)
        self.closed = True


def passage_of(
    parts: Parts,
    call: Call,
    candidate: Candidate[Rates],
    prepared: Prepared,
    account_id: str,
    seam: Seam | None = None,
    open_telling: Callable[[], Telling] | None = None,
) -> Passage:
    """The way of an account's call to the deployment of a candidate; with a `seam`, in the middle
    of an answer; with `open_telling`, as a round of an agent's."""
    deployment, origin = candidate.deployment, call.origin
    provider = parts.providers[deployment.provider]

    def keep(data: bytes, content_type: str) -> str | None:
        try:
            media_id = parts.media.put(account_id, data, content_type)
        except StoreFullError:
            return None
        return parts.media.url_of(media_id, origin)

    def call_file(name: str) -> str:
        pin = Pin(provider.name, provider.credential_ids[candidate.key])
        file_id = made_file_id(account_id, pin, name)
        parts.files.tell(account_id, file_id, pin, name)
        return shown_file_id(file_id, "openai")

    return Passage(
        call,
        prepared,
        deployment,
        provider,
        parts.clock,
        transcribed=candidate.model.continuation and prepared.continuable,
        seam=seam,
        open_telling=open_telling,
        keep=keep,
        job_timeout_s=parts.config.jobs.timeout_s,
        call_file=call_file if provider.state is not None else None,
    )


def measuring_of(parts: Parts, candidate: Candidate[Rates], prepared: Prepared) -> Measuring:
    """What measures the consumption of an attempt."""
    provider = parts.providers[candidate.deployment.provider]
    return Measuring(
        bounds=prepared.bounds,
        prompt=prepared.input,
        stream=prepared.request.stream,
        deployment=candidate.deployment,
        price=candidate.model.price,
        waive=provider.on_cancel == "waive",
    )
