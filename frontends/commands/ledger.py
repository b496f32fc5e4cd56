"""The ledger as a whole."""

from __future__ import annotations

from collections.abc import Mapping

from frontends.commands.command import Command, Desk, Json, Parameters


async def _audit(desk: Desk, given: Parameters) -> Json:
    return [
        {
            "invariant": finding.name,
            "ok": finding.ok,
            "figure": finding.figure,
            "detail": finding.detail,
        }
        for finding in await desk.ledger.audit()
    ]


COMMANDS: Mapping[str, Command] = {"ledger.audit": Command(_audit, {})}
