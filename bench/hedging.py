"""What hedging does to the time to the first token, and what it costs the house.

    python -m bench.hedging [--requests 4000] [--rate 100] [--share 0.05] [--stall-ms 2000]

One gateway in this process; three deployments of a simulated provider in another, all with a first
token after 100 ms, one of which keeps silent for 2 s in 5 % of its requests. Two models of the same
three deployments, one with `hedge = true`, are asked in turn at a fixed rate, so that both meet the
same moments. Times count from when a request was due.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass, field
from typing import Any, Final

import orjson
import trio

from bench.fleet import Answer, ask_at_rate, open_bench, provider_text, quantile
from bench.simulate.process import running_simulator

MODELS: Final = ("plain", "hedged")
DEPLOYMENTS: Final = ("steady-1", "steady-2", "stalling")
FIRST_TOKEN_MS: Final = 100
TOKENS: Final = 8
QUANTILES: Final = (("p50", 0.5), ("p95", 0.95), ("p99", 0.99), ("p99.9", 0.999))
WARM_UP: Final = 50
"""Requests of each model that are not counted: a p95 is known from 20 on."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured: so many requests of each model, at this rate of both together."""

    requests: int = 4_000
    per_second: float = 100.0
    share: float = 0.05
    stall_ms: int = 2_000


@dataclass
class Figures:
    """Of one model."""

    first_ms: list[float] = field(default_factory=list)
    refused: int = 0
    hedged: int = 0
    price_nanodollars: int = 0
    cost_nanodollars: int = 0

    def note(self, answer: Answer) -> None:
        """One request that has ended."""
        if answer.first_s is None or answer.receipt is None:
            self.refused += 1
            return
        self.first_ms.append(answer.first_s * 1_000)
        receipt = answer.receipt
        self.hedged += any(attempt.role == "hedge" for attempt in receipt.attempts)
        self.price_nanodollars += receipt.price_nanodollars
        self.cost_nanodollars += receipt.cost_nanodollars

    def to_json(self) -> dict[str, Any]:
        """Times in milliseconds; the house's cost is what no customer paid, as a share of what
        they did."""
        house = self.cost_nanodollars - self.price_nanodollars
        return {
            "requests": len(self.first_ms) + self.refused,
            "refused": self.refused,
            **{name: round(quantile(self.first_ms, share), 1) for name, share in QUANTILES},
            "hedged": round(self.hedged / len(self.first_ms), 4),
            "house_cost": round(house / self.price_nanodollars, 4),
        }


def config_text(base_url: str) -> str:
    """Two models of the same three deployments, each of a provider of its own."""
    rows = ", ".join(f'{{ provider = "{name}", model = "{name}" }}' for name in DEPLOYMENTS)
    models = "".join(
        f"[models.{name}]\ndeployments = [{rows}]\nprice = {{ input = 1, output = 2 }}\n"
        f"hedge = {'true' if name == 'hedged' else 'false'}\n"
        for name in MODELS
    )
    providers = "".join(provider_text(name, base_url) for name in DEPLOYMENTS)
    return f"[server]\nlag_max_s = 60\n[routing]\nseed = 1\n{providers}{models}"


async def measure(plan: Plan, base_url: str) -> dict[str, Figures]:
    """The figures of both models, of requests that come in turn."""
    figures = {name: Figures() for name in MODELS}
    begun = 2 * WARM_UP
    async with open_bench(config_text(base_url)) as bench:

        def model_of(number: int) -> str:
            return MODELS[number % 2]

        def forget(_model: str, _answer: Answer) -> None:
            """Until enough is known."""

        def note(model: str, answer: Answer) -> None:
            figures[model].note(answer)

        await ask_at_rate(
            bench,
            model_of,
            per_second=plan.per_second,
            ends=lambda number: number >= begun,
            note=forget,
        )
        await ask_at_rate(
            bench,
            model_of,
            per_second=plan.per_second,
            ends=lambda number: number >= 2 * plan.requests,
            note=note,
        )
    return figures


def run(plan: Plan) -> dict[str, dict[str, Any]]:
    """Measure once, with a provider of its own."""
    with running_simulator(None) as provider:
        ordinary = f"tokens={TOKENS} first_token_ms={FIRST_TOKEN_MS}"
        provider.behave(None, ordinary)
        stall = f"fault=stall cut_after=0 stall_ms={plan.stall_ms} chance={plan.share:g}"
        provider.behave("stalling", f"{ordinary} {stall}")
        figures = trio.run(measure, plan, provider.base_url)
    return {name: each.to_json() for name, each in figures.items()}


def main() -> None:
    """Measure and print."""
    usual = Plan()
    parser = argparse.ArgumentParser(prog="python -m bench.hedging", description=__doc__)
    parser.add_argument("--requests", type=int, default=usual.requests, help="of each model")
    parser.add_argument("--rate", type=float, default=usual.per_second, help="a second, of both")
    parser.add_argument("--share", type=float, default=usual.share, help="of requests that stall")
    parser.add_argument("--stall-ms", type=int, default=usual.stall_ms)
    options = parser.parse_args()
    plan = Plan(options.requests, options.rate, options.share, options.stall_ms)
    sys.stdout.write(f"{orjson.dumps(run(plan), option=orjson.OPT_INDENT_2).decode()}\n")


if __name__ == "__main__":
    main()
