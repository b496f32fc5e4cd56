"""Whole answers as the list of their events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from typing import Final

from engine.events import Event, JobAccepted
from engine.job import JobReport, JobState
from engine.owned import is_storable
from engine.protocols.fields import load_object, text_of
from engine.protocols.openai_responses.errors import read_failure
from engine.protocols.openai_responses.reading import AnswerReader

_FAILED = frozenset({"failed", "cancelled"})
UNDER_WAY: Final[Mapping[str, JobState]] = {"queued": "submitted", "in_progress": "running"}
"""Of what is answered in the background."""


def decode_response(body: bytes, repeated: Set[str] = frozenset()) -> Sequence[Event]:
    """The events of a whole answer, its end and the usage last; `repeated` as in
    `engine.protocols.openai_responses.tools.called_units`.

    Raises:
        ValueError: it is not the JSON object of a response.
        UpstreamRejectedError: it is an error all the same.
    """
    document = load_object(body)
    if document.get("error") or text_of(document.get("status")) in _FAILED:
        raise read_failure(document)
    if not isinstance(document.get("output"), list):
        if document.get("object") == "error" or document.get("detail"):
            raise read_failure(document)
        raise ValueError("not a response")
    events = AnswerReader(natives=True, repeated=repeated).read_response(document)
    response_id, state = document.get("id"), UNDER_WAY.get(text_of(document.get("status")))
    if state is not None and is_storable(response_id):
        events.insert(1, JobAccepted(response_id, JobReport(state)))
    return events
