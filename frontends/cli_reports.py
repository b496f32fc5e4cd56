"""Reports on the command line. They read the database's file themselves, beside a server."""

from __future__ import annotations

import csv
import itertools
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from frontends.cli_admin import existing_database, moment, source_options
from frontends.cli_output import EXAMPLES, FAILED, explain, fail

if TYPE_CHECKING:
    from engine.ledger.reports import Dimension

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
"""How a cell begins that a spreadsheet calculates."""


def dimensions(value: str) -> list[Dimension]:
    """Names from `day,account,key,model`, each once."""
    from engine.ledger.reports import DIMENSIONS

    chosen = [name for name in DIMENSIONS if name in value.split(",")]
    if len(chosen) != len(value.split(",")):
        raise click.BadParameter(f"must be some of {','.join(DIMENSIONS)}, each once")
    return chosen


@click.command("export", epilog=EXAMPLES["receipts export"])
@click.option(
    "--from", "from_ms", type=moment, metavar="DAY", help="Arrived from this day or time on."
)
@click.option("--to", "to_ms", type=moment, metavar="DAY", help="Arrived before then.")
@click.option("--account", help="Of this account only (its id or its name).")
@click.option("--key", "key_id", help="Of this key only (its id).")
@click.option("--model", help="Of this model only.")
@click.option("--by", type=dimensions, metavar="NAMES", help="Sums by day,account,key,model.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["csv", "jsonl"]),
    default="csv",
    show_default=True,
    help="A table, or a JSON object a line.",
)
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    default="-",
    help="A file to write, for its owner only.",
)
@click.option("--without-archives", is_flag=True, help="Leave archived receipts out.")
@source_options
def export(
    from_ms: int | None,
    to_ms: int | None,
    account: str | None,
    key_id: str | None,
    model: str | None,
    by: list[Dimension] | None,
    form: str,
    output: Path,
    without_archives: bool,
    db: Path | None,
    config_path: Path | None,
) -> None:
    """Write settled requests, or sums of them, with prices, costs and margins.

    DAY is a day or a time, in UTC; what counts is when a request arrived. Amounts are exact US
    dollars; margin = price - refunded - cost. Archived receipts are read from their files.
    """
    from engine.ledger.history import Selection, settled_exchanges
    from engine.ledger.queries import stored_account, stored_accounts
    from engine.ledger.reports import receipt_rows, summed_rows

    with explain():
        database = existing_database(db, config_path)
        account_id = None
        if account is not None:
            row = stored_account(database, account)
            if row is None:
                fail(
                    f"there is no account '{account}'; 'parshall accounts show' lists them", FAILED
                )
            account_id = row.account_id
        names = {row.account_id: row.name for row in stored_accounts(database)}
        selection = Selection(from_ms, to_ms, account_id, key_id, model)
        exchanges = settled_exchanges(database, selection, archives=not without_archives)
        rows = receipt_rows(exchanges, names) if by is None else summed_rows(exchanges, names, by)
        with _opened(output) as file:
            write_rows(rows, form, file)


@contextmanager
def _opened(output: Path) -> Iterator[IO[str]]:
    """A file that is replaced as a whole, its owner's alone: it tells who asked for what, and when.

    What is no file (-, a pipe, a device) is written to as it is.
    """
    from engine.ledger.files import keep, partial_file

    if output == Path("-") or (output.exists() and not output.is_file()):
        with click.open_file(str(output), "w") as stream:
            yield stream
        return
    target = output.resolve()
    with partial_file(target) as partial:
        with partial.open("w", encoding="utf-8", newline="") as file:
            yield file
        keep(partial, target)


def write_rows(rows: Iterable[dict[str, Any]], form: str, output: IO[str]) -> None:
    """Rows as they come; a table without rows is empty."""
    if form == "jsonl":
        output.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        return
    iterator = map(_as_text, rows)
    for first in itertools.islice(iterator, 1):
        table = csv.DictWriter(output, list(first), lineterminator="\n")
        table.writeheader()
        table.writerow(first)
        table.writerows(iterator)


def _as_text(row: dict[str, Any]) -> dict[str, Any]:
    """Names that a spreadsheet would take for formulas are quoted, as OWASP advises (CSV
    injection): who names accounts is not who opens the table."""
    return {
        column: f"'{value}"
        if isinstance(value, str) and value.startswith(_FORMULA) and not column.endswith("_usd")
        else value
        for column, value in row.items()
    }
