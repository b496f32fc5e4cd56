"""What a configuration can say of agents: models with instructions, knowledge and tools that
accounts set up themselves."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AgentsConfig:
    """What agents may come to. Their tools reach what `[egress]` allows: `http`, `ports`,
    `private`, `denied`, `ca_file`, `proxy`."""

    enabled: bool = True
    """Else there are no routes for them, and no model is one."""
    per_account_max: int = 100
    definition_max_bytes: int = 256 * 1024
    """Of the JSON that says what an agent is."""
    tools_max: int = 32
    rounds_max: int = 16
    """Answers of the model that one call may take."""
    seconds_max: float = 300.0
    """For a call; each agent may say less."""
    tool_timeout_max_s: float = 30.0
    tool_answer_max_bytes: int = 256 * 1024
    tools_at_once: int = 8
    """Of those that one round asks for."""
    knowledge_files_max: int = 1_000
    """Of one agent."""
    knowledge_file_max_bytes: int = 16 * 1024 * 1024
    knowledge_max_bytes: int = 256 * 1024 * 1024
    """Of all files of one agent."""
    sources_max: int = 32
    """That one prompt is given."""
    context_tokens_max: int = 32_000
    """That these may take in it."""
