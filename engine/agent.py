"""Agents as plain values: what an account has set up once, and then calls like a model."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from engine.conversation import Tool, Turn

MODEL_PREFIX: Final = "agent:"
"""What the name of a model begins with that is an agent: its name or its id follows."""
AGENT_PREFIX: Final = "agent_"
_IS_ID: Final = re.compile(r"agent_[0-9a-f]{12,40}")

Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]


def new_agent_id() -> str:
    """An id of milliseconds and 48 random bits: with the account that asks it names an agent."""
    return f"{AGENT_PREFIX}{time.time_ns() // 1_000_000:012x}{secrets.token_hex(6)}"


def is_agent_id(text: str) -> bool:
    """Whether it may be one; names of agents never look so.

    >>> is_agent_id("agent_0123456789abcdef"), is_agent_id("support")
    (True, False)
    """
    return _IS_ID.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class FunctionTool:
    """A function that whoever calls the agent runs."""

    name: str
    description: str | None = None
    parameters: Mapping[str, Any] | None = None
    strict: bool | None = None


@dataclass(frozen=True, slots=True)
class HttpTool:
    """A request that the gateway makes where the model asks for it.

    Attributes:
        parameters: the JSON schema of its arguments, an object's.
        url: with `{name}` in its path and query for arguments, which are quoted. Those that it does
            not name are its query or, where the method has a body, members of a JSON object.
        headers: lower-case names to values, which are secrets: nobody is shown them again.
        timeout_s: for all of it.
        max_bytes: of its answer; more of it is cut off.
    """

    name: str
    description: str
    parameters: Mapping[str, Any]
    method: Method
    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    timeout_s: float = 10.0
    max_bytes: int = 65_536


AgentTool = FunctionTool | HttpTool


@dataclass(frozen=True, slots=True)
class Knowledge:
    """What an agent looks things up in.

    Attributes:
        file_ids: bare ids of files of the account.
        sources_max: that go into one prompt.
        context_tokens: that they may take there.
    """

    file_ids: tuple[str, ...] = ()
    sources_max: int = 8
    context_tokens: int = 2_000


@dataclass(frozen=True, slots=True)
class AgentParameters:
    """What holds where whoever calls it says nothing else. What is None is the model's default."""

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    seed: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    stop: tuple[str, ...] = ()
    reasoning_effort: str | None = None
    parallel_tool_calls: bool | None = None


@dataclass(frozen=True, slots=True)
class AgentLimits:
    """What one call of an agent may come to.

    Attributes:
        rounds: answers of the model, each of which but the last has asked for tools.
        seconds: for all of it.
        max_output_tokens: of a round; a call may ask for less.
        spend_nanodollars: no round begins beyond; None: what the account has.
    """

    rounds: int = 8
    seconds: float = 120.0
    max_output_tokens: int | None = None
    spend_nanodollars: int | None = None


@dataclass(frozen=True, slots=True)
class Definition:
    """What an account says of an agent."""

    name: str
    model: str
    description: str | None = None
    instructions: str = field(default="", repr=False)
    knowledge: Knowledge = Knowledge()
    tools: tuple[AgentTool, ...] = ()
    parameters: AgentParameters = AgentParameters()
    limits: AgentLimits = AgentLimits()
    metadata: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def http_tools(self) -> dict[str, HttpTool]:
        """Those that the gateway runs, by name."""
        return {tool.name: tool for tool in self.tools if isinstance(tool, HttpTool)}


@dataclass(frozen=True, slots=True)
class Agent:
    """An account's agent. `version` counts its changes from 1."""

    agent_id: str
    account_id: str
    version: int
    created_at_ms: int
    updated_at_ms: int
    definition: Definition


@dataclass(frozen=True, slots=True)
class Cited:
    """A numbered source of a prompt: a passage of a file, in characters of its text from `start` to
    `end`; `file_id` is bare."""

    number: int
    file_id: str
    filename: str
    passage: int
    start: int
    end: int
    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class AgentUse:
    """A request that names an agent in the place of a model.

    Attributes:
        named: its name or its id.
        question: what its knowledge is looked up by: the last words of the client's side.
    """

    named: str
    question: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Brief:
    """What an agent adds to one request, as far as it goes to a model; nothing of it is a secret.

    Attributes:
        model: that plays it.
        system: goes before what the client says as the system.
        tools: go before the client's.
        own: the names of those that the gateway runs.
        max_output_tokens: of a round.
        sources: are in `system`, by their numbers.
        turns: what earlier rounds have come to: calls and results.
        last: no tools may be asked for any more.
    """

    agent_id: str
    model: str
    system: str = field(repr=False)
    tools: tuple[Tool, ...] = ()
    own: frozenset[str] = frozenset()
    parameters: AgentParameters = AgentParameters()
    max_output_tokens: int | None = None
    sources: tuple[Cited, ...] = ()
    turns: tuple[Turn, ...] = field(default=(), repr=False)
    last: bool = False
