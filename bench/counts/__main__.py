"""Count, compare, print; the exit status is 1 where the baseline is missed."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.counts.check import (
    baseline_path,
    measure,
    missed,
    read_baseline,
    table,
    write_baseline,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.counts", description=__doc__)
    parser.add_argument("--write", action="store_true", help="make this the baseline")
    options = parser.parse_args(arguments)
    counts = measure(None if options.write else read_baseline())
    if options.write:
        write_baseline(counts, Path(str(baseline_path())))
    baseline = read_baseline()
    sys.stdout.write(table(counts, baseline))
    return 1 if baseline is not None and missed(counts, baseline) else 0


if __name__ == "__main__":
    sys.exit(main())
