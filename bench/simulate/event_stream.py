"""AWS's event stream encoding, the writing side: what Bedrock streams its answers in."""

from __future__ import annotations

import zlib
from base64 import b64encode
from collections.abc import Mapping
from typing import Final

import orjson

_STRING: Final = 7
_PADDING: Final = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"


def encode_message(headers: Mapping[str, str], payload: bytes) -> bytes:
    """One message: lengths, their CRC, headers, payload, the CRC of it all."""
    block = b"".join(
        bytes([len(name)])
        + name.encode()
        + bytes([_STRING])
        + len(value.encode()).to_bytes(2, "big")
        + value.encode()
        for name, value in headers.items()
    )
    lengths = (len(block) + len(payload) + 16).to_bytes(4, "big") + len(block).to_bytes(4, "big")
    message = lengths + _checksum(lengths) + block + payload
    return message + _checksum(message)


def encode_chunk(data: bytes) -> bytes:
    """A model's own JSON event; padded, so that lengths tell nothing of the text."""
    padding = _PADDING[: len(data) * 7 % len(_PADDING)]
    payload = orjson.dumps({"bytes": b64encode(data).decode(), "p": padding})
    headers = {
        ":event-type": "chunk",
        ":content-type": "application/json",
        ":message-type": "event",
    }
    return encode_message(headers, payload)


def encode_exception(name: str, message: str) -> bytes:
    """What ends a stream that fails."""
    headers = {
        ":exception-type": name,
        ":content-type": "application/json",
        ":message-type": "exception",
    }
    return encode_message(headers, orjson.dumps({"message": message}))


def _checksum(data: bytes) -> bytes:
    return zlib.crc32(data).to_bytes(4, "big")
