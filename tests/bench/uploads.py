"""Forms as bytes, and sound to put into them."""

from __future__ import annotations

import io
import wave
from collections.abc import Sequence

BOUNDARY = "----a-boundary"


def sound(seconds: float, rate_hz: int = 8_000) -> bytes:
    """A WAV file of silence."""
    written = io.BytesIO()
    with wave.open(written, "wb") as opened:
        opened.setnchannels(1)
        opened.setsampwidth(2)
        opened.setframerate(rate_hz)
        opened.writeframes(bytes(round(seconds * rate_hz) * 2))
    return written.getvalue()


def form(parts: Sequence[tuple[str, str | bytes]]) -> bytes:
    """A multipart body: text is a value, bytes are a file."""
    body = b""
    for name, content in parts:
        file = '; filename="a.bin"' if isinstance(content, bytes) else ""
        data = content if isinstance(content, bytes) else content.encode()
        head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'
        body += head.encode() + data + b"\r\n"
    return body + f"--{BOUNDARY}--\r\n".encode()


def upload(
    path: str,
    body: bytes,
    content_type: str = f"multipart/form-data; boundary={BOUNDARY}",
) -> bytes:
    """A request over HTTP/1.1 that ends its connection."""
    head = (
        f"POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: {content_type}\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body
