"""A stream of a run, read along while it passes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from engine.events import Begin, Event, TextDelta, Usage
from engine.owned import Kept
from engine.protocols.codec import ClientRequest, Identity, StreamEncoder
from engine.protocols.fields import dict_of, dicts, text_of
from engine.protocols.openai_runs.reading import files_of, kept_of, known_as
from engine.protocols.openai_stream import DONE, EventDecoder, encode_event

_KEPT_MAX: Final = 4_096
_CUT: Final = {
    "message": "The stream was ended before its run was finished.",
    "type": "server_error",
    "param": None,
    "code": "cut_short",
}


class RunsDecoder(EventDecoder):
    """See `codec.VerbatimDecoder`. It ends with `done`, whether the run has ended or waits for what
    its functions come to: what it has consumed, the run says."""

    def __init__(self) -> None:
        super().__init__(end_marker=True)
        self._begun = False
        self._kept: dict[Kept, None] = {}
        self.files: tuple[str, ...] = ()
        """See `codec.TellsFiles`."""

    def kept(self) -> tuple[Kept, ...]:
        """See `codec.TellsKept`."""
        return tuple(self._kept)

    def _read(self, document: dict[str, Any], frame: bytes) -> Sequence[Event]:
        self.files = tuple(files_of(document)) if b'"file' in frame else ()
        if self._is_error(document, frame):
            return ()
        if len(self._kept) < _KEPT_MAX:
            self._kept |= dict.fromkeys(each for each in kept_of(document) if each.object_id)
        return tuple(self._events(document))

    def _is_error(self, document: dict[str, Any], frame: bytes) -> bool:
        if text_of(document.get("object")).startswith("thread"):
            return False  # a run that has failed says so, and why, in members of its own
        return super()._is_error({"choices": (), **document}, frame)

    def _events(self, document: dict[str, Any]) -> Iterator[Event]:
        if not self._begun and (name := known_as(document)) is not None:
            self._begun = True
            yield Begin(name, text_of(document.get("model")) or None)
        if document.get("object") == "thread.message.delta":
            for part in dicts(dict_of(document.get("delta")).get("content")):
                if text := text_of(dict_of(part.get("text")).get("value")):
                    yield TextDelta(text)

    # of `codec.VerbatimDecoder`

    def client_frame(self, frame: bytes) -> bytes:
        """As it came."""
        return frame

    def end_frame(self) -> bytes:
        """The last frame with its blank line."""
        return self._end_frame

    def cut(self, usage: Usage) -> bytes:
        """A run is not cut: it goes on at its provider."""
        return b"event: error\n" + encode_event(_CUT) + b"event: done\ndata: " + DONE + b"\n\n"

    def resume(self, request: ClientRequest, identity: Identity, text: str) -> StreamEncoder | None:
        """Nobody goes on with another's run."""
        return None
