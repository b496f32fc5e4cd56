"""The client leaves after every event of a stream that fails in every way a provider can: billed is
what was received, never more than was generated; a drained stream, exactly what was."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from bench.simulate.directives import FaultKind
from tests.gateways import charge, settled
from tests.served import Served, open_raw, open_served

TOKENS = 24
CUT_AFTER = 12
OF_BEDROCK = frozenset({"corrupt", "oversized", "truncated"})
"""Elsewhere the same as `error_event`."""
FAULTS = [None, *(kind for kind in get_args(FaultKind) if kind not in OF_BEDROCK)]


async def leave_after(served: Served, fault: str | None, on_cancel: str, count: int) -> None:
    """Take `count` events, or as many as come; close the socket; check what was billed."""
    setup, place = served.setup, (fault, on_cancel, count)
    failing = "" if fault is None else f" fault={fault} cut_after={CUT_AFTER}"
    balance = await setup.balance()
    async with open_raw(served, f"tokens={TOKENS} tokens_per_second=4000{failing}") as client:
        try:
            await client.read_head()
            if client.status == 200:
                await client.read_events(count)
        except EOFError:
            pass  # the provider's failure came first
    await settled(lambda: setup.gateway.open_exchanges == 0)
    await settled(lambda: setup.gateway.statistics()["open_drains"] == 0)
    request_id = setup.sim.truth.records()[-1].request_id
    tries = [each for each in setup.sim.truth.records() if each.request_id == request_id]
    await settled(lambda: all(truth.ended for truth in tries))
    receipt, truth = await served.receipt(request_id), tries[-1]
    billed = receipt["usage"]["output_tokens"]
    outcome, provenance = receipt["outcome"], receipt["provenance"]
    assert outcome in ("client_left", "completed", "upstream_failed"), place
    assert receipt["delivered_output_tokens"] <= receipt["received_output_tokens"], place
    price = receipt["price"]["nanodollars"]
    assert price in (0, charge(truth.input_tokens, billed)), place
    assert billed <= truth.tokens_generated, place
    if provenance in ("drained", "reported"):
        assert billed == truth.tokens_generated, place
    elif price:
        assert billed == receipt["received_output_tokens"], place
    if outcome == "client_left":
        assert price > 0, place
        if on_cancel == "drain" and truth.ended == "done":
            assert provenance in ("drained", "reported"), place
    assert await setup.balance() == balance - price, place


@pytest.mark.parametrize("on_cancel", ["stop", "drain"])
@pytest.mark.parametrize("fault", FAULTS)
async def test_leaving_after_every_event_of_every_fault(
    tmp_path: Path, fault: str | None, on_cancel: str
) -> None:
    provider = f'on_cancel = "{on_cancel}"'
    if fault == "stall":
        provider += "\nidle_timeout_s = 0.2\nfirst_byte_timeout_s = 0.5"
    async with open_served(tmp_path, provider=provider) as served:
        last = TOKENS + 3 if fault is None else CUT_AFTER + 2
        for count in range(1, last + 1):
            if fault == "stall" and 2 < count < last - 2:
                continue  # each takes its timeout; what lies between is as in the others
            await leave_after(served, fault, on_cancel, count)
