"""The audit finds whatever is planted in the file."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from engine.errors import UnavailableError
from engine.ledger import AttemptRow, CostLine, audit_database, open_ledger
from engine.ledger.audit import INVARIANTS
from tests.engine.ledger.samples import (
    completed,
    funded_ledger,
    opening,
    raw_database,
    settings_for,
    won,
)

POSTINGS = "the postings of a transfer sum to zero"
ORPHANS = "a posting belongs to a transfer and an account"
REPLAY = "a stored balance is the replay of the postings"
ZERO = "all balances together are zero"
AVAILABLE = "available = balance − open holds is never negative"
ONCE = "a hold begins once and ends at most once"
EPOCHS = "no hold of an earlier epoch is open"
FOUND = "recovery would find every open hold"
JOBS = "a job is open exactly as long as its hold"
TAKEN = "what was charged for a video or music has succeeded, by whom it was taken"
POSTED = "0 ≤ posted ≤ hold"
EXPIRED = "what expired was billed as recovered"
REFUNDS = "refunds go to who was charged, and are at most the charge"
RECONCILED = "a reconciliation moves only between the house's cost and a provider"
WHY = "a correction has a reason and a reference"
CHARGE = "a request has at most one charge, and it is what the hold posted"
RECEIPT = "an ended hold has a receipt or is archived, of its account, with the posted price"
ARCHIVES = "the archives have all receipts up to their end, each once"
ATTEMPTS = "every attempt of a receipt has a row, and every row is of a receipt"
COSTS = "a receipt costs what its attempts cost, and its price is no more than theirs"
WINS = "one attempt wins at most, and those that write on or answer a part"
TOKENS = "delivered ≤ received, and what was counted is billed between them"
SPENDING = "what a key has spent in a day is the replay of its charges and refunds"
USED = "what an account has used in a day comes to what it has spent, and to its requests"
UNITS = "units are used in days, by keys and of models that were used"
FILES = "a file is of a customer, and was not removed"
NOTICES = "a notice is to be sent, or has ended once"
REJECTED = "no record was refused by the database"
REFERENCES = "every reference between tables is met"
SOUND = "the file is sound"

CORRUPTIONS: list[tuple[str, set[str]]] = [
    ("UPDATE postings SET amount = amount + 1 WHERE transfer_id = 1", {POSTINGS, REPLAY}),
    ("DELETE FROM postings WHERE transfer_id = 1", {POSTINGS, REPLAY}),
    ("DELETE FROM transfers WHERE kind = 'cost'", {ORPHANS, REFERENCES}),
    ("UPDATE balances SET amount = amount + 1 WHERE account_id = 'house:cost'", {REPLAY, ZERO}),
    ("DELETE FROM balances WHERE account_id = 'house:cost'", {REPLAY, ZERO}),
    ("UPDATE hold_records SET amount = 10000000000 WHERE request_id = 'req_open'", {AVAILABLE}),
    (
        "INSERT INTO hold_records VALUES (901, 'req_1', 'posted', 0, 0)",
        {ONCE, USED},
    ),
    ("DELETE FROM hold_records WHERE request_id = 'req_open'", {ONCE}),
    ("INSERT INTO hold_records VALUES (902, 'req_1', 'held', 1, 0)", {ONCE}),
    ("UPDATE holds SET epoch = 0 WHERE request_id = 'req_open'", {EPOCHS}),
    ("UPDATE meta SET value = 1000 WHERE name = 'open_from'", {FOUND}),
    (
        "UPDATE hold_records SET amount = 1001 WHERE request_id = 'req_1' AND kind = 'posted'",
        {POSTED, CHARGE, RECEIPT},
    ),
    (
        "UPDATE hold_records SET kind = 'expired' WHERE request_id = 'req_1' AND kind = 'posted'",
        {EXPIRED},
    ),
    (
        (
            "INSERT INTO transfers VALUES (903, 'charge', 'req_1', NULL, NULL, 0);"
            "INSERT INTO postings SELECT 903, account_id, amount FROM postings"
            " JOIN transfers USING (transfer_id) WHERE request_id = 'req_1' AND kind = 'charge'"
            " AND transfer_id < 900"
        ),
        {REPLAY, CHARGE, SPENDING},
    ),
    ("UPDATE transfers SET request_id = 'req_2' WHERE kind = 'charge'", {CHARGE}),
    (
        (
            "INSERT INTO transfers VALUES (905, 'refund', 'req_1', 'too much', 'r-1', 0);"
            "INSERT INTO postings SELECT 905, account_id, 701 FROM holds WHERE seq = 1;"
            "INSERT INTO postings VALUES (905, 'house:revenue', -701)"
        ),
        {REPLAY, REFUNDS, SPENDING},
    ),
    (
        (
            "INSERT INTO transfers VALUES (906, 'refund', 'req_1', 'astray', 'r-2', 0);"
            "INSERT INTO postings VALUES (906, 'house:cost', 1), (906, 'house:revenue', -1)"
        ),
        {REPLAY, REFUNDS},
    ),
    (
        (
            "INSERT INTO transfers VALUES (908, 'reconciliation', NULL, 'why', 'r-4', 0);"
            "INSERT INTO postings VALUES (908, 'house:cost', 1), (908, 'house:revenue', -1)"
        ),
        {REPLAY, RECONCILED},
    ),
    (
        (
            "PRAGMA ignore_check_constraints = ON;"
            "INSERT INTO transfers VALUES (907, 'adjustment', NULL, '', 'r-3', 0);"
            "INSERT INTO postings VALUES (907, 'house:cost', 1), (907, 'house:revenue', -1)"
        ),
        {REPLAY, WHY},
    ),
    ("DELETE FROM receipts WHERE request_id = 'req_1'", {RECEIPT}),
    ("UPDATE receipts SET account_id = 'house:cost' WHERE request_id = 'req_1'", {RECEIPT}),
    (
        (
            "UPDATE receipts SET body = json_set(body, '$.price.nanodollars', 1)"
            " WHERE request_id = 'req_1'"
        ),
        {RECEIPT},
    ),
    (
        (
            "ALTER TABLE receipts DROP COLUMN key_id;"
            "ALTER TABLE receipts DROP COLUMN model;"
            "ALTER TABLE receipts DROP COLUMN outcome;"
            "ALTER TABLE receipts DROP COLUMN created_at;"
            "UPDATE receipts SET body = 'x' WHERE request_id = 'req_1'"
        ),
        {RECEIPT, ATTEMPTS, COSTS, WINS, TOKENS},
    ),
    ("UPDATE receipts SET body = '{}' WHERE request_id = 'req_1'", {RECEIPT, ATTEMPTS}),
    ("UPDATE meta SET value = 1000 WHERE name = 'archived_to'", {ARCHIVES}),
    (
        (
            "INSERT INTO archives SELECT 1, 'x', 'x', min(seq), max(seq), 3, 0 FROM receipts;"
            "UPDATE meta SET value = (SELECT max(seq) FROM receipts) WHERE name = 'archived_to'"
        ),
        {ARCHIVES},
    ),
    (
        (
            "INSERT INTO archives SELECT 1, 'x', 'x', max(seq), max(seq), 1, 0 FROM receipts;"
            "UPDATE meta SET value = (SELECT max(seq) FROM receipts) WHERE name = 'archived_to'"
        ),
        {ARCHIVES},
    ),
    ("DELETE FROM attempts", {ATTEMPTS, TAKEN}),
    (
        (
            "UPDATE receipts SET body = json_set(body, '$.attempts[0].cost.nanodollars', 99)"
            " WHERE request_id = 'req_1'"
        ),
        {COSTS},
    ),
    (
        (
            "UPDATE receipts SET body = json_set(body, '$.attempts[0].price.nanodollars', 699)"
            " WHERE request_id = 'req_1'"
        ),
        {COSTS},
    ),
    (
        (
            "UPDATE receipts SET body = json_set(body, '$.attempts[#]',"
            " json_object('number', 2, 'provider', 'sim', 'role', 'retry', 'won', json('true')))"
            " WHERE request_id = 'req_1';"
            "INSERT INTO attempts VALUES ('req_1', 2, 'sim', 'sim-openai', 0, 'retry', '')"
        ),
        {WINS},
    ),
    ("INSERT INTO attempts VALUES ('req_1', 2, 'sim', 'sim-openai', 0, 'first', '')", {ATTEMPTS}),
    (
        (
            "UPDATE receipts SET body = json_set(body, '$.delivered_output_tokens', 21)"
            " WHERE request_id = 'req_1'"
        ),
        {TOKENS},
    ),
    (
        (
            "UPDATE receipts SET body = json_set(body, '$.usage.output_tokens', 21)"
            " WHERE request_id = 'req_2'"
        ),
        {TOKENS},
    ),
    ("UPDATE spending SET amount = amount + 1", {SPENDING, USED}),
    ("UPDATE spending SET day = day + 1", {SPENDING, USED}),
    ("UPDATE spending SET key_id = ''", {SPENDING}),
    ("DELETE FROM spending", {SPENDING, USED}),
    ("UPDATE usage_days SET charged = charged + 1", {USED}),
    ("UPDATE usage_days SET refunded = 1", {USED}),
    ("UPDATE usage_days SET requests = requests - 1", {USED}),
    ("UPDATE usage_days SET day = day + 1", {USED}),
    ("DELETE FROM usage_days", {USED}),
    (
        "INSERT INTO usage_units SELECT account_id, 7, key_id, model, 'images', 1 FROM usage_days",
        {UNITS},
    ),
    ("UPDATE files SET account_id = 'house:cost'", {FILES}),
    ("INSERT INTO removed_files SELECT file_id, account_id, seq, 0 FROM files", {FILES}),
    ("INSERT INTO notices VALUES ('msg_1', 'account.overrun', 'a', '{}', 0)", {NOTICES}),
    (
        (
            "INSERT INTO notices VALUES ('msg_1', 'account.overrun', 'a', '{}', 0);"
            "INSERT INTO pending_notices VALUES ('msg_1', 0, 0);"
            "INSERT INTO notice_ends VALUES ('msg_1', 'delivered', 0)"
        ),
        {NOTICES},
    ),
    ("INSERT INTO rejected VALUES (904, 'Ended', '{}', 'IntegrityError', 0)", {REJECTED}),
    ("INSERT INTO open_jobs VALUES ('job_1', 1, NULL)", {JOBS}),
    ("UPDATE job_records SET closed = 0", {JOBS, TAKEN}),
    ("DELETE FROM job_acceptances", {TAKEN}),
    ("UPDATE job_acceptances SET provider = 'other'", {TAKEN}),
    ("UPDATE job_records SET state = 'failed'", {TAKEN}),
    ("INSERT INTO attempts VALUES ('req_none', 1, 'sim', 'm', 0, 'first', '')", {REFERENCES}),
]


_JOB = """
INSERT INTO jobs SELECT 1, 'job_1', request_id, account_id, NULL, 'video', 'openai_videos', 'film',
    0, 1, '{}', 0, NULL FROM holds WHERE request_id = 'req_1';
