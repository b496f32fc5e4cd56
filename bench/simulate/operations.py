"""Which endpoint is which dialect, beside chat."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from bench.simulate.dialect import Dialect
from bench.simulate.moderations import ModerationsDialect

OPERATIONS: Final[Mapping[str, Dialect]] = {
    "/v1/moderations": ModerationsDialect(),
}
"""By the path of its `POST`."""
