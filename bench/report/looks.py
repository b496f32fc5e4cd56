"""Colours and markers of peers: the same in every drawing and, as far as they go, in every run."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Final

from bench.report.markup import Markup, tag
from bench.suite.model import DIRECT

COLOURS: Final = 9
"""`.p0` … `.p8` of style.css: Okabe and Ito's, which the colour-blind tell apart, and a grey."""

_OF: Final = {DIRECT: 0, "nginx": 1, "parshall": 2, "litellm": 3, "portkey": 4, "smg": 5}
_CORNERS: Final = {
    1: ((-1, -1), (1, -1), (1, 1), (-1, 1)),
    3: ((0, -1.25), (1.2, 0.9), (-1.2, 0.9)),
    4: ((0, -1.4), (1.4, 0), (0, 1.4), (-1.4, 0)),
    5: ((0, 1.25), (1.2, -0.9), (-1.2, -0.9)),
    6: ((-1.3, -0.5), (1.3, -0.5), (1.3, 0.5), (-1.3, 0.5)),
    7: ((-0.5, -1.3), (0.5, -1.3), (0.5, 1.3), (-0.5, 1.3)),
    8: ((-1.2, -1.2), (0, -0.4), (1.2, -1.2), (0.4, 0), (1.2, 1.2), (0, 0.4), (-1.2, 1.2)),
}
"""Corners of a marker in units of its size; 2 is a disc, 0 a ring."""


def looks_of(peers: Sequence[str]) -> dict[str, int]:
    """Peer → number of its colour and marker.

    Well-known names have their own; of others each has one by its name, unless another peer of
    the run has it. More than `COLOURS` peers share.
    """
    looks = {peer: _OF[peer] for peer in peers if peer in _OF}
    for peer in sorted(set(peers) - set(looks)):
        begin = zlib.crc32(peer.encode("utf-8", "replace"))
        wanted = [len(_OF) + (begin + step) % (COLOURS - len(_OF)) for step in range(3)]
        taken = set(looks.values())
        free = (look for look in (*wanted, *range(COLOURS)) if look not in taken)
        looks[peer] = next(free, wanted[0])
    return looks


def marker(look: int, x: float, y: float, size: float = 4.0, title: str = "") -> Markup:
    """The marker of a colour at a point of an SVG, with what it says when pointed at."""
    says = tag("title", title) if title else None
    style = f"mark p{look}"
    if look in _CORNERS:
        corners = " ".join(f"{x + dx * size:.1f},{y + dy * size:.1f}" for dx, dy in _CORNERS[look])
        return tag("polygon", says, class_=style, points=corners)
    ring = " ring" if look == 0 else ""
    return tag("circle", says, class_=style + ring, cx=x, cy=y, r=size)
