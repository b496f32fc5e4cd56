"""Content codings undone without I/O: gzip and deflate (RFC 9110 section 8.4.1), with zlib.

We ask for `identity`, but some servers compress all the same. A few compressed bytes can stand for
gigabytes, so what comes out is bounded, as a whole and in proportion to what went in.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Final, Literal

Coding = Literal["gzip", "deflate"]

_CODINGS: Final[dict[str, Coding]] = {"gzip": "gzip", "x-gzip": "gzip", "deflate": "deflate"}
_GZIP_WINDOW: Final = 16 + zlib.MAX_WBITS
_ZLIB_WINDOW: Final = zlib.MAX_WBITS
_RAW_WINDOW: Final = -zlib.MAX_WBITS
_BLOCK_BYTES: Final = 4_096


class InflateError(Exception):
    """The content cannot be undone: an unknown coding, broken, or out of bounds."""


@dataclass(frozen=True, slots=True)
class InflateLimits:
    """Bounds on what comes out.

    Attributes:
        output_max_bytes: as a whole.
        ratio_max: for each byte that went in, beyond `ratio_free_bytes`. JSON and event streams
            stay below 50; the format allows 1,032.
    """

    output_max_bytes: int = 256 * 1024 * 1024
    ratio_max: int = 100
    ratio_free_bytes: int = 1024 * 1024


def choose_coding(content_encoding: str | None) -> Coding | None:
    """What a `content-encoding` asks to undo; None for `identity`.

    Raises:
        InflateError: a coding that is not known here (`br`, `zstd` …), or several.
    """
    names = [name.strip().lower() for name in (content_encoding or "").split(",")]
    names = [name for name in names if name not in ("", "identity")]
    if not names:
        return None
    if len(names) > 1 or names[0] not in _CODINGS:
        raise InflateError(f"its content-encoding is not supported: {', '.join(names)[:40]}")
    return _CODINGS[names[0]]


class Inflater:
    """Compressed bytes in, plain bytes out. However the bytes are split, the same comes out, and a
    bound is passed or is not.

    That is why the ratio is judged by blocks at fixed places of the input: within a block, what
    may come out is what may have come out by its end.
    """

    def __init__(self, coding: Coding, limits: InflateLimits = InflateLimits()) -> None:
        self._coding = coding
        self._limits = limits
        self._zlib = zlib.decompressobj(_GZIP_WINDOW) if coding == "gzip" else None
        self._begin = b""
        """What has come before it was clear how to read it."""
        self._input_bytes = 0
        self._output_bytes = 0
        self._between = False
        """A member of a gzip file has ended, and no other has begun."""

    def feed(self, data: bytes) -> bytes:
        """Everything that `data` completes.

        Raises:
            InflateError: not what the coding says, or too much.
        """
        out: list[bytes] = []
        at = 0
        while at < len(data):
            end = min(len(data), at + _BLOCK_BYTES - self._input_bytes % _BLOCK_BYTES)
            blocks = (self._input_bytes + end - at + _BLOCK_BYTES - 1) // _BLOCK_BYTES
            self._input_bytes += end - at
            limits = self._limits
            most = min(
                limits.output_max_bytes,
                limits.ratio_free_bytes + limits.ratio_max * blocks * _BLOCK_BYTES,
            )
            self._inflate(data[at:end], most, out)
            at = end
        return b"".join(out)

    def finish(self) -> None:
        """The input has ended.

        Raises:
            InflateError: it broke off.
        """
        whole = self._between or (self._zlib is not None and self._zlib.eof)
        if self._input_bytes and not whole:
            raise InflateError("it broke off")

    def _inflate(self, data: bytes, most_bytes: int, out: list[bytes]) -> None:
        data = self._begin + data
        self._begin = b""
        while data:
            if self._zlib is None and not self._start(data):
                self._begin = data
                return
            assert self._zlib is not None
            try:
                # One byte more than may come shows that there is more.
                plain = self._zlib.decompress(data, most_bytes - self._output_bytes + 1)
            except zlib.error:
                raise InflateError(f"it is not {self._coding}") from None
            self._output_bytes += len(plain)
            if self._output_bytes > most_bytes:
                raise InflateError("it inflates to more than the gateway accepts")
            out.append(plain)
            if not self._zlib.eof:
                return
            data = self._zlib.unused_data
            if self._coding == "gzip":  # a file may have several members (RFC 1952 section 2.2)
                self._zlib, self._between = None, True
            elif data:
                raise InflateError("it goes on after its end")

    def _start(self, data: bytes) -> bool:
        """Choose how to read what begins here; False if more is needed for that."""
        if self._coding == "gzip":
            window = _GZIP_WINDOW
        elif len(data) < 2:
            return False
        else:
            # `deflate` is zlib's format, but some send the bare stream (RFC 9110 section 8.4.1.2).
            is_zlib = data[0] & 0x0F == zlib.DEFLATED and (data[0] << 8 | data[1]) % 31 == 0
            window = _ZLIB_WINDOW if is_zlib else _RAW_WINDOW
        self._zlib, self._between = zlib.decompressobj(window), False
        return True
