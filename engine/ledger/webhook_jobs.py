"""Webhooks in the database: what is to be sent to whom, and the secrets that they are signed by."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

import orjson
from sqlite_utils import Database

from engine.errors import NotFoundError
from engine.ledger.queries import is_customer, reading
from engine.ledger.receipts import format_time, money_json
from engine.ledger.sqlite import Store

WebhookEnd = Literal["delivered", "given_up"]
PRUNED_AT_ONCE: Final = 1_000
_SECRET_BYTES: Final = 32

_READY: Final = """
NOT EXISTS (SELECT 1 FROM webhooks JOIN pending_copies USING (job_id)
            WHERE webhooks.seq = pending_webhooks.seq AND state = 'succeeded')
"""
"""Whose results become files first is told of them, too."""
_LANES: Final = f"""
SELECT account_id, receiver, min(due_at_ms) AS due_at_ms FROM pending_webhooks
WHERE {_READY} AND (account_id, receiver) NOT IN
      (SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(:busy))
    AND account_id NOT IN (SELECT value FROM json_each(:full))
GROUP BY account_id, receiver ORDER BY min(due_at_ms), min(seq) LIMIT :limit
"""  # noqa: S608 - a constant
_DUE: Final = f"""
SELECT pending_webhooks.seq, webhook_id, pending_webhooks.account_id, url, tries, webhooks.at_ms,
       webhooks.state, jobs.job_id, kind, model, records.error, records.results,
       (SELECT files FROM job_records WHERE job_id = jobs.job_id ORDER BY seq DESC LIMIT 1)
           AS files,
       coalesce((SELECT amount FROM hold_records
                 WHERE request_id = jobs.request_id AND kind = 'posted'), 0) AS price
FROM pending_webhooks JOIN webhooks USING (seq) JOIN jobs USING (job_id)
    JOIN job_records AS records ON records.seq = record_seq
WHERE pending_webhooks.account_id = :account_id AND pending_webhooks.receiver = :receiver
    AND due_at_ms <= :now_ms AND {_READY}
