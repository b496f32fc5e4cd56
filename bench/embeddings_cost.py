"""What a request for embeddings costs the gateway, beside a chat that is answered in one piece.

    python -m bench.embeddings_cost [--seconds 3] [--repeats 3] [--clients 32]

Each kind of request and the chat are measured in turns, by the same clients at the same gateway
with full billing on; a ratio is of neighbours. Provider, gateway and clients are processes of their
own. CPU figures hold on a busy machine, within limits; requests a second do not.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from bench.front_cost import machine_ms, middle
from bench.front_load import Load, running_load
from bench.processes import Target, running_gateway

_TEXT: Final = "Rivers are long, and lakes are deep; both are wet."
_OPENAI, _GEMINI = "sim-openai", "sim-gemini"
_BATCH: Final = 32


def _asked(model: str, texts: int = 1, **more: Any) -> dict[str, Any]:
    return {"model": model, "input": [_TEXT] * texts if texts > 1 else _TEXT, **more}


KINDS: Final[Mapping[str, dict[str, Any]]] = {
    "one text, base64": _asked(_OPENAI, encoding_format="base64"),
    "one text, numbers": _asked(_OPENAI),
    f"{_BATCH} texts, base64": _asked(_OPENAI, _BATCH, encoding_format="base64"),
    f"{_BATCH} texts, numbers": _asked(_OPENAI, _BATCH),
    "one text, of Gemini": _asked(_GEMINI, encoding_format="base64"),
}
"""Vectors have 1,536 numbers, Gemini's 3,072."""


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one measurement."""

    per_s: float
    cpu_us: float


def measure(target: Target, load: Load, seconds: float) -> Figures:
    """Answers a second, and the gateway's CPU microseconds an answer."""
    with running_load(load) as clients:
        time.sleep(seconds / 3)
        used_s, started_s, before = target.cpu_s(), time.monotonic(), clients.counts()[1]
        time.sleep(seconds)
        used_s = target.cpu_s() - used_s
        answers, elapsed_s = clients.counts()[1] - before, time.monotonic() - started_s
    return Figures(answers / elapsed_s, used_s / max(1, answers) * 1e6)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    assert __doc__ is not None
    parser = argparse.ArgumentParser(
        prog="python -m bench.embeddings_cost",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--clients", type=int, default=32)
    options = parser.parse_args(arguments)
    load_average = " ".join(f"{part:.1f}" for part in os.getloadavg())
    sys.stdout.write(
        f"{platform.platform()}, {os.cpu_count()} cores, load before {load_average}\n"
        f"a million turns of a loop: {machine_ms():.0f} ms; {options.repeats} repeats\n"
    )
    with running_gateway() as target:
        for title, document in KINDS.items():
            chats, found = list[Figures](), list[Figures]()
            for _ in range(options.repeats):
                chat = Load(target.port, target.key, options.clients, "tokens=16", "unary")
                chats.append(measure(target, chat, options.seconds))
                asked = Load(
                    target.port,
                    target.key,
                    options.clients,
                    "",
                    "unary",
                    path="/v1/embeddings",
                    body=json.dumps(document),
                )
                found.append(measure(target, asked, options.seconds))
            _report(title, found, chats)


def _report(title: str, found: Sequence[Figures], chats: Sequence[Figures]) -> None:
    pairs = list(zip(found, chats, strict=True))
    cpu = statistics.median(ours.cpu_us / chat.cpu_us for ours, chat in pairs)
    rate = statistics.median(ours.per_s / chat.per_s for ours, chat in pairs)
    cells = (
        f"{middle([each.per_s for each in found], 0)}/s",
        f"{middle([each.cpu_us for each in found], 0)} us CPU",
        f"of a chat's {middle([each.cpu_us for each in chats], 0)} us: {cpu:.2f}",
        f"requests/s {rate:.2f}",
    )
    sys.stdout.write(f"{title:<22}" + "  ".join(cells) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
