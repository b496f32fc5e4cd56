"""Where requests go: how deployments do, and the plan for a request that is not sent."""

from __future__ import annotations

from collections.abc import Mapping
from types import NoneType
from typing import get_args

from engine.events import Protocol
from engine.explaining import call_of
from frontends.commands.command import (
    BadCommandError,
    Command,
    Desk,
    Json,
    Parameters,
    find_account,
    running_of,
)

PROTOCOLS: tuple[Protocol, ...] = get_args(Protocol)


async def _show(desk: Desk, given: Parameters) -> Json:
    return running_of(desk).routes()


async def _explain(desk: Desk, given: Parameters) -> Json:
    running = running_of(desk)
    protocol = given["protocol"] or PROTOCOLS[0]
    if protocol not in PROTOCOLS:
        raise BadCommandError(f"'protocol' is one of {', '.join(PROTOCOLS)}.", param="protocol")
    plan = None
    if given["account"] is not None:
        plan = (await find_account(desk, given["account"])).plan
    call = call_of(given["body"], protocol, given["model"], given["stream"], given["operation"])
    return await running.explain(call, plan)


COMMANDS: Mapping[str, Command] = {
    "routes.show": Command(_show, {}),
    "routes.explain": Command(
        _explain,
        {
            "body": (dict,),
            "protocol": (str, NoneType),
            "operation": (str, NoneType),
            "account": (str, NoneType),
            "model": (str, NoneType),
            "stream": (bool, NoneType),
        },
    ),
}
