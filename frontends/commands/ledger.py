"""The ledger as a whole."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from engine.ledger.records import LedgerError, ReconciliationLine
from frontends.commands.command import BadCommandError, Command, Desk, Json, Parameters


async def _audit(desk: Desk, given: Parameters) -> Json:
    """What is stored is looked at by a running server only: it knows where that is."""
    findings = await desk.ledger.audit()
    if desk.running is not None:
        findings += await desk.running.audit_files()
    return [
        {
            "invariant": finding.name,
            "ok": finding.ok,
            "figure": finding.figure,
            "detail": finding.detail,
        }
        for finding in findings
    ]


async def _archive(desk: Desk, given: Parameters) -> Json:
    folder = Path(given["folder"])
    try:
        done = await desk.ledger.archive(folder, given["before_ms"])
    except LedgerError as error:
        raise BadCommandError(f"The receipts stay in the database: {error}.") from None
    return [{"file": file.path, "receipts": file.receipts, "sha256": file.sha256} for file in done]


async def _reconcile(desk: Desk, given: Parameters) -> Json:
    lines = [_line(value) for value in given["lines"]]
    return {"posted": await desk.ledger.reconcile(given["provider"], lines)}


def _line(value: Json) -> ReconciliationLine:
    match value:
        case {
            "amount_nanodollars": int(amount_nanodollars),
            "reason": str(reason),
            "reference": str(reference),
            **others,
        } if not others and amount_nanodollars is not True and amount_nanodollars is not False:
            return ReconciliationLine(amount_nanodollars, reason, reference)
        case _:
            raise BadCommandError("A line has an amount, a reason and a reference.")


COMMANDS: Mapping[str, Command] = {
    "ledger.audit": Command(_audit, {}),
    "ledger.reconcile": Command(_reconcile, {"provider": (str,), "lines": (list,)}, adds=True),
    "ledger.archive": Command(_archive, {"folder": (str,), "before_ms": (int,)}, adds=True),
}
