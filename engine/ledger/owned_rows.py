"""What is known of the things that accounts have at providers: plain values, no I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from engine.owned import Kept, OwnedKind, Pin

OwnedOrder = Literal["asc", "desc"]


@dataclass(frozen=True, slots=True)
class OwnedRow:
    """A thing that an account has at a provider. Whose it is, and where, never changes.

    Attributes:
        object_id: as its provider calls it; see `engine.owned`.
        key_id: whose request it was made by; None where no key did it.
        provider, credential: see `Pin`.
        parent_id: what it is a part of.
        model: by its public name, where it is bound to one.
        context_tokens: what a prompt that goes on from it has before it. Both may be written anew;
            None leaves them as they are.
        created_at_ms: milliseconds since 1970.
    """

    object_id: str
    kind: OwnedKind
    account_id: str
    key_id: str | None
    provider: str
    credential: str
    created_at_ms: int
    parent_id: str | None = None
    model: str | None = None
    context_tokens: int | None = None

    @property
    def pin(self) -> Pin:
        """Who has it."""
        return Pin(self.provider, self.credential)


def row_of(
    kept: Kept,
    pin: Pin,
    *,
    account_id: str,
    key_id: str | None,
    model: str | None,
    at_ms: int,
) -> OwnedRow:
    """What an account has by what a provider keeps; `model` is that of a response."""
    return OwnedRow(
        object_id=kept.object_id,
        kind=kept.kind,
        account_id=account_id,
        key_id=key_id,
        provider=pin.provider,
        credential=pin.credential,
        created_at_ms=at_ms,
        parent_id=kept.parent_id,
        model=model if kept.kind == "response" else None,
        context_tokens=kept.context_tokens,
    )


@dataclass(frozen=True, slots=True)
class OwnedQuery:
    """A page of what an account has, in the order in which it was recorded.

    Attributes:
        parent_id: only parts of this; None: of anything or nothing.
        provider: only what is there.
        after, before: ids; the page begins behind the one, or ends before the other. Not both.
    """

    kind: OwnedKind
    parent_id: str | None = None
    provider: str | None = None
    limit: int = 20
    order: OwnedOrder = "desc"
    after: str | None = None
    before: str | None = None


@dataclass(frozen=True, slots=True)
class OwnedPage:
    """Rows in the order that was asked for, and whether there are more in that direction."""

    rows: tuple[OwnedRow, ...]
    has_more: bool
