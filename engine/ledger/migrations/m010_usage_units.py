"""What every key has used of every model by day, in units other than the tokens of `usage_days`."""

from __future__ import annotations

from sqlite_utils import Database

_DAY_MS = 86_400_000

_STATEMENTS = (
    """CREATE TABLE usage_units (
           account_id TEXT NOT NULL REFERENCES accounts (account_id),
           day INTEGER NOT NULL,
           key_id TEXT NOT NULL,
           model TEXT NOT NULL,
           unit TEXT NOT NULL,
           amount INTEGER NOT NULL,
           PRIMARY KEY (account_id, day, key_id, model, unit)
       ) STRICT, WITHOUT ROWID""",
    f"""INSERT INTO usage_units
        SELECT holds.account_id, ended.at_ms / {_DAY_MS}, coalesce(holds.key_id, ''),
               coalesce(json_extract(body, '$.model'), ''), used.key, sum(used.value)
        FROM receipts JOIN holds USING (request_id)
            JOIN hold_records AS ended ON ended.request_id = receipts.request_id
                AND ended.kind IN ('posted', 'voided', 'expired')
            JOIN json_each(receipts.body, '$.usage') AS used
        WHERE used.type = 'integer' AND used.value > 0
            AND used.key NOT IN ('input_tokens', 'cached_input_tokens', 'output_tokens')
        GROUP BY 1, 2, 3, 4, 5""",  # noqa: S608 - a constant
)
"""By the names of a receipt's `usage`; what is nothing has no row. Derived, as `usage_days` is;
of receipts that had been archived before these units are not known."""


def apply(db: Database) -> None:
    """Add the units, summed up from the receipts that are there."""
    for statement in _STATEMENTS:
        db.execute(statement)
