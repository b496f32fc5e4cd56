"""What the receipt of an exchange tells of its attempts, and when what happened."""

from __future__ import annotations

import trio

from engine.attempt import Attempt
from engine.errors import GatewayError
from engine.events import Outcome
from engine.ledger.receipts import Attempt as AttemptReceipt
from engine.ledger.receipts import Timings


class AttemptLog:
    """Of one exchange, begun when its request arrives."""

    def __init__(self, provider: str, upstream_model: str) -> None:
        self._noted_ms: dict[str, float | None] = {}
        self._provider = provider
        self._upstream_model = upstream_model
        self._started = trio.current_time()
        self._begun_at = 0.0
        self._followed: tuple[AttemptReceipt, ...] = ()
        """Those that have ended and were followed by another."""

    def begin(self) -> int:
        """An attempt goes out; its number."""
        self._begun_at = trio.current_time()
        return len(self._followed) + 1

    def follow(self, attempt: Attempt | None, error: GatewayError) -> None:
        """It has failed without a cost, and another will go out."""
        self._followed = self.receipts(attempt, Outcome.UPSTREAM_FAILED, error, 0)

    def note(self, *names: str) -> None:
        """This happens now; fields of `Timings`."""
        now_ms = self._ms(trio.current_time())
        for name in names:
            self._noted_ms[name] = now_ms

    @property
    def timings(self) -> Timings:
        """Milliseconds from the request's arrival to what has been noted."""
        return Timings(**self._noted_ms)

    def receipts(
        self,
        attempt: Attempt | None,
        outcome: Outcome,
        error: GatewayError | None,
        cost_nanodollars: int,
    ) -> tuple[AttemptReceipt, ...]:
        """All attempts, the last of which ends now."""
        if attempt is None:
            return ()
        first_byte_ms = None if attempt.answered_at is None else self._ms(attempt.answered_at)
        self._noted_ms["first_byte_ms"] = first_byte_ms
        return (
            *self._followed,
            AttemptReceipt(
                number=len(self._followed) + 1,
                provider=self._provider,
                upstream_model=self._upstream_model,
                status=attempt.status,
                outcome=str(outcome) if error is None else error.code,
                provider_request_id=attempt.provider_request_id,
                started_ms=self._ms(self._begun_at),
                first_byte_ms=first_byte_ms,
                ended_ms=self._ms(trio.current_time()),
                cost_nanodollars=cost_nanodollars,
            ),
        )

    def _ms(self, at: float) -> float:
        return (at - self._started) * 1_000
