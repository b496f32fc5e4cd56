"""What a configuration can say of jobs: what outlives the request that asks for it."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class JobsConfig:
    """Providers are asked how their jobs do: first after `poll_min_s`, then less and less often, up
    to `poll_max_s`; later where they say when to come again."""

    poll_min_s: float = 2.0
    poll_max_s: float = 30.0
    polls_at_once: int = 64
    """Of all providers; of one of them at most half as many."""
    poll_timeout_s: float = 30.0
    """For an answer to such a question."""
    timeout_s: float = 3_600.0
    """So long a client waits: then its job has expired."""
    late_s: float = 86_400.0
    """So long after that a success still counts, and its funds are held."""
    keep_days: int = field(default=30, metadata={"positive": False})
    """Jobs that have ended are shown so long; 0: for ever."""
    open_per_account_max: int = 100
