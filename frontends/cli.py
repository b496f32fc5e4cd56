"""The command `parshall`: serving, simulating, checking; administration is in `cli_admin.py`.

Imports are late on purpose: `--help` and administration through a running server stay quick.
"""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from frontends.cli_admin import accounts, receipts
from frontends.cli_bench import bench
from frontends.cli_budgets import budgets
from frontends.cli_debug import debug
from frontends.cli_keys import keys
from frontends.cli_ledger import ledger
from frontends.cli_operations import exchanges, log, reload, status, switches
from frontends.cli_output import EXAMPLES, explain, print_result
from frontends.cli_plans import plans, prices
from frontends.cli_providers import providers
from frontends.cli_reconcile import reconcile
from frontends.cli_reports import export
from frontends.cli_routes import route

if TYPE_CHECKING:
    from bench.simulate import SimulatorSettings
    from engine import Config, Gateway
    from engine.metering.pricing import Rates
    from engine.routing.values import Model

PEM_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
PORT_MAX = 65_535


@click.group(context_settings=CONTEXT, epilog=EXAMPLES["parshall"])
@click.version_option(package_name="parshall", prog_name="parshall")
def main() -> None:
    """Parshall: a gateway for LLM APIs that bills exactly what was generated.

    Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 3 the configuration is refused,
    4 another process holds the database.
    """


receipts.add_command(export)
main.add_command(accounts)
main.add_command(keys)
main.add_command(budgets)
main.add_command(plans)
main.add_command(prices)
main.add_command(exchanges)
main.add_command(switches)
main.add_command(reload)
main.add_command(status)
main.add_command(log)
main.add_command(receipts)
main.add_command(ledger)
main.add_command(reconcile)
main.add_command(debug)
main.add_command(providers)
main.add_command(route)
main.add_command(bench)


@main.command(epilog=EXAMPLES["serve"])
@click.option(
    "--config", "config_path", type=click.Path(path_type=Path), help="TOML file; without it: demo."
)
@click.option(
    "--bind",
    multiple=True,
    metavar="ADDRESS",
    help="HOST:PORT (port 0 takes a free one) or unix:/path; may be repeated.  "
    "[default: the file's, else 127.0.0.1:8787]",
)
@click.option(
    "--db",
    type=click.Path(path_type=Path),
    help="SQLite file of ledger and receipts.  [default: the file's, else parshall.db]",
)
@click.option(
    "--server",
    type=click.Choice(["parshall", "hypercorn"]),
    help="Whose HTTP is spoken with clients: our own, or that of Hypercorn's protocol classes, "
    "contained.  [default: the file's, else parshall]",
)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
    help="Of the JSON lines on standard error.",
)
@click.option(
    "--supervised",
    is_flag=True,
    help="Under a small supervisor, which holds the sockets and replaces a serving process that "
    "dies. For production.",
)
def serve(
    config_path: Path | None,
    bind: tuple[str, ...],
    db: Path | None,
    server: Literal["parshall", "hypercorn"] | None,
    log_level: str,
    supervised: bool,
) -> None:
    """Serve the gateway.

    Without --config it serves a demo: a simulated provider, a funded account whose key it prints,
    and the models of OpenAI, Anthropic and Google whose key is set (OPENAI_API_KEY,
    ANTHROPIC_API_KEY, GEMINI_API_KEY).
    """
    from frontends.supervisor import SUPERVISED, become_supervisor

    if supervised and SUPERVISED not in os.environ:
        become_supervisor(sys.orig_argv[1:])
    import trio

    from frontends.logs import logging_to

    with explain(), logging_to(sys.stderr, log_level):
        _check_binds(bind)
        if config_path is None:
            database, binds = db or Path("parshall.db"), bind or ("127.0.0.1:8787",)
            trio.run(_serve_demo, database, binds, server)
        else:
            read = partial(_read, config_path, bind, db, server)
            trio.run(_serve_configured, read(), read)


def _read(
    path: Path,
    bind: tuple[str, ...],
    db: Path | None,
    server: Literal["parshall", "hypercorn"] | None,
) -> Config:
    """What is served: the file, overruled by options; again at each reload."""
    return _with_server(_load(path, bind, db), server)


