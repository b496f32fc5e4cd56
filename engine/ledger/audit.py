"""The audit: every invariant that the database can tell, as one query for what breaks it.

Each query is its own snapshot, so that a long audit does not hold back the write-ahead log. It
may run beside a live server, or on a database that nobody owns.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from pathlib import Path

from sqlite_utils import Database

from engine.ledger.queries import reading
from engine.ledger.records import Finding
from engine.ledger.sqlite import error_code

FILE_IS_SOUND = "the file is sound"

_EXAMPLES = 5

_NOT_NOW = (
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_NOMEM,
)
"""Result codes that say nothing about what is stored."""


@dataclass(frozen=True, slots=True)
class Invariant:
    """A rule: `checked` counts what it is about, `broken` names whatever breaks it."""

    name: str
    checked: str
    broken: str


INVARIANTS = (
    Invariant(
        "the postings of a transfer sum to zero",
        "SELECT count(*) FROM transfers",
        """SELECT 'transfer ' || transfer_id FROM transfers LEFT JOIN postings USING (transfer_id)
           GROUP BY transfer_id HAVING total(amount) <> 0 OR count(amount) < 2""",
    ),
    Invariant(
        "a posting belongs to a transfer and an account",
        "SELECT count(*) FROM postings",
        """SELECT 'transfer ' || transfer_id || ' of ' || account_id FROM postings
           WHERE transfer_id NOT IN (SELECT transfer_id FROM transfers)
              OR account_id NOT IN (SELECT account_id FROM accounts)""",
    ),
    Invariant(
        "a stored balance is the replay of the postings",
        "SELECT count(*) FROM balances",
        """WITH replay AS (SELECT account_id, sum(amount) AS amount FROM postings GROUP BY 1)
           SELECT account_id FROM balances LEFT JOIN replay USING (account_id)
           WHERE balances.amount <> coalesce(replay.amount, 0)
           UNION ALL
           SELECT account_id FROM replay WHERE account_id NOT IN (SELECT account_id FROM balances)
        """,
    ),
    Invariant(
        "all balances together are zero",
        "SELECT count(*) FROM balances",
        "SELECT 'they sum to ' || sum(amount) FROM balances HAVING sum(amount) <> 0",
    ),
    Invariant(
        "available = balance − open holds is never negative",
        "SELECT count(*) FROM accounts WHERE kind = 'customer'",
        """WITH reserved AS (
               SELECT account_id, sum(hold_totals.amount) AS amount
               FROM holds JOIN hold_totals USING (request_id) WHERE ends = 0 GROUP BY account_id
           )
           SELECT account_id FROM accounts LEFT JOIN balances USING (account_id)
               LEFT JOIN reserved USING (account_id)
           WHERE kind = 'customer'
             AND coalesce(balances.amount, 0) < coalesce(reserved.amount, 0)""",
    ),
    Invariant(
        "a hold begins once and ends at most once",
        "SELECT count(*) FROM holds",
        """SELECT request_id FROM holds LEFT JOIN hold_totals USING (request_id)
           WHERE openings IS NOT 1 OR ends > 1""",
    ),
    Invariant(
        "no hold of an earlier epoch is open",
        "SELECT count(*) FROM holds WHERE epoch < :epoch",
        """SELECT request_id FROM holds LEFT JOIN hold_totals USING (request_id)
           WHERE epoch < :epoch AND coalesce(ends, 0) = 0
             AND request_id NOT IN (SELECT request_id FROM jobs JOIN open_jobs USING (job_id))""",
    ),
    Invariant(
        "a job is open exactly as long as its hold",
        "SELECT count(*) FROM jobs",
        """SELECT job_id FROM jobs JOIN hold_totals USING (request_id)
               LEFT JOIN job_records USING (job_id)
           GROUP BY job_id
           HAVING (sum(coalesce(closed, 0)) > 0) <> (max(ends) > 0)
               OR (job_id IN (SELECT job_id FROM open_jobs)) = (max(ends) > 0)""",
    ),
    Invariant(
        "what was charged for a video or music has succeeded, by whom it was taken",
        "SELECT count(*) FROM job_acceptances",
        """SELECT job_id FROM jobs JOIN hold_totals USING (request_id)
           WHERE posted > 0 AND kind IN ('video', 'music') AND (
               job_id NOT IN (SELECT job_id FROM job_acceptances)
               OR 'succeeded' NOT IN (SELECT state FROM job_records
                                      WHERE job_records.job_id = jobs.job_id AND closed = 1))
           UNION
           SELECT job_id FROM job_acceptances AS accepted JOIN jobs USING (job_id)
               LEFT JOIN attempts ON attempts.request_id = jobs.request_id
                   AND attempts.number = accepted.number
                   AND attempts.provider = accepted.provider
           WHERE attempts.number IS NULL""",
    ),
    Invariant(
        "recovery would find every open hold",
        "SELECT count(*) FROM hold_totals WHERE ends = 0",
        """SELECT request_id FROM holds LEFT JOIN hold_totals USING (request_id)
           WHERE coalesce(ends, 0) = 0
             AND seq < (SELECT value FROM meta WHERE name = 'open_from')""",
    ),
    Invariant(
        "0 ≤ posted ≤ hold",
        "SELECT count(*) FROM hold_records WHERE kind IN ('posted', 'expired')",
        """SELECT request_id FROM hold_totals WHERE posted < 0 OR posted > amount""",
    ),
    Invariant(
        "what expired was billed as recovered",
        "SELECT count(*) FROM hold_records WHERE kind = 'expired'",
        """SELECT request_id FROM hold_records JOIN receipts USING (request_id)
           WHERE kind = 'expired' AND json_extract(body, '$.provenance') IS NOT 'recovered'""",
    ),
    Invariant(
        "a request has at most one charge, and it is what the hold posted",
        "SELECT count(*) FROM transfers WHERE kind = 'charge'",
        """WITH charges AS (
               SELECT request_id, count(*) AS charges, -sum(amount) AS charged
               FROM transfers JOIN postings USING (transfer_id) JOIN holds USING (request_id)
               WHERE kind = 'charge' AND postings.account_id = holds.account_id
               GROUP BY request_id
           )
           SELECT request_id FROM hold_totals LEFT JOIN charges USING (request_id)
           WHERE charges > 1 OR coalesce(charged, 0) <> posted
           UNION
           SELECT request_id FROM transfers WHERE kind = 'charge'
           GROUP BY request_id HAVING count(*) > 1 OR request_id IS NULL""",
    ),
    Invariant(
        "refunds go to who was charged, and are at most the charge",
        "SELECT count(*) FROM transfers WHERE kind = 'refund'",
        """WITH moved AS (
               SELECT request_id, transfers.kind, -amount AS paid
               FROM transfers JOIN postings USING (transfer_id) JOIN holds USING (request_id)
               WHERE transfers.kind IN ('charge', 'refund')
                 AND postings.account_id = holds.account_id
           )
           SELECT request_id FROM moved GROUP BY request_id HAVING sum(paid) < 0
           UNION
           SELECT 'transfer ' || transfer_id FROM transfers LEFT JOIN holds USING (request_id)
           WHERE kind = 'refund' AND NOT EXISTS (
               SELECT 1 FROM postings WHERE postings.transfer_id = transfers.transfer_id
                 AND postings.account_id = holds.account_id AND amount > 0
           )""",
    ),
    Invariant(
        "a correction has a reason and a reference",
        """SELECT count(*) FROM transfers
           WHERE kind IN ('refund', 'adjustment', 'reconciliation')""",
        """SELECT 'transfer ' || transfer_id FROM transfers
           WHERE kind IN ('refund', 'adjustment', 'reconciliation')
             AND (coalesce(reason, '') = '' OR coalesce(reference, '') = '')""",
    ),
    Invariant(
        "a reconciliation moves only between the house's cost and a provider",
        "SELECT count(*) FROM transfers WHERE kind = 'reconciliation'",
        """SELECT 'transfer ' || transfer_id FROM transfers
               LEFT JOIN postings USING (transfer_id) LEFT JOIN accounts USING (account_id)
           WHERE transfers.kind = 'reconciliation'
           GROUP BY transfer_id
           HAVING count(*) <> 2 OR sum(account_id = 'house:cost') IS NOT 1
               OR sum(accounts.kind = 'provider') IS NOT 1""",
    ),
    Invariant(
        "an ended hold has a receipt or is archived, of its account, with the posted price",
        "SELECT count(*) FROM receipts",
        """SELECT request_id FROM holds JOIN hold_totals USING (request_id)
               LEFT JOIN receipts USING (request_id)
           WHERE ((ends > 0) <> (receipts.body IS NOT NULL) AND NOT EXISTS (
                  SELECT 1 FROM hold_records AS ended WHERE ended.request_id = holds.request_id
                    AND ended.kind IN ('posted', 'voided', 'expired')
                    AND ended.seq <= (SELECT value FROM meta WHERE name = 'archived_to')))
              OR (receipts.body IS NOT NULL
                  AND (receipts.account_id <> holds.account_id
                       OR json_extract(body, '$.account_id') IS NOT holds.account_id
                       OR json_extract(body, '$.price.nanodollars') IS NOT posted))""",
    ),
    Invariant(
        "the archives have all receipts up to their end, each once",
        "SELECT coalesce(sum(receipts), 0) FROM archives",
        """WITH archived AS (
               SELECT archives.*, lag(to_seq, 1, 0) OVER (ORDER BY archive_id) AS after_seq,
                      (SELECT count(*) FROM hold_records
                       WHERE kind IN ('posted', 'voided', 'expired')
                         AND seq BETWEEN from_seq AND to_seq) AS ended
               FROM archives
           )
           SELECT path FROM archived WHERE ended <> receipts OR from_seq <= after_seq
               OR EXISTS (SELECT 1 FROM hold_records
                          WHERE kind IN ('posted', 'voided', 'expired')
                            AND seq > after_seq AND seq < from_seq)
           UNION ALL
           SELECT 'archived_to is ' || value FROM meta WHERE name = 'archived_to'
               AND value <> (SELECT coalesce(max(to_seq), 0) FROM archives)""",
    ),
    Invariant(
        "every attempt of a receipt has a row, and every row is of a receipt",
        "SELECT count(*) FROM attempts",
        """SELECT receipts.request_id FROM receipts, json_each(body, '$.attempts') AS shown
               LEFT JOIN attempts ON attempts.request_id = receipts.request_id
                   AND attempts.number = json_extract(shown.value, '$.number')
                   AND attempts.provider = json_extract(shown.value, '$.provider')
           WHERE attempts.number IS NULL
           UNION
           SELECT attempts.request_id FROM attempts JOIN receipts USING (request_id)
           GROUP BY attempts.request_id
           HAVING count(*) IS NOT json_array_length(max(body), '$.attempts')""",
    ),
    Invariant(
        "a receipt costs what its attempts cost, and its price is no more than theirs",
        "SELECT count(*) FROM receipts",
        """WITH shown AS (
               SELECT request_id, json_extract(body, '$.cost.nanodollars') AS cost,
                      json_extract(body, '$.price.nanodollars') AS price,
                      sum(json_extract(attempt.value, '$.cost.nanodollars')) AS costs,
                      sum(json_extract(attempt.value, '$.price.nanodollars')) AS prices
               FROM receipts, json_each(body, '$.attempts') AS attempt
               WHERE json_type(attempt.value, '$.price') IS NOT NULL
               GROUP BY request_id
           )
           SELECT request_id FROM shown WHERE cost <> costs OR price > prices""",
    ),
    Invariant(
        "one attempt wins at most, and those that write on or answer a part",
        "SELECT count(*) FROM attempts",
        # In the place of a part that has failed another attempt may win.
        """WITH shown AS (
               SELECT request_id, json_extract(attempt.value, '$.role') AS role,
                      coalesce(json_extract(attempt.value, '$.won'), 0) AS won
               FROM receipts, json_each(body, '$.attempts') AS attempt
           )
           SELECT request_id FROM shown WHERE role NOT IN ('continuation', 'round')
           GROUP BY request_id
           HAVING sum(won AND role IS NOT 'part') > 1 + sum(NOT won AND role IS 'part')""",
    ),
    Invariant(
        "delivered ≤ received, and what was counted is billed between them",
        "SELECT count(*) FROM receipts",
        """WITH shown AS (
               SELECT request_id, json_extract(body, '$.provenance') AS provenance,
                      json_extract(body, '$.outcome') AS outcome,
                      json_extract(body, '$.received_output_tokens') AS received,
                      json_extract(body, '$.delivered_output_tokens') AS delivered,
                      coalesce(json_extract(body, '$.usage.output_tokens'), 0) AS billed
               FROM receipts
           )
           SELECT request_id FROM shown WHERE delivered > received
              OR (provenance = 'counted' AND outcome = 'client_left'
                  AND (billed > received OR billed < delivered))""",
    ),
    Invariant(
        "what a key has spent in a day is the replay of its charges and refunds",
        "SELECT count(*) FROM spending",
        """WITH replay AS (
               SELECT account_id, key_id, day, sum(amount) AS amount FROM charges_by_day
               GROUP BY 1, 2, 3
           )
           SELECT account_id || ' ' || key_id || ' on day ' || day
           FROM spending LEFT JOIN replay USING (account_id, key_id, day)
           WHERE spending.amount <> coalesce(replay.amount, 0)
           UNION ALL
           SELECT account_id || ' ' || key_id || ' on day ' || day FROM replay
           WHERE (account_id, key_id, day) NOT IN (SELECT account_id, key_id, day FROM spending)""",
    ),
    Invariant(
        "what an account has used in a day comes to what it has spent, and to its requests",
        "SELECT count(*) FROM usage_days",
        """WITH used AS (
               SELECT account_id, day, sum(charged - refunded) AS amount, sum(requests) AS requests
               FROM usage_days GROUP BY 1, 2
           ), spent AS (
               SELECT account_id, day, sum(amount) AS amount FROM spending GROUP BY 1, 2
           ), ended AS (
               SELECT account_id, at_ms / 86400000 AS day, count(*) AS requests
               FROM hold_records JOIN holds USING (request_id)
               WHERE kind IN ('posted', 'voided', 'expired') GROUP BY 1, 2
           )
           SELECT account_id || ' on day ' || day
           FROM (SELECT account_id, day FROM used UNION SELECT account_id, day FROM spent
                 UNION SELECT account_id, day FROM ended)
               LEFT JOIN used USING (account_id, day) LEFT JOIN spent USING (account_id, day)
               LEFT JOIN ended USING (account_id, day)
           WHERE day >= (SELECT value FROM meta WHERE name = 'usage_from')
             AND (coalesce(used.amount, 0) <> coalesce(spent.amount, 0)
                  OR coalesce(used.requests, 0) <> coalesce(ended.requests, 0))""",
    ),
    Invariant(
        "units are used in days, by keys and of models that were used",
        "SELECT count(*) FROM usage_units",
        """SELECT account_id || ' ' || unit || ' on day ' || day FROM usage_units
           WHERE amount <= 0
              OR (account_id, day, key_id, model)
                 NOT IN (SELECT account_id, day, key_id, model FROM usage_days)""",
    ),
    Invariant(
        "a file is of a customer, and was not removed",
        "SELECT count(*) FROM files",
        """SELECT file_id FROM files LEFT JOIN accounts USING (account_id)
           WHERE kind IS NOT 'customer'
              OR file_id IN (SELECT file_id FROM removed_files)""",
    ),
    Invariant(
        "a notice is to be sent, or has ended once",
        "SELECT count(*) FROM notices",
        """SELECT notice_id FROM notices
           WHERE (notice_id IN (SELECT notice_id FROM pending_notices))
               = (notice_id IN (SELECT notice_id FROM notice_ends))""",
    ),
    Invariant(
        "no record was refused by the database",
        "SELECT count(*) FROM rejected",
        "SELECT 'record ' || seq || ': ' || error FROM rejected",
    ),
    Invariant(
        "every reference between tables is met",
        "SELECT count(*) FROM pragma_foreign_key_list('postings')",
        "SELECT \"table\" || ' row ' || rowid FROM pragma_foreign_key_check",
    ),
    Invariant(
        FILE_IS_SOUND,
        "SELECT page_count FROM pragma_page_count",
        "SELECT integrity_check FROM pragma_integrity_check WHERE integrity_check <> 'ok'",
    ),
)


def audit_database(path: Path, epoch: int | None = None) -> list[Finding]:
    """Check every invariant; `figure` is how much was checked, `detail` names what is broken.

    `epoch` is the owner's; without one, no hold may be open at all.

    Raises:
        UnavailableError: the database cannot be read now.
    """
    with reading(path, from_disk=True) as db:
        if epoch is None:
            (epoch,) = db.execute("SELECT value + 1 FROM meta WHERE name = 'epoch'").fetchone()
        return [_check(db, invariant, {"epoch": epoch}) for invariant in INVARIANTS]


def _check(db: Database, invariant: Invariant, parameters: dict[str, int | None]) -> Finding:
    try:
        (figure,) = db.execute(invariant.checked, parameters).fetchone()
        broken = db.execute(invariant.broken, parameters).fetchall()
    except sqlite3.DatabaseError as error:
        if error_code(error) & 0xFF in _NOT_NOW:
            raise
        return Finding(invariant.name, False, 0, f"cannot be checked: {error}")
    if not broken:
        return Finding(invariant.name, True, figure)
    examples = ", ".join(str(name) for (name,) in broken[:_EXAMPLES])
    return Finding(invariant.name, False, figure, f"{len(broken)} broken: {examples}")
