"""Groups as rows: each goes by the least of the statements that write all of it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from engine.ledger import AttemptRow, CostLine, ProgressEntry
from engine.ledger.entries import Attempted, Ended, Entry, Extended, Opened, Progressed
from engine.ledger.groups import VIEWS, GroupRows
from engine.ledger.records import IdempotencyKey
from engine.ledger.transfers import settlement
from tests.engine.ledger.samples import completed, opening

_OPENED = Opened("req_1", "acct_1", 10, opening(), 0)
_ATTEMPTED = Attempted("req_1", AttemptRow(1, "sim", "sim-openai", 0))
_KEYED = Opened("req_1", "acct_1", 10, opening(), 0, IdempotencyKey("k", "d", False))
_TRANSFERS = settlement(
    "acct_1",
    "req_1",
    posted_nanodollars=7,
    overrun_nanodollars=0,
    costs=[CostLine("sim", 5)],
    reason="completed",
)
_ENDED = Ended("req_1", "posted", 7, _TRANSFERS, completed(opening()), 0)
_VOIDED = Ended("req_1", "voided", 0, (), completed(opening()), 0)
_PROGRESS = Progressed((ProgressEntry("req_1", {}, 0, 0, 0),), 0)


@pytest.mark.parametrize(
    ("entries", "view"),
    [
        ([_OPENED], "opening_groups"),
        ([_OPENED, _ATTEMPTED, Extended("req_1", 5, 0)], "opening_groups"),
        ([_ENDED], "usual_groups"),
        ([_OPENED, _ATTEMPTED, _VOIDED], "usual_groups"),
        ([_KEYED], "journal_groups"),
        ([_OPENED, _PROGRESS], "journal_groups"),
    ],
)
def test_what_a_group_goes_by(entries: Sequence[Entry], view: str) -> None:
    rows = GroupRows(1, 1)
    for seq, entry in enumerate(entries):
        rows.add(seq, entry)
    sql, parameters = rows.statement(1, 1, 0)
    assert sql.split()[:3] == ["INSERT", "INTO", view]
    assert sql.count("?") == len(parameters) == len(VIEWS[view]) + 4


def test_the_last_one_writes_whatever_there_is() -> None:
    *narrower, widest = VIEWS.values()
    assert all(set(tables) < set(widest) for tables in narrower)
    for tables in narrower:  # parents before children
        assert sorted(tables, key=widest.index) == list(tables)
