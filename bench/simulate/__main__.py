"""A simulated provider to be measured with: `python -m bench.simulate --port 0 --core 1`.

Prints its base URL, serves until its standard input ends. `parshall simulate` is for people.
"""

from __future__ import annotations

import argparse
import gc
import os
import sys

import trio

from bench.simulate.server import open_simulator
from bench.simulate.settings import SimulatorSettings
from engine.wire.http2_limits import Http2Limits

RECORDS_MAX = 50_000
"""About 2 KB each; what is read between two samples is never nearly as much."""


async def _serve(port: int) -> None:
    limits = Http2Limits(resets_max=1_000_000)  # many cancel at once, which is no attack here
    settings = SimulatorSettings(
        port=port, any_model=True, truth_max_records=RECORDS_MAX, http2=limits
    )
    async with open_simulator(settings) as simulator:
        # A full collection of what start-up made would hold up all streams.
        gc.collect()
        gc.freeze()
        gc.set_threshold(10_000, 10, 100)
        sys.stdout.write(f"{simulator.base_url}\n")
        sys.stdout.flush()
        await trio.lowlevel.wait_readable(sys.stdin)  # its end; nothing is ever written to it


def main() -> None:
    """Serve on loopback, pinned to a core if one is named."""
    parser = argparse.ArgumentParser(prog="python -m bench.simulate", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="where to listen; 0: a free one")
    parser.add_argument("--core", type=int, help="the only core to run on")
    options = parser.parse_args()
    if options.core is not None:
        os.sched_setaffinity(0, {options.core})
    try:
        trio.run(_serve, options.port)
    except OSError as error:
        sys.exit(f"the simulated provider cannot listen on port {options.port}: {error.strerror}")


if __name__ == "__main__":
    main()
