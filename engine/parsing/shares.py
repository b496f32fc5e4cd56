"""A request for more than its provider takes at once, as several that are sent in order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from engine.capabilities import Capabilities
from engine.errors import InvalidRequestError
from engine.protocols.codec import ClientCodec, ClientRequest, spell
from engine.protocols.operation import OperationCodec

REQUESTS_MAX: Final = 64
"""That one request is made into."""


@dataclass(frozen=True, slots=True)
class Share:
    """One of them: where its body ends among those of all, one behind another, and how many inputs
    it has."""

    end_bytes: int
    inputs: int


def requests_of(
    codec: ClientCodec, request: ClientRequest, capabilities: Capabilities
) -> Sequence[ClientRequest]:
    """The request, in as many as a model with these capabilities has to be asked.

    One with media stays whole: the provider judges.

    Raises:
        InvalidRequestError: those are too many.
    """
    most = capabilities.inputs_max
    if most is None or request.media or not isinstance(codec, OperationCodec):
        return (request,)
    requests = codec.split(request, most)
    if len(requests) > REQUESTS_MAX:
        raise InvalidRequestError(
            f"The model '{request.model}' takes {REQUESTS_MAX * most} inputs in a request, of "
            f"{most} at once; send fewer.",
            param=spell("turns", codec.field_names),
        )
    return requests