async def _serve_configured(config: Config, read: Callable[[], Config]) -> None:
    from frontends.serving import serve as serve_until_signal

    async def announce(gateway: Gateway, addresses: tuple[str, ...]) -> None:
        click.echo(f"Parshall serves on {', '.join(addresses)}")
        if not (await gateway.ledger.list_accounts(limit=1)).accounts:
            click.echo(
                f"{config.storage.path} has no account yet. The first one, and its key:\n"
                f"  parshall accounts create NAME --fund 25 --db {config.storage.path}\n"
                f"  parshall keys create NAME --db {config.storage.path}"
            )

    await serve_until_signal(config, announce, read)


async def _serve_demo(
    database: Path, bind: tuple[str, ...], server: Literal["parshall", "hypercorn"] | None
) -> None:
    from engine.config_access import ADMIN_VARIABLE
    from frontends import demo
    from frontends.serving import serve as serve_until_signal
    from frontends.welcome import client_url, welcome

    async def announce(gateway: Gateway, addresses: tuple[str, ...]) -> None:
        secret = await demo.prepare_key(gateway, database)
        given = os.environ.get(ADMIN_VARIABLE)
        operator = ADMIN_VARIABLE if given else demo.admin_key_path(database)
        money = (
            f"the account '{demo.ACCOUNT}' got 10 US dollars, once; the ledger is {database}, "
            f"and the operator's key is in {operator}"
        )
        click.echo(welcome(client_url(addresses), secret, list(gateway.config.models), money))

    async with demo.open_demo(database, bind, os.environ) as config:
        await serve_until_signal(_with_server(config, server), announce)


@main.command(epilog=EXAMPLES["simulate"])
@click.option(
    "--bind",
    default="127.0.0.1:8788",
    show_default=True,
    metavar="HOST:PORT",
    help="Where to listen.",
)
@click.option("--model", "models", multiple=True, help="A model it knows; may be repeated.")
@click.option("--any-model", is_flag=True, help="Know every model.")
@click.option("--defaults", default="", metavar="DIRECTIVES", help="For requests without #sim.")
@click.option(
    "--recordings",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder that replays come from.",
)
@click.option("--seed", default="", help="Mixed into every text.")
@click.option("--tls-cert", type=PEM_FILE, help="Serve TLS with this certificate (PEM).")
@click.option("--tls-key", type=PEM_FILE, help="The certificate's private key (PEM).")
@click.option("--directives", is_flag=True, help="List what a request can ask for, and exit.")
def simulate(**options: Any) -> None:
    """Run a simulated provider of three protocols, over HTTP/1.1 and HTTP/2, with faults on demand.

    A request says what it wants by a first line '#sim …' of its last user message;
    `parshall simulate --directives` lists the words. GET /_truth tells what was really generated,
    a request a line; ?after=N&limit=M pages by their running number, ?text=0 leaves the texts out.
    GET /_load tells what CPU time this process took, how late it was, and what the log has lost.
    POST /_behave with {"model": null, "directives": "status=500"} changes what requests start from.
    """
    import trio

    from bench.simulate import describe_directives

    if options["directives"]:
        click.echo(describe_directives())
        return
    with explain():
        trio.run(_simulate, _simulator_settings(options))


def _simulator_settings(options: dict[str, Any]) -> SimulatorSettings:
    import ssl

    from bench.simulate import Directives, SimulatorSettings, parse_directives
    from bench.simulate.directives import DirectiveError

    host, _, port = options["bind"].rpartition(":")
    if not host or not (port.isascii() and port.isdecimal()) or int(port) > PORT_MAX:
        raise click.BadParameter(
            f"must be HOST:PORT, with a port up to {PORT_MAX}", param_hint="--bind"
        )
    if (options["tls_cert"] is None) != (options["tls_key"] is None):
        raise click.UsageError("--tls-cert and --tls-key go together")
    try:
        defaults = parse_directives(options["defaults"], Directives())
    except DirectiveError as error:
        raise click.BadParameter(str(error), param_hint="--defaults") from None
    tls = None
    if options["tls_cert"] is not None:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            tls.load_cert_chain(options["tls_cert"], options["tls_key"])
        except (ssl.SSLError, OSError) as error:
            raise click.BadParameter(
                f"{options['tls_cert']} and {options['tls_key']} are not a certificate and its "
                f"key in PEM: {error}",
                param_hint="--tls-cert",
            ) from None
    chosen = {"models": options["models"]} if options["models"] else {}
    return SimulatorSettings(
        host=host.strip("[]"),
        port=int(port),
        tls=tls,
        any_model=options["any_model"],
        defaults=defaults,
        recordings=options["recordings"],
        seed=options["seed"],
        **chosen,
    )


