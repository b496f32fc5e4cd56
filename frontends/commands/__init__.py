"""Administration: one table of commands, run by the command line, by a server for it, and by the
routes under `/admin`.

A command takes named plain values and returns JSON. Whoever owns the database runs it: a serving
process, for others through its control socket and over HTTP, or the command line itself when
nobody serves. What changes something leaves a row in the log of administration, in the transaction
of the change. One module a group of commands, each with its own part of the table.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from engine.errors import GatewayError, UnavailableError
from engine.ledger.admin_log import Order, ordered_by
from engine.ledger.ledger import open_ledger
from engine.ledger.records import LedgerSettings
from frontends.commands import (
    accounts,
    admin_log,
    budgets,
    debug,
    exchanges,
    keys,
    ledger,
    plans,
    prices,
    receipts,
    routes,
    serving,
    switches,
)
from frontends.commands.command import (
    Actor,
    BadCommandError,
    Command,
    Desk,
    Json,
    LedgerDesk,
    Parameters,
    note_order,
)

__all__ = [
    "COMMANDS",
    "Actor",
    "BadCommandError",
    "Command",
    "Desk",
    "Json",
    "Parameters",
    "error_json",
    "execute",
    "execute_alone",
    "local_actor",
]

log = logging.getLogger("parshall.admin")

COMMANDS: Mapping[str, Command] = {
    **accounts.COMMANDS,
    **keys.COMMANDS,
    **budgets.COMMANDS,
    **plans.COMMANDS,
    **prices.COMMANDS,
    **switches.COMMANDS,
    **exchanges.COMMANDS,
    **receipts.COMMANDS,
    **ledger.COMMANDS,
    **routes.COMMANDS,
    **serving.COMMANDS,
    **admin_log.COMMANDS,
    **debug.COMMANDS,
}

_SHOWN_MAX_CHARS: Final = 200
_WORDS: Final[Mapping[type, str]] = {
    str: "text",
    int: "a whole number",
    bool: "true or false",
    list: "a list",
    dict: "an object",
}
"""What values of these types are called, by those who write JSON."""


async def execute(desk: Desk, name: str, parameters: Parameters, *, by: Actor) -> Json:
    """Run a command for somebody. What changes something is a line of the log, and, carried out,
    a row of the log of administration; refused, a line and a metric.

    Raises:
        GatewayError: refused; `BadCommandError` when it is not one of the table.
    """
    fields: dict[str, Any] = {"command": _text(name), "actor": by.name, "peer": by.peer}
    command = COMMANDS.get(name)
    try:
        if command is None:
            raise BadCommandError(f"There is no command '{_text(name)}'.")
        given = _checked(name, command, parameters)
        result = await _run(desk, name, command, given, by)
    except GatewayError as error:
        log.info("an order was refused", extra={"fields": {**fields, "code": error.code}})
        _count(desk, name if command is not None else "none", error.code)
        raise
    log.log(
        logging.INFO if command.adds else logging.DEBUG,
        "administration",
        extra={"fields": fields},
    )
    _count(desk, name, "done")
    return result


def _checked(name: str, command: Command, parameters: Parameters) -> Parameters:
    """The command's parameters, each of a type it may have."""
    unknown = parameters.keys() - command.parameters.keys()
    if unknown:
        raise BadCommandError(f"'{name}' takes no '{min(unknown)[:_SHOWN_MAX_CHARS]}'.")
    for key in command.explicit:
        if key not in parameters:
            raise BadCommandError(f"'{key}' is missing: it may be null.", param=key)
    given = {key: parameters.get(key) for key in command.parameters}
    for key, kinds in command.parameters.items():
        if type(given[key]) not in kinds:
            shown = key.removesuffix("_nanodollars")
            word = 'US dollars, such as "25.00"' if shown != key else _WORDS[kinds[0]]
            missing = "" if key in parameters else "missing: it is "
            raise BadCommandError(f"'{shown}' is {missing}{word}.", param=shown)
    return given


async def _run(desk: Desk, name: str, command: Command, given: Parameters, by: Actor) -> Json:
    problem = desk.ledger.problem
    if command.adds and not command.restricts and problem is not None:
        raise UnavailableError(f"Nothing was changed: {problem}. Try again later.")
    try:
        if command.resolve is not None:
            given = await command.resolve(desk, given)
        if not command.adds:
            return await command.run(desk, given)
        subject = None if command.subject is None else given[command.subject]
        order = Order(
            actor=by.name,
            peer=by.peer,
            action=name,
            subject=subject,
            detail={
                key: value
                for key, value in given.items()
                if value is not None or key in command.explicit
            },
        )
        with ordered_by(order):
            result = await command.run(desk, given)
            await note_order(desk)  # what was done before is ordered again all the same
            return result
    except ValueError as error:
        raise BadCommandError(str(error)) from None


def _text(value: str) -> str:
    """A name that somebody made up, as it can be logged."""
    shown = value if len(value) <= _SHOWN_MAX_CHARS else f"{value[:_SHOWN_MAX_CHARS]}…"
    return shown.encode("utf-8", "replace").decode()


def _count(desk: Desk, name: str, outcome: str) -> None:
    if desk.running is not None:
        desk.running.telemetry.ordered(name, outcome)


async def execute_alone(database: Path, name: str, parameters: Parameters) -> Json:
    """Open the ledger for one command.

    Raises:
        GatewayError: refused.
        LedgerError: the database cannot be opened, or another process owns it.
    """
    async with open_ledger(LedgerSettings(path=database)) as owned:
        return await execute(LedgerDesk(owned), name, parameters, by=local_actor(os.getuid()))


def local_actor(uid: int | None) -> Actor:
    """Who uses the command line, by the id of the user where the kernel tells it."""
    return Actor("cli" if uid is None else f"cli:uid={uid}")


def error_json(error: GatewayError) -> Json:
    """An error as the control socket and `--json` show it."""
    return {"code": error.code, "message": error.message}
