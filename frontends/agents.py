"""Agents over HTTP: an account's own, set up here and called like models."""

from __future__ import annotations

from typing import Any, Final, Literal, cast

from quart import Blueprint, Response

from engine import Gateway
from engine.agent import MODEL_PREFIX, Agent, Definition
from engine.agents.book import Check, agent_of
from engine.agents.definitions import write_definition
from engine.agents.http_tools import check_reach
from engine.errors import InvalidRequestError, ModelNotFoundError, NotFoundError
from engine.inlining import egress_policy
from engine.ledger.agent_rows import AgentQuery
from engine.ledger.receipts import format_time
from engine.rules import Admitted
from frontends.gemini import wants_array
from frontends.ingress import Ingress, query_value
from frontends.json_bodies import read_json
from frontends.protocols import GEMINI_VERSIONS
from frontends.rendering import json_response

_PAGE_MAX: Final = 100
_PAGE: Final = 20
_TALK: Final = ("chat", "image", "speech")
"""What models do that can be asked by chatting."""
_VERBS: Final = ("generateContent", "streamGenerateContent")


class AgentRoutes:
    """The routes of one ingress and its gateway."""

    def __init__(self, ingress: Ingress, gateway: Gateway) -> None:
        self._ingress = ingress
        self._gateway = gateway

    def blueprint(self) -> Blueprint:
        """What an app registers."""
        routes = Blueprint("agents", __name__)
        routes.post("/v1/agents")(self.create)
        routes.get("/v1/agents")(self.list)
        routes.get("/v1/agents/<agent_id>")(self.show)
        routes.patch("/v1/agents/<agent_id>")(self.change)
        routes.delete("/v1/agents/<agent_id>")(self.delete)
        routes.post("/v1/agents/<agent_id>/chat/completions")(self.call_chat)
        routes.post("/v1/agents/<agent_id>/messages")(self.call_messages)
        routes.post("/v1/agents/<agent_id>/responses")(self.call_responses)
        for version in GEMINI_VERSIONS:
            routes.post(f"/{version}/agents/<target>")(self.call_verb)
        return routes

    async def create(self) -> Response:
        """Set one up.

        Raises:
            GatewayError: as `Ingress.admit`, `read_json` and `Agents.create`; or the account has no
                such model.
        """
        admitted = await self._admit()
        document = await self._read()
        agent = await self._gateway.agents.create(
            _account_of(admitted), document, self._check_of(admitted)
        )
        return json_response(shown_agent(agent), 201)

    async def list(self) -> Response:
        """A page of the account's agents. Raises InvalidRequestError: there is no such page."""
        admitted = await self._admit()
        page = await self._gateway.agents.page(_account_of(admitted), _read_query())
        data = [shown_agent(agent_of(row)) for row in page.agents]
        return json_response(
            {
                "object": "list",
                "data": data,
                "first_id": data[0]["id"] if data else None,
                "last_id": data[-1]["id"] if data else None,
                "has_more": page.has_more,
            }
        )

    async def show(self, agent_id: str) -> Response:
        """One of them, by its id or its name. Raises NotFoundError: this account has none."""
        admitted = await self._admit()
        return json_response(
            shown_agent(await self._gateway.agents.find(_account_of(admitted), agent_id))
        )

    async def change(self, agent_id: str) -> Response:
        """Change what the body says, and nothing else. Raises as `create` and `show`."""
        admitted = await self._admit()
        document = await self._read()
        agent = await self._gateway.agents.change(
            _account_of(admitted), agent_id, document, self._check_of(admitted)
        )
        return json_response(shown_agent(agent))

    async def delete(self, agent_id: str) -> Response:
        """Remove one; calls that are under way go on. Raises as `show`."""
        admitted = await self._admit()
        agent = await self._gateway.agents.remove(_account_of(admitted), agent_id)
        return json_response({"id": agent.agent_id, "object": "agent", "deleted": True})

    async def call_chat(self, agent_id: str) -> Response:
        """A chat completion by an agent, streamed or not."""
        return await self._ingress.relay("openai_chat", model=MODEL_PREFIX + agent_id)

    async def call_messages(self, agent_id: str) -> Response:
        """A message of Anthropic's API by an agent, streamed or not."""
        return await self._ingress.relay("anthropic", model=MODEL_PREFIX + agent_id)

    async def call_responses(self, agent_id: str) -> Response:
        """A response by an agent, streamed or not."""
        return await self._ingress.relay("openai_responses", model=MODEL_PREFIX + agent_id)

    async def call_verb(self, target: str) -> Response:
        """`AGENT:VERB`, as of a model of Gemini's. Raises NotFoundError: there is no such verb."""
        agent_id, _, verb = target.rpartition(":")
        if verb not in _VERBS or not agent_id:
            self._ingress.authenticate()
            raise NotFoundError(f"Agents have {', '.join(_VERBS)}; not '{verb[:100]}'.")
        model = MODEL_PREFIX + agent_id
        if verb == "generateContent":
            return await self._ingress.relay("gemini", model=model, stream=False)
        return await self._ingress.relay("gemini", model=model, stream=True, array=wants_array())

    async def _admit(self) -> Admitted:
        """Raises as `Ingress.admit`, and NotFoundError: the operator has none of it."""
        admitted = await self._ingress.admit()
        if not self._gateway.config.agents.enabled:
            raise NotFoundError("There are no agents here: the operator has switched them off.")
        return admitted

    async def _read(self) -> dict[str, Any]:
        return await read_json(self._gateway, self._gateway.config.agents.definition_max_bytes)

    def _check_of(self, admitted: Admitted) -> Check:
        """What refuses agents that this account could not call."""
        models = self._gateway.models(admitted)
        usable = {model.id for model in models}
        silent = {
            model.id
            for model in models
            if (serves := model.capabilities.serves) is not None and serves.isdisjoint(_TALK)
        }
        policy = egress_policy(self._gateway.config.egress)
        if (auto := self._gateway.config.auto) is not None:
            usable.add(auto.name)

        def check(definition: Definition) -> None:
            if definition.model not in usable:
                raise ModelNotFoundError(
                    f"The model '{definition.model[:200]}' does not exist or you do not have "
                    "access to it.",
                    param="model",
                )
            if definition.model in silent:
                raise InvalidRequestError(
                    f"The model '{definition.model[:200]}' does not chat, so it answers as no "
                    "agent; choose another one.",
                    param="model",
                )
            check_reach(definition.tools, policy)

        return check


