"""A gateway served in front of a simulated provider that keeps state, for accounts with SDKs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import httpx
import openai
import orjson

from engine.admission.keys import digest, new_secret, shown_prefix
from tests.gateways import DOLLAR, HTTP2
from tests.served import Served, open_served

STATE: Final = f"""
[providers.keeps]
protocol = "openai"
base_url = "$SIM/v1"
http2 = "{HTTP2}"
responses = true
files = "openai"
state = "openai"
api_key = "file:$FOLDER/kept-key"
[models.kept]
deployments = [{{ provider = "keeps", model = "sim-openai" }}]
price = {{ input = 1, output = 2 }}
"""
"""The only provider that keeps anything, and a model of it under another name."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A served gateway and the SDKs of two accounts, of which one knows nothing of the other."""

    served: Served
    ours: openai.AsyncOpenAI
    theirs: openai.AsyncOpenAI
    other_account_id: str

    @property
    def calls(self) -> list[Any]:
        """What the provider was asked of what it keeps, in order."""
        return list(self.served.setup.sim.kept.calls)

    def body(self) -> dict[str, Any]:
        """What it was sent last."""
        found: dict[str, Any] = orjson.loads(self.calls[-1].body)
        return found

    def there(self, kind: str, object_id: str) -> Any:
        """A thing, as the provider keeps it."""
        found = self.served.setup.sim.kept.any(kind, object_id)
        assert found is not None, object_id
        return found


@asynccontextmanager
async def open_kept(
    folder: Path, more: str = "", *, theirs_nanodollars: int = DOLLAR, **options: Any
) -> AsyncIterator[Kept]:
    """Serve it; `more` are tables of the configuration, `theirs_nanodollars` the other account's
    funds."""
    (folder / "kept-key").write_text("sk-operator")
    models = STATE.replace("$FOLDER", str(folder)) + more
    async with open_served(folder, models=models, **options) as served:
        ledger = served.setup.gateway.ledger
        other = await ledger.create_account("other")
        if theirs_nanodollars:
            await ledger.fund(other.account_id, theirs_nanodollars, "other's")
        secret = new_secret()
        await ledger.create_key(other.account_id, "other", digest(secret), shown_prefix(secret))
        async with sdk(served, served.setup.key) as ours, sdk(served, secret) as theirs:
            yield Kept(served, ours, theirs, other.account_id)


@asynccontextmanager
async def sdk(served: Served, key: str) -> AsyncIterator[openai.AsyncOpenAI]:
    """OpenAI's, that tries everything once."""
    http = httpx.AsyncClient(verify=False, timeout=30)
    client = openai.AsyncOpenAI(
        api_key=key, base_url=served.url, max_retries=0, http_client=cast(Any, http)
    )
    async with http:
        yield client
