"""`#sim` lines: one table parses them and documents them."""

from __future__ import annotations

from dataclasses import fields

import pytest

from bench.simulate import Directives, describe_directives, parse_directives
from bench.simulate.directives import DIRECTIVES, DirectiveError, find_directives

DEFAULTS = Directives()


def test_every_field_has_a_row_and_every_row_a_field() -> None:
    assert [row.name for row in DIRECTIVES] == [field.name for field in fields(Directives)]


def test_help_names_every_directive_with_its_default() -> None:
    text = describe_directives(Directives(tokens=7))
    assert all(f"\n{row.name}=" in f"\n{text}" for row in DIRECTIVES)
    assert "tokens=0…1000000  (default 7)" in text


def test_defaults_parse_back_to_themselves() -> None:
    words = []
    for line in describe_directives().splitlines():
        if not line.startswith(" "):
            name, _, rest = line.partition("=")
            words.append(f"{name}={rest.partition('default ')[2].rstrip(')')}")
    assert parse_directives(" ".join(words), DEFAULTS) == DEFAULTS


def test_reads_values_over_the_defaults() -> None:
    line = "tokens=200 tokens_per_second=50 tokens_per_event=1 first_token_ms=20 cut_after=120"
    got = parse_directives(f"{line} fault=goaway", Directives(tokens_per_event=9, usage="none"))
    assert got == Directives(
        tokens=200,
        tokens_per_second=50.0,
        tokens_per_event=1,
        first_token_ms=20.0,
        cut_after=120,
        fault="goaway",
        usage="none",
    )


def test_none_clears_a_default() -> None:
    assert (
        parse_directives("fault=none status=none", Directives(fault="rst", status=500)) == DEFAULTS
    )


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("tokns=5", "did you mean 'tokens'?"),
        ("zzz=5", "known are tokens"),
        ("tokens", "'tokens' takes 0…1000000, not ''"),
        ("tokens=-1", "not '-1'"),
        ("tokens=1000001", "not '1000001'"),
        ("tokens=5.5", "not '5.5'"),
        ("tokens=1 tokens=2", "given twice"),
        ("tokens_per_event=0", "1…40"),
        ("tokens_per_event=41", "1…40"),
        ("tokens_per_second=nan", "not 'nan'"),
        ("tokens_per_second=inf", "not 'inf'"),
        ("fault=explode", "cut|rst|goaway"),
        ("status=200", "400…599"),
        ("ignore_max_tokens=yes", "0|1"),
        ("first_token_ms=1e9", "0…600000"),
        ("usage=", "normal|none|wrong|always"),
    ],
)
def test_refuses_what_it_does_not_understand(line: str, says: str) -> None:
    with pytest.raises(DirectiveError, match=r"[Dd]irective") as caught:
        parse_directives(line, DEFAULTS)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("message", "found"),
    [
        ("#sim tokens=3\nhello", "tokens=3"),
        ("#sim tokens=3", "tokens=3"),
        ("#sim\nhello", ""),
        ("#sim tokens=3\r\nhello", "tokens=3"),
        ("#similar words", None),
        ("hello\n#sim tokens=3", None),
        (" #sim tokens=3", None),
        ("", None),
    ],
)
def test_only_the_first_line_is_a_directive(message: str, found: str | None) -> None:
    assert find_directives(message) == found
