"""From a request that names an agent to one that a model can be asked."""

from __future__ import annotations

from dataclasses import replace

from engine.admitting import Choice
from engine.agent import MODEL_PREFIX, Agent, AgentUse
from engine.agents.briefing import brief_of
from engine.errors import ModelNotFoundError, NotFoundError
from engine.events import Call
from engine.parsing.jobs import AgentNamedError, Prepared
from engine.parts import Parts
from engine.request_files import NamedFiles, prepare_first


async def prepare_call(
    parts: Parts, call: Call, choose: Choice, account_id: str
) -> tuple[Prepared, Call, NamedFiles | None, Agent | None]:
    """As `prepare_first`; and the agent that the call names, whose knowledge was looked up.

    Raises:
        ModelNotFoundError: the account has no such agent.
        GatewayError: as `prepare_first`, `Agents.look_up`.
    """
    try:
        return *await prepare_first(parts, call, choose, account_id), None
    except AgentNamedError as error:
        use = error.use
    with parts.preliminaries.refused_at_end():
        agent, call = await brief_call(parts, call, use, account_id)
    return *await prepare_first(parts, call, choose, account_id), agent


async def brief_call(
    parts: Parts, call: Call, use: AgentUse, account_id: str
) -> tuple[Agent, Call]:
    """The agent that an account's call names, and the call with what it adds. Raises as
    `prepare_call`."""
    missing = ModelNotFoundError(
        f"The model '{MODEL_PREFIX}{use.named[:100]}' does not exist.", param="model"
    )
    if not parts.config.agents.enabled:
        raise missing
    try:
        agent = await parts.agents.find(account_id, use.named)
    except NotFoundError:
        raise missing from None
    found = await parts.agents.look_up(agent, use.question)
    return agent, replace(call, agent=brief_of(agent, found))
