"""The JSON of an agent: read from who sets one up, shown again without its secrets, and stored.

All three are one shape. Values of headers are secrets: shown as `null`, and `null` in a change
leaves what there is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Final, cast, get_args

import orjson

from engine.agent import (
    AGENT_PREFIX,
    MODEL_PREFIX,
    AgentLimits,
    AgentParameters,
    AgentTool,
    Definition,
    FunctionTool,
    HttpTool,
    Knowledge,
)
from engine.agents.fields import (
    Fields,
    check_known,
    mapping,
    objects,
    texts,
    wrong,
)
from engine.agents.http_tools import read_http_tool, write_http_tool
from engine.config_agents import AgentsConfig
from engine.conversation import Effort
from engine.errors import InvalidRequestError
from engine.file_ids import bare_file_id, shown_file_id

_FIELDS: Final = frozenset(
    {
        "name", "model", "description", "instructions", "knowledge", "tools", "parameters",
        "limits", "metadata",
    }
)  # fmt: skip
_SHOWN_ONLY: Final = frozenset({"id", "object", "created_at", "updated_at", "version", "called_as"})
"""What an agent is shown with, and a change may say again; it is not looked at."""
_IS_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}").fullmatch
_IS_TOOL: Final = re.compile(r"[A-Za-z0-9_-]{1,64}").fullmatch
_MODEL_MAX_CHARS: Final = 256
_TEXT_MAX_CHARS: Final = 128 * 1024
_DESCRIPTION_MAX_CHARS: Final = 1_024
_METADATA_MAX: Final = 16
_STOPS_MAX: Final = 8
_TOKENS_MAX: Final = 10_000_000
_NANODOLLARS_MAX: Final = 10_000_000 * 1_000_000_000


def read_definition(
    document: Mapping[str, Any], config: AgentsConfig, before: Definition | None = None
) -> Definition:
    """What an account says of an agent; `before` has the secrets that it does not say again.

    Raises:
        InvalidRequestError: it says what no agent can be; names the field.
    """
    check_known(document, _FIELDS | _SHOWN_ONLY, "")
    said = Fields({name: document[name] for name in _FIELDS & document.keys()}, "")
    return Definition(
        name=_read_name(said),
        model=_read_model(said),
        description=said.text("description", _DESCRIPTION_MAX_CHARS),
        instructions=said.text("instructions", _TEXT_MAX_CHARS) or "",
        knowledge=_read_knowledge(said.fields("knowledge"), config),
        tools=_read_tools(said.get("tools"), config, before),
        parameters=_read_parameters(said.fields("parameters")),
        limits=_read_limits(said.fields("limits"), config),
        metadata=_read_metadata(said.get("metadata")),
    )


def changed_definition(
    before: Definition, document: Mapping[str, Any], config: AgentsConfig
) -> Definition:
    """What a change makes of a definition: a member that is said replaces what there is of it, and
    `null` takes it back. Raises InvalidRequestError."""
    merged = {**write_definition(before), **document}
    return read_definition(
        {name: value for name, value in merged.items() if value is not None}, config, before
    )


def write_definition(definition: Definition, *, secrets: bool = False) -> dict[str, Any]:
    """Its JSON; with the `secrets`, to be stored."""
    knowledge, limits = definition.knowledge, definition.limits
    return {
        "name": definition.name,
        "model": definition.model,
        "description": definition.description,
        "instructions": definition.instructions,
        "knowledge": {
            "file_ids": [shown_file_id(each, "openai") for each in knowledge.file_ids],
            "sources_max": knowledge.sources_max,
            "context_tokens": knowledge.context_tokens,
        },
        "tools": [_write_tool(tool, secrets=secrets) for tool in definition.tools],
        "parameters": {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(definition.parameters).items()
            if value not in (None, ())
        },
        "limits": {name: value for name, value in asdict(limits).items() if value is not None},
        "metadata": dict(definition.metadata),
    }


def stored_definition(definition: Definition) -> str:
    """As it is written into the database."""
    return orjson.dumps(write_definition(definition, secrets=True)).decode()


def load_definition(stored: str) -> Definition:
    """What was stored, by whatever bounds hold now."""
    return read_definition(orjson.loads(stored), _UNBOUNDED)


_UNBOUNDED: Final = AgentsConfig(
    tools_max=1_000,
    rounds_max=1_000,
    seconds_max=1e9,
    tool_timeout_max_s=1e9,
    tool_answer_max_bytes=2**40,
    knowledge_files_max=1_000_000,
    sources_max=1_000_000,
    context_tokens_max=_TOKENS_MAX,
)


def _read_name(said: Fields) -> str:
    name = said.text("name", 64)
    if name is None or _IS_NAME(name) is None or name.startswith(AGENT_PREFIX):
        raise InvalidRequestError(
            "An agent has a 'name' of 1 to 64 letters, digits and '._-', which begins with a "
            f"letter or a digit and not with '{AGENT_PREFIX}'.",
            param="name",
        )
    return name


def _read_model(said: Fields) -> str:
    model = said.text("model", _MODEL_MAX_CHARS)
    if not model or model.startswith(MODEL_PREFIX):
        raise InvalidRequestError(
            "'model' names the model that answers as the agent: one of GET /v1/models, and no "
            "other agent.",
            param="model",
        )
    return model


def _read_knowledge(said: Fields, config: AgentsConfig) -> Knowledge:
    check_known(said.document, {"file_ids", "sources_max", "context_tokens"}, "knowledge")
    usual, path = Knowledge(), "knowledge.file_ids"
    bare = []
    for number_, each in enumerate(texts(said.get("file_ids"), path, config.knowledge_files_max)):
        file_id = bare_file_id(each)
        if file_id is None:
            raise InvalidRequestError(
                f"'{path}[{number_}]' is no id of a file: store it (POST /v1/files), and name "
                "the 'id' of the answer.",
                param=path,
            )
        bare.append(file_id)
    return Knowledge(
        file_ids=tuple(dict.fromkeys(bare)),
        sources_max=said.integer("sources_max", 1, config.sources_max)
        or min(usual.sources_max, config.sources_max),
        context_tokens=said.integer("context_tokens", 1, config.context_tokens_max)
        or min(usual.context_tokens, config.context_tokens_max),
    )


def _read_tools(
    value: object, config: AgentsConfig, before: Definition | None
) -> tuple[AgentTool, ...]:
    known = {} if before is None else before.http_tools
    tools: dict[str, AgentTool] = {}
    for place, document in enumerate(objects(value, "tools", config.tools_max)):
        path = f"tools[{place}]"
        match document.get("type"):
            case "function":
                tool: AgentTool = _read_function(document, path)
            case "http":
                said = Fields(document, path)
                tool = read_http_tool(said, config, known.get(str(document.get("name"))))
            case _:
                raise InvalidRequestError(
                    f"'{path}.type' is 'function' or 'http'.", param=f"{path}.type"
                )
        if _IS_TOOL(tool.name) is None:
            raise InvalidRequestError(
                f"'{path}.name' is 1 to 64 letters, digits, '_' and '-'.", param=f"{path}.name"
            )
        if tool.name in tools:
            raise InvalidRequestError(f"There are two tools '{tool.name}'.", param=f"{path}.name")
        tools[tool.name] = tool
    return tuple(tools.values())


def _read_function(document: Mapping[str, Any], path: str) -> FunctionTool:
    """Flat, or below `function` as in chat completions."""
    inner = document.get("function")
    if isinstance(inner, Mapping):
        document, path = {"type": "function", **inner}, f"{path}.function"
    check_known(document, {"type", "name", "description", "parameters", "strict"}, path)
    said = Fields(document, path)
    strict = said.get("strict")
    if strict is not None and not isinstance(strict, bool):
        raise wrong(f"{path}.strict", "is true or false")
    parameters = said.get("parameters")
    return FunctionTool(
        name=said.text("name", 64) or "",
        description=said.text("description", _DESCRIPTION_MAX_CHARS),
        parameters=None if parameters is None else mapping(parameters, f"{path}.parameters"),
        strict=strict,
    )


def _write_tool(tool: AgentTool, *, secrets: bool) -> dict[str, Any]:
    match tool:
        case HttpTool():
            return write_http_tool(tool, secrets=secrets)
        case FunctionTool():
            return {
                "type": "function",
                "name": tool.name,
                "description": tool.description,
                "parameters": tool.parameters,
                "strict": tool.strict,
            }


def _read_parameters(said: Fields) -> AgentParameters:
    check_known(said.document, AgentParameters.__dataclass_fields__, "parameters")
    effort, parallel = said.get("reasoning_effort"), said.get("parallel_tool_calls")
    if effort is not None and effort not in get_args(Effort):
        words = ", ".join(get_args(Effort))
        raise wrong("parameters.reasoning_effort", f"is one of {words}")
    if parallel is not None and not isinstance(parallel, bool):
        raise wrong("parameters.parallel_tool_calls", "is true or false")
    return AgentParameters(
        temperature=said.number("temperature", 0, 2),
        top_p=said.number("top_p", 0, 1),
        top_k=said.integer("top_k", 1, 1_000_000),
        seed=said.integer("seed", -(2**63), 2**63 - 1),
        presence_penalty=said.number("presence_penalty", -2, 2),
        frequency_penalty=said.number("frequency_penalty", -2, 2),
        stop=tuple(texts(said.get("stop"), "parameters.stop", _STOPS_MAX)),
        reasoning_effort=cast("str | None", effort),
        parallel_tool_calls=parallel,
    )


def _read_limits(said: Fields, config: AgentsConfig) -> AgentLimits:
    check_known(said.document, AgentLimits.__dataclass_fields__, "limits")
    usual = AgentLimits()
    seconds = said.number("seconds", 0.001, config.seconds_max)
    return AgentLimits(
        rounds=said.integer("rounds", 1, config.rounds_max) or min(usual.rounds, config.rounds_max),
        seconds=min(usual.seconds, config.seconds_max) if seconds is None else seconds,
        max_output_tokens=said.integer("max_output_tokens", 1, _TOKENS_MAX),
        spend_nanodollars=said.integer("spend_nanodollars", 1, _NANODOLLARS_MAX),
    )


def _read_metadata(value: object) -> dict[str, str]:
    found = {} if value is None else mapping(value, "metadata")
    if len(found) > _METADATA_MAX or not all(
        isinstance(each, str) and len(name) <= 64 and len(each) <= 512
        for name, each in found.items()
    ):
        raise wrong("metadata", "has at most 16 texts of up to 512 characters")
    return dict(found)
