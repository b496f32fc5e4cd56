"""Whole answers: as the list of their events, and made of one."""

from __future__ import annotations

from collections.abc import Sequence

from engine.events import Event, Finish, UsageReport
from engine.protocols.fields import load_object
from engine.protocols.openai_chat.errors import read_error
from engine.protocols.openai_chat.reading import AnswerReader


def decode_response(body: bytes) -> Sequence[Event]:
    """The events of a whole answer, the choices' ends and the usage last.

    Raises:
        ValueError: it is not a JSON object.
        UpstreamRejectedError: it is an error all the same.
    """
    document = load_object(body)
    if document.get("error") or ("choices" not in document and document.get("object") == "error"):
        raise read_error(200, body)
    events = AnswerReader(natives=True).read(document)
    return sorted(events, key=lambda event: isinstance(event, (Finish, UsageReport)))
