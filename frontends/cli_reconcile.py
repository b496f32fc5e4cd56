"""Providers' bills against the receipts, on the command line."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from frontends.cli_admin import database_options, existing_database, run
from frontends.cli_output import EXAMPLES, FAILED, Json, explain, fail, print_result

if TYPE_CHECKING:
    from engine.reconcile.compare import Item
    from engine.reconcile.lines import Report
    from engine.reconcile.reconcile import Reconciliation

FILE_MAX_BYTES = 256 * 1024 * 1024
POSTED_MAX_BYTES = 48 * 1024
"""Of the lines of one command: it has to fit the control socket's request."""


@click.command("reconcile", epilog=EXAMPLES["reconcile"])
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--provider", required=True, help="Whose report it is, as the receipts name it.")
@click.option("--post", is_flag=True, help="Post the differences as transfers.")
@click.option("--all", "everything", is_flag=True, help="Show also what agrees.")
@database_options
def reconcile(
    file: Path,
    provider: str,
    post: bool,
    everything: bool,
    db: Path | None,
    config_path: Path | None,
    as_json: bool,
) -> None:
    """Compare a provider's report in FILE with what the receipts say its attempts cost.

    FILE is what OpenAI's costs or usage, or Anthropic's cost_report or usage_report answer (buckets
    of a day, all pages, one after the other), or CSV with columns such as date, model, amount_usd,
    input_tokens, output_tokens, request_id. Days are UTC's, and compared as wholes: leave the day
    that goes on out. Snapshots (gpt-5-2025-08-07) count as the model they are of.

    --post moves each difference between the house's cost and the provider's account, once: a file
    posted again posts what has changed since. A day is posted by requests, by models or as a whole,
    not by two of them. Exit code 1 if something differs and was not posted.
    """
    from engine.reconcile.lines import ReportError
    from engine.reconcile.reconcile import lines_to_post
    from engine.reconcile.reconcile import reconcile as compared

    with explain():
        database = existing_database(db, config_path)
        data = _read(file)
        posted = unposted = 0
        try:
            report = _report(data)
            result = compared(database, provider, report)
        except ReportError as error:
            fail(f"{file}: {error}", FAILED)
        if post:
            _check_postable(file, report, result)
            lines = lines_to_post(result, file.name, hashlib.sha256(data).hexdigest())
            for part in _parts([asdict(line) for line in lines]):
                done = run(db, config_path, "ledger.reconcile", provider=provider, lines=part)
                posted += done["posted"]
            unposted = len(lines) - posted
    items = result.items if everything else result.differing
    _show(items, result, report, posted=posted, as_json=as_json)
    if unposted:
        fail(f"{unposted} differences were posted by somebody else meanwhile: run it again", FAILED)
    if result.differing and not post:
        hint = "; --post posts the differences" if report.has_amounts else ""
        fail(f"{len(result.differing)} of {len(result.items)} items differ{hint}", FAILED)


def _parts(lines: list[dict[str, Json]]) -> Iterator[list[dict[str, Json]]]:
    """The lines, as many at a time as one command takes. A line is of 24 KiB at most."""
    part: list[dict[str, Json]] = []
    size_bytes = 0
    for line in lines:
        line_bytes = len(json.dumps(line))
        if part and size_bytes + line_bytes > POSTED_MAX_BYTES:
            yield part
            part, size_bytes = [], 0
        part.append(line)
        size_bytes += line_bytes + len(", ")
    if part:
        yield part


def _read(file: Path) -> bytes:
    if file.stat().st_size > FILE_MAX_BYTES:
        fail(f"{file} is larger than {FILE_MAX_BYTES:,} bytes", FAILED)
    return file.read_bytes()


def _report(data: bytes) -> Report:
    from engine.reconcile.lines import ReportError
    from engine.reconcile.readers import read_report

    try:
        return read_report(data.decode())
    except UnicodeDecodeError:
        raise ReportError("it is not UTF-8 text") from None


def _check_postable(file: Path, report: Report, result: Reconciliation) -> None:
    if not report.has_amounts:
        fail(f"{file} has no amounts: nothing to post", FAILED)
    if result.conflicts:
        days = ", ".join(result.conflicts[:5])
        fail(
            f"{days}: posted before from a report that told models apart differently; "
            "posting this one would count twice",
            FAILED,
        )


def _show(
    items: list[Item], result: Reconciliation, report: Report, *, posted: int, as_json: bool
) -> None:
    rows = [_row(item, report) for item in items]
    if as_json:
        print_result({"items": rows, **_totals(result), "posted": posted}, as_json=True)
        return
    print_result(rows, as_json=False)
    click.echo()
    print_result({**_totals(result), "posted": posted}, as_json=False)


def _row(item: Item, report: Report) -> Json:
    from engine.ledger.receipts import money_json

    grouping, day, name = item.key
    ours, theirs = item.ours, item.theirs
    row: dict[str, Json] = {
        "day": day or None,
        "model": name if grouping == "model" and name else None,
        "provider_request_id": name if grouping == "request" and name else None,
        "attempts": ours.requests,
    }
    if report.has_amounts:
        row["ours"] = money_json(ours.amount_nanodollars)
        row["theirs"] = money_json(theirs.amount_nanodollars)
        row["difference"] = money_json(item.difference_nanodollars)
    if report.has_tokens:
        row["our_input_tokens"], row["their_input_tokens"] = ours.input_tokens, theirs.input_tokens
        row["our_output_tokens"] = ours.output_tokens
        row["their_output_tokens"] = theirs.output_tokens
    return row


def _totals(result: Reconciliation) -> Json:
    from engine.ledger.receipts import money_json

    ours = sum(item.ours.amount_nanodollars for item in result.items)
    theirs = sum(item.theirs.amount_nanodollars for item in result.items)
    return {
        "compared": len(result.items),
        "differing": len(result.differing),
        "ours": money_json(ours),
        "theirs": money_json(theirs),
        "difference": money_json(theirs - ours),
    }
