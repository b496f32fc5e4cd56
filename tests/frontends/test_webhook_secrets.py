"""An account's secret of webhooks is for keys that may manage keys."""

from __future__ import annotations

import base64
from pathlib import Path

import httpx

from engine.admission.keys import SCOPES
from tests.frontends.apps import Front, open_front
from tests.gateways import add_key

PATH = "/v1/account/webhook_secret"


async def ask(front: Front, method: str, path: str, key: str) -> httpx.Response:
    return await front.client.request(method, path, headers={"authorization": f"Bearer {key}"})


async def test_the_secret_is_made_shown_and_replaced(tmp_path: Path) -> None:
    async with open_front(tmp_path) as front:
        gateway, account_id = front.setup.gateway, front.setup.account_id
        _, key = await add_key(gateway, account_id, "keeper", scopes=SCOPES)
        key_id = gateway.authenticate(key).key_id
        first = (await ask(front, "GET", PATH, key)).json()
        again = (await ask(front, "GET", PATH, key)).json()
        answer = await ask(front, "POST", f"{PATH}/rotate", key)
        rotated = answer.json()
        log = await gateway.ledger.read_log()

        assert len(base64.b64decode(first["secret"].removeprefix("whsec_"))) == 32
        assert (again, first["former_secret_signs_until"]) == (first, None)
        assert answer.status_code == 201
        assert "no-store" in answer.headers["cache-control"]
        assert rotated["secret"] != first["secret"]
        assert rotated["former_secret_signs_until"] > rotated["created_at"]
        (order,) = [row for row in log.rows if row.action == "webhook_secret.rotate"]
        assert (order.actor, order.subject) == (f"key:{key_id}", account_id)
        assert first["secret"] not in str(log)


async def test_it_is_one_of_each_account(tmp_path: Path) -> None:
    async with open_front(tmp_path) as front:
        gateway = front.setup.gateway
        other = await gateway.ledger.create_account("other")
        _, mine = await add_key(gateway, front.setup.account_id, "keeper", scopes=SCOPES)
        _, theirs = await add_key(gateway, other.account_id, "keeper", scopes=SCOPES)
        before = (await ask(front, "GET", PATH, mine)).json()
        await ask(front, "POST", f"{PATH}/rotate", theirs)

        assert (await ask(front, "GET", PATH, mine)).json() == before
        assert (await ask(front, "GET", PATH, theirs)).json()["secret"] != before["secret"]


async def test_other_keys_are_refused(tmp_path: Path) -> None:
    async with open_front(tmp_path) as front:
        gateway, account_id = front.setup.gateway, front.setup.account_id
        _, narrow = await add_key(gateway, account_id, "app", scopes=("inference", "read"))

        for method, path in (("GET", PATH), ("POST", f"{PATH}/rotate")):
            refused = await ask(front, method, path, narrow)
            assert refused.status_code == 403
            assert "whsec_" not in refused.text
