"""Administration on the command line: accounts, keys, receipts. The ledger is in `cli_ledger.py`.

A running server owns its database, so commands go to its control socket; without a server the
ledger is opened here. Either way the same table of commands runs (`commands/`).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal, DecimalException
from pathlib import Path
from typing import Any, TypeVar

import click

from frontends.cli_output import EXAMPLES, FAILED, Json, explain, fail, print_result

F = TypeVar("F", bound=Callable[..., Any])

NANODOLLARS_PER_USD = 1_000_000_000
USD_MAX = 10_000_000
"""What the ledger takes in one transfer."""
DATABASE_HELP = "The SQLite file.  [default: parshall.db]"
MAY_BE_FIRST = frozenset({"accounts.create"})
"""What makes a database that is not there; for the rest it is a mistyped path."""
STATES = ("running", "settling", "settled")
"""Of receipts."""
OF_A_SERVER = frozenset({"debug.upstream"})
"""What only a running server can answer."""


def source_options(function: F) -> F:
    """Which database."""
    options = (
        click.option("--db", type=click.Path(path_type=Path), help=DATABASE_HELP),
        click.option(
            "--config", "config_path", type=click.Path(path_type=Path), help="TOML file naming it."
        ),
    )
    for option in reversed(options):
        function = option(function)
    return function


def database_options(function: F) -> F:
    """Which database, and how to print."""
    json_option = click.option("--json", "as_json", is_flag=True, help="JSON instead of a table.")
    return source_options(json_option(function))


def usd(value: str) -> int:
    """A positive amount of US dollars, an exact decimal, in nanodollars."""
    nanodollars = signed_usd(value)
    if nanodollars <= 0:
        raise click.BadParameter(f"'{value}' is not a positive amount")
    return nanodollars


def signed_usd(value: str) -> int:
    """US dollars as an exact decimal with at most nine places, in nanodollars; not zero."""
    try:
        nanodollars = Decimal(value.removeprefix("$")) * NANODOLLARS_PER_USD
    except DecimalException:
        raise click.BadParameter(
            f"'{value}' is not an amount of US dollars, such as 25 or 0.50"
        ) from None
    if not nanodollars.is_finite() or nanodollars == 0:
        raise click.BadParameter(f"'{value}' is not an amount that moves money")
    if abs(nanodollars) > USD_MAX * NANODOLLARS_PER_USD:
        raise click.BadParameter(f"'{value}' is more than {USD_MAX:,} US dollars at once")
    if nanodollars != nanodollars.to_integral_value():
        raise click.BadParameter(f"'{value}' is finer than a nanodollar (nine places)")
    return int(nanodollars)


def moment(value: str) -> int:
    """A day, or a time of RFC 3339, in UTC unless it says otherwise; milliseconds since 1970."""
    try:
        at = datetime.fromisoformat(value)
        at = at.replace(tzinfo=at.tzinfo or UTC).astimezone(UTC)
    except (ValueError, OverflowError):
        raise click.BadParameter(
            f"'{value}' is not a day such as 2026-05-01, nor a time such as 2026-05-01T12:00:00Z"
        ) from None
    return (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


def run(db: Path | None, config_path: Path | None, command: str, **parameters: Any) -> Json:
    """Run a command of the table where the database is owned."""
    from frontends import control

    with explain():
        database = database_of(db, config_path)
        try:
            return control.ask(database, command, parameters)
        except control.ControlAbsentError:
            pass
        if command in OF_A_SERVER:
            fail(f"no server runs with the database {database}", FAILED)
        if command not in MAY_BE_FIRST:
            existing_database(db, config_path)
        import trio

        from frontends.commands import execute_alone

        return trio.run(execute_alone, database, command, parameters)


def existing_database(db: Path | None, config_path: Path | None) -> Path:
    """The database a command reads itself, which has to be there."""
    database = database_of(db, config_path)
    if not database.exists():
        fail(f"there is no database {database}; --db or --config names another", FAILED)
    return database


def database_of(db: Path | None, config_path: Path | None) -> Path:
    """The database that the options name. Raises ConfigError."""
    if db is not None:
        return db
    if config_path is None:
        return Path("parshall.db")
    from engine import load_config

    return load_config(config_path, os.environ).storage.path


@click.group()
def accounts() -> None:
    """Accounts and their money."""


@accounts.command("create", epilog=EXAMPLES["accounts create"])
@click.argument("name")
@click.option("--fund", "amount", type=usd, help="Give it US dollars at once.")
@database_options
def create_account(
    name: str, amount: int | None, db: Path | None, config_path: Path | None, as_json: bool
) -> None:
    """Create an account called NAME."""
    account = run(db, config_path, "accounts.create", name=name, fund_nanodollars=amount)
    print_result(account, as_json=as_json)


@accounts.command("fund", epilog=EXAMPLES["accounts fund"])
@click.argument("account")
@click.argument("amount", type=usd, metavar="USD")
@click.option(
    "--reference", help="What it is for. Funding again with the same one changes nothing."
)
@database_options
def fund_account(
    account: str,
    amount: int,
    reference: str | None,
    db: Path | None,
    config_path: Path | None,
    as_json: bool,
) -> None:
    """Add USD to ACCOUNT (its id or its name)."""
    funded = run(
        db,
        config_path,
        "accounts.fund",
        account=account,
        amount_nanodollars=amount,
        reference=reference,
    )
    print_result(funded, as_json=as_json)


@accounts.command(
    "adjust",
    epilog=EXAMPLES["accounts adjust"],
    context_settings={"ignore_unknown_options": True},  # so that -5 is an amount
)
@click.argument("account")
@click.argument("amount", type=signed_usd, metavar="USD")
@click.option("--reason", required=True, help="Why; it stays in the ledger.")
@click.option("--reference", help="Adjusting again with the same one changes nothing.")
@database_options
def adjust_account(
    account: str,
    amount: int,
    reason: str,
    reference: str | None,
    db: Path | None,
    config_path: Path | None,
    as_json: bool,
) -> None:
    """Correct the balance of ACCOUNT (its id or its name) by USD; -USD takes.

    Nothing that is held for running requests is taken. To give back what a request was charged,
    use 'parshall receipts refund'.
    """
    adjusted = run(
        db,
        config_path,
        "accounts.adjust",
        account=account,
        amount_nanodollars=amount,
        reason=reason,
        reference=reference,
    )
    print_result(adjusted, as_json=as_json)


@accounts.command("show", epilog=EXAMPLES["accounts show"])
@click.argument("account", required=False)
@database_options
def show_accounts(
    account: str | None, db: Path | None, config_path: Path | None, as_json: bool
) -> None:
    """Show ACCOUNT (its id or its name), or all of them."""
    print_result(run(db, config_path, "accounts.show", account=account), as_json=as_json)


@click.group()
def keys() -> None:
    """API keys."""


@keys.command("create", epilog=EXAMPLES["keys create"])
@click.argument("account")
@click.option("--name", default="default", show_default=True, help="What people know it by.")
@database_options
def create_key(
    account: str, name: str, db: Path | None, config_path: Path | None, as_json: bool
) -> None:
    """Create a key of ACCOUNT (its id or its name). Its secret is shown now, and never again."""
    key = run(db, config_path, "keys.create", account=account, name=name)
    print_result(key, as_json=as_json)


@keys.command("list", epilog=EXAMPLES["keys list"])
@click.argument("account", required=False)
@database_options
def list_keys(
    account: str | None, db: Path | None, config_path: Path | None, as_json: bool
) -> None:
    """List the keys of ACCOUNT, or all; revoked ones too."""
    print_result(run(db, config_path, "keys.list", account=account), as_json=as_json)


@keys.command("revoke", epilog=EXAMPLES["keys revoke"])
@click.argument("key_id")
@database_options
def revoke_key(key_id: str, db: Path | None, config_path: Path | None, as_json: bool) -> None:
    """Refuse the key KEY_ID from now on. What it has started goes on."""
    print_result(run(db, config_path, "keys.revoke", key_id=key_id), as_json=as_json)


@click.group()
def receipts() -> None:
    """Receipts of requests."""


@receipts.command("show", epilog=EXAMPLES["receipts show"])
@click.argument("request_id")
@click.option("--account", help="Look in this account only.")
@database_options
def show_receipt(
    request_id: str, account: str | None, db: Path | None, config_path: Path | None, as_json: bool
) -> None:
    """Show what became of the request REQUEST_ID (the x-request-id of its answer)."""
    receipt = run(db, config_path, "receipts.show", request_id=request_id, account=account)
    print_result(receipt, as_json=as_json)


@receipts.command("list", epilog=EXAMPLES["receipts list"])
@click.argument("account")
@click.option("--key", "key_id", help="Of this key only (its id).")
@click.option("--model", help="Of this model only.")
@click.option("--outcome", help="Ended so, e.g. client_left.")
@click.option("--state", type=click.Choice(STATES), help="In this state only.")
@click.option("--from", "from_", metavar="TIME", help="Asked for at this day or time, or later.")
@click.option("--to", metavar="TIME", help="Asked for before this day or time.")
@click.option("--limit", help="So many at most.  [default: 50, at most 200]")
@click.option("--cursor", help="The 'next_cursor' of the page before (--json).")
@database_options
def list_receipts(
    db: Path | None, config_path: Path | None, as_json: bool, from_: str | None, **given: str | None
) -> None:
    """List the receipts of ACCOUNT (its id or its name), the newest first."""
    page = run(db, config_path, "receipts.list", **given, **{"from": from_})
    if as_json:
        print_result(page, as_json=True)
        return
    print_result([_receipt_line(receipt) for receipt in page["data"]], as_json=False)
    if page["next_cursor"] is not None:
        click.echo(f"more: --cursor {page['next_cursor']}", err=True)


def _receipt_line(receipt: Json) -> Json:
    usage = receipt["usage"]
    return {
        "request_id": receipt["request_id"],
        "created_at": receipt["created_at"],
        "model": receipt["model"],
        "outcome": receipt["outcome"],
        "state": receipt["state"],
        "input": usage.get("input_tokens", 0),
        "output": usage.get("output_tokens", 0),
        "price": receipt["price"],
    }


@receipts.command("refund", epilog=EXAMPLES["receipts refund"])
@click.argument("request_id")
@click.argument("amount", type=usd, metavar="[USD]", required=False)
@click.option("--reason", required=True, help="Why; it stays in the ledger.")
@click.option("--reference", help="Refunding again with the same one changes nothing.")
@database_options
def refund(
    request_id: str,
    amount: int | None,
    reason: str,
    reference: str | None,
    db: Path | None,
    config_path: Path | None,
    as_json: bool,
) -> None:
    """Give back USD of what the request REQUEST_ID was charged, or all that is left of it.

    A refund is a transfer of its own: the charge and the receipt stay as they were written.
    """
    refunded = run(
        db,
        config_path,
        "receipts.refund",
        request_id=request_id,
        amount_nanodollars=amount,
        reason=reason,
        reference=reference,
    )
    print_result(refunded, as_json=as_json)
