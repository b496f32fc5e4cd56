"""How soon a provider serves again once its outage has ended.

    python -m bench.recovery [--outages 3 10 60] [--repeats 3] [--rate 20] [--calm 61]

One gateway in this process, two simulated providers in others, each with one model and no other
deployment to go to; one is asked for its health each second (`health_check_s = 1`). Both answer
everything with 503 for so long, while requests keep coming at a fixed rate. What is told is of each
length of outage, the median and the most of all repeats:

- first: from the end of the outage to the first request that was served
- closed: to the moment when the breaker is closed
- met: how many requests reached the provider while it was out
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import orjson
import trio

from bench.fleet import Answer, Bench, ask_at_rate, open_bench, provider_text
from bench.simulate.process import RunningSimulator, running_simulator

MODELS: Final = ("unchecked", "checked")
CHECK_S: Final = 1.0
SETTLED_WITHIN_S: Final = 60.0
"""After an outage; longer is no recovery."""
_POLL_S: Final = 0.02
_BEGIN_S: Final = 2.0
"""Until requests are under way as they will be."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured."""

    outages_s: tuple[float, ...] = (3.0, 10.0, 60.0)
    repeats: int = 3
    per_second: float = 20.0
    calm_s: float = 61.0
    """Between two outages: a breaker's patience doubles each time, until a minute is calm."""


@dataclass
class Recovery:
    """Of one model and one length of outage; seconds, and requests."""

    first_s: list[float] = field(default_factory=list)
    closed_s: list[float] = field(default_factory=list)
    met: list[int] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """The median and the most."""
        return {
            name: {"median": round(statistics.median(values), 2), "most": round(max(values), 2)}
            for name, values in (
                ("first_s", self.first_s),
                ("closed_s", self.closed_s),
                ("met", self.met),
            )
        }


def config_text(base_urls: Sequence[str]) -> str:
    """A provider and a model of the same name for each."""
    text = "[server]\nlag_max_s = 60\n[routing]\nseed = 1\n"
    for name, base_url in zip(MODELS, base_urls, strict=True):
        more = f"health_check_s = {CHECK_S:g}" if name == "checked" else ""
        text += provider_text(name, base_url, more)
        text += f'[models.{name}]\ndeployments = [{{ provider = "{name}", model = "{name}" }}]\n'
        text += "price = { input = 1, output = 2 }\n"
    return text


class Course:
    """One run: requests all the time, outages one after another."""

    def __init__(self, bench: Bench, providers: Sequence[RunningSimulator]) -> None:
        self._bench = bench
        self._providers = providers
        self._served_at: dict[str, float] = {}
        """When a request of the model was served last that came after the outage."""
        self._since = 0.0
        self._over = False

    async def run(self, plan: Plan) -> dict[str, dict[str, Recovery]]:
        """By length of outage and model."""
        found = {
            f"{outage_s:g} s": {name: Recovery() for name in MODELS} for outage_s in plan.outages_s
        }
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._ask, plan.per_second)
            await trio.sleep(_BEGIN_S)
            for _ in range(plan.repeats):
                for outage_s in plan.outages_s:
                    await self._outage(outage_s, found[f"{outage_s:g} s"])
                    await trio.sleep(plan.calm_s)
            self._over = True
        return found

    async def _ask(self, per_second: float) -> None:
        await ask_at_rate(
            self._bench,
            lambda number: MODELS[number % 2],
            per_second=2 * per_second,
            ends=lambda _number: self._over,
            note=self._note,
        )

    def _note(self, model: str, answer: Answer) -> None:
        if answer.first_s is not None and answer.due_s >= self._since:
            self._served_at.setdefault(model, answer.due_s + answer.first_s)

    async def _outage(self, outage_s: float, found: dict[str, Recovery]) -> None:
        before = await self._opened()
        await self._behave("status=503 retry_after=0")
        await trio.sleep(outage_s)
        after = await self._opened()
        self._since = trio.current_time()
        self._served_at.clear()
        await self._behave("")
        ended_at = self._since
        with trio.fail_after(SETTLED_WITHIN_S):
            async with trio.open_nursery() as nursery:
                for name in MODELS:
                    nursery.start_soon(self._wait_closed, name, ended_at, found[name])
        for at, name in enumerate(MODELS):
            found[name].first_s.append(self._served_at[name] - ended_at)
            found[name].met.append(after[at] - before[at])

    async def _wait_closed(self, name: str, ended_at: float, found: Recovery) -> None:
        while name not in self._served_at or self._state(name) != "closed":  # noqa: ASYNC110
            await trio.sleep(_POLL_S)
        found.closed_s.append(trio.current_time() - ended_at)

    def _state(self, name: str) -> str:
        rows = self._bench.gateway.running.routes()["deployments"]
        [state] = [row["state"] for row in rows if row["deployment"] == f"{name}/{name}"]
        return str(state)

    async def _behave(self, directives: str) -> None:
        for provider in self._providers:
            await trio.to_thread.run_sync(provider.behave, None, directives)

    async def _opened(self) -> list[int]:
        """How many requests have reached each provider so far."""
        loads = [await trio.to_thread.run_sync(provider.load) for provider in self._providers]
        return [load.requests for load in loads]


async def measure(
    plan: Plan, providers: Sequence[RunningSimulator]
) -> dict[str, dict[str, Recovery]]:
    """By length of outage and model."""
    config = config_text([provider.base_url for provider in providers])
    async with open_bench(config) as bench:
        return await Course(bench, providers).run(plan)


def run(plan: Plan) -> dict[str, dict[str, Any]]:
    """Measure once, with providers of its own."""
    with running_simulator(None) as one, running_simulator(None) as other:
        found = trio.run(measure, plan, (one, other))
    return {
        length: {name: each.to_json() for name, each in by_model.items()}
        for length, by_model in found.items()
    }


def main() -> None:
    """Measure and print."""
    usual = Plan()
    parser = argparse.ArgumentParser(prog="python -m bench.recovery", description=__doc__)
    parser.add_argument("--outages", type=float, nargs="+", default=usual.outages_s, metavar="S")
    parser.add_argument("--repeats", type=int, default=usual.repeats)
    parser.add_argument("--rate", type=float, default=usual.per_second, help="a second, of a model")
    parser.add_argument("--calm", type=float, default=usual.calm_s, help="seconds between outages")
    options = parser.parse_args()
    plan = Plan(tuple(options.outages), options.repeats, options.rate, options.calm)
    sys.stdout.write(f"{orjson.dumps(run(plan), option=orjson.OPT_INDENT_2).decode()}\n")


if __name__ == "__main__":
    main()
