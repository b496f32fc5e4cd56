"""An operator's brand in the names of the gateway's own headers, and in nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine import ConfigError, parse_config
from frontends.branding import branded
from frontends.headers import answer_headers
from tests.frontends.apps import open_front

HEADERS = [
    (b"x-parshall-cost", b"0.1"),
    (b"X-Parshall-Savings", b"-0.2"),
    (b"x-model-used", b"x-parshall-model"),
    (b"x-parshal", b"1"),
]


@pytest.mark.parametrize("brand", ["KairosRoute", "kairosroute"])
def test_own_headers_are_renamed_and_no_others(brand: str) -> None:
    assert branded(HEADERS, brand) == [
        (b"x-kairosroute-cost", b"0.1"),
        (b"x-kairosroute-savings", b"-0.2"),
        (b"x-model-used", b"x-parshall-model"),
        (b"x-parshal", b"1"),
    ]


@pytest.mark.parametrize("brand", ["Parshall", "parshall"])
def test_our_own_brand_changes_nothing(brand: str) -> None:
    assert branded(HEADERS, brand) == HEADERS


def test_only_what_may_pass_is_renamed() -> None:
    passed = answer_headers([*HEADERS, (b"x-internal", b"1")], "http", "Acme-1")
    names = {name for name, _ in passed}
    assert {b"x-acme-1-cost", b"x-acme-1-savings", b"x-model-used"} <= names
    assert not names & {b"x-internal", b"x-parshal", b"x-parshall-cost"}


@pytest.mark.parametrize("brand", ["", "a b", "ä", "x-", "-x", "a\\r\\nb", "a" * 33, "a--b"])
def test_a_brand_that_no_header_can_carry_is_refused(brand: str) -> None:
    with pytest.raises(ConfigError, match=r"t\.toml:2.*header_brand.*letters, digits"):
        parse_config(f'[server]\nheader_brand = "{brand}"\n', "t.toml", {})


@pytest.mark.parametrize("stream", [False, True])
async def test_clients_see_the_brand(tmp_path: Path, stream: bool) -> None:
    message = {"role": "user", "content": "#sim tokens=2\nHello"}
    body = {"model": "sim-openai", "messages": [message], "stream": stream}
    async with open_front(tmp_path, server='header_brand = "KairosRoute"') as front:
        answer = await front.client.post("/v1/chat/completions", json=body)
    assert answer.status_code == 200
    assert ("x-kairosroute-cost" in answer.headers) is not stream
    assert not [name for name in answer.headers if "parshall" in name]
    assert answer.headers["x-request-id"].startswith("req_")
