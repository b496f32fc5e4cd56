"""The ledger on the command line: the audit, copies of the database, balances replayed.

What only reads works on the file itself, beside a running server.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from frontends.cli_admin import database_of, database_options, existing_database, moment, run
from frontends.cli_output import EXAMPLES, FAILED, Json, explain, fail, print_result

if TYPE_CHECKING:
    from engine.ledger.records import Finding

COPY = click.Path(dir_okay=False, path_type=Path)


@click.group()
def ledger() -> None:
    """The ledger: audit, backups, replay."""


@ledger.command("audit", epilog=EXAMPLES["ledger audit"])
@database_options
def audit(db: Path | None, config_path: Path | None, as_json: bool) -> None:
    """Check the ledger's invariants on the live database. Exit code 1 if one does not hold."""
    findings = run(db, config_path, "ledger.audit")
    print_result(findings, as_json=as_json)
    broken = [finding["invariant"] for finding in findings if not finding["ok"]]
    if broken:
        fail(f"{len(broken)} of {len(findings)} invariants do not hold", FAILED)


@ledger.command("backup", epilog=EXAMPLES["ledger backup"])
@click.argument("file", type=COPY)
@database_options
def backup(file: Path, db: Path | None, config_path: Path | None, as_json: bool) -> None:
    """Copy the database to FILE, which must not be there yet. A server may go on running.

    The copy is one moment's state. It is audited before it gets its name, and readable by its
    owner alone: receipts tell who asked for what, and when. Exit code 1 if an invariant does not
    hold; the copy is kept then too.
    """
    from engine.ledger.backup import back_up

    with explain():
        made = back_up(existing_database(db, config_path), file)
    result = {
        "file": str(made.path),
        "bytes": made.size_bytes,
        "last_record": made.sequence,
        "open_holds": made.open_holds,
        "invariants": len(made.findings),
        "broken": _broken(made.findings),
    }
    print_result(result, as_json=as_json)
    _fail_if_broken(made.findings)


@ledger.command("restore", epilog=EXAMPLES["ledger restore"])
@click.argument("file", type=COPY)
@click.option("--force", is_flag=True, help="Replace a database; it is kept beside the new one.")
@database_options
def restore(
    file: Path, force: bool, db: Path | None, config_path: Path | None, as_json: bool
) -> None:
    """Put the copy FILE in the database's place (--db), and audit it.

    What was under way when the copy was made is ended at its last progress. What was written after
    it is lost: charges, fundings, keys, and that keys were revoked. No server may run with the
    database; try it with another --db first, as a drill.
    """
    from engine.ledger.backup import restore as put_back
    from engine.ledger.replay import replay as replayed

    with explain():
        database = database_of(db, config_path)
        if not file.exists():
            fail(f"there is no file {file}", FAILED)
        if database.exists() and not force:
            fail(f"there is a database {database} already; --force replaces it", FAILED)
        done = put_back(file, database, replace=force)
        balances = replayed(database)
    result = {
        "database": str(done.path),
        "kept": None if done.kept is None else str(done.kept),
        "recovered_holds": done.recovered_holds,
        "accounts": sum(row.kind == "customer" for row in balances),
        "invariants": len(done.findings),
        "broken": _broken(done.findings),
    }
    print_result(result, as_json=as_json)
    _fail_if_broken(done.findings)


@ledger.command("replay", epilog=EXAMPLES["ledger replay"])
@click.option("--repair", is_flag=True, help="Write the replayed balances; no server may run.")
@database_options
def replay(repair: bool, db: Path | None, config_path: Path | None, as_json: bool) -> None:
    """Rebuild every balance from nothing but the postings, and compare it with what is stored.

    Exit code 1 if one differs and was not repaired.
    """
    from engine.ledger import replay as replaying
    from engine.ledger.receipts import money_json

    with explain():
        database = existing_database(db, config_path)
        rows = replaying.repair(database) if repair else replaying.replay(database)
    shown: list[Json] = [
        {
            "account_id": row.account_id,
            "name": row.name,
            "postings": row.postings,
            "stored": money_json(row.stored_nanodollars or 0),
            "replayed": money_json(row.replayed_nanodollars),
            "ok": row.ok,
        }
        for row in rows
    ]
    print_result(shown, as_json=as_json)
    different = sum(not row.ok for row in rows)
    if different and not repair:
        fail(f"{different} of {len(rows)} balances differ; --repair rewrites them", FAILED)
    if different:
        click.echo(f"{different} balances were rewritten", err=True)


@ledger.command("archive", epilog=EXAMPLES["ledger archive"])
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--before", required=True, type=moment, metavar="DAY", help="A day or a time; UTC.")
@database_options
def archive(
    folder: Path, before: int, db: Path | None, config_path: Path | None, as_json: bool
) -> None:
    """Move receipts of requests that ended before a day to files in FOLDER.

    A file is gzipped lines of JSON, one a request. Charges and balances stay in the ledger, and
    requests can still be refunded; 'receipts show' then names the file. The server does it by
    itself with receipts_keep_days in [storage].
    """
    done = run(db, config_path, "ledger.archive", folder=str(folder.absolute()), before_ms=before)
    print_result(done, as_json=as_json)


def _broken(findings: list[Finding]) -> list[str]:
    return [f"{finding.name}: {finding.detail}" for finding in findings if not finding.ok]


def _fail_if_broken(findings: list[Finding]) -> None:
    broken = _broken(findings)
    if broken:
        fail(f"{len(broken)} of {len(findings)} invariants do not hold", FAILED)
