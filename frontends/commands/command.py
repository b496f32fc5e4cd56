"""What a command is, who runs it, and who asks for it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

import trio

from engine.errors import ClientError, NotFoundError, UnavailableError
from engine.ledger.ledger import Ledger
from engine.ledger.records import AccountView

if TYPE_CHECKING:
    from engine.operations import Operations

Json = Any
Parameters = Mapping[str, Any]

PAGE_MAX: Final = 200
"""Of a list, so many at once."""
_PAGE_DEFAULT: Final = 50
_NOTE_TIMEOUT_S: Final = 5.0


class Desk(Protocol):
    """Who owns the database: a gateway, or a ledger that was opened alone."""

    @property
    def ledger(self) -> Ledger: ...

    @property
    def running(self) -> Operations | None:
        """What operators can do to a gateway; None: nothing serves."""


@dataclass(frozen=True, slots=True)
class LedgerDesk:
    """A ledger without a gateway."""

    ledger: Ledger
    running: None = None


@dataclass(frozen=True, slots=True)
class Actor:
    """Who asks for something, as the log of administration names them.

    Attributes:
        name: `cli:uid=1000`, `admin`, `admin:alice`, `key:key_…`, `signal:SIGHUP`.
        peer: the address they come from, where it is known.
    """

    name: str
    peer: str | None = None


@dataclass(frozen=True, slots=True)
class Command:
    """What it does, and the types of its parameters; one that may be None may be left out.

    Attributes:
        adds: it changes something: it goes into the log of administration, and is refused while
            the ledger cannot commit. The caller would wait, and an order given up on would still
            be carried out later.
        restricts: it counts at once and becomes durable when it can: it is not refused then, and
            the ledger bounds the wait.
        explicit: parameters that have to be there, be it as None.
        subject: the parameter whose value the log finds the order by.
        resolve: makes ids of the names that were given, before the log is told.
    """

    run: Callable[[Desk, Parameters], Awaitable[Json]]
    parameters: Mapping[str, tuple[type, ...]]
    adds: bool = False
    restricts: bool = False
    explicit: tuple[str, ...] = ()
    subject: str | None = None
    resolve: Callable[[Desk, Parameters], Awaitable[Parameters]] | None = None


class BadCommandError(ClientError):
    """No such command, or not with these parameters."""

    code = "bad_command"


async def account_id_given(desk: Desk, given: Parameters) -> Parameters:
    """The parameters with the id of the account whose id or name is given; None stays.

    Raises:
        NotFoundError: there is none.
    """
    if given["account"] is None:
        return given
    return {**given, "account": (await find_account(desk, given["account"])).account_id}


async def find_account(desk: Desk, id_or_name: str) -> AccountView:
    """The account of this id or name. Raises NotFoundError, with where to look."""
    try:
        return await desk.ledger.account(id_or_name)
    except NotFoundError:
        raise NotFoundError(
            f"There is no account '{id_or_name[:100]}'; 'parshall accounts show' lists them."
        ) from None


def running_of(desk: Desk) -> Operations:
    """The gateway that serves. Raises BadCommandError: nothing does."""
    if desk.running is None:
        raise BadCommandError("Only a running server can do that, and none runs.")
    return desk.running


async def note_order(desk: Desk) -> None:
    """Write down who has ordered what leaves no row of its own, now that it has been done. It is on
    its way to the journal when this is called, whoever leaves meanwhile.

    Raises:
        UnavailableError: it is not durable yet.
    """
    with trio.move_on_after(_NOTE_TIMEOUT_S):
        await desk.ledger.note_order()
        return
    raise UnavailableError("It has been done, but it is not in the log of administration yet.")


def page_size(given: Parameters) -> int:
    """How much of a list is asked for. Raises BadCommandError: too much, or nothing."""
    limit: int = _PAGE_DEFAULT if given["limit"] is None else given["limit"]
    if not 1 <= limit <= PAGE_MAX:
        raise BadCommandError(f"'limit' is from 1 to {PAGE_MAX}.", param="limit")
    return limit


def page_json(rows: list[Json], cursor: str | None) -> Json:
    """A part of a list, and where the next one begins."""
    return {
        "object": "list",
        "data": rows,
        "has_more": cursor is not None,
        "next_cursor": cursor,
    }
