"""Reads the reports of providers: buckets of JSON as OpenAI's and Anthropic's APIs answer, and CSV.

Sources: OpenAI `GET /v1/organization/costs` (amounts in dollars) and `/v1/organization/usage/…`;
Anthropic `GET /v1/organizations/cost_report` (amounts in cents, as decimal strings) and
`/v1/organizations/usage_report/messages`; what their consoles export as CSV.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from engine.reconcile.lines import (
    Report,
    ReportError,
    ReportLine,
    check_currency,
    nanodollars,
    tokens,
)

Json = Any

_ALIASES: Mapping[str, tuple[str, ...]] = {
    "day": (
        "date", "day", "usage_date", "usage_date_utc", "start_time_iso", "start_time",
        "starting_at", "timestamp", "created_at",
    ),
    "model": ("model", "model_version", "model_name", "upstream_model", "snapshot_id"),
    "item": ("line_item",),
    "request_id": ("provider_request_id", "request_id", "x_request_id", "generation_id"),
    "amount": (
        "amount_usd", "cost_usd", "amount_value", "amount", "cost", "total_cost", "cost_in_usd",
    ),
    "currency": ("currency", "amount_currency"),
    "input_tokens": (
        "input_tokens", "prompt_tokens", "n_context_tokens_total", "tokens_prompt",
    ),
    "output_tokens": (
        "output_tokens", "completion_tokens", "n_generated_tokens_total", "tokens_completion",
    ),
}  # fmt: skip
"""A column's names in CSV files, lower case with `_` between words, the surest first."""

_ANTHROPIC_INPUT = ("uncached_input_tokens", "cache_read_input_tokens")
_DAY = timedelta(days=1)
_SPAN_MAX = timedelta(days=3_660)
_CENTS = 100


def read_report(text: str) -> Report:
    """Read a file's text.

    Raises:
        ReportError: it is no report, or a part of one, or not in US dollars.
    """
    stripped = text.lstrip("\ufeff \t\r\n")
    if not stripped:
        raise ReportError("the file is empty")
    if stripped[0] in "{[":
        return _read_buckets(_pages(stripped))
    return _read_table(stripped)


def _pages(text: str) -> list[Json]:
    """The answers in a file: one, a list of them, or one after the other."""
    decoder = json.JSONDecoder(parse_float=Decimal)
    pages: list[Json] = []
    position = 0
    try:
        while position < len(text):
            value, position = decoder.raw_decode(text, position)
            pages += value if isinstance(value, list) else [value]
            position += len(text[position:]) - len(text[position:].lstrip())
    except (ValueError, RecursionError) as error:
        raise ReportError(f"the file is not JSON that can be read: {error}") from None
    return pages


def _read_buckets(pages: Sequence[Json]) -> Report:
    lines: list[ReportLine] = []
    days: set[date] = set()
    seen: list[Json] = []
    for page in pages:
        if not isinstance(page, dict) or not isinstance(page.get("data"), list):
            raise ReportError("the file has no 'data' with buckets: is it a costs or usage report?")
        before = len(lines)
        for bucket in page["data"]:
            day = _bucket_day(bucket)
            days.add(day)
            lines += [_result_line(day, result) for result in bucket["results"]]
        if len(lines) > before and page["data"] in seen:
            raise ReportError("a page is in the file twice, and would count twice")
        seen.append(page["data"])
    if not pages:
        raise ReportError("the file has no pages")
    if pages[-1].get("has_more"):
        raise ReportError("the report goes on (has_more): append its next pages to the file")
    return Report(tuple(lines), frozenset(days))


def _bucket_day(bucket: Json) -> date:
    try:
        begins = _moment(bucket.get("start_time") or bucket["starting_at"])
        ends = _moment(bucket.get("end_time") or bucket["ending_at"])
        if not isinstance(bucket["results"], list):
            raise TypeError
    except (ArithmeticError, AttributeError, KeyError, OSError, TypeError, ValueError):
        raise ReportError("a bucket has no start, end and results") from None
    if ends - begins > _DAY:
        raise ReportError("the buckets are longer than a day: ask for bucket_width=1d")
    return begins.date()


def _moment(value: object) -> datetime:
    if isinstance(value, int | Decimal) and not isinstance(value, bool):
        return datetime.fromtimestamp(int(value), UTC)
    moment = datetime.fromisoformat(str(value))
    return moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)


