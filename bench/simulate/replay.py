"""Recorded provider answers, sent again in writes cut by a seed.

The format of a recording is one JSON file an exchange: `response.status`, `response.headers`,
`response.body` (text) or `response.body_b64`.
"""

from __future__ import annotations

import base64
import binascii
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson
import trio

from bench.simulate.directives import Directives
from bench.simulate.errors import ApiError
from bench.simulate.recorded import output_tokens, read_answer
from bench.simulate.replies import Reply, Responder
from bench.simulate.truth import TruthRecord
from bench.simulate.wheel import TimerWheel
from engine.wire.http import Headers

RECORDING_MAX_BYTES: Final = 64 * 1024 * 1024
BURST_PIECES: Final = 2_048
"""Most writes one wake makes."""

_FRAMING: Final = frozenset(
    {
        "alt-svc",
        "connection",
        "content-encoding",
        "content-length",
        "date",
        "keep-alive",
        "proxy-connection",
        "set-cookie",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
"""Response headers of the recorded connection, or of the moment; ours takes their place."""


@dataclass(frozen=True, slots=True)
class Recording:
    """The response half of one recorded exchange."""

    status: int
    headers: Headers
    body: bytes
    stream: bool
    usage: dict[str, Any] | None
    text: str


def load_recording(folder: Path | None, name: str) -> Recording:
    """Read one file of the folder.

    Raises:
        ApiError: 400, for a name that leads outside, no such file, or no recorded answer in it.
    """
    if folder is None:
        raise _refused("This simulated provider was started without a recordings folder.")
    root = folder.resolve()
    try:
        path = (root / name).resolve()
        if not path.is_relative_to(root) or path.suffix != ".json" or not path.is_file():
            raise _refused(f"No recording {name!r} in the recordings folder.")
        if path.stat().st_size > RECORDING_MAX_BYTES:
            raise _refused(f"Recording {name!r} is too large.")
        stored = orjson.loads(path.read_bytes())
        response = stored["response"]
        body = _body(response)
        headers = [
            (key.lower().encode("ascii"), str(value).strip().encode("latin-1"))
            for key, value in response["headers"].items()
            if key.lower() not in _FRAMING
        ]
        status = int(response["status"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _refused(f"Recording {name!r} cannot be replayed: {error}") from error
    usage, text = read_answer(body, stream=bool(stored.get("stream")))
    return Recording(status, headers, body, bool(stored.get("stream")), usage, text)


def _refused(message: str) -> ApiError:
    return ApiError(message, param="recording", code="invalid_recording")


def _body(response: dict[str, Any]) -> bytes:
    if "body_b64" in response:
        try:
            return base64.b64decode(response["body_b64"], validate=True)
        except binascii.Error as error:
            raise ValueError("body_b64 is not base64") from error
    body = response["body"]
    if not isinstance(body, str):
        raise TypeError("the body is not text")
    return body.encode()


def split_body(body: bytes, directives: Directives) -> list[bytes]:
    """The writes: two at `split_at`, otherwise 1 to `max_split` bytes each, drawn by the seed."""
    if directives.split_at is not None:
        at = directives.split_at
        return [piece for piece in (body[:at], body[at:]) if piece]
    chance = random.Random(directives.split_seed)  # noqa: S311
    pieces = []
    position = 0
    while position < len(body):
        size = chance.randint(1, directives.max_split)
        pieces.append(body[position : position + size])
        position += size
    return pieces


class ReplayReply(Reply):
    """Sends the pieces of a recording, each a DATA frame or chunk and a write of its own.

    Its record counts the recording's own completion tokens, all of them once the body is written.
    """

    separately = True

    def __init__(
        self,
        responder: Responder,
        wheel: TimerWheel,
        record: TruthRecord,
        recording: Recording,
        directives: Directives,
        now_s: float,
    ) -> None:
        super().__init__(responder, wheel, record)
        self._truth = record
        self._recording = recording
        self._pieces = split_body(recording.body, directives)
        self._next = 0
        self._gap_s = directives.gap_ms / 1000
        self._due_s = now_s + directives.head_ms / 1000
        self._head_sent = False
        self._ending = "error" if recording.status >= 400 else "done"
        self._tokens = output_tokens(recording.usage)
        record.replayed_text = recording.text

    def _step(self, now_s: float) -> None:
        if now_s < self._due_s:
            self._wake_at(self._due_s)
            return
        if not self._head_sent:
            self._send_head()
        burst = 1 if self._gap_s else BURST_PIECES
        batch = self._pieces[self._next : self._next + burst - len(self._outbox)]
        self._outbox.extend((piece, 0) for piece in batch)
        self._next += len(batch)
        if self._next == len(self._pieces):
            self._finale = self.finish
        self.pump()

    def _send_head(self) -> None:
        recording = self._recording
        self._head_sent = True
        self._truth.status = recording.status
        self._truth.tokens_generated = self._tokens
        length = None if recording.stream else len(recording.body)
        self._responder.send_head(recording.status, recording.headers, length=length)

    def pump(self) -> None:
        super().pump()
        if not self.over and not self._outbox and self._next < len(self._pieces):
            self._due_s = trio.current_time() + self._gap_s
            self._wake_at(self._due_s)

    def finish(self) -> None:
        self._truth.usage_reported = self._recording.usage
        self._handed_tokens = self._tokens
        super().finish()
