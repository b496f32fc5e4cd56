"""Reports of providers as lines: every shape they come in, and what is refused."""

from __future__ import annotations

import json
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.admin.organization import UsageCompletionsResponse, UsageCostsResponse

from engine.reconcile.lines import ReportError, ReportLine, nanodollars
from engine.reconcile.readers import read_report

DAY_S = 86_400
MAY_1_S = 1_777_593_600  # 2026-05-01T00:00:00Z
MAY_1 = date(2026, 5, 1)
MAY_2 = date(2026, 5, 2)


def openai_page(*buckets: list[dict[str, Any]], has_more: bool = False) -> dict[str, Any]:
    """Buckets of a day each, from the first of May on."""
    return {
        "object": "page",
        "data": [
            {
                "object": "bucket",
                "start_time": MAY_1_S + number * DAY_S,
                "end_time": MAY_1_S + (number + 1) * DAY_S,
                "results": results,
            }
            for number, results in enumerate(buckets)
        ],
        "has_more": has_more,
        "next_page": "page_2" if has_more else None,
    }


def openai_cost(value: float | str, line_item: str | None = None) -> dict[str, Any]:
    amount = {"value": value, "currency": "usd"}
    return {"object": "organization.costs.result", "amount": amount, "line_item": line_item}


def anthropic_page(*results: dict[str, Any]) -> dict[str, Any]:
    bucket = {
        "starting_at": "2026-05-01T00:00:00Z",
        "ending_at": "2026-05-02T00:00:00Z",
        "results": list(results),
    }
    return {"data": [bucket], "has_more": False, "next_page": None}


def test_openais_costs() -> None:
    page = openai_page(
        [openai_cost(0.06), openai_cost(0.1, "gpt-5-2025-08-07, input")],
        [openai_cost(1e-7, "web search | gpt-5")],
        [],
    )
    UsageCostsResponse.model_validate(page)  # as the SDK knows it
    report = read_report(json.dumps(page))
    assert report.lines == (
        ReportLine(MAY_1, None, amount_nanodollars=60_000_000),
        ReportLine(MAY_1, "gpt-5-2025-08-07", amount_nanodollars=100_000_000),
        ReportLine(MAY_2, None, amount_nanodollars=100),
    )
    assert report.days == {MAY_1, MAY_2, date(2026, 5, 3)}
    assert (report.has_amounts, report.has_tokens) == (True, False)


def test_openais_usage() -> None:
    result = {
        "object": "organization.usage.completions.result",
        "input_tokens": 1_000,
        "output_tokens": 500,
        "input_cached_tokens": 800,
        "num_model_requests": 5,
        "model": "gpt-5-2025-08-07",
    }
    page = openai_page([result])
    UsageCompletionsResponse.model_validate(page)
    report = read_report(json.dumps(page))
    assert report.lines == (
        ReportLine(MAY_1, "gpt-5-2025-08-07", input_tokens=1_000, output_tokens=500),
    )
    assert not report.has_amounts


def test_anthropics_costs_are_in_cents() -> None:
    tokens = {
        "currency": "USD",
        "amount": "123.78912",
        "cost_type": "tokens",
        "model": "claude-sonnet-4-20250514",
        "token_type": "uncached_input_tokens",
    }
    search = {"currency": "USD", "amount": "2", "cost_type": "web_search", "model": None}
    report = read_report(json.dumps(anthropic_page(tokens, search)))
    assert report.lines == (
        ReportLine(MAY_1, "claude-sonnet-4-20250514", amount_nanodollars=1_237_891_200),
        ReportLine(MAY_1, None, amount_nanodollars=20_000_000),
    )


def test_anthropics_usage_has_all_input_together() -> None:
    result = {
        "uncached_input_tokens": 1_500,
        "cache_creation": {"ephemeral_1h_input_tokens": 1_000, "ephemeral_5m_input_tokens": 500},
        "cache_read_input_tokens": 200,
        "output_tokens": 500,
        "server_tool_use": {"web_search_requests": 10},
        "model": "claude-sonnet-4-20250514",
    }
    report = read_report(json.dumps(anthropic_page(result)))
    assert report.lines == (
        ReportLine(MAY_1, "claude-sonnet-4-20250514", input_tokens=3_200, output_tokens=500),
    )


