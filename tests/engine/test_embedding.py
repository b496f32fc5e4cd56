"""The example in the engine's docstring is a program that runs."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path

import trio

import engine
from bench.simulate import SimulatorSettings, open_simulator


def example() -> str:
    """The indented block of the docstring."""
    assert engine.__doc__ is not None
    _, _, rest = engine.__doc__.partition("Trio program:\n")
    return textwrap.dedent(rest)


async def test_the_embedding_example_runs(tmp_path: Path) -> None:
    async with open_simulator(SimulatorSettings()) as sim:
        program = example().replace("http://127.0.0.1:8788", sim.base_url)
        finished = await trio.run_process(
            [sys.executable, "-c", program], cwd=tmp_path, capture_stdout=True
        )
        printed = finished.stdout.decode()
        assert "data: [DONE]" in printed
        assert "'nanodollars':" in printed
        [truth] = sim.truth.records()
        assert truth.ended == "done"


def test_it_is_short() -> None:
    assert len([line for line in example().splitlines() if line.strip()]) <= 25
