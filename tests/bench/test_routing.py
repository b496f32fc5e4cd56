"""The labelled prompts, what `auto` makes of them, and the figures of the report."""

from __future__ import annotations

import sys
from collections import Counter
from decimal import Decimal
from pathlib import Path

import orjson
import pytest

from bench.routing.__main__ import CONFIG, main, report_of
from bench.routing.prompts import LabelledPrompt, PromptError, read_prompts
from bench.routing.report import OUTPUT_TOKENS, Cost, Report, Routed, markdown, summarise
from engine import parse_config


@pytest.fixture(scope="module")
def report() -> Report:
    return report_of(parse_config(CONFIG, "test", {}), read_prompts())


def test_there_are_as_many_prompts_of_each_level_and_kind() -> None:
    prompts = read_prompts()
    counts = Counter((prompt.level, prompt.kind) for prompt in prompts)
    assert len(prompts) == 240
    assert set(counts.values()) == {16}


def test_hard_prompts_go_to_a_strong_model_and_easy_ones_to_a_weak_one(report: Report) -> None:
    assert report.hard_to_strong >= 0.9, markdown(report)
    assert report.easy_to_weak >= 0.8, markdown(report)
    assert report.models.keys() == {"gpt-5-nano", "gpt-5-mini", "gpt-5"}
    assert 0.2 < report.saved < 0.9
    assert report.good


def test_a_prompt_is_a_request_with_all_that_its_line_says() -> None:
    prompt = LabelledPrompt(
        "hard", "tools", "Say.", tools=2, schema=True, document_words=9, turns=3, reasoning="high"
    )
    body = prompt.body("m")
    assert [message["role"] for message in body["messages"]] == ["user", "assistant", "user"]
    assert len(body["messages"][-1]["content"].split()) == 1 + 9
    assert len(body["tools"]) == 2
    assert body["response_format"]["type"] == "json_schema"
    assert body["reasoning_effort"] == "high"
    assert body == prompt.body("m")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('{"level": "hard"}', "line 1: .*kind"),
        ('{"level": "huge", "kind": "k", "prompt": "p"}', "line 1: there is no level 'huge'"),
        ("nothing", "line 1: "),
        ('{"level": "easy", "kind": "k", "prompt": "p"}\n' * 2, "is there twice"),
    ],
)
def test_a_line_that_is_none_is_refused(tmp_path: Path, line: str, says: str) -> None:
    path = tmp_path / "prompts.jsonl"
    path.write_text(line)
    with pytest.raises(PromptError, match=says):
        read_prompts(path)


def test_the_figures_by_hand() -> None:
    strong, weak = Cost(Decimal(1), Decimal(10)), Cost(Decimal("0.1"), Decimal(1))
    assert strong.of(1_000_000, 100_000) == 2

    def routed(label: str, level: str, kind: str, cost: Cost) -> Routed:
        return Routed(
            label=label,  # type: ignore[arg-type]
            level=level,  # type: ignore[arg-type]
            kind=kind,
            score=0,
            model="strong" if cost is strong else "weak",
            usd=cost.of(1_000_000, 0),
            reference_usd=strong.of(1_000_000, 0),
        )

    found = summarise(
        [
            routed("hard", "hard", "a", strong),
            routed("hard", "easy", "b", weak),
            routed("easy", "easy", "a", weak),
            routed("easy", "easy", "b", weak),
        ]
    )
    assert (found.hard_to_strong, found.easy_to_weak) == (0.5, 1.0)
    assert found.saved == pytest.approx(1 - 1.3 / 4)
    assert found.confusion["hard"] == {"easy": 1, "medium": 0, "hard": 1}
    assert found.by_kind == {"a": (1.0, 1.0), "b": (0.0, 1.0)}
    assert found.models == {"strong": 1, "weak": 3}
    assert not found.good
    assert "| hard | 1 | 0 | 1 |" in markdown(found)
    assert OUTPUT_TOKENS.keys() == found.confusion.keys()


def test_the_program_prints_tables_or_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    few = tmp_path / "prompts.jsonl"
    few.write_text(
        '{"level": "hard", "kind": "k", "prompt": "Say hello."}\n'
        '{"level": "easy", "kind": "k", "prompt": "Say it."}\n'
    )
    printed = []
    for options in ((), ("--json",)):
        monkeypatch.setattr(sys, "argv", ["bench.routing", "--prompts", str(few), *options])
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 1, "the hard one goes to a weak model"
        printed.append(capsys.readouterr().out)
    assert "| gpt-5-nano | 2 |" in printed[0]
    assert orjson.loads(printed[1])["hard_to_strong"] == 0