def test_pages_one_after_the_other_are_one_report() -> None:
    first = openai_page([openai_cost(1)], has_more=True)
    last = openai_page([openai_cost(2)])
    for text in (
        json.dumps([first, last]),
        json.dumps(first) + "\n" + json.dumps(last) + "\n",
        "\ufeff" + json.dumps(first, indent=2) + json.dumps(last, indent=2),
    ):
        assert [line.amount_nanodollars for line in read_report(text).lines] == [10**9, 2 * 10**9]
    with pytest.raises(ReportError, match="has_more"):
        read_report(json.dumps(first))


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            "usage_date_utc,model_version,cost_usd\n2026-05-01,claude-4,0.1\n",
            ReportLine(MAY_1, "claude-4", amount_nanodollars=100_000_000),
        ),
        (
            (
                "start_time,start_time_iso,Amount Value,amount_currency,line_item\n"
                '1777593600,2026-05-01T00:00:00+00:00,0.06,usd,"gpt-5, input"\n'
            ),
            ReportLine(MAY_1, "gpt-5", amount_nanodollars=60_000_000),
        ),
        (
            "timestamp,prompt_tokens,completion_tokens\n1777593600,9,20\n\n",
            ReportLine(MAY_1, input_tokens=9, output_tokens=20),
        ),
        (
            "generation_id,cost,created_at\ngen-1,$0.000123,2026-05-01 23:59:59\n",
            ReportLine(MAY_1, request_id="gen-1", amount_nanodollars=123_000),
        ),
        (
            "Request ID,Amount\nreq_1,-0.5\n",
            ReportLine(None, request_id="req_1", amount_nanodollars=-500_000_000),
        ),
        (
            "date,amount\n20260501,2\n",
            ReportLine(MAY_1, amount_nanodollars=2_000_000_000),
        ),
        (
            "date,amount,input tokens\n2026-05-01T22:00:00-04:00,,7\n",
            ReportLine(MAY_2, input_tokens=7),
        ),
    ],
)
def test_a_table_by_its_headers(text: str, line: ReportLine) -> None:
    assert read_report(text).lines == (line,)


def test_the_days_between_are_of_a_table_too() -> None:
    report = read_report("date,amount\n2026-05-03,1\n2026-05-01,1\n")
    assert report.days == {MAY_1, MAY_2, date(2026, 5, 3)}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        ("{", "not JSON"),
        ('{"error": {"message": "no"}}', "no 'data' with buckets"),
        ('{"data": [{"results": []}]}', "no start, end and results"),
        ('{"data": [7]}', "no start, end and results"),
        (json.dumps(anthropic_page({"model": "x"})), "neither an amount nor tokens"),
        (json.dumps(anthropic_page({"amount": "1", "currency": "EUR"})), "costs are in US dollars"),
        (json.dumps(anthropic_page({"amount": "NaN"})), "not an amount"),
        (json.dumps(anthropic_page({"amount": "1e99"})), "not an amount that a line can have"),
        (json.dumps(anthropic_page({"input_tokens": -1})), "not a count"),
        (json.dumps(anthropic_page({"input_tokens": 1.5})), "not a count"),
        ("a,b\n1,2\n", "no column says the day or the request; there are: a, b"),
        ("date,b\n1,2\n", "no column has amounts or tokens"),
        ("date,amount\n2026-05-01\n", "line 2 has too few columns"),
        ("date,amount\n05/01/2026,1\n", "line 2: Invalid isoformat"),
        ("[]", "the file has no pages"),
        ("[" * 100_000, "not JSON that can be read"),
        ('{"data": [' + "9" * 5_000 + "]}", "not JSON that can be read"),
        (json.dumps(anthropic_page({"amount": "1e999999999"})), "not an amount"),
        (json.dumps(anthropic_page({"input_tokens": "1e999999999"})), "not a count"),
        (json.dumps(anthropic_page({"input_tokens": 1, "model": 5})), "'model' that is no name"),
        (json.dumps([anthropic_page({"amount": "1"})] * 2), "a page is in the file twice"),
        ('{"data": [{"start_time": 1e99, "end_time": 1}]}', "no start, end and results"),
        ("date,amount\n99999999999999999999999,1\n", "line 2: timestamp out of range"),
        ("date,amount\n2026-05-01,1\n1970-05-01,1\n", "from 1970-05-01 to 2026-05-01"),
        ("date,amount\n2026-05-01,1\n2026-05-01,x\n", "line 3: 'x' is not an amount"),
        ("date,amount,currency\n2026-05-01,1,eur\n", "line 2: amounts in 'eur'"),
        ('date,amount\n2026-05-01,"1\n', "not CSV"),
    ],
)
def test_what_is_no_report(text: str, message: str) -> None:
    with pytest.raises(ReportError, match=message):
        read_report(text)


def test_buckets_of_more_than_a_day_are_refused() -> None:
    page = openai_page([openai_cost(1)])
    page["data"][0]["end_time"] += DAY_S
    with pytest.raises(ReportError, match="bucket_width=1d"):
        read_report(json.dumps(page))


@given(st.integers(-(10**16), 10**16))
def test_amounts_are_exact(amount: int) -> None:
    text = f"{'-' if amount < 0 else ''}{abs(amount) // 10**9}.{abs(amount) % 10**9:09d}"
    assert nanodollars(text) == amount
    page = json.dumps(openai_page([openai_cost(0)])).replace('"value": 0', f'"value": {text}')
    [line] = read_report(page).lines
    assert line.amount_nanodollars == amount


def test_a_float_is_never_an_amount() -> None:
    with pytest.raises(ReportError, match="read as a float"):
        nanodollars(0.1)
