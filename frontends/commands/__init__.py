"""Administration: one table of commands, run by the command line and by a server for it.

A command takes named plain values and returns JSON. Whoever owns the database runs it: a serving
process for others through its control socket, or the command line itself when nobody serves.
One module a group of commands, each with its own part of the table.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from engine.errors import GatewayError, UnavailableError
from engine.ledger.ledger import open_ledger
from engine.ledger.records import LedgerSettings
from frontends.commands import accounts, budgets, debug, keys, ledger, receipts
from frontends.commands.command import (
    BadCommandError,
    Command,
    Desk,
    Json,
    LedgerDesk,
    Parameters,
)

__all__ = [
    "COMMANDS",
    "BadCommandError",
    "Command",
    "Desk",
    "Json",
    "Parameters",
    "error_json",
    "execute",
    "execute_alone",
]

COMMANDS: Mapping[str, Command] = {
    **accounts.COMMANDS,
    **keys.COMMANDS,
    **budgets.COMMANDS,
    **receipts.COMMANDS,
    **ledger.COMMANDS,
    **debug.COMMANDS,
}


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
    async with open_ledger(LedgerSettings(path=database)) as owned:
        return await execute(LedgerDesk(owned), name, parameters)


def error_json(error: GatewayError) -> Json:
    """An error as the control socket and `--json` show it."""
    return {"code": error.code, "message": error.message}
