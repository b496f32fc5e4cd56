"""A request's body on its way through the process, and the room that it takes."""

from __future__ import annotations

from collections.abc import Callable

from engine.spool import SpoolFile


class Upload:
    """A body that has been received. It is taken once, by the exchange of its request, which says
    when nothing of it is left."""

    __slots__ = ("_data", "_released")

    def __init__(self, data: bytes | SpoolFile, released: Callable[[], None]) -> None:
        """`released` is called once the body takes no room any more; it closes a file."""
        self._data: bytes | SpoolFile | None = data
        self._released: Callable[[], None] | None = released

    def take(self) -> bytes | SpoolFile:
        """The body; nobody else holds it from now on."""
        data, self._data = self._data, None
        assert data is not None, "a body is taken once"
        return data

    def release(self) -> None:
        """It takes no room any more. Nothing happens where that was known."""
        released, self._released = self._released, None
        if released is not None:
            released()
