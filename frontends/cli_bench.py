"""`parshall bench`: gateways measured side by side, and what came of it."""

from __future__ import annotations

import math
import re
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from frontends.cli_output import EXAMPLES, FAILED, explain, fail, print_result

if TYPE_CHECKING:
    from bench.peers import PeerRow

FOLDER = click.Path(file_okay=False, path_type=Path)
BUDGET_S = 20 * 60
"""Of the default scenarios."""
UNITS = {"s": 1, "m": 60, "h": 3600}

home_option = click.option(
    "--home",
    type=FOLDER,
    default=Path("~/.cache/parshall-bench"),
    show_default=True,
    help="Folder of the peers' programs and logs.",
)


@click.group(epilog=EXAMPLES["bench"])
def bench() -> None:
    """Measure gateways side by side: what a token costs, what is late, what a cancel stops.

    bench/README.md says how it is measured and what each figure means.
    """


@contextmanager
def explain_bench() -> Iterator[None]:
    """As `explain`, for what goes wrong in a benchmark."""
    from bench.load.control import LoadError
    from bench.peers import PeerError
    from bench.simulate.process import SimulatorError
    from bench.statistics.compare import IncomparableError
    from bench.suite.records import RecordError

    with explain():
        try:
            yield
        except (PeerError, LoadError, SimulatorError, RecordError, IncomparableError) as error:
            fail(str(error), FAILED)


# -- run ----------------------------------------------------------------------------------------


def read_duration(_: click.Context, __: click.Parameter, text: str | None) -> float | None:
    """`90`, `90s`, `20m` or `1.5h`, in seconds."""
    if text is None:
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text)
    if match is None or not float(match[1]):
        raise click.BadParameter(f"'{text}' is no time: 90s, 20m or 1.5h")
    return float(match[1]) * UNITS[match[2] or "s"]


@bench.command(epilog=EXAMPLES["bench run"])
@click.argument("scenarios", nargs=-1, metavar="[SCENARIO]...")
@click.option(
    "--out", type=FOLDER, required=True, help="Folder for the results; must be new or empty."
)
@click.option(
    "--peer",
    "peers",
    multiple=True,
    metavar="PEER",
    help="NAME, parshall@REVISION, or NAME=URL[,pid=N][,model=M][,key=env:VARIABLE][,rate=N]; may "
    "be repeated. `direct`, no gateway, is always measured.  [default: all that are installed]",
)
@click.option(
    "--repeats",
    type=click.IntRange(1, 100),
    help="Rounds of every scenario; intervals take 4.  [default: the scenario's own, until its "
    "figures have settled]",
)
@click.option(
    "--budget",
    callback=read_duration,
    metavar="TIME",
    help="At most so long, e.g. 20m or 90s.  [default: 20m for the five, none for what is named]",
)
@click.option("--noisy", is_flag=True, help="Keep what was measured on a busy machine.")
@click.option(
    "--patient",
    is_flag=True,
    help="Where the machine's host rations CPU time, wait until it has given it back: up to 20 "
    "minutes each time, beside the budget.",
)
@click.option("--seed", type=int, default=1, show_default=True, help="Of all that is random.")
@home_option
@click.option(
    "--provider-port",
    type=click.IntRange(0, 65_535),
    default=0,
    metavar="PORT",
    help="Where the simulated provider listens on 127.0.0.1, for peers of your own to be routed "
    "to.  [default: a free one]",
)
@click.option(
    "--allow-remote", is_flag=True, help="Load peers on other machines, if they are yours."
)
def run(
    scenarios: tuple[str, ...],
    out: Path,
    peers: tuple[str, ...],
    repeats: int | None,
    budget: float | None,
    noisy: bool,
    patient: bool,
    seed: int,
    home: Path,
    provider_port: int,
    allow_remote: bool,
) -> None:
    """Measure scenarios with several gateways, and write a report.

    A SCENARIO is one of `parshall bench scenarios`, or a file of your own that ends in .toml.
    Without any, five of them, in 20 minutes. All gateways take turns in each round, with the
    same requests. Leave the machine alone meanwhile: what it measures beside other work is refused.

    The folder then holds raw.jsonl (every sample, as measured), report.html and table.md. Ctrl-C
    ends a run and reports what there is.
    """
    from bench.report.jsonl import append_note, append_sample, write_header
    from bench.suite.patience import wait_calm
    from bench.suite.run import Settings, choose, header_of, repeated, run_scenarios
    from bench.suite.scenarios import DEFAULTS, find_scenario
    from frontends.cli_progress import Bars

    with explain_bench():
        chosen = [repeated(find_scenario(name), repeats) for name in scenarios or DEFAULTS]
        rows = _rows(peers, home, allow_remote=allow_remote)
        _check_names("SCENARIO", [scenario.name for scenario in chosen])
        _check_names("--peer", [row.name for row in rows])
        measured = choose(rows, home)
        settings = Settings(
            home=home,
            seed=seed,
            budget_s=budget or (math.inf if scenarios else BUDGET_S),
            noisy=noisy,
            wait_calm=wait_calm if patient else None,
            provider_port=provider_port,
            command=("parshall", *sys.argv[1:]),
        )
        raw = _new_folder(out) / "raw.jsonl"
        write_header(raw, header_of(chosen, measured, settings))
        progress = Bars(partial(append_note, raw))
        try:
            with (
                _terminated_as_interrupted(),
                closing(run_scenarios(chosen, measured, settings, progress)) as samples,
            ):
                for sample in samples:
                    append_sample(raw, sample)
                    if not sample.sound:
                        flaw = sample.refused or f"for figures of time: {sample.late}"
                        progress.say(f"{sample.scenario}: {sample.peer} refused: {flaw}")
        except KeyboardInterrupt:
            progress.note("ended before all was measured; what there is is reported")
        finally:
            progress.end()
        _show_report(out)


@contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """SIGTERM is Ctrl-C: processes that were started end with this one."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _rows(names: tuple[str, ...], home: Path, *, allow_remote: bool) -> list[PeerRow]:
    """Those chosen, or all there are; `direct` always, first."""
    from bench.peers import DEFAULT_PEERS, ROWS, parse_peer

    if names:
        rows = [parse_peer(name, allow_remote=allow_remote) for name in dict.fromkeys(names)]
        return [ROWS["direct"], *(row for row in rows if row.name != "direct")]
    there = [name for name in DEFAULT_PEERS if _is_installed(ROWS[name], home)]
    for name in DEFAULT_PEERS:
        if name not in there:
            click.echo(
                f"Without {name}: `parshall bench peers install {name}` installs it.", err=True
            )
    return [ROWS[name] for name in there]


def _check_names(what: str, names: Sequence[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise click.BadParameter(f"'{name}' is named twice", param_hint=what)


def _new_folder(path: Path) -> Path:
    if path.exists() and any(path.iterdir()):
        raise click.BadParameter(
            f"{path} has something in it already; choose another folder, or show what it has: "
            f"parshall bench report {path}",
            param_hint="--out",
        )
    path.mkdir(parents=True, exist_ok=True)
    return path


# -- afterwards ---------------------------------------------------------------------------------


@bench.command(epilog=EXAMPLES["bench report"])
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
def report(folder: Path) -> None:
    """Write the report of a run anew from its raw.jsonl, also of one that was ended."""
    with explain_bench():
        _show_report(folder)


def _show_report(folder: Path) -> None:
    from bench.report.files import write_report
    from bench.report.jsonl import read_notes, read_run
    from bench.statistics.rows import rows_of
    from bench.suite.model import Report

    header, samples = read_run(folder, lambda line: click.echo(line, err=True))
    raw, notes = folder / "raw.jsonl", read_notes(folder)
    report = Report(header, rows_of(header, samples), raw, notes)
    _, page, table = write_report(folder, report, samples)
    click.echo(table.read_text())
    click.echo(f"{page} shows all of it.", err=True)


@bench.command(epilog=EXAMPLES["bench compare"])
@click.argument("before", type=click.Path(exists=True, path_type=Path))
@click.argument("after", type=click.Path(exists=True, path_type=Path))
def compare(before: Path, after: Path) -> None:
    """Say what became slower or faster from one run to another, beyond the noise of both.

    Exit code 1 if anything became slower. Both have to be of one machine and the same scenarios.
    """
    from bench.report.jsonl import read_run
    from bench.statistics.compare import Run, judge, verdict_table

    with explain_bench():
        judgement = judge(Run(*read_run(before)), Run(*read_run(after)))
        click.echo(verdict_table(judgement))
        click.get_current_context().exit(judgement.exit_status)


# -- what there is ------------------------------------------------------------------------------


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


@bench.group(invoke_without_command=True, epilog=EXAMPLES["bench peers"])
@home_option
@click.option("--json", "as_json", is_flag=True, help="JSON instead of a table.")
@click.pass_context
def peers(context: click.Context, home: Path, as_json: bool) -> None:
    """List the gateways that can be measured, and whether they are installed.

    `parshall@REVISION` is Parshall at a revision of git, where it runs from a checkout. Anything
    else that runs on this machine is measured by its address: `--peer name=http://127.0.0.1:9000`.
    """
    context.obj = home
    if context.invoked_subcommand is not None:
        return
    from bench.peers import ROWS

    rows = [
        {
            "name": row.name,
            "version": row.version or None,
            "installed": _is_installed(row, home),
            "notes": row.notes,
        }
        for row in ROWS.values()
    ]
    print_result(rows, as_json=as_json)


@peers.command(epilog=EXAMPLES["bench peers"])
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.pass_obj
def install(home: Path, names: tuple[str, ...]) -> None:
    """Install peers, each into an environment of its own below --home.

    Packages come from where uv and npm are configured to look, at pinned versions.
    """
    from bench.peers import install_peer, parse_peer

    with explain_bench():
        for row in [parse_peer(name) for name in names]:
            installed = install_peer(row, home, lambda line: click.echo(line, err=True))
            click.echo(f"{row.name} {installed.version} is installed")


def _is_installed(row: PeerRow, home: Path) -> bool:
    from bench.peers import PeerError, find_installed
    from bench.peers.row import Source

    if isinstance(row.install, Source):
        return True
    try:
        find_installed(row, home)
    except PeerError:
        return False
    return True
