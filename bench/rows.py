"""What benches print: a row for each figure, and the machine that they were taken on."""

from __future__ import annotations

import os
import platform
import sys


def print_row(title: str, *cells: str) -> None:
    """A title, and its figures."""
    sys.stdout.write(f"{title:<42}" + "  ".join(cells) + "\n")
    sys.stdout.flush()


def print_machine() -> None:
    """What the machine is, and how busy it was before."""
    load = " ".join(f"{part:.1f}" for part in os.getloadavg())
    print_row(f"{platform.platform()}, {os.cpu_count()} cores,", f"load before {load}")
