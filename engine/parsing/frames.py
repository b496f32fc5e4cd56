"""What the gateway and its helper process say to one another, and how it is framed.

A frame is a head and a body; with it the descriptor of a file may be passed, to be read or written.
Heads are pickled values of this module and of `jobs`: both ends are this program, of this machine
and this user. The helper reads what clients have made, recordings too; should it ever say what it
ought not to, no more can come of its frames than values of ours.
"""

from __future__ import annotations

import io
import pickle
import struct
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, is_dataclass
from enum import Enum
from typing import Any, Final, Literal

from engine.events import Call
from engine.parsing.facts import NOTHING, Wanted
from engine.parsing.jobs import Prepared
from engine.routing.values import Asked

PREFIX: Final = struct.Struct("!IQ")
"""How many bytes the head and the body have."""
HEAD_MAX_BYTES: Final = 256 * 1024 * 1024
BODY_MAX_BYTES: Final = 512 * 1024 * 1024
"""More is no frame: the largest body of a client's, and what escapes may make of it."""


@dataclass(frozen=True, slots=True)
class Parse:
    """Parse the frame's body, or that in the file that was passed with it; what was parsed before
    is forgotten.

    Attributes:
        call: without its body and its key, and without the bytes of its files.
        wanted: which facts of it are read that take time.
        file_bytes: how many each of its files has, in their order; they stand behind its body in
            the frame's.
    """

    call: Call
    wanted: Wanted = NOTHING
    file_bytes: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Forget:
    """Nothing is asked of what was parsed."""


@dataclass(frozen=True, slots=True)
class Ready:
    """The helper has started."""


@dataclass(frozen=True, slots=True)
class IsParsed:
    """It is valid, and this is what a plan has to know of it."""

    asked: Asked


@dataclass(frozen=True, slots=True)
class IsEncoded:
    """The frame's body is that for the provider; or it is in the file that was passed with the
    question.

    Attributes:
        prepared: without that body, and without the document of its request.
        document: that, as JSON: its long integers are fragments, which cannot be pickled.
    """

    prepared: Prepared
    document: bytes


@dataclass(frozen=True, slots=True)
class IsCounted:
    """The tokens of the prompt."""

    tokens: int


@dataclass(frozen=True, slots=True)
class IsRefused:
    """The client's fault: an InvalidRequestError, or a NotFoundError."""

    message: str
    code: str
    param: str | None


@dataclass(frozen=True, slots=True)
class HasFailed:
    """It took more memory than there is, or a disk did not do it; or a fault of ours, whose trace
    is in the log."""

    reason: Literal["memory", "disk", "fault"]


class FrameError(Exception):
    """What came is no frame: the other end is not to be trusted any more."""


def pack(head: Any, body_bytes: int) -> bytes:
    """A frame up to its body."""
    packed = pickle.dumps(head, pickle.HIGHEST_PROTOCOL)
    return PREFIX.pack(len(packed), body_bytes) + packed


def sizes(prefix: bytes | bytearray) -> tuple[int, int]:
    """The sizes of head and body. Raises FrameError."""
    head_bytes, body_bytes = PREFIX.unpack(prefix)
    if head_bytes > HEAD_MAX_BYTES or body_bytes > BODY_MAX_BYTES:
        raise FrameError
    return head_bytes, body_bytes


def unpack(packed: bytes | bytearray) -> Any:
    """The head. Raises FrameError: it is none."""
    try:
        return _Unpickler(io.BytesIO(packed)).load()
    except FrameError:
        raise
    except Exception as error:  # whatever a pickle that is none comes to
        raise FrameError from error


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """A class that is nothing but its fields. Raises FrameError for all else."""
        if (plain := _PLAIN.get((module, name))) is not None:
            return plain
        found = getattr(sys.modules.get(module), name, None)
        if not (isinstance(found, type) and _is_plain(found) and found.__module__ == module):
            raise FrameError(f"{module}.{name} is not said")
        return found


_PLAIN: Final[Mapping[tuple[str, str], type]] = {
    ("builtins", "frozenset"): frozenset,
    ("builtins", "set"): set,
    ("collections", "Counter"): Counter,
}


def _is_plain(found: type) -> bool:
    ours = found.__module__.startswith("engine.")
    return ours and (is_dataclass(found) or issubclass(found, (Enum, tuple)))
