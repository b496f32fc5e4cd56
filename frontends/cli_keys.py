"""API keys on the command line."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click

from frontends.cli_admin import database_options, run, run_pages
from frontends.cli_output import EXAMPLES, Json, print_one, print_result, with_state
from frontends.money import read_usd

SCOPE = click.Choice(["inference", "read", "keys"])
PRESET = click.Choice(["per-30", "per-60", "per-120", "per-240", "per-400"])
PERIOD = click.Choice(["day", "month", "total"])
_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_DURATION = re.compile(r"([0-9]{1,12})([smhd]?)")


def duration(value: str) -> int:
    """A time such as `90d`, `12h`, `30m` or `45s`, in seconds."""
    match = _DURATION.fullmatch(value)
    if match is None:
        raise click.BadParameter(f"'{value}' is not a time such as 90d, 12h, 30m or 45s")
    number, unit = match.groups()
    return int(number) * _UNITS[unit or "s"]


@click.group()
def keys() -> None:
    """API keys."""


@keys.command("create", epilog=EXAMPLES["keys create"])
@click.argument("account")
@click.option("--name", default="default", show_default=True, help="What people know it by.")
@click.option("--expires-in", type=duration, metavar="TIME", help="Refuse it after 90d, 12h, 30m.")
@click.option(
    "--scope",
    "scopes",
    type=SCOPE,
    multiple=True,
    help="What it is made for; may be repeated.  [default: inference, read]",
)
@click.option(
    "--model",
    "models",
    multiple=True,
    metavar="NAME",
    help="Only these models, 'gpt-5*' for all that begin so; may be repeated.",
)
@click.option("--preset", type=PRESET, help="Limits that are often wanted: requests a minute.")
@click.option("--requests-per-min", type=click.IntRange(1), help="So many requests a minute.")
@click.option("--tokens-per-min", type=click.IntRange(1), help="Input and output together.")
@click.option("--concurrent-streams", type=click.IntRange(1), help="Under way at once.")
@click.option("--budget", metavar="USD", help="What it may spend; with --per.")
@click.option(
    "--per", "period", type=PERIOD, help="What --budget is for; days and months are UTC's."
)
@database_options
def create_key(
    account: str,
    name: str,
    expires_in: int | None,
    scopes: tuple[str, ...],
    models: tuple[str, ...],
    preset: str | None,
    budget: str | None,
    period: str | None,
    db: Path | None,
    config_path: Path | None,
    as_json: bool,
    **limits: int | None,
) -> None:
    """Create a key of ACCOUNT (its id or its name). Its secret is shown now, and never again.

    What the account's plan allows bounds the key too.
    """
    if (budget is None) is not (period is None):
        raise click.UsageError("a budget is given with --budget USD and --per day, month or total")
    if budget is not None:
        try:
            read_usd(budget)
        except ValueError as error:
            raise click.BadParameter(str(error), param_hint="--budget") from None
    key = run(
        db,
        config_path,
        "keys.create",
        account=account,
        name=name,
        expires_in=expires_in,
        scopes=list(scopes) or None,
        models=list(models) or None,
        limits={limit: value for limit, value in limits.items() if value is not None} or None,
        preset=preset,
        budget=None if budget is None else {"usd": budget, "period": period},
    )
    print_one(key, as_json=as_json)


@keys.command("list", epilog=EXAMPLES["keys list"])
@click.argument("account", required=False)
@database_options
def list_keys(
    account: str | None, db: Path | None, config_path: Path | None, as_json: bool
) -> None:
    """List the keys of ACCOUNT, or all; revoked ones too."""
    rows = run_pages(db, config_path, "keys.list", account=account)
    print_result(rows if as_json else [_line(row) for row in rows], as_json=as_json)


def _line(row: Json) -> Json:
    names = ("key_id", "account_id", "name", "prefix", "created_at", "expires_at", "revoked_at")
    return {name: row[name] for name in names} | {"state": with_state(row)["state"]}


@keys.command("show", epilog=EXAMPLES["keys show"])
@click.argument("key_id")
@database_options
def show_key(key_id: str, db: Path | None, config_path: Path | None, as_json: bool) -> None:
    """Show the key KEY_ID, what it may do, and its budgets."""
    print_one(run(db, config_path, "keys.show", key_id=key_id), as_json=as_json)


@keys.command("set", epilog=EXAMPLES["keys set"])
@click.argument("key_id")
@click.option("--name", help="What people know it by.")
@click.option("--expires-in", type=duration, metavar="TIME", help="Refuse it after 90d, 12h, 30m.")
@click.option("--no-expiry", is_flag=True, help="Let it be good until it is revoked.")
@click.option("--scope", "scopes", type=SCOPE, multiple=True, help="All of its scopes, anew.")
@click.option("--model", "models", multiple=True, metavar="NAME", help="All of its models, anew.")
@click.option("--all-models", is_flag=True, help="Whatever its account may use.")
@click.option("--preset", type=PRESET, help="In the place of all its limits.")
@click.option("--requests-per-min", type=click.IntRange(0), help="0: no limit.")
@click.option("--tokens-per-min", type=click.IntRange(0), help="0: no limit.")
@click.option("--concurrent-streams", type=click.IntRange(0), help="0: no limit.")
@database_options
def set_key(
    key_id: str,
    scopes: tuple[str, ...],
    models: tuple[str, ...],
    all_models: bool,
    no_expiry: bool,
    db: Path | None,
    config_path: Path | None,
    as_json: bool,
    **given: Any,
) -> None:
    """Change what the key KEY_ID may do, from its next request on. What it has started goes on."""
    changes = {
        name: given[name] for name in ("name", "expires_in", "preset") if given[name] is not None
    }
    if scopes:
        changes["scopes"] = list(scopes)
    if no_expiry:
        if "expires_in" in changes:
            raise click.UsageError("--expires-in and --no-expiry are not for one key")
        changes["expires_in"] = None
    if models or all_models:
        changes["models"] = list(models) or None
    limits = {
        name: given[name] or None
        for name in ("requests_per_min", "tokens_per_min", "concurrent_streams")
        if given[name] is not None
    }
    if limits:
        changes["limits"] = limits
    if not changes:
        raise click.UsageError("what is to change? See 'parshall keys set --help'")
    key = run(db, config_path, "keys.set", key_id=key_id, changes=changes)
    print_one(key, as_json=as_json)


@keys.command("rotate", epilog=EXAMPLES["keys rotate"])
@click.argument("key_id")
@click.option(
    "--overlap",
    type=duration,
    default="1h",
    show_default=True,
    metavar="TIME",
    help="So long the old one is good still.",
)
@database_options
def rotate_key(
    key_id: str, overlap: int, db: Path | None, config_path: Path | None, as_json: bool
) -> None:
    """Make a key in the place of KEY_ID: the same terms and budgets, another secret.

    The secret is shown now, and never again.
    """
    key = run(db, config_path, "keys.rotate", key_id=key_id, overlap_s=overlap)
    print_one(key, as_json=as_json)


@keys.command("revoke", epilog=EXAMPLES["keys revoke"])
@click.argument("key_id")
@database_options
def revoke_key(key_id: str, db: Path | None, config_path: Path | None, as_json: bool) -> None:
    """Refuse the key KEY_ID from now on, for good. What it has started goes on."""
    print_one(run(db, config_path, "keys.revoke", key_id=key_id), as_json=as_json)