async def _simulate(settings: SimulatorSettings) -> None:
    import signal

    import trio

    from bench.simulate import open_simulator
    from frontends.server.binds import BindError

    async with AsyncExitStack() as stack:
        signals = stack.enter_context(trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM))
        try:
            simulator = await stack.enter_async_context(open_simulator(settings))
        except OSError as error:
            raise BindError(
                f"cannot listen on {settings.host}:{settings.port}: {error.strerror or error}; "
                "--bind chooses another address"
            ) from error
        click.echo(f"The simulated provider serves on {simulator.base_url}/v1")
        await anext(signals)


@main.command("openapi", epilog=EXAMPLES["openapi"])
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write to this file.  [default: standard output]",
)
def openapi_document(output: Path | None) -> None:
    """Write what the API says of itself, in OpenAPI 3.1: as a server does at /openapi.json."""
    import orjson

    from frontends.reference.build import all_routes, document

    text = orjson.dumps(document(all_routes()), option=orjson.OPT_INDENT_2).decode()
    if output is None:
        click.echo(text)
        return
    with explain():
        output.write_text(text + "\n")


@main.group()
def config() -> None:
    """Look at a configuration."""


@config.command("check", epilog=EXAMPLES["config check"])
@click.argument("path", type=click.Path(path_type=Path), required=False)
@click.option("--config", "config_path", type=click.Path(path_type=Path), help="The same as PATH.")
@click.option("--json", "as_json", is_flag=True, help="JSON instead of a table.")
def check(path: Path | None, config_path: Path | None, as_json: bool) -> None:
    """Check a configuration file: syntax, secrets, prices, deployments. Nothing is started."""
    chosen = path or config_path
    if chosen is None:
        raise click.UsageError("which file? parshall config check PATH")
    from engine.catalogue import remarks
    from engine.clock import wall_ms
    from engine.config import require_operator
    from engine.rules import build_rules

    with explain():
        loaded = _load(chosen, (), None)
        require_operator(loaded)
        catalogue = build_rules(loaded, wall_ms).catalogue
        rows = [row for model in catalogue.values() for row in _model_rows(model)]
        print_result(rows, as_json=as_json)
        for remark in remarks(catalogue):
            click.echo(f"{chosen}: {remark}", err=True)
        if not as_json:
            click.echo(f"{chosen} is fine{'' if rows else ', but serves no model yet'}.")


def _model_rows(model: Model[Rates]) -> Iterator[dict[str, Any]]:
    """One a deployment, the first to be tried first; a model that stands for others has one."""
    from engine.prices import shown

    told = shown(model.price)
    price = {
        "input_usd_per_million": told.pop("input"),
        "output_usd_per_million": told.pop("output"),
        "other_usd": told,
    }
    for tier in model.tiers:
        for deployment in tier.deployments:
            yield {
                "model": model.name,
                "provider": deployment.provider,
                "upstream_model": deployment.upstream_model,
                "priority": deployment.priority,
                "weight": deployment.weight,
                **price,
            }
    if not model.tiers:
        nothing = dict.fromkeys(("provider", "upstream_model", "priority", "weight"))
        yield {"model": model.name, **nothing, **price}


def _check_binds(bind: tuple[str, ...]) -> None:
    from engine import ConfigError
    from engine.config import bind_problem

    for address in bind:
        if problem := bind_problem(address):
            raise ConfigError(f"--bind {address} {problem}")


def _with_server(config: Config, server: Literal["parshall", "hypercorn"] | None) -> Config:
    if server is None:
        return config
    return dataclasses.replace(config, server=dataclasses.replace(config.server, server=server))


def _load(path: Path, bind: tuple[str, ...], db: Path | None) -> Config:
    """A configuration file, overruled by options."""
    from engine import load_config

    loaded = load_config(path, os.environ)
    if bind:
        loaded = dataclasses.replace(loaded, server=dataclasses.replace(loaded.server, bind=bind))
    if db is not None:
        storage = dataclasses.replace(loaded.storage, url=f"sqlite:{db}")
        loaded = dataclasses.replace(loaded, storage=storage)
    return loaded
