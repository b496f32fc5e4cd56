"""An operator of a served gateway, for tests of the API under `/admin`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.frontends.apps import Front, open_front
from tests.gateways import chat_body

SECRET = "the-credential-of-operators-in-these-tests"
CHAT = "/v1/chat/completions"


@asynccontextmanager
async def open_admin(folder: Path, **options: Any) -> AsyncIterator[Front]:
    """A front whose operators have a credential."""
    async with open_front(folder, admin_key=SECRET, **options) as front:
        yield front


async def ask(front: Front, method: str, path: str, body: Any = None) -> httpx.Response:
    """As an operator."""
    headers = {"authorization": f"Bearer {SECRET}"}
    return await front.client.request(method, path, json=body, headers=headers)


async def done(front: Front, method: str, path: str, body: Any = None) -> Any:
    """What an order answers that is carried out."""
    answer = await ask(front, method, path, body)
    assert answer.status_code in {200, 201}, answer.text
    return answer.json()


async def refused(front: Front, method: str, path: str, body: Any = None) -> tuple[int, str]:
    """The status and the code of a refusal."""
    answer = await ask(front, method, path, body)
    assert answer.status_code >= 400, answer.text
    return answer.status_code, answer.json()["error"]["code"]


async def chat(front: Front, key: str | None = None, **changes: Any) -> httpx.Response:
    """A small request, with this key."""
    headers = {} if key is None else {"authorization": f"Bearer {key}"}
    body = chat_body("tokens=3", stream=False, **changes)
    return await front.client.post(CHAT, content=body, headers=headers)
