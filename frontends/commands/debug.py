"""What only a running server knows."""

from __future__ import annotations

from collections.abc import Mapping

from frontends.commands.command import Command, Desk, Json, Parameters, running_of


async def _debug_upstream(desk: Desk, given: Parameters) -> Json:
    return running_of(desk).upstream_statistics()


COMMANDS: Mapping[str, Command] = {"debug.upstream": Command(_debug_upstream, {})}
