"""What of an answer its provider keeps becomes the account's, with the settlement."""

from __future__ import annotations

import logging
import traceback
from typing import Final

from engine.ledger.owned_rows import OwnedRow, row_of
from engine.ledger.receipts import Receipt
from engine.leg import Leg
from engine.owned import OwnedKind, Pin
from engine.protocols.openai_responses.kept import carried_tokens
from engine.usage import Usage

logger = logging.getLogger(__name__)

_GONE_ON_FROM: Final[frozenset[OwnedKind]] = frozenset({"response", "conversation"})


def keeps(leg: Leg) -> bool:
    """Whether the provider of a leg keeps the answer."""
    return leg.prepared.request.stores and leg.provider.state is not None and leg.passage.verbatim


def kept_rows(
    leg: Leg, receipt: Receipt, at_ms: int, usage: Usage | None = None
) -> tuple[OwnedRow, ...]:
    """What the account has by an answer, of which so much is known to be consumed. Never raises: it
    goes with the settlement."""
    if not keeps(leg):
        return ()
    try:
        return _rows(leg, receipt, at_ms, usage)
    except Exception as fault:  # noqa: BLE001
        # The trace only: the message may quote the answer.
        trace = "".join(traceback.format_tb(fault.__traceback__))
        kind = type(fault).__name__
        logger.error("%s: what is kept cannot be told: %s\n%s", receipt.request_id, kind, trace)
        return ()


def _rows(leg: Leg, receipt: Receipt, at_ms: int, usage: Usage | None) -> tuple[OwnedRow, ...]:
    rows = []
    pin = Pin(leg.provider.name, leg.provider.credential_ids[leg.candidate.key])
    for kept in leg.attempt.relay.kept():
        if kept.kind in _GONE_ON_FROM and kept.context_tokens is None and usage is not None:
            carried = carried_tokens(usage, leg.prepared.request.document)
            kept = kept._replace(context_tokens=carried)
        rows.append(
            row_of(
                kept,
                pin,
                account_id=receipt.account_id,
                key_id=receipt.key_id,
                model=receipt.model,
                at_ms=at_ms,
            )
        )
    return tuple(rows)
