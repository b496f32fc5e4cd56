"""Which recordings hold a request of which protocol."""

from __future__ import annotations

import functools

from tests import recordings
from tests.answers.recorded import FOLDERS


@functools.cache
def requests_of(protocol: str) -> tuple[str, ...]:
    """Names of the recordings; none where there are no recordings."""
    return tuple(
        name
        for folder in FOLDERS[protocol]
        for name in recordings.names(folder)
        if isinstance(name, str) and recordings.load(name).request is not None
    )
