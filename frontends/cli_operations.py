"""What operators do to what runs, on the command line: exchanges, switches, reload, the log."""

from __future__ import annotations

from pathlib import Path

import click

from frontends.cli_admin import database_options, run, run_pages
from frontends.cli_output import EXAMPLES, Json, print_result

KIND = click.Choice(["provider", "deployment", "model", "key", "account"])


@click.group()
def exchanges() -> None:
    """Requests under way."""


@exchanges.command("list", epilog=EXAMPLES["exchanges list"])
@click.option("--account", help="Of this account only (its id or its name).")
@database_options
def list_exchanges(
    account: str | None, db: Path | None, config_path: Path | None, as_json: bool
) -> None:
    """List what is under way on a running server, the youngest first."""
    rows = run_pages(db, config_path, "exchanges.list", account=account)
    print_result(rows if as_json else [_line(row) for row in rows], as_json=as_json)


def _line(receipt: Json) -> Json:
    names = ("request_id", "account_id", "created_at", "model", "provider", "stream", "state")
    return {name: receipt[name] for name in names} | {
        "output": receipt["usage"].get("output_tokens", 0)
    }


@exchanges.command("end", epilog=EXAMPLES["exchanges end"])
@click.argument("request_id")
@database_options
def end_exchange(request_id: str, db: Path | None, config_path: Path | None, as_json: bool) -> None:
    """End the request REQUEST_ID where it is; its receipt.

    What came is billed. A stream gets its protocol's error ending, an answer in one piece is
    refused with 503 and costs nothing.
    """
    print_result(run(db, config_path, "exchanges.end", request_id=request_id), as_json=as_json)


@click.group()
def switches() -> None:
    """What is switched off: providers, deployments, models, keys, accounts."""


@switches.command("list", epilog=EXAMPLES["switches list"])
@database_options
def list_switches(db: Path | None, config_path: Path | None, as_json: bool) -> None:
    """List what is off."""
    print_result(run(db, config_path, "switches.list")["data"], as_json=as_json)


@switches.command("off", epilog=EXAMPLES["switches off"])
@click.argument("kind", type=KIND)
@click.argument("subject")
@click.option("--reason", help="Why; it stays in the ledger.")
@click.option("--end-open", is_flag=True, help="End what is under way of it, too.")
@database_options
def switch_off(
    kind: str,
    subject: str,
    reason: str | None,
    end_open: bool,
    db: Path | None,
    config_path: Path | None,
    as_json: bool,
) -> None:
    """Use SUBJECT no more from now on, also after a restart, until it is switched on.

    SUBJECT is a provider's or a model's name, a deployment as PROVIDER/UPSTREAM_MODEL, the id of a
    key, or an account. What is under way goes on without --end-open.
    """
    done = run(
        db,
        config_path,
        "switches.off",
        kind=kind,
        subject=subject,
        reason=reason,
        end_open=end_open or None,
    )
    print_result(done, as_json=as_json)


@switches.command("on", epilog=EXAMPLES["switches on"])
@click.argument("kind", type=KIND)
@click.argument("subject")
@database_options
def switch_on(
    kind: str, subject: str, db: Path | None, config_path: Path | None, as_json: bool
) -> None:
    """Use SUBJECT again."""
    print_result(run(db, config_path, "switches.on", kind=kind, subject=subject), as_json=as_json)


@click.command("reload", epilog=EXAMPLES["reload"])
@database_options
def reload(db: Path | None, config_path: Path | None, as_json: bool) -> None:
    """Have a running server read its configuration again, as SIGHUP does.

    A file that cannot be used changes nothing. What is under way keeps its plan and its price.
    """
    print_result(run(db, config_path, "serving.reload"), as_json=as_json)


@click.command("status", epilog=EXAMPLES["status"])
@database_options
def status(db: Path | None, config_path: Path | None, as_json: bool) -> None:
    """Show what a running server is doing."""
    print_result(run(db, config_path, "serving.status"), as_json=as_json)


@click.command("log", epilog=EXAMPLES["log"])
@click.option("--subject", help="What it was about: an id, or a name.")
@click.option("--actor", help="Who it was: cli:uid=1000, admin, admin:alice, key:key_…")
@click.option(
    "--limit", type=click.IntRange(1, 200), default=50, show_default=True, help="So many at most."
)
@click.option("--cursor", help="The 'next_cursor' of the page before (--json).")
@database_options
def log(
    subject: str | None,
    actor: str | None,
    limit: int,
    cursor: str | None,
    db: Path | None,
    config_path: Path | None,
    as_json: bool,
) -> None:
    """List who changed what, the latest first. Nothing is ever taken out of it."""
    page = run(
        db, config_path, "log.list", subject=subject, actor=actor, limit=limit, cursor=cursor
    )
    if as_json:
        print_result(page, as_json=True)
        return
    print_result(page["data"], as_json=False)
    if page["next_cursor"] is not None:
        click.echo(f"more: --cursor {page['next_cursor']}", err=True)
