"""What metering costs a token: the limit, the count, the deliveries, the progress of a stream.

    python -m bench.meter_cost [--tokens 20000] [--pace 20] [--repeats 7] [FOLDER]

One stream, in this process, an event a token. Of each event is asked whether it fits the output
limit, then it is counted; the client takes each event at once. `progress` is what a tick asks of a
stream each second, which at `--pace` tokens a second is so many tokens: received, delivered, the
charge and the cost. Text is that of the recorded answers of FOLDER, else a paragraph of prose.
"""

from __future__ import annotations

import argparse
import re
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import Final

from bench.token_bias import samples
from engine.metering.pricing import Rates, charge_nanodollars
from engine.metering.tokens import counter_for
from engine.metering.usage import OutputMeter
from engine.usage import Usage

GOAL_US: Final = 4.0
_PROSE: Final = (
    "Streams of tokens arrive in pieces that end in the middle of words, and what they cost has to "
    "be known while they do: a client may leave, the funds may end, a process may be killed. "
)
_PIECE: Final = re.compile(r"\s*\S{1,5}|\s+")
_RATES: Final = Rates(input=1_250_000, output=10_000_000)
_EVENT_BYTES: Final = 200


def pieces_of(folder: Path | None, tokens: int) -> list[str]:
    """Text, an event's worth at a time."""
    recorded = [] if folder is None else [text for _, text, _ in samples(folder)]
    return list(islice(cycle(_PIECE.findall(" ".join(recorded) or _PROSE)), tokens))


def add(pieces: Sequence[str], *, fits: bool, progress_every: int | None) -> OutputMeter:
    """A stream of these pieces through a meter."""
    meter = OutputMeter(counter_for("o200k_base"))
    sent, limit = 0, 10**9
    for index, piece in enumerate(pieces):
        if fits:
            meter.fits([("0.text", piece)], limit)
        sent += _EVENT_BYTES
        meter.add("0.text", piece, sent)
        meter.delivered_to(sent)
        if progress_every is not None and index % progress_every == 0:
            received = meter.received_tokens()
            meter.delivered_tokens()
            usage = Usage(input_tokens=1_000, output_tokens=received)
            charge_nanodollars(usage, _RATES)
            charge_nanodollars(usage, _RATES)
    return meter


def cpu_us(run: Callable[[], object], tokens: int, repeats: int) -> float:
    """The median of CPU microseconds a token."""
    taken = []
    for _ in range(repeats):
        begun = time.process_time()
        run()
        taken.append((time.process_time() - begun) / tokens * 1e6)
    return statistics.median(taken)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="What metering costs a token.")
    parser.add_argument("--tokens", type=int, default=20_000)
    parser.add_argument("--pace", type=int, default=20, help="tokens a second of a stream")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("folder", type=Path, nargs="?")
    options = parser.parse_args(arguments)
    pieces = pieces_of(options.folder, options.tokens)

    def measured(*, fits: bool, progress_every: int | None) -> float:
        def run() -> OutputMeter:
            return add(pieces, fits=fits, progress_every=progress_every)

        run()
        return cpu_us(run, len(pieces), options.repeats)

    counted = measured(fits=False, progress_every=None)
    limited = measured(fits=True, progress_every=None)
    whole = measured(fits=True, progress_every=options.pace)
    sys.stdout.write(
        f"CPU a token, {len(pieces)} tokens, median of {options.repeats}:\n"
        f"  count and delivery:       {counted:5.2f} us\n"
        f"  the limit:                {limited - counted:5.2f} us\n"
        f"  progress, {options.pace:3} tokens/s:   {whole - limited:5.2f} us\n"
        f"  together:                 {whole:5.2f} us (goal: at most {GOAL_US:.0f})\n"
    )


if __name__ == "__main__":
    main()
