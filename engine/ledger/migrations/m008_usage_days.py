"""What every key has used of every model by day."""

from __future__ import annotations

from sqlite_utils import Database

_DAY_MS = 86_400_000

_STATEMENTS = (
    """CREATE TABLE usage_days (
           account_id TEXT NOT NULL REFERENCES accounts (account_id),
           day INTEGER NOT NULL,
           key_id TEXT NOT NULL,
           model TEXT NOT NULL,
           requests INTEGER NOT NULL,
           input_tokens INTEGER NOT NULL,
           cached_input_tokens INTEGER NOT NULL,
           output_tokens INTEGER NOT NULL,
           charged INTEGER NOT NULL,
           refunded INTEGER NOT NULL,
           PRIMARY KEY (account_id, day, key_id, model)
       ) STRICT, WITHOUT ROWID""",
    f"""INSERT INTO usage_days
        SELECT holds.account_id, ended.at_ms / {_DAY_MS}, coalesce(holds.key_id, ''),
               coalesce(json_extract(body, '$.model'), ''), count(*),
               sum(coalesce(json_extract(body, '$.usage.input_tokens'), 0)),
               sum(coalesce(json_extract(body, '$.usage.cached_input_tokens'), 0)),
               sum(coalesce(json_extract(body, '$.usage.output_tokens'), 0)),
               sum(ended.amount), sum(coalesce(refunds.amount, 0))
        FROM receipts JOIN holds USING (request_id)
            JOIN hold_records AS ended ON ended.request_id = receipts.request_id
                AND ended.kind IN ('posted', 'voided', 'expired')
            LEFT JOIN (
                SELECT transfers.request_id, sum(postings.amount) AS amount
                FROM transfers JOIN postings USING (transfer_id)
                    JOIN holds AS paid ON paid.request_id = transfers.request_id
                        AND paid.account_id = postings.account_id
                WHERE transfers.kind = 'refund' GROUP BY 1
            ) AS refunds ON refunds.request_id = receipts.request_id
        GROUP BY 1, 2, 3, 4""",  # noqa: S608 - a constant
    f"""INSERT INTO meta
        SELECT 'usage_from', coalesce(1 + max(at_ms) / {_DAY_MS}, 0) FROM hold_records
        WHERE kind IN ('posted', 'voided', 'expired')
            AND seq <= (SELECT value FROM meta WHERE name = 'archived_to')""",  # noqa: S608 - a constant
)
"""`usage_days` is derived, as balances are: of each account, key and model what was settled in a
day (since 1970, UTC), and what of it was refunded. A key of '' is none; a model of '' is that of a
request whose receipt was archived when it was refunded.

`usage_from` is the first day that nothing is missing of: archived receipts were not read."""


def apply(db: Database) -> None:
    """Add usage by day, summed up from the receipts that are there."""
    for statement in _STATEMENTS:
        db.execute(statement)
