"""Whole answers: a JSON object with the text, or the text alone, as it is or as subtitles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from engine.errors import UpstreamRejectedError
from engine.events import Begin, Event, Finish, FinishReason, TextDelta, UsageReport
from engine.protocols.fields import load_object, text_of
from engine.protocols.openai_audio import read_usage
from engine.protocols.openai_shared import read_error

PLAIN_TYPE: Final = "text/plain; charset=utf-8"
"""Of texts and subtitles of either kind, as OpenAI sends them."""
_PAGES: Final = (b"<!doctype", b"<html", b"<?xml")
_HEAD_BYTES: Final = 64


def read_object(body: bytes) -> Sequence[Event]:
    """The text of a JSON answer of any of its three formats, and what it took.

    Raises:
        ValueError: it is none.
        UpstreamRejectedError: it is an error.
    """
    document = load_object(body)
    if document.get("error"):
        raise read_error(200, body)
    text = document.get("text")
    if not isinstance(text, str):
        raise ValueError("no text")
    usage = read_usage(document, spoken=False)
    reported = [] if usage is None else [UsageReport(usage)]
    begin = Begin(None, text_of(document.get("model")) or None)
    return [begin, TextDelta(text), Finish(FinishReason.STOP), *reported]


def read_plain(body: bytes) -> Sequence[Event]:
    """A text, or subtitles. It says nothing of what it took.

    Raises:
        UpstreamRejectedError: it is an error, or a page.
    """
    if body[:1] == b"{":
        return _read_as_object(body)
    try:
        text = body.decode()
    except UnicodeDecodeError:
        raise _no_transcript() from None
    if body[:_HEAD_BYTES].lstrip().lower().startswith(_PAGES):
        raise _no_transcript()
    return [Begin(None, None), TextDelta(text), Finish(FinishReason.STOP)]


def _read_as_object(body: bytes) -> Sequence[Event]:
    """Some providers answer with JSON whatever is asked for."""
    try:
        return read_object(body)
    except ValueError:
        raise _no_transcript() from None


def _no_transcript() -> UpstreamRejectedError:
    return UpstreamRejectedError("The provider's answer is not a transcript.", status=502)