def shown_agent(agent: Agent) -> dict[str, Any]:
    """As an account is shown its own; the values of headers are not."""
    return {
        "id": agent.agent_id,
        "object": "agent",
        "created_at": format_time(agent.created_at_ms),
        "updated_at": format_time(agent.updated_at_ms),
        "version": agent.version,
        "called_as": MODEL_PREFIX + agent.definition.name,
        **write_definition(agent.definition),
    }


def _account_of(admitted: Admitted) -> str:
    return admitted.entry.principal.account_id


def _read_query() -> AgentQuery:
    """`after` or `before`, `limit`, `order`. Raises InvalidRequestError."""
    order, said = query_value("order") or "desc", query_value("limit")
    if order not in ("asc", "desc"):
        raise InvalidRequestError("'order' is 'asc' or 'desc'.", param="order")
    limit = _PAGE
    if said:
        limit = int(said) if said.isascii() and said.isdecimal() and len(said) < 9 else 0
        if not 1 <= limit <= _PAGE_MAX:
            raise InvalidRequestError(f"'limit' is a number from 1 to {_PAGE_MAX}.", param="limit")
    after, before = query_value("after") or None, query_value("before") or None
    if after is not None and before is not None:
        raise InvalidRequestError("One of 'after' and 'before' is said.", param="before")
    return AgentQuery(limit, cast("Literal['asc', 'desc']", order), after, before)
