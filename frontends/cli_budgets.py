"""Budgets on the command line."""

from __future__ import annotations

from pathlib import Path

import click

from frontends.cli_admin import database_options, run, usd
from frontends.cli_output import EXAMPLES, print_result

PERIOD = click.Choice(["day", "month", "total"])
PER_HELP = "Days and months are UTC's; 'total' never begins anew."
KEY_HELP = "Of this key only; left out: of the account as a whole."


@click.group()
def budgets() -> None:
    """What accounts and keys may spend."""


@budgets.command("set", epilog=EXAMPLES["budgets set"])
@click.argument("account")
@click.argument("limit", type=usd, metavar="USD")
@click.option("--per", "period", type=PERIOD, required=True, help=PER_HELP)
@click.option("--key", "key_id", help=KEY_HELP)
@click.option("--soft", is_flag=True, help="Refuse nothing, only tell.")
@click.option(
    "--tell-at",
    "soft_percents",
    type=int,
    multiple=True,
    default=(80, 100),
    show_default=True,
    metavar="PERCENT",
    help="Tell when so much of it is spent, once a period; may be repeated.",
)
@database_options
def set_budget(
    account: str,
    limit: int,
    period: str,
    key_id: str | None,
    soft: bool,
    soft_percents: tuple[int, ...],
    db: Path | None,
    config_path: Path | None,
    as_json: bool,
) -> None:
    """Let ACCOUNT (its id or its name) spend USD in a period, and no more.

    Requests beyond it are refused (402), and a stream that reaches it is cut. What was spent in the
    period before counts. One budget a period: setting it again replaces it.
    """
    budget = run(
        db,
        config_path,
        "budgets.set",
        account=account,
        key_id=key_id,
        period=period,
        limit_nanodollars=limit,
        hard=not soft,
        soft_percents=list(soft_percents),
    )
    print_result(budget, as_json=as_json)


@budgets.command("remove", epilog=EXAMPLES["budgets remove"])
@click.argument("account")
@click.option("--per", "period", type=PERIOD, required=True, help="Which of them.")
@click.option("--key", "key_id", help=KEY_HELP)
@database_options
def remove_budget(
    account: str,
    period: str,
    key_id: str | None,
    db: Path | None,
    config_path: Path | None,
    as_json: bool,
) -> None:
    """Remove a budget of ACCOUNT (its id or its name)."""
    removed = run(db, config_path, "budgets.remove", account=account, key_id=key_id, period=period)
    print_result(removed, as_json=as_json)


@budgets.command("show", epilog=EXAMPLES["budgets show"])
@click.argument("account", required=False)
@database_options
def show_budgets(
    account: str | None, db: Path | None, config_path: Path | None, as_json: bool
) -> None:
    """Show the budgets of ACCOUNT (its id or its name), or all, and where they stand."""
    print_result(run(db, config_path, "budgets.show", account=account), as_json=as_json)
