"""What was billed, request by request, against what the provider's truth log says it wrote.

Requests are joined by the tag that each asks the provider to keep. A gateway of ours is asked for
its receipts, which name the provider's own id of a request. Of others nothing is known but the
usage that their clients were told, and so nothing of clients that left before it came.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from contextlib import closing
from http.client import HTTPConnection
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from bench.suite.model import Billing

_PAGE: Final = 200
_PAGES_MAX: Final = 500
_SETTLED_S: Final = 5.0
_PAUSE_S: Final = 0.05
_ANSWER_S: Final = 30.0

Truth = Iterable[Mapping[str, Any]]
"""Records of a truth log, as `GET /_truth` shows them."""


class BillingError(Exception):
    """The receipts cannot be had; the message says why."""


def compare_bills(written: Mapping[str, int], billed: Mapping[str, int]) -> Billing:
    """Tokens by tag: what the provider wrote, and what was billed; a tag without a bill has none.

    A bill for what nobody wrote is wrong by all of it.
    """
    wrong = [abs(billed.get(tag, 0) - written.get(tag, 0)) for tag in written.keys() | billed]
    return Billing(
        requests=len(written),
        unbilled=len(written.keys() - billed),
        tokens_written=sum(written.values()),
        tokens_billed=sum(billed.values()),
        tokens_wrong=sum(wrong),
        worst_tokens=max(wrong, default=0),
    )


def written_by_tag(truth: Truth, tags: Iterable[str]) -> dict[str, int]:
    """Output tokens that the provider wrote for these requests, all attempts of one together."""
    wanted = set(tags)
    written: dict[str, int] = {}
    for record in truth:
        tag = record["tag"]
        if tag in wanted:
            written[tag] = written.get(tag, 0) + record["tokens_written"]
    return written


def provider_ids(truth: Truth, tags: Iterable[str]) -> dict[str, str]:
    """The provider's own id of each attempt of these requests → the request's tag."""
    wanted = set(tags)
    return {
        record["provider_request_id"]: record["tag"] for record in truth if record["tag"] in wanted
    }


def billed_by_receipts(
    receipts: Iterable[Mapping[str, Any]], tag_of: Mapping[str, str]
) -> dict[str, int]:
    """Output tokens by tag, of the receipts that name one of the provider's ids; see above."""
    billed: dict[str, int] = {}
    for receipt in receipts:
        if (tag := _tag(receipt, tag_of)) is not None:
            billed[tag] = billed.get(tag, 0) + receipt["usage"].get("output_tokens", 0)
    return billed


def fetch_receipts(
    base_url: str, headers: Iterable[tuple[str, str]], since: str, tag_of: Mapping[str, str]
) -> list[dict[str, Any]]:
    """The receipts that name one of the provider's ids, from a moment on (RFC 3339), once they are
    settled; those that are not after `_SETTLED_S` are given as they are.

    Raises:
        OSError, HTTPException: it does not answer.
        BillingError: it answers something else.
    """
    until_s = time.monotonic() + _SETTLED_S
    while True:
        found = _all_pages(base_url, dict(headers), since)
        receipts = [receipt for receipt in found if _tag(receipt, tag_of) is not None]
        if all(receipt["state"] == "settled" for receipt in receipts):
            return receipts
        if time.monotonic() > until_s:
            return receipts
        time.sleep(_PAUSE_S)


def _tag(receipt: Mapping[str, Any], tag_of: Mapping[str, str]) -> str | None:
    names = (attempt["provider_request_id"] for attempt in receipt["attempts"])
    return next((tag_of[name] for name in names if name in tag_of), None)


def _all_pages(base_url: str, headers: dict[str, str], since: str) -> list[dict[str, Any]]:
    receipts: list[dict[str, Any]] = []
    query = {"from": since, "limit": str(_PAGE)}
    with closing(HTTPConnection(urlsplit(base_url).netloc, timeout=_ANSWER_S)) as connection:
        for _ in range(_PAGES_MAX):
            connection.request("GET", f"/v1/receipts?{urlencode(query)}", headers=headers)
            response = connection.getresponse()
            body = response.read()
            if response.status != 200:
                raise BillingError(f"receipts: status {response.status}")
            page = json.loads(body)
            receipts += page["data"]
            if not page["has_more"]:
                return receipts
            query["cursor"] = page["next_cursor"]
    raise BillingError(f"there are more than {_PAGE * _PAGES_MAX:,} receipts")
