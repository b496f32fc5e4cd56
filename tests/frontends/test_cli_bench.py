"""`parshall bench` on the command line: what it teaches, what it refuses and what it then says."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from bench.peers.tree import session_of
from bench.report.jsonl import read_run
from frontends.cli import main

TINY = """
title = "tiny"
kind = "streams"
figures = ["cpu_us_per_token", "billing_error_share", "errors_share"]
warm_s = 0.1
measure_s = 0.2
repeats = 4
repeats_max = 4
[arrivals]
process = "uniform"
rate_per_s = 60
[[traffic]]
tokens = 12
tokens_per_second = 200
"""


def bench(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["bench", *map(str, arguments)])


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.toml"
    path.write_text(TINY)
    return path


# -- a run --------------------------------------------------------------------------------------


def test_a_run_measures_reports_and_is_no_slower_than_itself(tiny: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    home = ("--home", tmp_path / "home")
    done = bench("run", tiny, "--peer", "parshall", "--noisy", "--out", out, *home)
    assert done.exit_code == 0, done.output
    assert "tiny: round 4" in done.stderr
    assert "| parshall " in done.stdout

    header, samples = read_run(out)
    assert set(header.versions) == {"direct", "parshall"}
    assert re.fullmatch(r"([0-9a-f]{10})?(-dirty)?", header.revisions["parshall"])
    assert sorted((each.repeat, each.peer) for each in samples) == [
        (number, peer) for number in range(4) for peer in ("direct", "parshall")
    ]
    for sample in samples:
        assert sample.cpu_s is not None
        assert sample.memory is not None
        # Every receipt is exactly what the provider wrote.
        if sample.billed is not None:
            assert (sample.billed.unbilled, sample.billed.tokens_wrong) == (0, 0)
    ours = [sample for sample in samples if sample.peer == "parshall"]
    assert sum(sample.tokens for sample in ours) > 0
    assert sum(sample.billed.requests for sample in ours if sample.billed is not None) > 0

    assert (out / "table.md").read_text() in done.stdout
    page = (out / "report.html").read_text()
    (out / "report.html").unlink()
    again = bench("report", out)
    assert (again.exit_code, (out / "report.html").read_text()) == (0, page)

    compared = bench("compare", out, out)
    assert compared.exit_code == 0, compared.output
    assert "0 slower, 0 faster" in compared.stdout

    refused = bench("run", tiny, "--peer", "parshall", "--out", out, *home)
    assert refused.exit_code == 2
    assert f"parshall bench report {out}" in refused.stderr.replace("\n", " ")


@pytest.mark.long
def test_what_was_measured_before_ctrl_c_is_reported(tiny: Path, tmp_path: Path) -> None:
    tiny.write_text(TINY.replace("repeats = 4", "repeats = 99").replace("max = 4", "max = 99"))
    parshall = Path(sys.executable).parent / "parshall"
    where: list[str | Path] = ["--out", tmp_path / "out", "--home", tmp_path / "home"]
    with subprocess.Popen(
        [parshall, "bench", "run", tiny, "--peer", "direct", "--noisy", *where],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stderr is not None
        while "round 3" not in process.stderr.readline():
            assert process.poll() is None
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        _, said = process.communicate(timeout=30)
    assert process.returncode == 0, said
    assert "ended before all was measured" in said
    assert "Traceback" not in said
    _, samples = read_run(tmp_path / "out")
    assert [sample.repeat for sample in samples][:2] == [0, 1]
    assert (tmp_path / "out" / "report.html").exists()
    assert session_of(process.pid) == ()


# -- what there is ------------------------------------------------------------------------------


def test_the_scenarios_there_are_the_default_ones_first() -> None:
    listed = json.loads(bench("scenarios", "--json").stdout)
    defaults = [row["name"] for row in listed if row["default"]]
    assert defaults == [row["name"] for row in listed][:5]
    assert set(defaults) == {"unary", "paced", "open-streams", "cancel-storm", "mixed"}
    assert "paced streams" in bench("scenarios").stdout


def test_a_scenario_is_shown_as_a_file_to_begin_with(tmp_path: Path) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text(bench("scenarios", "paced").stdout)
    shown = bench("scenarios", mine)
    assert (shown.exit_code, shown.stdout) == (0, mine.read_text())


def test_the_peers_there_are_and_whether_they_are_installed(tmp_path: Path) -> None:
    listed = json.loads(bench("peers", "--json", "--home", tmp_path).stdout)
    installed = {row["name"]: row["installed"] for row in listed}
    assert {"direct", "nginx", "parshall", "litellm", "portkey", "smg"} <= installed.keys()
    assert installed["direct"]
    assert installed["parshall"]
    assert not installed["smg"]
    assert "bills every request durably" in bench("peers", "--home", tmp_path).stdout


# -- what is refused ----------------------------------------------------------------------------


def test_an_unknown_scenario_is_told_which_there_are() -> None:
    close, far = bench("scenarios", "pacd"), bench("scenarios", "zzz")
    assert (close.exit_code, far.exit_code) == (3, 3)
    assert "did you mean 'paced'?" in close.stderr
    assert "cancel-storm" in far.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["pacd"], 3, "did you mean 'paced'?"),
        (["--peer", "smg"], 1, "`parshall bench peers install smg` does it"),
        (["--peer", "zzz"], 1, "there is no peer 'zzz'; there are direct, nginx"),
        (["--peer", "a=http://192.0.2.1"], 1, "--allow-remote loads others"),
        (["paced", "paced"], 2, "'paced' is named twice"),
        (["--peer", "a=http://127.0.0.1:1", "--peer", "a=http://127.0.0.1:2"], 2, "'a' is named"),
        (["--budget", "soon"], 2, "'soon' is no time: 90s, 20m or 1.5h"),
        (["--repeats", "0"], 2, "0 is not in the range 1<=x<=100"),
    ],
)
def test_what_a_run_cannot_do_is_said_with_what_to_do(
    arguments: list[str], code: int, said: str, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    refused = bench("run", *arguments, "--out", out, "--home", tmp_path / "home")
    assert refused.exit_code == code, refused.output
    assert said in refused.stderr
    assert not out.exists()


def test_what_no_run_has_written_is_not_reported(tmp_path: Path) -> None:
    for refused in (bench("report", tmp_path), bench("compare", tmp_path, tmp_path)):
        assert refused.exit_code == 1
        assert "raw.jsonl: cannot be read" in refused.stderr


@pytest.mark.parametrize("command", ["run", "compare", "report", "peers", "scenarios"])
def test_help_teaches_by_examples(command: str) -> None:
    shown = bench(command, "--help").stdout
    assert f"parshall bench {command}" in shown.partition("Examples:")[2]
