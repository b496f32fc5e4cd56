"""`parshall bench`: gateways measured side by side, and what came of it."""

from __future__ import annotations

import click

from frontends.cli_output import EXAMPLES, explain, print_result


@click.group(epilog=EXAMPLES["bench"])
def bench() -> None:
    """Measure gateways side by side: what a token costs, what is late, what a cancel stops.

    bench/README.md says how it is measured and what each figure means.
    """


@bench.command(epilog=EXAMPLES["bench scenarios"])
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="JSON instead of a table.")
def scenarios(name: str | None, as_json: bool) -> None:
    """List what can be measured, what `bench run` takes by default first.

    With a NAME it prints that scenario's file, from which one of your own can be made.
    """
    from bench.suite.scenarios import DEFAULTS, find_scenario, scenario_names, scenario_text

    with explain():
        if name is not None:
            click.echo(scenario_text(name), nl=False)
            return
        rows = [
            {"name": each, "default": each in DEFAULTS, "what": find_scenario(each).title}
            for each in scenario_names()
        ]
        if not as_json:
            rows = [{**row, "default": "yes" if row["default"] else ""} for row in rows]
        print_result(rows, as_json=as_json)
