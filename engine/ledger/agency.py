"""The part of the ledger that knows agents: rows only, each of one account."""

from __future__ import annotations

from functools import partial

import trio

from engine.ledger import agent_jobs
from engine.ledger.agent_rows import AgentPage, AgentQuery, AgentRow
from engine.ledger.hooking import Hooking


class Agency(Hooking):
    """All of it raises UnavailableError where the database cannot be read, or written, now."""

    async def add_agent(self, row: AgentRow, most: int) -> None:
        """See `agent_jobs.add_agent`."""
        await self._journal.run(lambda store: agent_jobs.add_agent(store, row, most))

    async def change_agent(self, row: AgentRow) -> bool:
        """See `agent_jobs.change_agent`."""
        return await self._journal.run(lambda store: agent_jobs.change_agent(store, row))

    async def remove_agent(self, account_id: str, agent_id: str) -> bool:
        """See `agent_jobs.remove_agent`."""
        return await self._journal.run(
            lambda store: agent_jobs.remove_agent(store, account_id, agent_id)
        )

    async def find_agent(self, account_id: str, named: str) -> AgentRow | None:
        """An account's agent, by its id or its name."""
        read = partial(agent_jobs.find_agent, self._settings.path, account_id, named)
        return await trio.to_thread.run_sync(read)

    async def page_of_agents(self, account_id: str, query: AgentQuery) -> AgentPage:
        """A page of an account's agents. Raises InvalidRequestError: a cursor is none."""
        read = partial(agent_jobs.page_of_agents, self._settings.path, account_id, query)
        return await trio.to_thread.run_sync(read)

    async def all_agent_ids(self) -> list[str]:
        """The ids of all agents, whosever they are."""
        return await trio.to_thread.run_sync(agent_jobs.all_agent_ids, self._settings.path)
