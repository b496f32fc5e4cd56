"""Plans and prices on the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from frontends.cli_admin import database_options, run
from frontends.cli_output import EXAMPLES, print_result
from frontends.money import read_usd

SCOPE = click.Choice(["account", "plan", "all"])


@click.group()
def plans() -> None:
    """What accounts may do: models, limits, budgets."""


@plans.command("list", epilog=EXAMPLES["plans list"])
@database_options
def list_plans(db: Path | None, config_path: Path | None, as_json: bool) -> None:
    """List the plans of the configuration and those that were made here.

    Without a server those of the configuration are not known.
    """
    print_result(run(db, config_path, "plans.list")["data"], as_json=as_json)


@plans.command("show", epilog=EXAMPLES["plans show"])
@click.argument("name")
@database_options
def show_plan(name: str, db: Path | None, config_path: Path | None, as_json: bool) -> None:
    """Show the plan NAME."""
    print_result(run(db, config_path, "plans.show", name=name), as_json=as_json)


@plans.command("set", epilog=EXAMPLES["plans set"])
@click.argument("name")
@click.option(
    "--model",
    "models",
    multiple=True,
    metavar="MODEL",
    help="Only these models, 'gpt-5*' for all that begin so; may be repeated.",
)
@click.option("--requests-per-min", type=click.IntRange(1), help="So many requests a minute.")
@click.option("--tokens-per-min", type=click.IntRange(1), help="Input and output together.")
@click.option("--concurrent-streams", type=click.IntRange(1), help="Under way at once.")
@click.option("--storage-max-bytes", type=click.IntRange(1), help="Of the files of each account.")
@click.option("--monthly-budget", metavar="USD", help="Of each account, hard, by UTC month.")
@database_options
def set_plan(
    name: str,
    models: tuple[str, ...],
    monthly_budget: str | None,
    db: Path | None,
    config_path: Path | None,
    as_json: bool,
    **limits: int | None,
) -> None:
    """Make the plan NAME, or put another in its place: what is left out is not limited.

    It counts from the next request of its accounts on, their budgets with it. Plans of the
    configuration are changed there.
    """
    plan: dict[str, Any] = {limit: value for limit, value in limits.items() if value is not None}
    if models:
        plan["models"] = list(models)
    if monthly_budget is not None:
        try:
            read_usd(monthly_budget)
        except ValueError as error:
            raise click.BadParameter(str(error), param_hint="--monthly-budget") from None
        plan["monthly_budget_usd"] = monthly_budget.removeprefix("$")
    print_result(run(db, config_path, "plans.set", name=name, plan=plan), as_json=as_json)


@plans.command("remove", epilog=EXAMPLES["plans remove"])
@click.argument("name")
@database_options
def remove_plan(name: str, db: Path | None, config_path: Path | None, as_json: bool) -> None:
    """Remove the plan NAME, which no account may be on."""
    print_result(run(db, config_path, "plans.remove", name=name), as_json=as_json)


@click.group()
def prices() -> None:
    """What an account, a plan or everybody pays for a model."""


@prices.command("list", epilog=EXAMPLES["prices list"])
@database_options
def list_prices(db: Path | None, config_path: Path | None, as_json: bool) -> None:
    """List the prices that were set here, and those of plans in the configuration.

    Without a server those of the configuration are not known.
    """
    print_result(run(db, config_path, "prices.list")["data"], as_json=as_json)


@prices.command("set", epilog=EXAMPLES["prices set"])
@click.argument("model")
@click.option("--for", "scope", type=SCOPE, required=True, help="Who pays it.")
@click.option("--owner", help="Which account (its id or its name), or which plan.")
@click.option("--input", "input_usd", metavar="USD", help="A million tokens.")
@click.option("--output", "output_usd", metavar="USD", help="A million tokens.")
@click.option(
    "--rate",
    "rates",
    multiple=True,
    metavar="NAME=USD",
    help="A further one, such as cached_input=0.1, as a model's 'price' names it; may be repeated.",
)
@click.option(
    "--image",
    "images",
    multiple=True,
    metavar="WHICH=USD",
    help="An image of a quality, a size or both, such as 'hd 1024x1792=0.12'; may be repeated.",
)
@database_options
def set_price(
    model: str,
    scope: str,
    owner: str | None,
    input_usd: str | None,
    output_usd: str | None,
    rates: tuple[str, ...],
    images: tuple[str, ...],
    db: Path | None,
    config_path: Path | None,
    as_json: bool,
) -> None:
    """Set what is paid for MODEL from the next request on. What runs keeps its price.

    An account's price goes before its plan's, and that before everybody's. Tokens need both
    --input and --output; what has a price of its own (seconds, images, …) needs neither.
    """
    given: dict[str, Any] = {"input": input_usd, "output": output_usd}
    for rate in rates:
        name, equals, usd = rate.partition("=")
        if not equals:
            raise click.BadParameter(f"'{rate}' is not NAME=USD", param_hint="--rate")
        given[name] = usd
    if images:
        given["by_image"] = [_image_price(each) for each in images]
    price = run(db, config_path, "prices.set", scope=scope, owner=owner, model=model, rates=given)
    print_result(price, as_json=as_json)


def _image_price(given: str) -> dict[str, str]:
    """A row of `by_image`, of 'hd 1024x1792=0.12'."""
    from engine.metering.tiers import is_size

    which, _, usd = given.partition("=")
    if not which.split() or not usd:
        raise click.BadParameter(f"'{given}' is not WHICH=USD", param_hint="--image")
    said = {"size" if is_size(word) else "quality": word for word in which.split()}
    return {**said, "images": usd}


@prices.command("remove", epilog=EXAMPLES["prices remove"])
@click.argument("model")
@click.option("--for", "scope", type=SCOPE, required=True, help="Whose it is.")
@click.option("--owner", help="Which account (its id or its name), or which plan.")
@database_options
def remove_price(
    model: str,
    scope: str,
    owner: str | None,
    db: Path | None,
    config_path: Path | None,
    as_json: bool,
) -> None:
    """Remove a price that was set here: what comes after it counts again."""
    price = run(db, config_path, "prices.remove", scope=scope, owner=owner, model=model)
    print_result(price, as_json=as_json)
