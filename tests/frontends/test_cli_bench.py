"""`parshall bench` on the command line: what it teaches, what it refuses and what it then says."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner, Result

from frontends.cli import main


def bench(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["bench", *map(str, arguments)])


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


def test_an_unknown_scenario_is_told_which_there_are() -> None:
    close, far = bench("scenarios", "pacd"), bench("scenarios", "zzz")
    assert (close.exit_code, far.exit_code) == (3, 3)
    assert "did you mean 'paced'?" in close.stderr
    assert "cancel-storm" in far.stderr
