"""Bills are joined with what the provider wrote by the tag of each request."""

from __future__ import annotations

from typing import Any

from bench.suite.billing import (
    billed_by_receipts,
    compare_bills,
    provider_ids,
    written_by_tag,
)
from bench.suite.model import Billing


def truth(tag: str | None, name: str, written: int) -> dict[str, Any]:
    return {"tag": tag, "provider_request_id": name, "tokens_written": written}


def receipt(tokens: int, *names: str | None) -> dict[str, Any]:
    attempts = [{"provider_request_id": name} for name in names]
    return {"attempts": attempts, "usage": {"output_tokens": tokens}}


RECORDS = [truth("a", "req_1", 10), truth("b", "req_2", 0), truth("b", "req_3", 7)]
OTHERS = [truth(None, "req_4", 100), truth("z", "req_5", 100)]


def test_attempts_of_one_request_are_one() -> None:
    assert written_by_tag([*RECORDS, *OTHERS], ["a", "b"]) == {"a": 10, "b": 7}


def test_receipts_are_found_by_any_attempt() -> None:
    receipts = [receipt(10, "req_1"), receipt(8, None, "req_3"), receipt(100, "req_5"), receipt(0)]
    tag_of = provider_ids([*RECORDS, *OTHERS], ["a", "b"])
    assert tag_of == {"req_1": "a", "req_2": "b", "req_3": "b"}
    assert billed_by_receipts(receipts, tag_of) == {"a": 10, "b": 8}


def test_errors_do_not_cancel_out() -> None:
    bills = compare_bills({"a": 10, "b": 7, "c": 5}, {"a": 12, "b": 5})
    assert bills == Billing(
        requests=3,
        unbilled=1,
        tokens_written=22,
        tokens_billed=17,
        tokens_wrong=9,
        worst_tokens=5,
    )


def test_what_nobody_wrote_is_billed_wrongly() -> None:
    assert compare_bills({}, {"a": 3}) == Billing(0, 0, 0, 3, 3, 3)
