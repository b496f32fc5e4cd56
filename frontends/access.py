"""The access log: one entry a request, on the logger `parshall.access`.

Who, which model, how it ended, what it consumed and cost, how long it took. Never what was said.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from typing import Any

from engine.admission.keys import KEY_PREFIX
from engine.events import Protocol, new_request_id
from engine.ledger.receipts import Receipt
from engine.rules import Admitted

log = logging.getLogger("parshall.access")

PATH_MAX_CHARS = 200
CLIENT_ID_MAX_CHARS = 128
QUIET_PATHS = frozenset({"/healthz", "/readyz", "/metrics"})
"""Asked for every few seconds by machines: logged at debug level while they succeed."""


@dataclass(slots=True)
class AccessEntry:
    """What is known of one request, filled in as it goes."""

    method: str
    path: str
    """Without its query, where keys may be."""
    protocol: Protocol
    peer: str
    client_request_id: str | None
    request_id: str = field(default_factory=new_request_id)
    account_id: str | None = None
    key_id: str | None = None
    admitted: Admitted | None = None
    """Set once it is known who asks; from then on the answer says what is left of the limits."""
    stores: bool = False
    """It is about files: the answer says how much is stored once it is known who asks."""
    page: bool = False
    """The answer is a page of the gateway's own, whose scripts a browser may run."""
    status: int | None = None
    """None when the client left before there was an answer."""
    error_code: str | None = None
    response_bytes: int = 0
    receipt: Receipt | None = None
    replay_of: str | None = None
    """The request whose answer was given again."""
    started: float = field(default_factory=time.monotonic)

    def write(self) -> None:
        """Log the entry, once the request has ended."""
        quiet = self.path in QUIET_PATHS and self.status == 200
        level = logging.DEBUG if quiet else logging.INFO
        if log.isEnabledFor(level):
            log.log(level, "request", extra={"fields": self.to_json()})

    def to_json(self) -> dict[str, Any]:
        """The entry's fields."""
        fields: dict[str, Any] = {
            "request_id": self.request_id,
            "client_request_id": self.client_request_id,
            "peer": self.peer,
            "method": self.method,
            "path": self.path[:PATH_MAX_CHARS],
            "protocol": self.protocol,
            "status": self.status,
            "error": self.error_code,
            "account": self.account_id,
            "key": self.key_id,
            "response_bytes": self.response_bytes,
            "duration_ms": round((time.monotonic() - self.started) * 1_000, 3),
        }
        if self.replay_of is not None:
            fields["replay_of"] = self.replay_of
        receipt = self.receipt
        if receipt is not None:
            fields |= {
                "model": receipt.model,
                "provider": receipt.provider,
                "stream": receipt.stream,
                "outcome": str(receipt.outcome),
                "usage": dict(receipt.usage),
                "provenance": receipt.provenance and str(receipt.provenance),
                "price_nanodollars": receipt.price_nanodollars,
                "timings": receipt.timings.to_json(),
            }
        return fields


def clean_client_id(value: str | None, prefixes: tuple[str, ...] = (KEY_PREFIX,)) -> str | None:
    """The client's own id, if it is short and visible ASCII; else, or with a key in it, it is
    dropped. `prefixes` are what our keys begin with."""
    if not value or len(value) > CLIENT_ID_MAX_CHARS or any(each in value for each in prefixes):
        return None
    return value if all("\x21" <= char <= "\x7e" for char in value) else None
