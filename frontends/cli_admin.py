"""Administration on the command line: accounts, receipts, and what all groups of commands share.

A running server owns its database, so commands go to its control socket; without a server the
ledger is opened here. Either way the same table of commands runs (`commands/`).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar, get_args

import click

from engine.usage import PART_OF, MoreUnit
from frontends.cli_output import (
    EXAMPLES,
    FAILED,
    Json,
    explain,
    fail,
    print_one,
    print_result,
    with_state,
)
from frontends.money import read_signed_usd, read_usd

F = TypeVar("F", bound=Callable[..., Any])

DATABASE_HELP = "The SQLite file.  [default: parshall.db]"
MAY_BE_FIRST = frozenset({"accounts.create"})
"""What makes a database that is not there; for the rest it is a mistyped path."""
STATES = ("running", "settling", "settled")
"""Of receipts."""
OF_A_SERVER = frozenset(
    {
        "debug.upstream",
        "exchanges.end",
        "exchanges.list",
        "plans.set",
        "prices.set",
        "routes.explain",
        "routes.show",
        "serving.reload",
        "serving.status",
    }
)
"""What only a running server can do."""
PAGE = 200
"""Of a list that is asked for whole."""


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
    try:
        return read_usd(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def signed_usd(value: str) -> int:
    """US dollars as an exact decimal with at most nine places, in nanodollars; not zero."""
    try:
        return read_signed_usd(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


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


def run_pages(
    db: Path | None, config_path: Path | None, command: str, **parameters: Any
) -> list[Json]:
    """The whole of a list, page by page."""
    rows: list[Json] = []
    cursor = None
    while True:
        page = run(db, config_path, command, **parameters, limit=PAGE, cursor=cursor)
        rows += page["data"]
        cursor = page["next_cursor"]
        if cursor is None:
            return rows


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
    from engine.config import load_storage

    return load_storage(config_path).path


@click.group()
def accounts() -> None:
    """Accounts and their money."""


@accounts.command("create", epilog=EXAMPLES["accounts create"])
@click.argument("name")
@click.option("--fund", "amount", type=usd, help="Give it US dollars at once.")
@click.option("--plan", help="Put it on this plan.  [default: the configuration's default_plan]")
@database_options
def create_account(
    name: str,
    amount: int | None,
    plan: str | None,
    db: Path | None,
    config_path: Path | None,
    as_json: bool,
) -> None:
    """Create an account called NAME.

    A default_plan is known to a running server only: without one the account has no plan, and no
    limits.
    """
    account = run(db, config_path, "accounts.create", name=name, fund_nanodollars=amount, plan=plan)
    print_one(account, as_json=as_json)


@accounts.command("set", epilog=EXAMPLES["accounts set"])
@click.argument("account")
@click.option("--plan", help="Put it on this plan, from the next request on.")
@click.option("--no-plan", is_flag=True, help="Take it off its plan: all models, no limits.")
@database_options
def set_account(
    account: str,
    plan: str | None,
    no_plan: bool,
    db: Path | None,
    config_path: Path | None,
    as_json: bool,
) -> None:
    """Change the plan of ACCOUNT (its id or its name). What runs goes on as it was admitted."""
    if (plan is None) is not no_plan:
        raise click.UsageError("which plan? --plan NAME, or --no-plan")
    changed = run(db, config_path, "accounts.set", account=account, plan=plan)
    print_one(changed, as_json=as_json)


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
    print_one(funded, as_json=as_json)


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
    print_one(adjusted, as_json=as_json)


@accounts.command("show", epilog=EXAMPLES["accounts show"])
@click.argument("account", required=False)
@database_options
def show_accounts(
    account: str | None, db: Path | None, config_path: Path | None, as_json: bool
) -> None:
    """Show ACCOUNT (its id or its name), or all of them."""
    if account is not None:
        print_one(run(db, config_path, "accounts.show", account=account), as_json=as_json)
        return
    rows = run_pages(db, config_path, "accounts.list")
    print_result(rows if as_json else [with_state(row) for row in rows], as_json=as_json)


@accounts.command("list", epilog=EXAMPLES["accounts show"])
@click.pass_context
@database_options
def list_accounts(
    context: click.Context, db: Path | None, config_path: Path | None, as_json: bool
) -> None:
    """List all accounts: 'accounts show' without a name."""
    context.invoke(show_accounts, account=None, db=db, config_path=config_path, as_json=as_json)


@accounts.command("usage", epilog=EXAMPLES["accounts usage"])
@click.argument("account")
@click.option("--from", "from_", metavar="DAY", help="From this day on.  [default: 30 days]")
@click.option("--to", metavar="DAY", help="Before this day.  [default: today too]")
@click.option("--by", metavar="NAMES", help="Told apart by day,key,model.  [default: day]")
@database_options
def show_usage(
    account: str,
    from_: str | None,
    to: str | None,
    by: str | None,
    db: Path | None,
    config_path: Path | None,
    as_json: bool,
) -> None:
    """Show what ACCOUNT (its id or its name) has used and paid.

    Days are UTC's, those of the settlement. --json is what the customer's GET /v1/usage answers.
    """
    given = {"account": account, "from": from_, "to": to, "by": by}
    found = run(db, config_path, "accounts.usage", **given)
    print_result(found if as_json else found["data"], as_json=as_json)
    if not as_json and found["complete_from"] is not None:
        click.echo(f"complete from {found['complete_from']} on", err=True)


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


_APIECE = frozenset(get_args(MoreUnit)) - PART_OF.keys()
"""Units of a receipt that are no tokens of a prompt or an answer."""


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
        "units": {unit: usage[unit] for unit in sorted(usage.keys() & _APIECE)},
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
    print_one(refunded, as_json=as_json)
