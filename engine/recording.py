"""What of an answer its provider keeps becomes the account's, with the settlement."""

from __future__ import annotations

import logging
import traceback
from typing import Final

import orjson

from engine.ledger.owned_rows import OwnedRow
from engine.ledger.receipts import Receipt
from engine.leg import Leg
from engine.owned import Kept
from engine.protocols.codec import ClientRequest
from engine.usage import Usage

logger = logging.getLogger(__name__)

_BYTES_A_TOKEN: Final = 4
_ONCE_BYTES_A_TOKEN: Final = 2
"""What surely is no more than a token: of two kinds of doubt the client has the benefit."""
_SAID_ONCE: Final = ("instructions", "tools")
"""What a response that goes on from this one does not take over."""


def keeps(leg: Leg) -> bool:
    """Whether the provider of a leg keeps the answer."""
    return leg.prepared.request.stores and leg.provider.state is not None and leg.passage.verbatim


def kept_rows(leg: Leg, receipt: Receipt, usage: Usage, at_ms: int) -> tuple[OwnedRow, ...]:
    """What the account has by an answer. Never raises: it goes with the settlement."""
    if not keeps(leg):
        return ()
    try:
        return tuple(_row(each, leg, receipt, usage, at_ms) for each in leg.attempt.relay.kept())
    except Exception as fault:  # noqa: BLE001
        # The trace only: the message may quote the answer.
        trace = "".join(traceback.format_tb(fault.__traceback__))
        kind = type(fault).__name__
        logger.error("%s: what is kept cannot be told: %s\n%s", receipt.request_id, kind, trace)
        return ()


def _row(kept: Kept, leg: Leg, receipt: Receipt, usage: Usage, at_ms: int) -> OwnedRow:
    context_tokens = None
    match kept.kind:
        case "response" | "conversation":
            context_tokens = carried_tokens(usage, leg.prepared.request)
        case "item":
            context_tokens = kept.size_bytes // _BYTES_A_TOKEN
    return OwnedRow(
        object_id=kept.object_id,
        kind=kept.kind,
        account_id=receipt.account_id,
        key_id=receipt.key_id,
        provider=leg.provider.name,
        credential=leg.provider.credential_ids[leg.candidate.key],
        created_at_ms=at_ms,
        parent_id=kept.parent_id,
        model=receipt.model if kept.kind == "response" else None,
        context_tokens=context_tokens,
    )


def carried_tokens(usage: Usage, request: ClientRequest) -> int:
    """What a prompt that goes on from an answer has before it: what was read and written for that
    one, but for thoughts, and what every request says anew."""
    once_bytes = sum(
        len(orjson.dumps(said)) for name in _SAID_ONCE if (said := request.document.get(name))
    )
    carried = usage.input_tokens + usage.output_tokens - usage.reasoning_tokens
    return max(0, carried - once_bytes // _ONCE_BYTES_A_TOKEN)
