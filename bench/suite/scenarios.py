"""Scenarios from TOML: those in `bench/scenarios`, and files of the user's own."""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from decimal import Decimal
from importlib.resources import files
from importlib.resources.abc import Traversable
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import orjson

from bench.simulate.directives import TOKENS_MAX, DirectiveError, Directives, parse_directives
from bench.suite.figures import Figure
from bench.suite.records import to_json
from bench.suite.scenario import Constant, LogNormal, Scenario, Traffic
from engine.errors import ConfigError
from engine.toml import TableReader

DEFAULTS: Final = ("unary", "paced", "open-streams", "cancel-storm", "mixed")
"""What is run when no scenario is named."""

PLANNED: Final = frozenset({"tokens", "tokens_per_second", "first_token_ms", "tag"})
"""Directives that the plan sets itself, request by request."""

_SUFFIX: Final = ".toml"
_TABLE: Final = re.compile(r"\s*\[")
_TRAFFIC: Final = re.compile(r"\s*\[\[\s*traffic\s*\]\]")


def scenario_names() -> tuple[str, ...]:
    """Of all scenarios that come with the program, the default ones first."""
    found = {path.name.removesuffix(_SUFFIX) for path in _shipped().iterdir() if _is_toml(path)}
    return (*DEFAULTS, *sorted(found.difference(DEFAULTS)))


def find_scenario(name: str) -> Scenario:
    """One that comes with the program, by its name, or a file's, by a path that ends in .toml.

    Raises:
        ConfigError: there is none of that name, or the file is not one.
    """
    return load_scenario(_path_of(name))


def scenario_text(name: str) -> str:
    """The file of one, as TOML. Raises as `find_scenario`."""
    return _read(_path_of(name))


def _path_of(name: str) -> Traversable:
    if name.endswith(_SUFFIX):
        return Path(name)
    known = scenario_names()
    if name not in known:
        raise ConfigError(f"there is no scenario '{name}'{TableReader.suggestion(name, known)}")
    return _shipped() / f"{name}{_SUFFIX}"


def load_scenario(path: Traversable) -> Scenario:
    """Read a file.

    Raises:
        ConfigError: it cannot be read, or is no scenario; the message names the line.
    """
    return parse_scenario(_read(path), str(path))


def _read(path: Traversable) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: cannot be read: it is not UTF-8 text") from None


def parse_scenario(text: str, where: str) -> Scenario:
    """Read TOML text; errors call it `where`, whose stem is the name. Raises as `load_scenario`."""
    try:
        document: dict[str, Any] = tomllib.loads(text, parse_float=Decimal)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{where}: not valid TOML: {error}") from None
    reader = _reader(text, where)
    tables = document.get("traffic")
    if not (isinstance(tables, list) and tables and all(isinstance(t, dict) for t in tables)):
        raise reader.error(("traffic",), "is needed: at least one table [[traffic]]")
    traffic = tuple(_read_traffic(text, where, number, row) for number, row in enumerate(tables))
    # The reader sees one empty table in place of all, which have been read.
    scenario = replace(reader.read(Scenario, {**document, "traffic": [{}]}, ()), traffic=traffic)
    for keys, problem in _faults(scenario):
        raise reader.error(keys, problem)
    return replace(
        scenario,
        name=Path(where).name.removesuffix(_SUFFIX),
        about=_head_comment(text),
        digest=digest_of(scenario),
    )


_NOT_MEASURED = frozenset({"name", "about", "digest", "repeats", "repeats_max"})
"""Fields that change nothing of what one round measures."""


def digest_of(scenario: Scenario) -> str:
    """Twelve hexadecimal digits of all that decides what is measured; comments do not."""
    said = {each.name: to_json(getattr(scenario, each.name)) for each in fields(scenario)}
    measured = {name: said[name] for name in said if name not in _NOT_MEASURED}
    return hashlib.sha256(orjson.dumps(measured, option=orjson.OPT_SORT_KEYS)).hexdigest()[:12]


def _shipped() -> Traversable:
    return files("bench") / "scenarios"


def _is_toml(path: Traversable) -> bool:
    return path.name.endswith(_SUFFIX)


def _reader(text: str, where: str) -> TableReader:
    return TableReader(text, where, {}, secrets=())


def _head_comment(text: str) -> str:
    """The lines of `#` at the top, joined as one paragraph."""
    lines = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.lstrip("#").strip())
    return " ".join(lines)


# -- traffic ------------------------------------------------------------------------------------


def _read_traffic(text: str, where: str, number: int, table: Mapping[str, Any]) -> Traffic:
    reader = _reader(_only_traffic(text, number), where)
    keys = ("traffic",)
    tokens = table.get("tokens")
    plain = {key: value for key, value in table.items() if key != "tokens"}
    traffic = reader.read(Traffic, plain, keys)
    match tokens:
        case None:
            pass
        case dict():
            traffic = replace(traffic, tokens=reader.read(LogNormal, tokens, (*keys, "tokens")))
        case int() if not isinstance(tokens, bool):
            constant = reader.read(Constant, {"tokens": tokens}, keys)
            traffic = replace(traffic, tokens=constant)
        case _:
            raise reader.error((*keys, "tokens"), "must be a number or { median, sigma, max }")
    for key, problem in _traffic_faults(traffic):
        raise reader.error((*keys, key), problem)
    return traffic


