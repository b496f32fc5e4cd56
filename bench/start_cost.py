"""How long a gateway takes to start, by the number of models it serves.

    python -m bench.start_cost [--models 1 1000] [--repeats 3]

Each start is a fresh process, from its first import to an open gateway, without its listener. The
models are of the price library's, at list prices; the figures are medians in milliseconds.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

PHASES = ("import", "configuration", "catalogue", "vocabularies and ledger", "all")
_BASE_URLS = {"openai": "https://api.openai.com/v1", "openrouter": "https://openrouter.ai/api/v1"}


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a row for each number of models."""
    parser = argparse.ArgumentParser(prog="bench.start_cost")
    parser.add_argument("--models", type=int, nargs="+", default=[1, 1_000])
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args(arguments)
    print("models  " + "  ".join(PHASES))  # noqa: T201
    with TemporaryDirectory() as folder:
        for count in options.models:
            path = Path(folder, f"{count}.toml")
            path.write_text(config_text(count, Path(folder, "ledger.db")))
            starts = [_start_apart(path) for _ in range(options.repeats)]
            row = [f"{statistics.median(column):.0f}" for column in zip(*starts, strict=True)]
            cells = [cell.rjust(len(name)) for cell, name in zip(row, PHASES, strict=True)]
            print(f"{count:>6}  " + "  ".join(cells))  # noqa: T201


def config_text(count: int, database: Path) -> str:
    """So many models of two providers, and a ledger."""
    from genai_prices import data_snapshot

    listed = [
        (provider.id, model.id)
        for provider in data_snapshot.get_snapshot().providers
        if provider.id in _BASE_URLS
        for model in provider.models
    ]
    text = f'[storage]\nurl = "sqlite:{database}"\n'
    for name, url in _BASE_URLS.items():
        text += (
            f'[providers.{name}]\nprotocol = "openai"\nbase_url = "{url}"\napi_key = "env:KEY"\n'
        )
    for number, (provider, model) in enumerate(itertools.islice(itertools.cycle(listed), count)):
        text += f'[models."{number}-{model}"]\n'
        text += f'deployments = [{{ provider = "{provider}", model = "{model}" }}]\n'
        text += "price = { input = 1, output = 2 }\n"
    return text


def _start_apart(path: Path) -> list[float]:
    command = [sys.executable, "-c", f"from bench.start_cost import start; start({str(path)!r})"]
    done = subprocess.run(command, check=True, capture_output=True, timeout=120)  # noqa: S603
    figures = json.loads(done.stdout)
    assert isinstance(figures, list)
    return figures


def start(path: str) -> None:
    """One start in this process; prints the milliseconds of each phase as JSON."""
    times = [time.perf_counter()]

    def passed() -> None:
        times.append(time.perf_counter())

    from datetime import UTC, datetime

    import trio

    from engine import load_config, open_gateway
    from engine.catalogue import build_catalogue

    passed()
    config = load_config(Path(path), {"KEY": "none"})
    passed()
    build_catalogue(config, datetime.now(UTC))
    passed()

    async def open_it() -> None:
        async with open_gateway(config):
            passed()

    trio.run(open_it)
    phases = [1_000 * (after - before) for before, after in itertools.pairwise(times)]
    print(json.dumps([*phases, 1_000 * (times[-1] - times[0])]))  # noqa: T201


if __name__ == "__main__":
    main()
