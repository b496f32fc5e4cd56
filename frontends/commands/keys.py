"""Keys."""

from __future__ import annotations

from collections.abc import Mapping
from types import NoneType

from engine.errors import NotFoundError
from engine.ledger.receipts import format_time
from engine.ledger.records import KeyRow
from frontends.commands.command import Command, Desk, Json, Parameters, find_account


async def _create_key(desk: Desk, given: Parameters) -> Json:
    account = await find_account(desk, given["account"])
    row, secret = await desk.create_key(account.account_id, given["name"])
    return {**_key_json(row), "secret": secret}


async def _list_keys(desk: Desk, given: Parameters) -> Json:
    account_id = None
    if given["account"] is not None:
        account_id = (await find_account(desk, given["account"])).account_id
    return [_key_json(row) for row in await desk.ledger.keys(account_id)]


async def _revoke_key(desk: Desk, given: Parameters) -> Json:
    try:
        return _key_json(await desk.revoke_key(given["key_id"]))
    except NotFoundError:
        raise NotFoundError(
            f"There is no key '{given['key_id']}'; 'parshall keys list' shows their ids."
        ) from None


def _key_json(row: KeyRow) -> Json:
    revoked_at_ms = row.revoked_at_ms
    return {
        "key_id": row.key_id,
        "account_id": row.account_id,
        "name": row.name,
        "prefix": row.prefix,
        "created_at": format_time(row.created_at_ms),
        "revoked_at": None if revoked_at_ms is None else format_time(revoked_at_ms),
    }


COMMANDS: Mapping[str, Command] = {
    "keys.create": Command(_create_key, {"account": (str,), "name": (str,)}, adds=True),
    "keys.list": Command(_list_keys, {"account": (str, NoneType)}),
    "keys.revoke": Command(_revoke_key, {"key_id": (str,)}),
}