def _only_traffic(text: str, number: int) -> str:
    """The text with every line blank but those of one `[[traffic]]`, so that errors name its own.

    The reader of tables knows one line for a key, the first that has it.
    """
    at, kept, lines = -1, False, []
    for line in text.splitlines():
        if _TRAFFIC.match(line):
            at += 1
            kept = at == number
        elif _TABLE.match(line):
            kept = False
        lines.append(line if kept else "")
    return "\n".join(lines)


def _traffic_faults(traffic: Traffic) -> Iterator[tuple[str, str]]:
    if traffic.share > 1:
        yield "share", "is a part of the whole: at most 1"
    if traffic.tokens is None and not traffic.stream:
        yield "tokens", "is needed where stream = false: an answer that lasts has to be a stream"
    if (longest := _longest(traffic)) > TOKENS_MAX:
        yield "tokens", f"is at most {TOKENS_MAX}, not {longest}"
    delays: Sequence[float] = traffic.first_token_ms
    if len(delays) != 2 or not 0 <= delays[0] <= delays[1]:
        yield "first_token_ms", "must be two numbers, the least and the greatest delay: [0, 1000]"
    if traffic.leaves is not None and traffic.leaves.share > 1:
        yield "leaves", "has a share of more than 1"
    try:
        parse_directives(traffic.directives, Directives())
    except DirectiveError as error:
        yield "directives", f"is not understood: {error}"
    for word in traffic.directives.split():
        if (name := word.partition("=")[0]) in PLANNED:
            yield (
                "directives",
                f"sets '{name}', which the plan sets itself: leave it out",
            )


def _longest(traffic: Traffic) -> int:
    match traffic.tokens:
        case Constant(tokens):
            return tokens
        case LogNormal(max=greatest):
            return greatest
    return 0


# -- what does not go together ------------------------------------------------------------------


def _faults(scenario: Scenario) -> Iterator[tuple[tuple[str, ...], str]]:
    arrivals, steps = scenario.arrivals, scenario.steps
    total = sum(traffic.share for traffic in scenario.traffic)
    if abs(total - 1) > 1e-6:
        yield ("traffic",), f"has shares that add up to {total:g}: they must add up to 1"
    if (arrivals.process == "together") != (arrivals.rate_per_s == 0):
        yield (
            ("arrivals", "rate_per_s"),
            "is needed, and more than 0, unless process = 'together', which has none",
        )
    stepped = scenario.kind in {"memory", "sustained"}
    if stepped != bool(steps):
        yield (
            ("steps",),
            f"is {'needed' if stepped else 'unknown'} where kind = '{scenario.kind}'",
        )
    rising = all(low < high for low, high in pairwise((0, *steps, LASTING_MAX + 1)))
    if not rising:
        yield ("steps",), f"must be rising numbers of streams, from 1 to {LASTING_MAX}"
    lasting = any(traffic.tokens is None for traffic in scenario.traffic)
    if stepped and not lasting:
        yield ("steps",), "counts streams that last: leave out 'tokens' in [[traffic]]"
    if lasting and not stepped and arrivals.count_max > LASTING_MAX:
        yield (
            ("arrivals", "count_max"),
            f"must say how many streams are opened, at most {LASTING_MAX}, since they last",
        )
    if scenario.probe is not None and not lasting:
        yield ("probe",), "runs beside streams that last: leave out 'tokens' in [[traffic]]"
    if (scenario.bound is not None) != (scenario.kind == "sustained"):
        yield ("bound",), "is needed where kind = 'sustained', and only there"
    if scenario.repeats_max < scenario.repeats:
        yield ("repeats_max",), "must be at least 'repeats'"
    for figure in scenario.figures:
        for begins, what, has in _NEEDS:
            if figure.startswith(begins) and not has(scenario):
                yield ("figures",), f"asks for '{figure}', which needs {what}"
    if repeated := _repeated(scenario.figures):
        yield ("figures",), f"names '{repeated}' twice"


LASTING_MAX: Final = 10_000
"""Streams that are open at once, of one load process: file descriptors end before memory does."""


def _paced(scenario: Scenario) -> bool:
    return any(traffic.stream and traffic.tokens_per_second for traffic in scenario.traffic)


_NEEDS: Final[tuple[tuple[str, str, Callable[[Scenario], bool]], ...]] = (
    ("requests_per_s", "[closed]", lambda it: it.closed is not None),
    ("streams_sustained", "kind = 'sustained'", lambda it: it.kind == "sustained"),
    ("memory_kib_per_stream", "kind = 'memory'", lambda it: it.kind == "memory"),
    (
        "cancel_",
        "traffic that leaves: leaves = { share = 0.4 }",
        lambda it: any(traffic.leaves for traffic in it.traffic),
    ),
    (
        "tokens_after_leaving",
        "traffic that leaves: leaves = { share = 0.4 }",
        lambda it: any(traffic.leaves for traffic in it.traffic),
    ),
    ("lateness_", "streams with tokens_per_second", _paced),
    ("stalls_", "streams with tokens_per_second", _paced),
    (
        "added_latency_",
        "traffic with stream = false",
        lambda it: any(not traffic.stream for traffic in it.traffic),
    ),
)
"""(beginning of a figure's name, what a scenario needs for it, whether it has that)."""


def _repeated(figures: tuple[Figure, ...]) -> Figure | None:
    return next((figure for figure in figures if figures.count(figure) > 1), None)
