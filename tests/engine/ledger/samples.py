"""What the ledger's tests start from: receipts, a funded ledger, a database held by another."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path

import trio

from engine.ledger import Attempt, KeyRow, Ledger, LedgerSettings, Receipt, open_ledger
from engine.ledger.changes import Change
from engine.ledger.records import TermsRow

USD = 1_000_000_000
"""A dollar in nanodollars."""


def opening(request_id: str = "req_1", account_id: str = "acct_1") -> Receipt:
    """A receipt as it is when the hold is taken."""
    return Receipt(
        request_id=request_id,
        account_id=account_id,
        key_id="key_1",
        created_at_ms=1_767_323_045_678,
        operation="chat",
        protocol="openai_chat",
        stream=True,
        model="gpt-5",
        rates_picodollars={"input_tokens": 1_250_000, "output_tokens": 10_000_000},
    )


def completed(receipt: Receipt, *attempts: Attempt) -> Receipt:
    """The same exchange once it has ended well."""
    return receipt.replace(
        outcome="completed",
        provenance="reported",
        attempts=attempts,
        usage={"input_tokens": 9, "output_tokens": 20},
        received_output_tokens=20,
        delivered_output_tokens=20,
    )


def won(price_nanodollars: int = 0, cost_nanodollars: int = 0) -> Attempt:
    """The only attempt of an exchange that has ended well."""
    return Attempt(
        1,
        "sim",
        "sim-openai",
        200,
        "completed",
        won=True,
        usage={"input_tokens": 9, "output_tokens": 20},
        price_nanodollars=price_nanodollars,
        cost_nanodollars=cost_nanodollars,
    )


def settings_for(path: Path, **changes: float) -> LedgerSettings:
    """Settings that give up and try again quickly, but stay healthy on a slow machine."""
    bounds = {
        "busy_timeout_s": 0.01,
        "retry_min_s": 0.001,
        "retry_max_s": 0.01,
        "barrier_timeout_s": 60.0,
    }
    return LedgerSettings(path, **(bounds | changes))  # type: ignore[arg-type]


@asynccontextmanager
async def funded_ledger(
    path: Path, amount_nanodollars: int = USD, **changes: float
) -> AsyncIterator[tuple[Ledger, str]]:
    """A ledger with one funded account, and that account's id."""
    async with open_ledger(settings_for(path, **changes)) as ledger:
        account = await ledger.create_account("demo")
        await ledger.fund(account.account_id, amount_nanodollars, "first")
        yield ledger, account.account_id


@contextmanager
def database_locked(path: Path) -> Iterator[None]:
    """Another connection holds the write lock for the block, so that no commit succeeds."""
    with closing(sqlite3.connect(path, isolation_level=None, timeout=10)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        try:
            yield
        finally:
            connection.execute("ROLLBACK")


@contextmanager
def raw_database(path: Path) -> Iterator[sqlite3.Connection]:
    """The file itself, without our rules."""
    with closing(sqlite3.connect(path, isolation_level=None, timeout=10)) as connection:
        yield connection


def replay(path: Path) -> dict[str, int]:
    """Every balance, from nothing but the postings."""
    with raw_database(path) as connection:
        balances = {key: 0 for (key,) in connection.execute("SELECT account_id FROM accounts")}
        for account_id, amount in connection.execute("SELECT account_id, amount FROM postings"):
            balances[account_id] += amount
    return balances


async def wait_until(condition: Callable[[], bool]) -> None:
    """Until what another thread does has made the condition true."""
    with trio.fail_after(30):
        while not condition():  # noqa: ASYNC110 - a thread, not a task, makes it true
            await trio.sleep(0.001)


NARROW = TermsRow(
    "laptop", ("read",), ("gpt-5", "in-house*"), {"requests_per_min": 60}, 2_000_000_000_000
)
"""What a key may do that may do little."""


async def new_key(ledger: Ledger, account_id: str, terms: TermsRow | None = None) -> KeyRow:
    """A key named laptop."""
    return await ledger.create_key(account_id, "laptop", "digest", "sk-parshall-ab", terms)


def followed(ledger: Ledger) -> list[Change]:
    """What a ledger tells from now on."""
    told: list[Change] = []
    ledger.follow(told.append)
    return told
