"""How often the serving process looks for garbage that refers to itself."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_YOUNG_OBJECTS: Final = 10_000
"""Between two looks at what is new; Python's own 700 are a fifth of a request."""


@contextmanager
def calm_collector() -> Iterator[None]:
    """Keep the collector away from what start-up made, and have it come by less often.

    Modules, schemas and vocabularies are 90,000 objects that stay; every full collection walked
    them, and all streams waited for it: 80 ms, every few hundred requests. What a request leaves
    behind hardly ever refers to itself, so garbage does not grow between two looks.
    """
    thresholds = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG_OBJECTS, *thresholds[1:])
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()
