"""What one exchange has consumed, and what that comes to. Moves no money and waits for nothing."""

from __future__ import annotations

from dataclasses import replace

from engine import funds
from engine.attempt import Attempt
from engine.events import Outcome, Usage
from engine.metering.pricing import Rates
from engine.metering.tokens import count_prompt
from engine.protocols.codec import ClientCodec, ClientRequest
from engine.routing.plan import Deployment


class Measuring:
    """Of one exchange, at any moment of it.

    Attributes:
        input_bound_tokens: no prompt of this body has more.
    """

    def __init__(
        self,
        *,
        request: ClientRequest,
        codec: ClientCodec,
        deployment: Deployment[Rates],
        price: Rates,
        input_bound_tokens: int,
        waive: bool,
    ) -> None:
        self.input_bound_tokens = input_bound_tokens
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
        answered = attempt.answered
        counted, reported = Usage(), meter.reported
        if outcome is Outcome.GATEWAY_FAILED:
            counted = Usage(output_tokens=meter.known_tokens)
        elif answered and meter.reported is None:
            output = meter.received_tokens()
            if outcome is Outcome.FUNDS_EXHAUSTED and attempt.relay.output_limit is not None:
                output = min(output, attempt.relay.output_limit)
            counted = self.usage_so_far(attempt, output)
        elif answered and not meter.report_covers_all:
            counted, reported = meter.consumed() or counted, None
        return funds.make_bill(
            outcome,
            reported=reported,
            counted=counted,
            answered=answered,
            has_output=meter.has_output,
            unary=not self._request.stream,
            waive=self._waive,
            drained=drained,
            price=self._price,
            cost=self._deployment.cost,
        )

    def usage_so_far(self, attempt: Attempt, output_tokens: int) -> Usage:
        """Counted output beside the input as the provider said it when it began, else counted."""
        said = attempt.relay.meter.input_reported
        if said is not None and said.input_tokens:
            return replace(said, output_tokens=output_tokens)
        return Usage(input_tokens=self._input_tokens(), output_tokens=output_tokens)

    def _input_tokens(self) -> int:
        """The prompt by our own count, made once and only where it is needed."""
        if self._counted_input is None:
            texts = self._codec.prompt_texts(self._request)
            counted = count_prompt(texts, self._deployment.encoding)
            overhead = self._codec.prompt_overhead_tokens(self._request)
            self._counted_input = min(counted + overhead, self.input_bound_tokens)
        return self._counted_input


def delivered_tokens(attempt: Attempt) -> int:
    """The output that the client's socket has taken."""
    meter = attempt.relay.meter
    meter.delivered_to(attempt.sink.delivered_bytes)
    return meter.delivered_tokens()