INSERT INTO job_acceptances VALUES ('job_1', 1, 'sim', 'sim-openai', '', 'prov_1', '{}', 0, '{}');
INSERT INTO job_records VALUES (1, 'job_1', 'succeeded', 0, NULL, '[]', '{}', 1, '[]');
"""
"""What was charged was a job."""

_FILE = """
INSERT INTO files SELECT 1, 'a_file', account_id, NULL, 'a', 'batch', 'text/plain', 0,
    printf('%064d', 0), 0, NULL, 'upload', NULL FROM holds WHERE request_id = 'req_1';
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A sound database: a charge, a client that left, an open hold; then without its guards."""
    path = tmp_path / "ledger.db"

    async def prepare() -> None:
        async with funded_ledger(path) as (ledger, account_id):
            begun = opening("req_1", account_id)
            hold = ledger.hold(account_id, "req_1", 1_000, begun)
            ledger.attempt(hold, AttemptRow(1, "sim", "sim-openai", 0))
            ledger.settle(
                hold,
                posted_nanodollars=700,
                overrun_nanodollars=3,
                costs=[CostLine("sim", 100)],
                receipt=completed(begun, won(703, 100)),
            )
            begun = opening("req_2", account_id)
            hold = ledger.hold(account_id, "req_2", 1_000, begun)
            left = completed(begun).replace(outcome="client_left", provenance="counted")
            ledger.settle(hold, posted_nanodollars=0, overrun_nanodollars=0, costs=[], receipt=left)
            ledger.hold(account_id, "req_open", 5, opening("req_open", account_id))
            assert all(finding.ok for finding in await ledger.audit())

    trio.run(prepare)
    with raw_database(path) as connection:
        connection.executescript(_JOB + _FILE)
        guards = connection.execute(
            "SELECT type, name FROM sqlite_schema WHERE type = 'trigger'"
            " OR (type = 'index' AND (sql LIKE 'CREATE UNIQUE%' OR name LIKE 'receipts_by_%'))"
        ).fetchall()
        for kind, name in guards:
            connection.execute(f"DROP {kind} {name}")
    return path


def broken(path: Path) -> set[str]:
    return {finding.name for finding in audit_database(path, epoch=1) if not finding.ok}


@pytest.mark.parametrize(("corruption", "names"), CORRUPTIONS)
def test_a_planted_corruption_is_found(path: Path, corruption: str, names: set[str]) -> None:
    assert broken(path) == set()
    with raw_database(path) as connection:
        connection.executescript(corruption)
    assert broken(path) == names


def test_every_invariant_has_its_corruption() -> None:
    planted = set().union(*(names for _, names in CORRUPTIONS))
    assert planted | {SOUND} == {invariant.name for invariant in INVARIANTS}


def test_a_damaged_file_is_found(path: Path) -> None:
    with raw_database(path) as connection:
        (page,) = connection.execute(
            "SELECT rootpage FROM sqlite_schema WHERE name = 'hold_records_by_request'"
        ).fetchone()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (size,) = connection.execute("PRAGMA page_size").fetchone()
    with path.open("r+b") as file:
        file.seek((page - 1) * size + 8)
        file.write(b"\x00" * 8)
    assert SOUND in broken(path)


def test_without_an_owner_no_hold_may_be_open(path: Path) -> None:
    found = {finding.name for finding in audit_database(path) if not finding.ok}
    assert found == {EPOCHS}


def test_a_finding_says_how_much_was_checked_and_what_is_wrong(path: Path) -> None:
    with raw_database(path) as connection:
        connection.execute("UPDATE balances SET amount = 7 WHERE account_id = 'house:cost'")
    findings = {finding.name: finding for finding in audit_database(path, epoch=1)}
    assert findings[REPLAY].detail == "1 broken: house:cost"
    assert findings[REPLAY].figure == 7
    assert findings[POSTINGS].figure == 4
    assert findings[POSTINGS].detail == ""


async def test_books_that_differ_from_the_database_are_found(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    async with open_ledger(settings_for(path)) as ledger:
        account = await ledger.create_account("demo")
        await ledger.fund(account.account_id, 100, "first")
        with raw_database(path) as connection:
            connection.execute("UPDATE balances SET amount = 99 WHERE amount = 100")
        last = (await ledger.audit())[-1]
        assert last.name == "the books in memory equal the stored balances"
        assert not last.ok
        assert last.detail == account.account_id


def test_a_missing_database_cannot_be_audited(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError):
        audit_database(tmp_path / "none.db")
