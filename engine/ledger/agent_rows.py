"""Agents as they are stored: plain values, no I/O."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True)
class AgentRow:
    """An agent of an account.

    Attributes:
        definition: JSON, with the secrets of its tools.
        version: counts its changes from 1.
        created_at_ms, updated_at_ms: milliseconds since 1970.
    """

    agent_id: str
    account_id: str
    name: str
    definition: str = field(repr=False)
    version: int
    created_at_ms: int
    updated_at_ms: int


@dataclass(frozen=True, slots=True)
class AgentQuery:
    """A page of an account's agents, in the order in which they were made.

    Attributes:
        after, before: ids; the page begins behind the one, or ends before the other. Not both.
    """

    limit: int = 20
    order: Literal["asc", "desc"] = "desc"
    after: str | None = None
    before: str | None = None


@dataclass(frozen=True, slots=True)
class AgentPage:
    """Agents in the order that was asked for, and whether there are more in that direction."""

    agents: tuple[AgentRow, ...]
    has_more: bool
