"""Groups of journal entries as rows, and the one statement that writes a whole group.

A connection gives the interpreter lock away around every step of every statement, and beside a
busy loop takes 5 ms (`sys.getswitchinterval`) to get it back each time. So a group is one
statement: an INSERT into a temporary view, whose trigger spreads JSON arrays over the tables in C.
In autocommit mode that statement is also the transaction, with its fsync.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from operator import attrgetter
from typing import Any, Final

import orjson

from engine.ledger.entries import (
    Attempted,
    Ended,
    Entry,
    Extended,
    HandedOver,
    JobMoved,
    Noticed,
    Opened,
    Owned,
    Progressed,
)
from engine.ledger.job_json import (
    ACCEPTANCE_COLUMNS,
    JOB_COLUMNS,
    RECORD_COLUMNS,
    acceptance_row,
    job_row,
    record_row,
    submit_row,
)
from engine.ledger.notices import Notice
from engine.ledger.owned_rows import OwnedRow
from engine.ledger.receipts import Receipt
from engine.ledger.records import ProgressEntry, StoredAnswer
from engine.ledger.transfers import PROVIDER_PREFIX, Transfer, changes
from engine.ledger.usage_days import ADD_FIGURES, FIGURES, TOKENS
from engine.ledger.windows import day_of

OWNED_COLUMNS: Final = tuple(spec.name for spec in fields(OwnedRow))

_TABLES = {
    "accounts": ("account_id", "kind", "name", "created_at_ms"),
    "holds": ("seq", "request_id", "account_id", "epoch", "opening", "key_id"),
    "idempotency": ("seq", "request_id", "account_id", "key", "digest", "stream", "at_ms"),
    "hold_records": ("seq", "request_id", "kind", "amount", "at_ms"),
    "jobs": JOB_COLUMNS,
    "attempts": ("request_id", "number", "provider", "upstream_model", "at_ms", "role", "model"),
    "open_jobs": ("job_id", "number", "submit"),
    "job_acceptances": ACCEPTANCE_COLUMNS,
    "job_records": RECORD_COLUMNS,
    "transfers": ("transfer_id", "kind", "request_id", "reason", "reference", "at_ms"),
    "postings": ("transfer_id", "account_id", "amount"),
    "balances": ("account_id", "amount"),
    "spending": ("account_id", "key_id", "day", "amount"),
    "usage_days": ("account_id", "day", "key_id", "model", *FIGURES),
    "usage_units": ("account_id", "day", "key_id", "model", "unit", "amount"),
    "receipts": ("seq", "request_id", "account_id", "body"),
    "answers": ("request_id", "status", "headers", "body"),
    "progress": ("seq", "at_ms", "entries"),
    "notices": ("notice_id", "kind", "subject", "body", "at_ms"),
    "owned_ids": OWNED_COLUMNS,
}
"""Parents before children: foreign keys are checked at each insert."""

_ON_CONFLICT = {
    "accounts": "ON CONFLICT (account_id) DO NOTHING",
    "balances": "ON CONFLICT (account_id) DO UPDATE SET amount = amount + excluded.amount",
    "notices": "ON CONFLICT (subject) DO NOTHING",
    "owned_ids": "ON CONFLICT (object_id, provider) DO UPDATE SET"
    " model = coalesce(excluded.model, model),"
    " context_tokens = coalesce(excluded.context_tokens, context_tokens)"
    " WHERE account_id = excluded.account_id"
    " AND coalesce(excluded.model, excluded.context_tokens) IS NOT NULL",
    "open_jobs": "ON CONFLICT (job_id) DO UPDATE SET number = excluded.number,"
    " submit = excluded.submit",
    "spending": "ON CONFLICT (account_id, key_id, day)"
    " DO UPDATE SET amount = amount + excluded.amount",
    "usage_days": f"ON CONFLICT (account_id, day, key_id, model) DO UPDATE SET {ADD_FIGURES}",
    "usage_units": "ON CONFLICT (account_id, day, key_id, model, unit)"
    " DO UPDATE SET amount = amount + excluded.amount",
}

EPOCH_LOST = "epoch lost"


def _insert(table: str, columns: tuple[str, ...]) -> str:
    values = ", ".join(f"json_extract(value, '$[{index}]')" for index in range(len(columns)))
    source = f"SELECT {values} FROM json_each(NEW.{table}) WHERE true"  # noqa: S608 - constants
    return f"INSERT INTO {table} ({', '.join(columns)}) {source} {_ON_CONFLICT.get(table, '')};"


_OF_OPENINGS: Final = ("holds", "hold_records", "attempts")
_OF_ENDS: Final = (
    "transfers", "postings", "balances", "spending", "usage_days", "usage_units", "receipts",
)  # fmt: skip
VIEWS: Final[Mapping[str, tuple[str, ...]]] = {
    "opening_groups": _OF_OPENINGS,
    "usual_groups": ("accounts", *_OF_OPENINGS, *_OF_ENDS),
    "journal_groups": tuple(_TABLES),
}
"""What a group is inserted into, and the tables that it fills; a group goes into the first that has
all of its tables. Each table of a statement has to be opened, also where nothing comes into it."""

_MARKS: Final = ("epoch", "sequence", "open_from", "progress_from")


def _setup(view: str, tables: tuple[str, ...]) -> tuple[str, str]:
    columns = ", ".join(f"NULL AS {column}" for column in (*tables, *_MARKS))
    inserts = "\n".join(_insert(table, _TABLES[table]) for table in tables)
    return (
        f"CREATE TEMP VIEW {view} AS SELECT {columns}",
        f"""
        CREATE TEMP TRIGGER write_{view} INSTEAD OF INSERT ON {view} BEGIN
            SELECT RAISE(ABORT, '{EPOCH_LOST}')
                WHERE (SELECT value FROM meta WHERE name = 'epoch') IS NOT NEW.epoch;
            {inserts}
            DELETE FROM progress WHERE seq < NEW.progress_from;
            UPDATE meta SET value = NEW.sequence WHERE name = 'sequence';
            UPDATE meta SET value = NEW.open_from WHERE name = 'open_from';
        END
        """,  # noqa: S608 - constants
    )


def _statement(view: str, tables: tuple[str, ...]) -> str:
    values = ", ".join("?" * (len(tables) + len(_MARKS)))
    return f"INSERT INTO {view} VALUES ({values})"  # noqa: S608 - constants


SETUP_SQL: Final = tuple(sql for view, tables in VIEWS.items() for sql in _setup(view, tables))
_STATEMENTS: Final = tuple(
    (_statement(*each), each[1], frozenset(each[1])) for each in VIEWS.items()
)

_owned_row: Final = attrgetter(*OWNED_COLUMNS)


class OpenHolds:
    """The holds that are open in the database, and from which progress record each would recover.

    From it follow two low-water marks, so that recovery reads little and progress can be pruned.
    It follows the database: a group counts once it is committed. Progress may be numbered before
    the hold it is of, never after its end.
    """

    def __init__(self) -> None:
        self._opened_at: dict[str, int] = {}
        self._progress_at: dict[str, int] = {}

    def adopt(self, request_id: str, seq: int, progress_seq: int | None) -> None:
        """Know a hold that an earlier process left open; the oldest first."""
        self._opened_at[request_id] = seq
        if progress_seq is not None:
            self._progress_at[request_id] = progress_seq

    def committed(self, seq: int, entry: Entry) -> None:
        """Note one entry that is durable now; they come in order of `seq`."""
        match entry:
            case Opened(request_id):
                self._opened_at[request_id] = seq
            case Progressed(entries):
                for each in entries:
                    self._progress_at[each.request_id] = seq
            case Ended(request_id):
                self._opened_at.pop(request_id, None)
                self._progress_at.pop(request_id, None)
            case _:
                pass

    def open_from(self, default: int) -> int:
        """The oldest open hold: holds are opened in order, and a dict keeps it."""
        return next(iter(self._opened_at.values()), default)

    def progress_from(self, default: int) -> int:
        """The oldest progress record that an open hold needs."""
        return min(self._progress_at.values(), default=default)


class GroupRows:
    """The rows of one group, table by table."""

    def __init__(self, epoch: int, next_transfer_id: int) -> None:
        self._epoch = epoch
        self._transfers: list[Transfer] = []
        self._providers: dict[str, int] = {}
        self._spending: dict[tuple[str, str, int], int] = {}
        self._usage: dict[tuple[str, int, str, str], list[int]] = {}
        self._units: dict[tuple[str, int, str, str, str], int] = {}
        self._rows: dict[str, list[Any]] = {table: [] for table in _TABLES}
        self.next_transfer_id = next_transfer_id

    def add(self, seq: int, entry: Entry) -> None:
        """Add one entry; they come in order of `seq`."""
        rows = self._rows
        match entry:
            case Opened(request_id, account_id, amount, opening, at_ms):
                shown, key_id = opening.to_json(), opening.key_id
                rows["holds"].append((seq, request_id, account_id, self._epoch, shown, key_id))
                rows["hold_records"].append((seq, request_id, "held", amount, at_ms))
                if (known := entry.idempotency) is not None:
                    named = (account_id, known.key, known.digest, int(known.stream), at_ms)
                    rows["idempotency"].append((seq, request_id, *named))
                if entry.job is not None:
                    rows["jobs"].append(job_row(seq, entry.job))
            case Extended(request_id, amount, at_ms):
                rows["hold_records"].append((seq, request_id, "extended", amount, at_ms))
            case Attempted(request_id, row):
                told = (row.number, row.provider, row.upstream_model, row.at_ms, row.role)
                rows["attempts"].append((request_id, *told, row.model))
                if entry.submit is not None:
                    rows["open_jobs"].append(submit_row(entry.submit))
            case Progressed(entries, at_ms):
                rows["progress"].append((seq, at_ms, [progress_json(each) for each in entries]))
            case Ended(request_id, end, amount, transfers, receipt, at_ms):
                rows["hold_records"].append((seq, request_id, end, amount, at_ms))
                rows["receipts"].append((seq, request_id, receipt.account_id, receipt.to_json()))
                for transfer in transfers:
                    self._add_transfer(transfer, at_ms)
                day = day_of(at_ms)
                if amount:
                    spender = (receipt.account_id, receipt.key_id or "", day)
                    self._spending[spender] = self._spending.get(spender, 0) + amount
                self._add_usage(receipt, day, amount)
                self._add_notices(entry.notices)
                self._add_answer(request_id, entry.answer)
                if entry.job is not None:
                    rows["job_records"].append(record_row(seq, entry.job))
                rows["owned_ids"] += map(_owned_row, entry.owned)
            case HandedOver(request_id, acceptance, receipt, answer, owned):
                rows["job_acceptances"].append(acceptance_row(acceptance, receipt))
                self._add_answer(request_id, answer)
                rows["owned_ids"] += map(_owned_row, owned)
            case JobMoved(record):
                rows["job_records"].append(record_row(seq, record))
            case Noticed(notices):
                self._add_notices(notices)
            case Owned(owned):
                rows["owned_ids"] += map(_owned_row, owned)

    def _add_usage(self, receipt: Receipt, day: int, charged: int) -> None:
        usage = receipt.usage
        user = (receipt.account_id, day, receipt.key_id or "", receipt.model)
        figures = (1, *(usage.get(unit, 0) for unit in TOKENS), charged, 0)
        totals = self._usage.setdefault(user, [0] * len(FIGURES))
        for index, figure in enumerate(figures):
            totals[index] += figure
        for unit, count in usage.items():
            if count and unit not in TOKENS:
                self._units[*user, unit] = self._units.get((*user, unit), 0) + count

    def _add_answer(self, request_id: str, answer: StoredAnswer | None) -> None:
        if answer is not None:
            given = (answer.status, answer.headers, answer.body)
            self._rows["answers"].append((request_id, *given))

    def _add_notices(self, notices: tuple[Notice, ...]) -> None:
        for each in notices:
            row = (each.notice_id, each.kind, each.subject, each.body, each.at_ms)
            self._rows["notices"].append(row)

    def _add_transfer(self, transfer: Transfer, at_ms: int) -> None:
        number = self.next_transfer_id
        self.next_transfer_id = number + 1
        self._transfers.append(transfer)
        self._rows["transfers"].append(
            (number, transfer.kind, transfer.request_id, transfer.reason, transfer.reference, at_ms)
        )
        for posting in transfer.postings:
            account_id = posting.account_id
            self._rows["postings"].append((number, account_id, posting.amount_nanodollars))
            if account_id.startswith(PROVIDER_PREFIX):
                self._providers.setdefault(account_id, at_ms)

    def statement(
        self, sequence: int, open_from: int, progress_from: int
    ) -> tuple[str, list[str | int]]:
        """What writes the group, and its parameters.

        Raises:
            TypeError: a value has no JSON form (`orjson.JSONEncodeError`).
        """
        rows = self._rows
        rows["accounts"] = [(key, "provider", key, at) for key, at in self._providers.items()]
        rows["balances"] = list(changes(self._transfers).items())
        rows["spending"] = [(*spender, amount) for spender, amount in self._spending.items()]
        rows["usage_days"] = [(*user, *figures) for user, figures in self._usage.items()]
        rows["usage_units"] = [(*which, count) for which, count in self._units.items()]
        filled = {table for table, of_table in rows.items() if of_table}
        sql, tables = next(
            (sql, tables) for sql, tables, covered in _STATEMENTS if filled <= covered
        )
        columns: list[str | int] = [orjson.dumps(rows[table]).decode() for table in tables]
        return sql, [*columns, self._epoch, sequence, open_from, progress_from]


def progress_json(entry: ProgressEntry) -> dict[str, Any]:
    """A progress entry as it is stored, in the shortest form that reads."""
    value: dict[str, Any] = {
        "id": entry.request_id,
        "usage": dict(entry.usage),
        "charge": entry.charge_nanodollars,
        "received": entry.received_output_tokens,
        "delivered": entry.delivered_output_tokens,
        "costs": [(cost.provider, cost.amount_nanodollars) for cost in entry.costs],
    }
    if entry.number:
        value["number"] = entry.number
    if entry.ended:
        value["ended"] = [
            (each.number, dict(each.usage), each.price_nanodollars, each.cost_nanodollars, each.won)
            for each in entry.ended
        ]
    return value
