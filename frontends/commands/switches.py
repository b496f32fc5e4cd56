"""Switches: providers, deployments, models, keys and accounts that are off until they are on again,
also over a restart."""

from __future__ import annotations

from collections.abc import Mapping
from types import NoneType

from engine.admission.switches import SWITCH_KINDS, SwitchKind
from engine.errors import NotFoundError, UnavailableError
from engine.ledger.changes import Switched
from frontends.commands.command import (
    BadCommandError,
    Command,
    Desk,
    Json,
    Parameters,
    find_account,
    page_json,
    running_of,
)
from frontends.commands.keys import named_key


async def _named(desk: Desk, given: Parameters) -> Parameters:
    """The parameters with the subject as the ledger names it.

    Raises:
        BadCommandError: there is no such kind.
        NotFoundError: an account, a provider, a deployment or a model that nobody knows.
    """
    subject = given["subject"]
    if given["kind"] == "account":
        return {**given, "subject": (await find_account(desk, subject)).account_id}
    if given["kind"] not in SWITCH_KINDS:
        raise BadCommandError(f"'kind' is one of {', '.join(SWITCH_KINDS)}.")
    return given


async def _known(desk: Desk, given: Parameters) -> Parameters:
    given = await _named(desk, given)
    kind, subject = given["kind"], given["subject"]
    if desk.running is not None and not desk.running.knows(_kind(kind), subject):
        raise NotFoundError(
            f"There is no {kind} '{subject[:200]}'"
            + (": a deployment is PROVIDER/UPSTREAM_MODEL." if kind == "deployment" else ".")
        )
    if kind == "key":
        with named_key(subject):
            await desk.ledger.key(subject)
    return given


async def _off_or_known(desk: Desk, given: Parameters) -> Parameters:
    """As `_known`; but what is off can be what the configuration has no more."""
    given = await _named(desk, given)
    place = (given["kind"], given["subject"])
    if place in {(each.kind, each.subject) for each in desk.ledger.switched_off()}:
        return given
    return await _known(desk, given)


async def _switch_off(desk: Desk, given: Parameters) -> Json:
    kind, subject, reason = _kind(given["kind"]), given["subject"], given["reason"] or ""
    running = running_of(desk) if given["end_open"] is True else None
    failure: UnavailableError | None = None
    try:
        await desk.ledger.switch(kind, subject, off=True, reason=reason)
    except UnavailableError as error:  # it counts all the same
        failure = error
    ended = 0 if running is None else await running.end_all_of(kind, subject)
    if failure is not None:
        raise failure
    return {**_switch_json(Switched(kind, subject, True, reason)), "ended": ended}


async def _switch_on(desk: Desk, given: Parameters) -> Json:
    kind, subject = _kind(given["kind"]), given["subject"]
    await desk.ledger.switch(kind, subject, off=False)
    return _switch_json(Switched(kind, subject, False, ""))


async def _list_switches(desk: Desk, given: Parameters) -> Json:
    return page_json([_switch_json(each) for each in desk.ledger.switched_off()], None)


def _kind(text: str) -> SwitchKind:
    return next(kind for kind in SWITCH_KINDS if kind == text)


def _switch_json(switched: Switched) -> dict[str, Json]:
    return {
        "kind": switched.kind,
        "subject": switched.subject,
        "off": switched.off,
        "reason": switched.reason,
    }


_WHICH: Mapping[str, tuple[type, ...]] = {"kind": (str,), "subject": (str,)}

COMMANDS: Mapping[str, Command] = {
    "switches.list": Command(_list_switches, {}),
    "switches.off": Command(
        _switch_off,
        {**_WHICH, "reason": (str, NoneType), "end_open": (bool, NoneType)},
        adds=True,
        restricts=True,
        subject="subject",
        resolve=_known,
    ),
    "switches.on": Command(_switch_on, _WHICH, adds=True, subject="subject", resolve=_off_or_known),
}
