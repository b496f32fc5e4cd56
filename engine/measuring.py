"""What one exchange has consumed, and what that comes to. Moves no money and waits for nothing."""

from __future__ import annotations

from dataclasses import replace

from engine import funds
from engine.attempt import Attempt
from engine.bounds import Bounds
from engine.events import Outcome, Provenance
from engine.metering.pricing import Rates
from engine.metering.tokens import count_prompt
from engine.metering.usage import OutputMeter
from engine.protocols.codec import ClientCodec, ClientRequest
from engine.routing.plan import Deployment
from engine.usage import Usage


class Measuring:
    """Of one exchange, at any moment of it."""

    def __init__(
        self,
        *,
        request: ClientRequest,
        codec: ClientCodec,
        deployment: Deployment[Rates],
        price: Rates,
        bounds: Bounds,
        waive: bool,
    ) -> None:
        self._bounds = bounds
        self._request = request
        self._codec = codec
        self._deployment = deployment
        self._price = price
        self._waive = waive
        self._counted_input: int | None = None

    def bill(
        self, outcome: Outcome, attempt: Attempt | None, *, drained: bool = False
    ) -> funds.Bill:
        """Who pays what for an exchange that has ended so; `drained`: read to its end after the
        client had left."""
        if attempt is None:
            return funds.NOTHING
        meter = attempt.relay.meter
        if outcome is Outcome.GATEWAY_FAILED:  # nothing is counted: the fault may be the counting
            usage = replace(meter.said or Usage(), output_tokens=meter.known_tokens).clamped()
            measured = funds.Measured(usage)
        elif attempt.answered:
            measured = self._measured(outcome, attempt, drained)
        else:
            measured = funds.Measured(Usage())
        return funds.make_bill(
            outcome,
            measured,
            answered=attempt.answered,
            has_output=meter.has_output,
            unary=not self._request.stream,
            waive=self._waive,
            price=self._price,
            cost=self._deployment.cost,
        )

    def _measured(self, outcome: Outcome, attempt: Attempt, drained: bool) -> funds.Measured:
        meter = attempt.relay.meter
        by_provider = Provenance.DRAINED if drained else Provenance.REPORTED
        usage, output_by = meter.consumed(), by_provider
        if usage is None:
            output = meter.received_tokens()
            if outcome is Outcome.FUNDS_EXHAUSTED and attempt.relay.output_limit is not None:
                output = min(output, attempt.relay.output_limit)
            usage = self.usage_so_far(attempt, output)
            output_by = Provenance.COUNTED
        elif not meter.report_covers_all:
            output_by = Provenance.COUNTED
        input_by = by_provider
        if not _says_input(meter):
            usage = replace(usage, input_tokens=self._input_tokens()).clamped()
            input_by = Provenance.COUNTED
        provenance = {unit: by_provider for unit, count in usage.units().items() if count}
        return funds.Measured(
            usage,
            provenance | {"input_tokens": input_by, "output_tokens": output_by},
            meter.flags,
        )

    def usage_so_far(self, attempt: Attempt, output_tokens: int) -> Usage:
        """Counted output beside the input as the provider has said it, else counted."""
        meter = attempt.relay.meter
        said = meter.said or Usage()
        input_tokens = said.input_tokens if _says_input(meter) else self._input_tokens()
        return replace(said, input_tokens=input_tokens, output_tokens=output_tokens).clamped()

    def _input_tokens(self) -> int:
        """The prompt by our own count, made once and only where it is needed."""
        if self._counted_input is None:
            texts = self._codec.prompt_texts(self._request)
            counted = count_prompt(texts, self._deployment.encoding)
            overhead = self._codec.prompt_overhead_tokens(self._request)
            self._counted_input = min(counted + overhead, self._bounds.input_tokens)
        return self._counted_input


def _says_input(meter: OutputMeter) -> bool:
    """A prompt of no tokens is one that the provider has not counted yet."""
    said = meter.said
    if said is None or "input_tokens" in said.unsaid:
        return False
    return said.input_tokens > 0 or meter.reported is not None


def delivered_tokens(attempt: Attempt) -> int:
    """The output that the client's socket has taken."""
    meter = attempt.relay.meter
    meter.delivered_to(attempt.sink.delivered_bytes)
    return meter.delivered_tokens()
