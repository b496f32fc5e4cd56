"""The agents of all accounts: set up, shown, changed, removed, each by its own account alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

import trio

from engine.agent import Agent, Cited, Definition, new_agent_id
from engine.agents.definitions import (
    changed_definition,
    load_definition,
    read_definition,
    stored_definition,
)
from engine.agents.knowledge import KnowledgeBook
from engine.clock import Clock
from engine.config_agents import AgentsConfig
from engine.errors import ConcurrencyLimitedError, GatewayError
from engine.ledger.agency import Agency
from engine.ledger.agent_jobs import no_such_agent
from engine.ledger.agent_rows import AgentPage, AgentQuery, AgentRow

_TRIES_MAX = 4
_FORGET_MAX_S: Final = 10.0
"""So long what is learned is taken back at most where the agent does not come to be."""
"""Changes of one agent at the same time."""
Check = Callable[[Definition], None]
"""Whether an account may have it so; raises GatewayError."""


class Agents:
    """Of one gateway. What raises `UnavailableError` cannot reach the database now."""

    def __init__(
        self,
        ledger: Agency,
        knowledge: KnowledgeBook,
        clock: Clock,
        config: Callable[[], AgentsConfig],
    ) -> None:
        self._ledger = ledger
        self._knowledge = knowledge
        self._clock = clock
        self._config = config

    async def create(self, account_id: str, document: Mapping[str, Any], check: Check) -> Agent:
        """Set one up.

        Raises:
            InvalidRequestError: the document says what no agent can be, or the name is taken.
            AgentsLimitedError: the account has as many as it may have.
            GatewayError: as `check`, `KnowledgeBook.check` and `learn`.
        """
        config = self._config()
        definition = read_definition(document, config)
        check(definition)
        await self._knowledge.check(account_id, definition.knowledge)
        now_ms = self._clock()
        agent = Agent(new_agent_id(), account_id, 1, now_ms, now_ms, definition)
        try:
            await self._knowledge.learn(account_id, agent.agent_id, definition.knowledge)
            await self._ledger.add_agent(_row_of(agent), config.per_account_max)
        except GatewayError:
            with trio.move_on_after(_FORGET_MAX_S, shield=True):
                await self._knowledge.forget(agent.agent_id, definition.knowledge)
            raise
        return agent

    async def find(self, account_id: str, named: str) -> Agent:
        """An account's agent, by its id or its name. Raises NotFoundError."""
        row = await self._ledger.find_agent(account_id, named)
        if row is None:
            raise no_such_agent(named)
        return agent_of(row)

    async def page(self, account_id: str, query: AgentQuery) -> AgentPage:
        """A page of an account's agents. Raises InvalidRequestError: a cursor is none."""
        return await self._ledger.page_of_agents(account_id, query)

    async def change(
        self, account_id: str, named: str, document: Mapping[str, Any], check: Check
    ) -> Agent:
        """Change what a document says. Raises as `find` and `create`, and ConcurrencyLimitedError:
        it is being changed all the time."""
        for _ in range(_TRIES_MAX):
            before = await self.find(account_id, named)
            definition = changed_definition(before.definition, document, self._config())
            check(definition)
            if definition.knowledge != before.definition.knowledge:
                await self._knowledge.check(account_id, definition.knowledge)
                await self._knowledge.learn(account_id, before.agent_id, definition.knowledge)
            agent = replace(
                before,
                version=before.version + 1,
                updated_at_ms=self._clock(),
                definition=definition,
            )
            if await self._ledger.change_agent(_row_of(agent)):
                return agent
        raise ConcurrencyLimitedError("The agent is being changed by others; try again.")

    async def remove(self, account_id: str, named: str) -> Agent:
        """Remove one; what it was. Raises NotFoundError."""
        agent = await self.find(account_id, named)
        if not await self._ledger.remove_agent(account_id, agent.agent_id):
            raise no_such_agent(named)
        await self._knowledge.forget(agent.agent_id, agent.definition.knowledge)
        return agent

    async def look_up(self, agent: Agent, question: str) -> tuple[Cited, ...]:
        """See `KnowledgeBook.look_up`."""
        return await self._knowledge.look_up(agent, question)


def agent_of(row: AgentRow) -> Agent:
    """What a row says."""
    return Agent(
        row.agent_id,
        row.account_id,
        row.version,
        row.created_at_ms,
        row.updated_at_ms,
        load_definition(row.definition),
    )


def _row_of(agent: Agent) -> AgentRow:
    return AgentRow(
        agent.agent_id,
        agent.account_id,
        agent.definition.name,
        stored_definition(agent.definition),
        agent.version,
        agent.created_at_ms,
        agent.updated_at_ms,
    )
