"""Administration: one table of commands, run by the command line and by a server for it.

A command takes named plain values and returns JSON. Whoever owns the database runs it: a serving
process for others through its control socket, or the command line itself when nobody serves.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import NoneType
from typing import Any, Protocol

from engine.admission.keys import digest, new_secret, shown_prefix
from engine.errors import ClientError, GatewayError, NotFoundError, UnavailableError
from engine.ledger.ledger import Ledger, open_ledger
from engine.ledger.receipts import format_time, money_json
from engine.ledger.records import AccountView, KeyRow, LedgerSettings

Json = Any
Parameters = Mapping[str, Any]


class Desk(Protocol):
    """Who owns the database: a gateway, or a ledger that was opened alone."""

    @property
    def ledger(self) -> Ledger: ...

    def statistics(self) -> dict[str, Any]: ...

    async def create_key(self, account_id: str, name: str) -> tuple[KeyRow, str]: ...

    async def revoke_key(self, key_id: str) -> KeyRow: ...


@dataclass(frozen=True, slots=True)
class LedgerDesk:
    """A ledger without a gateway."""

    ledger: Ledger

    def statistics(self) -> dict[str, Any]:
        """Refused: nothing serves."""
        raise BadCommandError("Only a running server has connections.")

    async def create_key(self, account_id: str, name: str) -> tuple[KeyRow, str]:
        """A new key and its secret. Raises NotFoundError."""
        secret = new_secret()
        row = await self.ledger.create_key(account_id, name, digest(secret), shown_prefix(secret))
        return row, secret

    async def revoke_key(self, key_id: str) -> KeyRow:
        """Refuse a key from now on. Raises NotFoundError."""
        return await self.ledger.revoke_key(key_id)


@dataclass(frozen=True, slots=True)
class Command:
    """What it does, and the types of its parameters; one that may be None may be left out.

    One that adds to the ledger is refused while the ledger cannot commit: the caller would wait,
    and an order given up on would still be carried out later.
    """

    run: Callable[[Desk, Parameters], Awaitable[Json]]
    parameters: Mapping[str, tuple[type, ...]]
    adds: bool = False


class BadCommandError(ClientError):
    """No such command, or not with these parameters."""

    code = "bad_command"


async def execute(desk: Desk, name: str, parameters: Parameters) -> Json:
    """Run a command.

    Raises:
        GatewayError: refused; `BadCommandError` when it is not one of the table.
    """
    command = COMMANDS.get(name)
    if command is None:
        raise BadCommandError(f"There is no command '{name}'.")
    unknown = parameters.keys() - command.parameters.keys()
    if unknown:
        raise BadCommandError(f"'{name}' takes no '{min(unknown)}'.")
    given = {key: parameters.get(key) for key in command.parameters}
    for key, kinds in command.parameters.items():
        if type(given[key]) not in kinds:
            raise BadCommandError(f"'{key}' of '{name}' has no value it could have.")
    if command.adds and desk.ledger.problem is not None:
        raise UnavailableError(f"Nothing was changed: {desk.ledger.problem}. Try again later.")
    try:
        return await command.run(desk, given)
    except ValueError as error:
        raise BadCommandError(str(error)) from None


async def execute_alone(database: Path, name: str, parameters: Parameters) -> Json:
    """Open the ledger for one command.

    Raises:
        GatewayError: refused.
        LedgerError: the database cannot be opened, or another process owns it.
    """
    async with open_ledger(LedgerSettings(path=database)) as ledger:
        return await execute(LedgerDesk(ledger), name, parameters)


async def _create_account(desk: Desk, given: Parameters) -> Json:
    account = await desk.ledger.create_account(given["name"])
    if given["fund_nanodollars"] is not None:
        reference = f"opening-{account.account_id}"
        amount_nanodollars = given["fund_nanodollars"]
        account = await desk.ledger.fund(account.account_id, amount_nanodollars, reference)
    return _account_json(account)


async def _fund_account(desk: Desk, given: Parameters) -> Json:
    account = await _account(desk, given["account"])
    reference = given["reference"] or f"cli-{secrets.token_hex(8)}"
    account = await desk.ledger.fund(account.account_id, given["amount_nanodollars"], reference)
    return {**_account_json(account), "reference": reference}


async def _show_accounts(desk: Desk, given: Parameters) -> Json:
    if given["account"] is not None:
        return [_account_json(await _account(desk, given["account"]))]
    return [_account_json(account) for account in await desk.ledger.accounts()]


async def _create_key(desk: Desk, given: Parameters) -> Json:
    account = await _account(desk, given["account"])
    row, secret = await desk.create_key(account.account_id, given["name"])
    return {**_key_json(row), "secret": secret}


async def _list_keys(desk: Desk, given: Parameters) -> Json:
    account_id = None
    if given["account"] is not None:
        account_id = (await _account(desk, given["account"])).account_id
    return [_key_json(row) for row in await desk.ledger.keys(account_id)]


async def _revoke_key(desk: Desk, given: Parameters) -> Json:
    try:
        return _key_json(await desk.revoke_key(given["key_id"]))
    except NotFoundError:
        raise NotFoundError(
            f"There is no key '{given['key_id']}'; 'parshall keys list' shows their ids."
        ) from None


async def _show_receipt(desk: Desk, given: Parameters) -> Json:
    """By request id; without an account, whichever account it is of."""
    request_id = given["request_id"]
    if given["account"] is not None:
        accounts = [await _account(desk, given["account"])]
    else:
        accounts = await desk.ledger.accounts()
    for account in accounts:
        receipt = await desk.ledger.read_receipt(account.account_id, request_id)
        if receipt is not None:
            return receipt
    raise NotFoundError(f"There is no receipt '{request_id}'.")


async def _account(desk: Desk, id_or_name: str) -> AccountView:
    try:
        return await desk.ledger.account(id_or_name)
    except NotFoundError:
        raise NotFoundError(
            f"There is no account '{id_or_name}'; 'parshall accounts show' lists them."
        ) from None


async def _debug_upstream(desk: Desk, given: Parameters) -> Json:
    return desk.statistics()["upstream"]


async def _audit(desk: Desk, given: Parameters) -> Json:
    return [
        {
            "invariant": finding.name,
            "ok": finding.ok,
            "figure": finding.figure,
            "detail": finding.detail,
        }
        for finding in await desk.ledger.audit()
    ]


COMMANDS: Mapping[str, Command] = {
    "accounts.create": Command(
        _create_account, {"name": (str,), "fund_nanodollars": (int, NoneType)}, adds=True
    ),
    "accounts.fund": Command(
        _fund_account,
        {"account": (str,), "amount_nanodollars": (int,), "reference": (str, NoneType)},
        adds=True,
    ),
    "accounts.show": Command(_show_accounts, {"account": (str, NoneType)}),
    "keys.create": Command(_create_key, {"account": (str,), "name": (str,)}, adds=True),
    "keys.list": Command(_list_keys, {"account": (str, NoneType)}),
    "keys.revoke": Command(_revoke_key, {"key_id": (str,)}),
    "receipts.show": Command(_show_receipt, {"request_id": (str,), "account": (str, NoneType)}),
    "ledger.audit": Command(_audit, {}),
    "debug.upstream": Command(_debug_upstream, {}),
}


def error_json(error: GatewayError) -> Json:
    """An error as the control socket and `--json` show it."""
    return {"code": error.code, "message": error.message}


def _account_json(account: AccountView) -> Json:
    return {
        "account_id": account.account_id,
        "name": account.name,
        "created_at": format_time(account.created_at_ms),
        "balance": money_json(account.balance_nanodollars),
        "held": money_json(account.held_nanodollars),
        "available": money_json(account.available_nanodollars),
    }


def _key_json(row: KeyRow) -> Json:
    revoked_at_ms = row.revoked_at_ms
    return {
        "key_id": row.key_id,
        "account_id": row.account_id,
        "name": row.name,
        "prefix": row.prefix,
        "created_at": format_time(row.created_at_ms),
        "revoked_at": None if revoked_at_ms is None else format_time(revoked_at_ms),
    }