ORDER BY pending_webhooks.seq LIMIT :limit
"""  # noqa: S608 - a constant


@dataclass(frozen=True, slots=True)
class Lane:
    """Messages of one account to one origin: one is sent after the other."""

    account_id: str
    receiver: str


@dataclass(frozen=True, slots=True)
class PendingWebhook:
    """A message that is to be sent: its body is made of what never changes."""

    seq: int
    webhook_id: str
    account_id: str
    url: str = field(repr=False)
    body: str = field(repr=False)
    at_ms: int
    tries: int


@dataclass(frozen=True, slots=True)
class WebhookSecrets:
    """What an account's messages are signed by, the current secret first.

    Attributes:
        former: the one before, as long as it signs too.
        changed_at_ms: when the current one was made.
    """

    secret: str = field(repr=False)
    former: str | None = field(repr=False)
    changed_at_ms: int


def lanes(
    path: Path, busy: Collection[Lane], full: Collection[str], limit: int
) -> list[tuple[Lane, int]]:
    """Where something is to be sent, and when the first of it is due; the soonest first. Left out
    are lanes that are `busy`, and accounts that are `full`."""
    said = {
        "busy": orjson.dumps([(lane.account_id, lane.receiver) for lane in busy]).decode(),
        "full": orjson.dumps(list(full)).decode(),
        "limit": limit,
    }
    with reading(path) as db:
        return [
            (Lane(row["account_id"], row["receiver"]), row["due_at_ms"])
            for row in db.query(_LANES, said)
        ]


def due_webhooks(path: Path, lane: Lane, now_ms: int, limit: int) -> list[PendingWebhook]:
    """What of a lane is due, in the order in which it came to be."""
    said = {
        "account_id": lane.account_id,
        "receiver": lane.receiver,
        "now_ms": now_ms,
        "limit": limit,
    }
    with reading(path) as db:
        return [
            PendingWebhook(
                row["seq"],
                row["webhook_id"],
                row["account_id"],
                row["url"],
                _body(row),
                row["at_ms"],
                row["tries"],
            )
            for row in db.query(_DUE, said)
        ]


def _body(row: dict[str, object]) -> str:
    """What a receiver is told: nothing of what was asked for, but what came of it."""
    files = orjson.loads(str(row["files"]))
    error = None if row["error"] is None else orjson.loads(str(row["error"]))
    price = row["price"]
    assert isinstance(price, int)
    data = {
        "job_id": row["job_id"],
        "kind": row["kind"],
        "status": row["state"],
        "model": row["model"],
        "results": [
            {
                "url": None if needs_key or url.startswith("/") else url,
                "content_type": content_type,
                "variant": variant,
            }
            for url, content_type, needs_key, variant in orjson.loads(str(row["results"]))
        ],
        "files": [f"file-{file_id}" for file_id in files],
        "error": None if error is None else {"code": error[0], "message": error[1]},
        "cost": money_json(price if row["state"] == "succeeded" else 0),
    }
    at_ms = row["at_ms"]
    assert isinstance(at_ms, int)
    body = {"type": f"job.{row['state']}", "timestamp": format_time(at_ms), "data": data}
    return orjson.dumps(body).decode()


def end_webhook(store: Store, seq: int, outcome: WebhookEnd) -> None:
    """A message was delivered, or is given up. May be done twice."""

    def insert(db: Database) -> None:
        db.execute(
            "INSERT INTO webhook_ends SELECT seq, ?, tries + 1, ? FROM pending_webhooks"
            " WHERE seq = ?",
            [outcome, store.clock(), seq],
        )
        db.execute("DELETE FROM pending_webhooks WHERE seq = ?", [seq])

    store.run(insert)


def defer_webhook(store: Store, seq: int, due_at_ms: int) -> None:
    """Sending a message has failed; try it again then."""

    def update(db: Database) -> None:
        db.execute(
            "UPDATE pending_webhooks SET tries = tries + 1, due_at_ms = ? WHERE seq = ?",
            [due_at_ms, seq],
        )

    store.run(update)


def prune_webhooks(store: Store, before_ms: int) -> int:
    """Remove a slice of the messages that are older, sent or not; how many."""

    def remove(db: Database) -> int:
        cursor = db.execute(
            "DELETE FROM webhooks WHERE seq IN"
            " (SELECT seq FROM webhooks WHERE at_ms < ? ORDER BY at_ms LIMIT ?)",
            [before_ms, PRUNED_AT_ONCE],
        )
        return cursor.rowcount

    return store.run(remove)


def webhook_secrets(store: Store, account_id: str, overlap_ms: int) -> WebhookSecrets:
    """An account's secrets; the first time one is made. Raises NotFoundError: no such account."""

    def find(db: Database) -> WebhookSecrets:
        return _secrets(db, account_id, overlap_ms, store.clock())

    return store.run(find)


def rotate_webhook_secret(store: Store, account_id: str, overlap_ms: int) -> WebhookSecrets:
    """Put a new secret in the place of an account's. Raises NotFoundError: no such account."""

    def rotate(db: Database) -> WebhookSecrets:
        now_ms = store.clock()
        _secrets(db, account_id, overlap_ms, now_ms)
        db.execute(
            "UPDATE webhook_secrets SET former = secret, secret = ?, changed_at_ms = ?"
            " WHERE account_id = ?",
            [_new_secret(), now_ms, account_id],
        )
        return _secrets(db, account_id, overlap_ms, now_ms)

    return store.run(rotate)


def _secrets(db: Database, account_id: str, overlap_ms: int, now_ms: int) -> WebhookSecrets:
    if not is_customer(db, account_id):
        raise NotFoundError(f"There is no account '{account_id}'.")
    db.execute(
        "INSERT INTO webhook_secrets VALUES (?, ?, NULL, ?) ON CONFLICT DO NOTHING",
        [account_id, _new_secret(), now_ms],
    )
    (row,) = db.query("SELECT * FROM webhook_secrets WHERE account_id = ?", [account_id])
    former = row["former"] if now_ms < row["changed_at_ms"] + overlap_ms else None
    return WebhookSecrets(row["secret"], former, row["changed_at_ms"])


def _new_secret() -> str:
    return "whsec_" + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()