def _result_line(day: date, result: Json) -> ReportLine:
    match result:
        case {"amount": {"value": value, **amount}}:  # OpenAI's costs
            check_currency(amount.get("currency"))
            model = _model_of_item(result.get("line_item"))
            return ReportLine(day, model, amount_nanodollars=nanodollars(value))
        case {"amount": str(value)}:  # Anthropic's cost report
            check_currency(result.get("currency"))
            amount_nanodollars = nanodollars(value, per_usd=_CENTS)
            return ReportLine(day, _model(result), amount_nanodollars=amount_nanodollars)
        case {"uncached_input_tokens": _}:  # Anthropic's usage report
            creation = result.get("cache_creation")
            written = creation.values() if isinstance(creation, dict) else ()
            read = [result.get(name) or 0 for name in _ANTHROPIC_INPUT]
            return ReportLine(
                day,
                _model(result),
                input_tokens=sum(tokens(count) for count in (*written, *read)),
                output_tokens=tokens(result.get("output_tokens") or 0),
            )
        case {"input_tokens": count}:  # OpenAI's usage
            output = tokens(result.get("output_tokens") or 0)
            return ReportLine(day, _model(result), input_tokens=tokens(count), output_tokens=output)
        case _:
            raise ReportError("a bucket has a result with neither an amount nor tokens")


def _model(result: Mapping[str, Json]) -> str | None:
    model = result.get("model")
    if model is not None and not isinstance(model, str):
        raise ReportError("a result has a 'model' that is no name")
    return model


def _model_of_item(item: object) -> str | None:
    """`gpt-5-2025-08-07, input` is of a model; `web search` is not."""
    model, comma, _ = str(item or "").partition(", ")
    return model if comma else None


def _read_table(text: str) -> Report:
    table = csv.reader(io.StringIO(text), strict=True)
    try:
        header = next(table)
        columns = _columns(header)
        lines = list(_table_lines(table, columns))
    except csv.Error as error:
        raise ReportError(f"the file is not CSV: {error}") from None
    days = {line.day for line in lines if line.day is not None}
    if not days:
        return Report(tuple(lines), frozenset())
    first, last = min(days), max(days)
    if last - first > _SPAN_MAX:
        raise ReportError(f"the file goes from {first} to {last}: are these days?")
    every = {first + number * _DAY for number in range((last - first).days + 1)}
    return Report(tuple(lines), frozenset(every))


def _columns(header: Sequence[str]) -> dict[str, int]:
    names = [re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_") for name in header]
    columns = {
        field: next(names.index(alias) for alias in aliases if alias in names)
        for field, aliases in _ALIASES.items()
        if not set(aliases).isdisjoint(names)
    }
    if "day" not in columns and "request_id" not in columns:
        raise ReportError(f"no column says the day or the request; there are: {', '.join(header)}")
    if columns.keys().isdisjoint({"amount", "input_tokens", "output_tokens"}):
        raise ReportError(f"no column has amounts or tokens; there are: {', '.join(header)}")
    return columns


def _table_lines(table: Iterator[list[str]], columns: Mapping[str, int]) -> Iterator[ReportLine]:
    for number, row in enumerate(table, 2):
        if not any(row):
            continue
        try:
            cells = {field: row[index].strip() for field, index in columns.items()}
            yield _table_line(cells)
        except IndexError:
            raise ReportError(f"line {number} has too few columns") from None
        except (ReportError, ArithmeticError, OSError, ValueError) as error:
            raise ReportError(f"line {number}: {error}") from None


def _day(text: str) -> date:
    """Of a day, a time, or seconds since 1970. Eight digits are a day: 20260501."""
    return _moment(int(text) if text.isdecimal() and len(text) != len("YYYYMMDD") else text).date()


def _table_line(cells: Mapping[str, str]) -> ReportLine:
    check_currency(cells.get("currency"))
    day, amount = cells.get("day"), cells.get("amount")
    input_tokens, output_tokens = cells.get("input_tokens"), cells.get("output_tokens")
    return ReportLine(
        day=_day(day) if day else None,
        model=cells.get("model") or _model_of_item(cells.get("item")),
        request_id=cells.get("request_id") or None,
        amount_nanodollars=nanodollars(amount) if amount else None,
        input_tokens=tokens(input_tokens) if input_tokens else None,
        output_tokens=tokens(output_tokens) if output_tokens else None,
    )
