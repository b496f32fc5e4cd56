"""What a command is, and who can run it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from engine.admission.keys import digest, new_secret, shown_prefix
from engine.errors import ClientError, NotFoundError
from engine.ledger.ledger import Ledger
from engine.ledger.records import AccountView, KeyRow

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


async def find_account(desk: Desk, id_or_name: str) -> AccountView:
    """The account of this id or name. Raises NotFoundError, with where to look."""
    try:
        return await desk.ledger.account(id_or_name)
    except NotFoundError:
        raise NotFoundError(
            f"There is no account '{id_or_name}'; 'parshall accounts show' lists them."
        ) from None
