"""What of an answer its provider keeps becomes the account's, with the settlement."""

from __future__ import annotations

import logging
import traceback
from typing import Final

import trio

from engine.errors import GatewayError
from engine.ledger.owned_rows import OwnedRow, row_of
from engine.ledger.receipts import Receipt
from engine.leg import Leg
from engine.owned import OwnedKind, Pin
from engine.protocols.openai_responses.kept import carried_tokens
from engine.storage.files import FileStore
from engine.usage import Usage

logger = logging.getLogger(__name__)

_GONE_ON_FROM: Final[frozenset[OwnedKind]] = frozenset({"response", "conversation"})
_KEEP_S: Final = 5.0


def keeps(leg: Leg) -> bool:
    """Whether the provider of a leg keeps the answer."""
    return leg.prepared.request.stores and leg.provider.state is not None and leg.passage.verbatim


def pin_of(leg: Leg) -> Pin:
    """Where what a leg's provider keeps of its answer is."""
    return Pin(leg.provider.name, leg.provider.credential_ids[leg.candidate.key])


async def keep_made(files: FileStore, leg: Leg, receipt: Receipt) -> None:
    """Have the files that the client was told of, and that its provider has made meanwhile, be the
    account's before it sees the end of the answer. It has not long: what is not done by then is
    done when the account is told of them next. Never raises."""
    made = leg.attempt.relay.made()
    if not made or files.keep_made is None:
        return
    try:
        with trio.move_on_after(_KEEP_S):
            await files.keep_made(receipt.account_id, pin_of(leg), made)
    except GatewayError:
        pass
    except Exception as fault:  # noqa: BLE001
        _log(fault, receipt, "what was made cannot be kept")


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
        _log(fault, receipt, "what is kept cannot be told")
        return ()


def _log(fault: Exception, receipt: Receipt, what: str) -> None:
    """The trace only: the message may quote the answer."""
    trace = "".join(traceback.format_tb(fault.__traceback__))
    logger.error("%s: %s: %s\n%s", receipt.request_id, what, type(fault).__name__, trace)


def _rows(leg: Leg, receipt: Receipt, at_ms: int, usage: Usage | None) -> tuple[OwnedRow, ...]:
    rows = []
    for kept in leg.attempt.relay.kept():
        if kept.kind in _GONE_ON_FROM and kept.context_tokens is None and usage is not None:
            carried = carried_tokens(usage, leg.prepared.request.document)
            kept = kept._replace(context_tokens=carried)
        rows.append(
            row_of(
                kept,
                pin_of(leg),
                account_id=receipt.account_id,
                key_id=receipt.key_id,
                model=receipt.model,
                at_ms=at_ms,
            )
        )
    return tuple(rows)
