"""What one attempt has consumed, and what that comes to. Moves no money and waits for nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from engine import funds
from engine.attempt import Attempt
from engine.bounds import Bounds
from engine.events import Outcome, Provenance
from engine.metering.pricing import Rates, charge_nanodollars
from engine.metering.tiers import may_be
from engine.metering.tokens import counted_by
from engine.metering.usage import OutputMeter
from engine.parsing.prompts import Counted, Input
from engine.routing.values import Deployment
from engine.usage import MoreUnit, Usage

_PICTURE: Final = Usage(output_tokens=1_000, more={"images": 1})
"""Any one will do to tell which of two qualities and sizes is the cheaper."""


class Measuring:
    """Of one attempt, at any moment of it.

    Attributes:
        bounds: what it can consume at most.
        ceiling: what a token of it can cost at most.
    """

    def __init__(
        self,
        *,
        bounds: Bounds,
        prompt: Input,
        stream: bool,
        deployment: Deployment[Rates],
        price: Rates,
        waive: bool,
    ) -> None:
        self.bounds = bounds
        self.ceiling = price.ceiling(
            self.bounds.input_tokens, self.bounds.service_tier, self.bounds.pieces
        )
        self._prompt = prompt
        self._unary = not stream
        self._deployment = deployment
        self._price = price
        self._waive = waive
        self._flat = _priced(bounds, price, deployment.cost)

    @property
    def flat(self) -> Mapping[MoreUnit, int]:
        """What is consumed by having asked, of units that there is a price for."""
        return self._flat

    def bill(
        self, outcome: Outcome, attempt: Attempt | None, *, drained: bool = False
    ) -> funds.Bill:
        """Who pays what for an exchange that has ended so with this attempt; `drained`: read to its
        end after the client had left."""
        if attempt is None:
            return funds.NOTHING
        meter = attempt.relay.meter
        if outcome is Outcome.GATEWAY_FAILED:  # nothing is counted: the fault may be the counting
            usage = replace(meter.said or Usage(), output_tokens=meter.known_tokens).clamped()
            measured = funds.Measured(usage, service_tier=self.service_tier(meter))
        elif attempt.answered:
            measured = self._measured(outcome, attempt, drained)
        else:
            measured = funds.Measured(Usage())
        return funds.make_bill(
            outcome,
            measured,
            answered=attempt.answered,
            has_output=meter.has_output,
            unary=self._unary,
            waive=self._waive,
            price=self._price,
            cost=self._deployment.cost,
        )

    def lost(self, attempt: Attempt) -> funds.Bill:
        """What an attempt costs the house whose answer nobody gets."""
        outcome = Outcome.UPSTREAM_FAILED if attempt.crash is None else Outcome.GATEWAY_FAILED
        return funds.on_the_house(self.bill(outcome, attempt))

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
        if not self._says_input(meter):
            usage = replace(usage, input_tokens=self._input_tokens()).clamped()
            input_by = Provenance.COUNTED
        provenance = {unit: by_provider for unit, count in usage.units().items() if count}
        provenance |= {"input_tokens": input_by, "output_tokens": output_by}
        usage = self._with_flat(usage)
        if self.bounds.demand is not None:
            provenance = self._of_no_chat(provenance, usage, meter.said or Usage())
        elif self._flat:
            provenance["requests"] = by_provider
        return funds.Measured(usage, provenance, meter.flags, self.service_tier(meter))

    def _of_no_chat(
        self, provenance: Mapping[str, Provenance], usage: Usage, said: Usage
    ) -> dict[str, Provenance]:
        """Only of what there was; of what we have counted, only where somebody pays for it."""
        cost, known = self._deployment.cost, usage.units()
        paid = {
            "input_tokens": self.ceiling.input or cost.dearest_input,
            "output_tokens": self.ceiling.output or cost.dearest_output,
        }
        told = {
            unit: by
            for unit, by in provenance.items()
            if known[unit] and (by is not Provenance.COUNTED or paid.get(unit))
        }
        return told | {unit: Provenance.FLAT for unit in self._flat if unit not in said.more}

    def usage_so_far(self, attempt: Attempt, output_tokens: int) -> Usage:
        """Counted output beside the input as the provider has said it, else counted."""
        meter = attempt.relay.meter
        said = meter.said
        if said is None:  # asked of each stream every second
            return self._with_flat(
                Usage(input_tokens=self._input_tokens(), output_tokens=output_tokens)
            )
        input_tokens = said.input_tokens if self._says_input(meter) else self._input_tokens()
        usage = replace(said, input_tokens=input_tokens, output_tokens=output_tokens).clamped()
        return self._with_flat(usage)

    def counted_by(self, measured: funds.Measured) -> str | None:
        """What counted where the provider has not; None: nothing was counted."""
        if Provenance.COUNTED not in measured.provenance.values():
            return None
        return counted_by(self._deployment.upstream_model)

    def service_tier(self, meter: OutputMeter) -> str | None:
        """As the provider says that it serves, else as it was asked to; the cheaper one where it
        says that it has drawn something else than was asked for."""
        said, asked = meter.service_tier, self.bounds.service_tier
        if said is None or asked is None or self.bounds.demand is None or may_be(asked, said):
            return said or asked
        return min(asked, said, key=lambda tier: charge_nanodollars(_PICTURE, self._price, tier))

    def rates(
        self, measured: funds.Measured | None = None
    ) -> tuple[Mapping[str, int], Mapping[str, int]]:
        """The price's and the cost's rates by unit, as pinned at the hold: those that apply to what
        was consumed; without it, to a short context served as asked."""
        tier = self.bounds.service_tier if measured is None else measured.service_tier
        input_tokens = 0 if measured is None else measured.usage.input_tokens
        price, cost = self._price, self._deployment.cost
        return price.at(input_tokens, tier).units(), cost.at(input_tokens, tier).units()

    async def release_prompt(self) -> None:
        """Take less memory; what is asked for later is known all the same."""
        await self._prompt.release()

    def forget_prompt(self) -> None:
        """Nothing is measured any more."""
        self._prompt = Counted(0)

    def _with_flat(self, usage: Usage) -> Usage:
        """With what is consumed by having asked, where the provider has said nothing of that."""
        return replace(usage, more={**self._flat, **usage.more}) if self._flat else usage

    def _says_input(self, meter: OutputMeter) -> bool:
        """Who says how many pictures there are, and nothing else, has not said what the words for
        them took: that is counted where somebody pays for it."""
        said = meter.said
        if said is None or said.input_tokens or said.output_tokens or "images" not in said.more:
            return _says_input(meter)
        return not (self.ceiling.input or self._deployment.cost.dearest_input)

    def _input_tokens(self) -> int:
        """The prompt by our own count, made only where it is needed."""
        return min(self._prompt.count(), self.bounds.input_tokens)


def _priced(bounds: Bounds, *rates: Rates) -> Mapping[MoreUnit, int]:
    """What is consumed by having asked, of units that there is a price for."""
    units: set[MoreUnit] = set()
    for each in rates:
        units.update(each.more, *(tier.more for tier in each.services.values()))
    demand = bounds.demand
    flat: Mapping[MoreUnit, int] = {"requests": 1}
    if demand is not None:
        flat = {**demand.flat, "requests": 1}
    return {unit: count for unit, count in flat.items() if unit in units}


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
