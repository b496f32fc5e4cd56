"""From a request that names an agent to one that a model can be asked."""

from __future__ import annotations

from dataclasses import replace

from engine.agent import MODEL_PREFIX, Agent, AgentUse
from engine.agents.briefing import brief_of
from engine.errors import ModelNotFoundError, NotFoundError
from engine.events import Call
from engine.parts import Parts


async def brief_call(
    parts: Parts, call: Call, use: AgentUse, account_id: str
) -> tuple[Agent, Call]:
    """The agent that an account's call names, whose knowledge is looked up, and the call with what
    it adds.

    Raises:
        ModelNotFoundError: the account has no such agent.
        GatewayError: as `Agents.look_up`.
    """
    missing = ModelNotFoundError(
        f"The model '{MODEL_PREFIX}{use.named[:100]}' does not exist.", param="model"
    )
    if not parts.config.agents.enabled:
        raise missing
    with parts.preliminaries.refused_at_end():
        try:
            agent = await parts.agents.find(account_id, use.named)
        except NotFoundError:
            raise missing from None
        found = await parts.agents.look_up(agent, use.question)
    return agent, replace(call, agent=brief_of(agent, found))
