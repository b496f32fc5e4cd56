"""Plans made by hand, for tests of what carries them out."""

from __future__ import annotations

from dataclasses import replace

from bench.load.plan import ClosedPlan, Plan, Planned, Window
from bench.load.protocols import Target
from bench.suite.scenario import Http

REQUEST = Planned(
    number=0,
    at_s=0.0,
    window="load",
    protocol="openai_chat",
    provider="openai_chat",
    stream=True,
    prompt_bytes=200,
    tokens=5,
    lasts=False,
    tokens_per_second=0.0,
    first_token_ms=0.0,
    leave_at_s=None,
    leave_after_tokens=None,
    reads_bytes_per_s=None,
    directives="",
)
"""A stream of five tokens, at once."""


def plan_of(*requests: Planned, closed: ClosedPlan | None = None) -> Plan:
    """These, numbered anew."""
    numbered = tuple(replace(each, number=number) for number, each in enumerate(requests))
    return Plan(numbered, (Window("load", 0.0, 60.0),), closed, 0, 0.0, 0.0)


def target(port: int, http: Http = "http1", run: str = "t") -> Target:
    """A simulated provider, asked directly."""
    return Target(
        base_url=f"http://127.0.0.1:{port}",
        headers=(("authorization", "Bearer sk-sim"),),
        models={
            "openai_chat": "sim-openai",
            "openai_responses": "sim-openai",
            "anthropic": "sim-anthropic",
            "gemini": "sim-gemini",
        },
        http=http,
        run=run,
    )
