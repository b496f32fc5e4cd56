"""Scenarios are data: those that come with the program are sound, and a mistake is named."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from bench.suite.model import Arrivals, Closed, Constant, Leaves, LogNormal, Traffic
from bench.suite.scenarios import (
    DEFAULTS,
    digest_of,
    find_scenario,
    load_scenario,
    parse_scenario,
    scenario_names,
)
from engine.errors import ConfigError

GOOD = """\
# What it measures,
# and what it does not.
# ---

title = "a title"
kind = "streams"
figures = ["cpu_us_per_token", "errors_share"]
warm_s = 0
measure_s = 2.5
repeats = 4
repeats_max = 8

[arrivals]
process = "poisson"
rate_per_s = 12.5

[[traffic]]
share = 0.25
tokens = 7

[[traffic]]
share = 0.75
tokens = { median = 80, sigma = 1.0, max = 600 }
tokens_per_second = 20
first_token_ms = [0, 1000]
leaves = { share = 0.5 }
"""


def test_a_file_becomes_a_scenario() -> None:
    scenario = parse_scenario(GOOD, "/tmp/good.toml")

    assert (scenario.name, scenario.about) == (
        "good",
        "What it measures, and what it does not. ---",
    )
    assert scenario.arrivals == Arrivals("poisson", 12.5)
    assert scenario.traffic == (
        Traffic(share=0.25, tokens=Constant(7)),
        Traffic(
            share=0.75,
            tokens=LogNormal(80.0, 1.0, 600),
            tokens_per_second=20.0,
            first_token_ms=(0.0, 1000.0),
            leaves=Leaves(0.5),
        ),
    )
    assert (scenario.warm_s, scenario.measure_s, scenario.seed) == (0.0, 2.5, 1)


@pytest.mark.parametrize("name", scenario_names())
def test_every_scenario_of_the_program_is_read(name: str) -> None:
    scenario = find_scenario(name)
    assert scenario.name == name
    assert len(scenario.about) > 100, "a head comment says what is measured and what is not"
    assert scenario.repeats >= 4, "fewer rounds have no interval"


def test_the_default_ones_come_first_and_none_twice() -> None:
    names = scenario_names()
    assert names[: len(DEFAULTS)] == DEFAULTS
    assert {"direct", "burst", "long-prompts", "cross-protocol", "slow-readers"} < set(names)
    assert {"faults", "sustained", "soak"} < set(names)
    digests = {find_scenario(name).digest for name in names}
    assert len(digests) == len(names) == len(set(names))


def test_unary_has_a_second_window() -> None:
    assert find_scenario("unary").closed == Closed(clients=32, measure_s=2.0)


def test_a_path_names_a_file_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(GOOD)
    assert find_scenario(str(path)) == load_scenario(path)
    assert load_scenario(path).name == "mine"


def test_the_digest_is_of_what_is_measured() -> None:
    scenario = parse_scenario(GOOD, "a.toml")
    other = parse_scenario(GOOD.replace("What it", "All it"), "b.toml")
    assert scenario.digest == other.digest == digest_of(scenario)
    assert digest_of(dataclasses.replace(scenario, measure_s=3.0)) != scenario.digest
    assert parse_scenario(GOOD.replace("tokens = 7", "tokens = 8"), "a").digest != scenario.digest


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("title =", "titel =", "x.toml:5: titel is unknown; did you mean 'title'?"),
        ('"streams"', '"stream"', "x.toml:6: kind must be 'unary' or 'streams'"),
        ("errors_share", "errors", "x.toml:7: figures must be 'cpu_us_per_token' or"),
        ("measure_s = 2.5", "measure_s = 0", "x.toml:9: measure_s must be more than 0, not 0"),
        ("repeats = 4", "repeats = 9", "x.toml:11: repeats_max must be at least 'repeats'"),
        ('"poisson"', '"together"', "x.toml:15: arrivals.rate_per_s is needed, and more than 0, u"),
        ("rate_per_s = 12.5", "", "x.toml:13: arrivals.rate_per_s is needed, and more than 0, u"),
        ("share = 0.25", "share = 0.5", "x.toml:17: traffic has shares that add up to 1.25"),
        ("share = 0.75", "share = 75", "x.toml:22: traffic.share is a part of the whole"),
        ("tokens = 7", "tokens = 7.5", "x.toml:19: traffic.tokens must be a number or {"),
        ("tokens = 7", "stream = false", "x.toml:17: traffic.tokens is needed where stream"),
        ("tokens = 7", "", "x.toml:13: arrivals.count_max must say how many streams are opened"),
        ("max = 600", "max = 9999999", "x.toml:23: traffic.tokens is at most 1000000, not 9999999"),
        ("max = 600", "most = 600", "x.toml:23: traffic.tokens.most is unknown"),
        ("[0, 1000]", "[1000, 0]", "x.toml:25: traffic.first_token_ms must be two numbers"),
        ("[0, 1000]", "[1000]", "x.toml:25: traffic.first_token_ms must be two numbers"),
        ("{ share = 0.5 }", "{ share = 2 }", "x.toml:26: traffic.leaves has a share of more than"),
        ("tokens = 7", 'tokens = 7\ndirectives = "falt=rst"', "did you mean 'fault'?"),
        ("tokens = 7", 'tokens = 7\ndirectives = "tag=x"', "x.toml:20: traffic.directives sets 't"),
        ("[[traffic]]", "[traffic]", "x.toml:17: traffic is needed: at least one table"),
        ("kind =", "steps = [4, 2]\nkind =", "x.toml:6: steps is unknown where kind = 'streams'"),
        ("errors_share", "requests_per_s", "x.toml:7: figures asks for 'requests_per_s', which ne"),
        ("errors_share", "cpu_us_per_token", "x.toml:7: figures names 'cpu_us_per_token' twice"),
        ("[arrivals]", "[probe]\nrate_per_s = 1\ntokens = 3\nmeasure_s = 2\n[arrivals]", ":13: p"),
        ("[arrivals]", "[bound]\nlateness_p99_ms = 50\n[arrivals]", "x.toml:13: bound is needed"),
        ("title =", "title", "x.toml: not valid TOML"),
    ],
)
def test_a_mistake_is_named_with_its_line(old: str, new: str, says: str) -> None:
    assert old in GOOD
    if new == "[traffic]":
        text = GOOD.partition("\n[[traffic]]\nshare = 0.75")[0].replace(old, new)
    else:
        text = GOOD.replace(old, new, 1)
    with pytest.raises(ConfigError) as caught:
        parse_scenario(text, "x.toml")
    assert says in str(caught.value)


STEPPED = GOOD.replace('"streams"', '"memory"\nsteps = [50, 100]').replace("tokens = 7\n", "")


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("steps = [50, 100]\n", "", "x.toml: steps is needed where kind = 'memory'"),
        ("[50, 100]", "[100, 50]", "x.toml:7: steps must be rising"),
        ("[50, 100]", "[0, 50]", "x.toml:7: steps must be rising"),
        ("[50, 100]", "[50, 10001]", "x.toml:7: steps must be rising numbers of streams, from 1"),
        ("share = 0.25", "share = 0.25\ntokens = 7", "x.toml:7: steps counts streams that last"),
    ],
)
def test_steps_rise(old: str, new: str, says: str) -> None:
    assert parse_scenario(STEPPED, "x.toml").steps == (50, 100)
    with pytest.raises(ConfigError, match=re.escape(says)):
        parse_scenario(STEPPED.replace(old, new), "x.toml")


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no scenario 'pacd'; did you mean 'paced'\?"):
        find_scenario("pacd")
    with pytest.raises(ConfigError, match=r"gone\.toml: cannot be read: No such file"):
        find_scenario(str(tmp_path / "gone.toml"))
    (tmp_path / "bytes.toml").write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="not UTF-8"):
        find_scenario(str(tmp_path / "bytes.toml"))
