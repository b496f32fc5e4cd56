"""Whose the things at providers are that requests name; looked up before anything is sent."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final, NamedTuple

import trio

from engine.config_state import StateConfig
from engine.errors import ClientError, InvalidRequestError, NotFoundError
from engine.events import Call
from engine.file_ids import shown_file_id
from engine.ledger.ledger import Ledger
from engine.ledger.owned_rows import OwnedRow
from engine.owned import HeldRef, OwnedKind, Pin
from engine.upstream.providers import Provider

_CITES: Final = frozenset[OwnedKind]({"assistant", "container", "thread", "vector_store"})
"""Whose files answers tell of."""
_COMPARED: Final = "prompt_cache_options.comparison_response_id"
"""Nothing of that one is a part of the prompt."""
REFS_MAX: Final = 1_000
"""Ids that one request can name."""
_COUNTS_MAX: Final = 10_000
_BYTES_A_TOKEN: Final = 4
_IDS_EACH: Final = 2
"""So many ids come of what is made, as a rule: a response and its item."""
_RECOUNTED_AFTER: Final = 1_000
"""So much more of an account, and its ids are counted again: old ones go meanwhile."""


class Named(NamedTuple):
    """What a request names of its account's, and the call that may name it."""

    call: Call
    pin: Pin | None
    rows: tuple[OwnedRow, ...]


class OwnedLimitError(ClientError):
    """The account has as many things at providers as it may have (429)."""

    status = 429
    code = "owned_ids_limit_exceeded"
    kind = "requests"


class ElsewhereError(InvalidRequestError):
    """What the request names by id is where nobody is asked for the rest of it (400)."""

    code = "held_elsewhere"


class Owners:
    """Of one gateway.

    Attributes:
        ledger: that knows whose each id is.
    """

    def __init__(self, ledger: Ledger, config: Callable[[], StateConfig]) -> None:
        self.ledger = ledger
        self._config = config
        self._growing = trio.Lock()
        self._counts: OrderedDict[str, tuple[int, int]] = OrderedDict()
        """Of accounts that make things: how many there were, and how many came since."""

    async def find(self, account_id: str, refs: Sequence[HeldRef]) -> tuple[OwnedRow, ...]:
        """What an account's request names, in its order.

        Raises:
            InvalidRequestError: there are too many.
            NotFoundError: the account has none of that id, whoever else has, or it is of another
                kind; `param` is its path.
            UnavailableError: that cannot be known now.
        """
        if len(refs) > REFS_MAX:
            raise InvalidRequestError(
                f"A request can name things by id in {REFS_MAX} places.", param=refs[REFS_MAX].path
            )
        rows = await self.ledger.find_owned(account_id, [ref.object_id for ref in refs])
        found = []
        for ref in refs:
            row = rows.get(ref.object_id)
            if row is None or ref.kind not in (None, row.kind):
                raise no_such_thing(ref)
            found.append(row)
        return tuple(found)

    async def admit(self, account_id: str, call: Call, refs: Sequence[HeldRef]) -> Named:
        """An account's call that may name what it does; and who has that. Raises as `find` and
        `pin_of`."""
        rows = await self.find(account_id, refs)
        pin = self.pin_of(rows, refs)
        if pin is not None and not _CITES.isdisjoint(row.kind for row in rows):
            called = await self.ledger.names_at(account_id, *pin)
            names = {name: shown_file_id(each, "openai") for name, each in called.items()}
            call = replace(call, names={**call.names, **names})
        goes_on = {
            row.object_id: row.context_tokens or 0
            for row, ref in zip(rows, refs, strict=True)
            if ref.path != _COMPARED
        }
        bound_to = next((row.model for row in rows if row.kind == "assistant"), None)
        call = replace(
            call,
            model=call.model or bound_to,
            held=call.held | {row.object_id for row in rows},
            context_tokens=call.context_tokens + sum(goes_on.values()),
        )
        return Named(call, pin, rows)

    async def grow(self, account_id: str, object_id: str, size_bytes: int) -> None:
        """A thing of the account's has so much more in it that a prompt which goes on from it has
        before it.

        Raises:
            UnavailableError: that cannot be recorded now.
        """
        async with self._growing:  # from one figure to the next
            row = (await self.ledger.find_owned(account_id, [object_id])).get(object_id)
            if row is None:
                return
            tokens = (row.context_tokens or 0) + size_bytes // _BYTES_A_TOKEN
            ticket = self.ledger.own_nowait([replace(row, context_tokens=tokens)])
        await self.ledger.wait_durable(ticket)

    @staticmethod
    def pin_of(rows: Iterable[OwnedRow], refs: Sequence[HeldRef] = ()) -> Pin | None:
        """Who has all of them; None: there are none. `refs` say where each was named.

        Raises:
            ElsewhereError: some are with one provider, or one key of it, and some with
                another.
        """
        pin = None
        for number, row in enumerate(rows):
            if pin is None:
                pin = row.pin
            elif row.pin != pin:
                raise ElsewhereError(
                    "What the request names by id is not in one place: a part of it was made with "
                    "another provider, or another key of the operator's. Make it anew, together.",
                    param=refs[number].path if number < len(refs) else None,
                )
        return pin

    @staticmethod
    def key_of(pin: Pin, providers: Mapping[str, Provider]) -> tuple[Provider, int] | None:
        """The provider of a pin, and the number of its key; None: it is not there any more. Where
        the key is not there any more it is the first one: keys are renewed, and what they have
        made is mostly seen by the next one."""
        provider = providers.get(pin.provider)
        if provider is None:
            return None
        known = provider.credential_ids
        return provider, known.index(pin.credential) if pin.credential in known else 0

    async def check_room(self, account_id: str) -> None:
        """Whether the account may have one more.

        Raises:
            OwnedLimitError: it has as many as it may have.
            UnavailableError: that cannot be known now.
        """
        most = self._config().ids_per_account_max
        before, since = self._counts.get(account_id, (0, _RECOUNTED_AFTER))
        if since >= _RECOUNTED_AFTER or before + since >= most:
            before, since = await self.ledger.count_owned(account_id), 0
        if before >= most:
            self._counts.pop(account_id, None)
            raise OwnedLimitError(
                f"The account has {most:,} things at providers, which is as many as it may have; "
                "delete what is not needed.",
                retry_after_s=600,
            )
        self._counts[account_id] = before, since + _IDS_EACH
        self._counts.move_to_end(account_id)
        while len(self._counts) > _COUNTS_MAX:
            self._counts.popitem(last=False)


def no_such_thing(ref: HeldRef) -> NotFoundError:
    """The same words whether it never was, is no more, or is somebody else's."""
    return NotFoundError(f"There is nothing of the id '{ref.object_id[:128]}'.", param=ref.path)
