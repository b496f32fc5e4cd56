"""Checking the configured providers with real calls, on the command line."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from frontends.cli_output import EXAMPLES, FAILED, explain, print_result

if TYPE_CHECKING:
    from engine import Config
    from engine.checking import Check, Finding


@click.group()
def providers() -> None:
    """The configured providers."""


@providers.command("check", epilog=EXAMPLES["providers check"])
@click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path),
    help="TOML file; without it: what the demo serves, with the keys of the environment.",
)
@click.option(
    "--provider", "names", multiple=True, metavar="NAME", help="Only this one; may be repeated."
)
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(min=0.1, max=600),
    default=30.0,
    show_default=True,
    metavar="SECONDS",
    help="For each call; providers are asked side by side.",
)
@click.option("--json", "as_json", is_flag=True, help="JSON instead of a table.")
def check(
    config_path: Path | None, names: tuple[str, ...], timeout_s: float, as_json: bool
) -> None:
    """Ask each provider for a few tokens, and to call a tool: does it work with the gateway?

    These are real calls to the cheapest configured model of each provider. What they cost at most
    is said before they are made; a sound provider costs a fraction of that. Accounts are not
    charged, and a running server is not disturbed.

    \b
      REACHABLE  a connection was had, through the proxy if there is one
      KEY        the provider took the key; '-': it did not come to that
      STREAM     a stream came whole
      USAGE      it reported its count of tokens; if not, the text is counted
      TOOLS      it called a tool when told to; '-': the model is known to have none
      HTTP       the version that was spoken
      FIRST      from the request to the first token, without the time to connect

    Exit code 1: a provider did not stream, so it cannot serve. One without usage or tools can, and
    one that no model names is not asked.
    """
    import trio

    with explain():
        findings = trio.run(_check, config_path, names, timeout_s)
    rows = [_row(finding) for finding in findings]
    if as_json:
        print_result(rows, as_json=True)
    else:
        print_result([_cells(row) for row in rows], as_json=False)
        for row in rows:
            if row["problem"] is not None:
                advice = f"\n  {row['advice']}" if row["advice"] else ""
                click.echo(f"\n{row['provider']}: {row['problem']}{advice}")
    if any(finding.failed for finding in findings):
        sys.exit(FAILED)


async def _check(
    config_path: Path | None, names: tuple[str, ...], timeout_s: float
) -> Sequence[Finding]:
    from engine import load_config
    from frontends import demo

    if config_path is not None:
        return await _run(load_config(config_path, os.environ), names, timeout_s)
    async with demo.open_demo(Path("parshall.db"), ("127.0.0.1:0",), os.environ) as config:
        return await _run(config, names, timeout_s)


async def _run(config: Config, names: tuple[str, ...], timeout_s: float) -> Sequence[Finding]:
    from engine.checking import plan_checks, run_checks

    checks = plan_checks(config, names)
    click.echo(_announcement(checks), err=True)
    return await run_checks(checks, timeout_s=timeout_s, report=_report)


def _announcement(checks: Sequence[Check]) -> str:
    from engine.ledger.receipts import format_usd

    asked = sum(check.deployment is not None for check in checks)
    cost = format_usd(sum(check.cost_max_nanodollars for check in checks)).rstrip("0").rstrip(".")
    return (
        f"Asking {asked} provider{'' if asked == 1 else 's'}, two small calls each: "
        f"at most ${cost} in all."
    )


def _report(provider: str, step: str) -> None:
    click.echo(f"  {provider}: {step}", err=True)


def _row(finding: Finding) -> dict[str, Any]:
    from engine.ledger.receipts import money_json

    first_s = finding.first_output_s
    return {
        "provider": finding.provider,
        "protocol": finding.protocol,
        "model": finding.model,
        "works": None if finding.model is None else not finding.failed,
        "reachable": finding.reachable,
        "key": finding.key_accepted,
        "stream": finding.streams,
        "usage": finding.reports_usage,
        "tools": finding.calls_tools,
        "http": finding.http_version,
        "first_output_ms": None if first_s is None else round(first_s * 1_000, 1),
        "cost": money_json(finding.cost_nanodollars),
        "problem": finding.problem,
        "advice": finding.advice,
    }


def _cells(row: dict[str, Any]) -> dict[str, Any]:
    """The columns of the table; the rest is said below it."""
    names = ("provider", "model", "reachable", "key", "stream", "usage", "tools", "http")
    first_ms = row["first_output_ms"]
    return {name: row[name] for name in names} | {
        "first": None if first_ms is None else f"{first_ms:.0f} ms",
        "cost": row["cost"],
    }
