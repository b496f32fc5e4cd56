"""Where requests go, on the command line: how deployments do, and the plan for a request."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, BinaryIO, Final

import click

from frontends.cli_admin import database_of, database_options, run
from frontends.cli_output import EXAMPLES, FAILED, Json, explain, fail, print_result

PROTOCOLS: Final = (
    "openai_chat", "openai_responses", "openai_completions", "openai", "openai_videos",
    "anthropic", "gemini",
)  # fmt: skip
_ASKED_MAX_BYTES: Final = 1_000_000
"""What the control socket takes, less what is around it."""


@click.group()
def route() -> None:
    """Where requests go, and why."""


@route.command("health", epilog=EXAMPLES["route health"])
@database_options
def health(db: Path | None, config_path: Path | None, as_json: bool) -> None:
    """Show how the deployments of a running server do.

    \b
      STATE        closed: it serves; open: it has failed and is left alone;
                   half-open: one request tries whether it serves again
      BUSY         requests under way
      OPENED       how often it has been left alone so
      FIRST TOKEN  how late the first token is of late
      LIMITED      for so long its provider wants no more
      KEYS         how many of its provider's keys can be used
    """
    figures = run(db, config_path, "routes.show")
    if as_json:
        print_result(figures, as_json=True)
        return
    print_result([_deployment(row) for row in figures["deployments"]], as_json=False)
    click.echo()
    print_result([_model(row) for row in figures["models"]], as_json=False)


def _deployment(row: Json) -> Json:
    return {
        "deployment": row["deployment"],
        "models": row["models"],
        "state": "OFF" if row["off"] else row["state"],
        "busy": row["busy"],
        "opened": row["opened"],
        "first_token": f"{row['first_token_ms']:.0f} ms" if row["first_token_ms"] else None,
        "limited": f"{row['limited_s']:.0f} s" if row["limited_s"] else None,
        "keys": f"{row['keys'] - row['keys_out']} of {row['keys']}",
    }


def _model(row: Json) -> Json:
    late_ms = row["first_token_p95_ms"]
    names = ("model", "strategy", "sticky", "fallbacks", "hedge", "continuation")
    shown = {name: row[name] for name in names} | {"state": "OFF" if row["off"] else "on"}
    return shown | {"first_token_p95": None if late_ms is None else f"{late_ms:.0f} ms"}


@route.command("explain", epilog=EXAMPLES["route explain"])
@click.argument("file", type=click.File("rb"))
@click.option(
    "--protocol",
    type=click.Choice(PROTOCOLS),
    default=PROTOCOLS[0],
    show_default=True,
    help="What the request is written in.",
)
@click.option(
    "--operation",
    help="What is asked for, of 'openai' and 'gemini': embed, image, speech, rerank and so on.",
)
@click.option("--account", help="Ask for this account (its id or its name).")
@click.option("--model", help="The model, which Gemini's requests name in their URL.")
@click.option("--stream", is_flag=True, help="A stream, which Gemini's requests say there too.")
@database_options
def explain_route(
    file: BinaryIO,
    protocol: str,
    operation: str | None,
    account: str | None,
    model: str | None,
    stream: bool,
    db: Path | None,
    config_path: Path | None,
    as_json: bool,
) -> None:
    """Show the plan for the request whose JSON body FILE holds, without sending it.

    A running server answers by what it knows at this moment. Where none runs, the plan is made of
    the file of --config, as if everything were well.
    """
    found = _explained(
        db,
        config_path,
        {
            "body": _body(file),
            "protocol": protocol,
            "operation": operation,
            "account": account,
            "model": model,
            "stream": stream,
        },
    )
    if as_json:
        print_result(found, as_json=True)
        return
    _print_explanation(found)


def _body(file: BinaryIO) -> Json:
    try:
        body = json.loads(file.read())
    except ValueError as error:
        fail(f"{file.name} is not JSON: {error}", FAILED)
    if not isinstance(body, dict):
        fail(f"{file.name} is not the body of a request: that is a JSON object", FAILED)
    return body


def _explained(db: Path | None, config_path: Path | None, given: dict[str, Any]) -> Json:
    from frontends import control

    with explain():
        database = database_of(db, config_path)
        try:
            if len(json.dumps(given)) < _ASKED_MAX_BYTES:
                return control.ask(database, "routes.explain", given)
            if control.control_path(database).exists():
                fail("the request is larger than a running server explains", FAILED)
        except control.ControlAbsentError:
            pass
        if config_path is None:
            fail(
                f"no server runs with the database {database}; --config FILE explains without one",
                FAILED,
            )
        if given["account"] is not None:
            fail("only a running server knows accounts", FAILED)
        return _explained_alone(config_path, given)


def _explained_alone(config_path: Path, given: dict[str, Any]) -> Json:
    from engine import load_config
    from engine.clock import wall_ms
    from engine.explaining import call_of, explain_config

    explained = explain_config(load_config(config_path, os.environ), wall_ms)
    call = call_of(
        given["body"], given["protocol"], given["model"], given["stream"], given["operation"]
    )
    return explained(call)


def _print_explanation(found: Json) -> None:
    asked, auto = found["asked"], found["auto"]
    kind = "stream" if asked["stream"] else "in one piece"
    click.echo(
        f"{found['model']}: {asked['protocol']}, {kind}, "
        f"about {asked['expected_input_tokens']:,} tokens of input"
    )
    if auto is not None:
        click.echo(f"{auto['level']}, score {auto['score']}: {'; '.join(auto['reasons']) or '-'}")
    if found["refused"] is not None:
        click.echo(f"refused, {found['refused']['code']}: {found['refused']['message']}")
    click.echo()
    print_result([_candidate(row) for row in found["candidates"]], as_json=False)
    if found["dropped"]:
        click.echo(f"\nleft out of the request: {', '.join(found['dropped'])}")
    if found["passed"]:
        click.echo("\npassed over:")
        print_result(found["passed"], as_json=False)


def _candidate(row: Json) -> Json:
    why = row["why"] if row["cannot_say"] is None else f"passed over: {row['cannot_say']}"
    cost = row["cost_usd_per_million"]
    others = "".join(
        f", {name} ${usd}" for name, usd in row["cost_usd"].items() if isinstance(usd, str)
    )
    return {
        "": row["number"],
        "deployment": row["deployment"],
        "model": row["model"],
        "key": row["key"] + 1,
        "cost": f"${cost['input']} / ${cost['output']}{others}",
        "why": why,
    }
