"""The serving process as a whole."""

from __future__ import annotations

from collections.abc import Mapping

from frontends.commands.command import Command, Desk, Json, Parameters, running_of


async def _reload(desk: Desk, given: Parameters) -> Json:
    report = await running_of(desk).reload()
    return {
        "number": report.number,
        "changed": list(report.changed),
        "needs_restart": list(report.needs_restart),
        "took_ms": report.took_ms,
    }


async def _status(desk: Desk, given: Parameters) -> Json:
    return running_of(desk).status()


COMMANDS: Mapping[str, Command] = {
    "serving.reload": Command(_reload, {}, adds=True),
    "serving.status": Command(_status, {}),
}
