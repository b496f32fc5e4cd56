"""What OpenAI's endpoints of sound share: figures of what was consumed, and events of answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from engine.errors import UpstreamError
from engine.events import Event
from engine.protocols.codec import ClientRequest, Identity
from engine.protocols.fields import dict_of
from engine.protocols.openai_stream import EventDecoder, broken_off
from engine.usage import MoreUnit, Usage, is_count, is_wrong, read_count, unsaid

_SECONDS_MAX: Final = 1_000_000
"""Eleven days: no recording that fits through a door is longer."""


def read_usage(document: Mapping[str, Any], *, spoken: bool) -> Usage | None:
    """Tokens or seconds out of the usage of an answer, or of its `duration`; None where it says
    neither. The output of what is `spoken` is sound, else text.

    OpenAI's `{"type": "tokens", …}` and `{"type": "duration", "seconds": …}`; Mistral has
    `prompt_audio_seconds` beside names of chat.
    """
    usage = dict_of(document.get("usage"))
    more: dict[MoreUnit, int] = {}
    for said in (
        usage.get("seconds"),
        usage.get("prompt_audio_seconds"),
        document.get("duration"),
    ):
        if (length_ms := _milliseconds(said)) is not None:
            more["milliseconds"] = length_ms
            break
    said_input = usage.get("input_tokens", usage.get("prompt_tokens"))
    said_output = usage.get("output_tokens", usage.get("completion_tokens"))
    if said_input is None and said_output is None and not more:
        return None
    sound = read_count(dict_of(usage.get("input_token_details")).get("audio_tokens"))
    if sound:
        more["input_audio_tokens"] = sound
    if spoken and is_count(said_output) and said_output:
        more["output_audio_tokens"] = said_output
    return Usage(
        input_tokens=read_count(said_input),
        output_tokens=read_count(said_output),
        more=more,
        unsaid=unsaid(said_input, said_output),
        invalid=is_wrong(said_input, said_output),
    ).clamped()


def _milliseconds(said: object) -> int | None:
    """Of seconds as a provider says them; None: it is no length."""
    if isinstance(said, bool) or not isinstance(said, int | float):
        return None
    return int(said * 1000) if 0 < said <= _SECONDS_MAX else None


class SoundEvents(EventDecoder):
    """The half of a `codec.VerbatimDecoder` that all such streams share: one event is the last that
    says anything, `[DONE]` may follow it. `_read` sets `finished`, and is the other half."""

    def __init__(self) -> None:
        super().__init__(end_marker=False)
        self.finished = False

    def client_frame(self, frame: bytes) -> bytes:
        """Untouched."""
        return b"" if self.error is not None else frame

    def end_frame(self) -> bytes:
        """What `end_of_input` found, with its blank line."""
        return self.client_frame(self._end_frame) if self._end_frame else b""

    def end_of_input(self) -> Sequence[Event]:
        """An end is one only after the last event."""
        events = super().end_of_input()
        if self.error is None and not self.finished:
            self.error, self.done = broken_off(), False
        return events

    def resume(self, request: ClientRequest, identity: Identity, text: str) -> None:
        """Nobody goes on with what another one has begun to say."""
        return


def wrong_media(wanted: str) -> UpstreamError:
    """The error of an answer that is something else than was asked for."""
    return UpstreamError(f"The provider's answer is not {wanted}.")
