"""What a run leaves beside its raw samples."""

from __future__ import annotations

import json
from pathlib import Path

from bench.report.files import render_json, write_report
from bench.report.markdown import render_markdown
from tests.bench.report.synthetic import SCENARIOS, run


def test_a_report_is_three_files_and_is_replaced_by_the_next(tmp_path: Path) -> None:
    report, samples = run()
    (tmp_path / "table.md").write_text("of an earlier run")
    written = write_report(tmp_path, report, iter(samples))
    assert [path.name for path in written] == ["report.json", "report.html", "table.md"]
    assert sorted(tmp_path.iterdir()) == sorted(written)
    page, table = (path.read_text(encoding="utf-8") for path in written[1:])
    assert page.startswith("<!DOCTYPE html>")
    assert page.endswith("</html>\n")
    assert table == render_markdown(report, samples)


def test_other_programs_read_the_rows() -> None:
    document = json.loads(render_json(run()[0]))
    assert document["samples"] == "raw.jsonl"
    assert list(document["header"]["titles"]) == list(SCENARIOS)
    by_place = {
        (row["scenario"], row["peer"], row["figure"], row["rate_max"]): row["interval"]
        for row in document["rows"]
    }
    assert by_place["paced", "parshall", "cpu_us_per_token", 0.0]["middle"] == 50.3
    assert by_place["mixed", "litellm", "cpu_us_per_token", 400.0] is None
    assert by_place["cancel-storm", "portkey", "cancel_p50_ms", 0.0]["middle"] is None
