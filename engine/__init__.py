"""Parshall's engine: multiplexed streams to LLM providers, billed exactly. Trio only.

Owns the life of a call: admission, plan, hold, attempt, relay, settlement. Does not own HTTP
towards clients: frontends parse it, call the engine and render. Embedding it in a Trio program:

    import orjson, trio
    from engine import Call, open_gateway, parse_config

    CONFIG = parse_config('''
    [providers.local]
    protocol = "openai"
    base_url = "http://127.0.0.1:8788/v1"
    http2 = "prior-knowledge"
    [models.sim-openai]
    deployments = [{ provider = "local", model = "sim-openai" }]
    price = { input = 1, output = 2 }
    ''', "embedded", {})
    BODY = orjson.dumps({"model": "sim-openai", "stream": True,
                         "messages": [{"role": "user", "content": "Hello"}]})

    async def main() -> None:
        async with open_gateway(CONFIG) as gateway:
            account = await gateway.ledger.create_account("me")
            await gateway.ledger.fund(account.account_id, 1_000_000_000, "first dollar")
            _, secret = await gateway.create_key(account.account_id, "laptop")
            async with gateway.open_exchange(Call(body=BODY, key=secret)) as exchange:
                async for chunk in exchange:
                    print(chunk.decode(), end="")
            print(exchange.receipt.to_json()["price"])

    trio.run(main)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engine.config import Config, load_config, parse_config
    from engine.errors import ConfigError, GatewayError
    from engine.events import Call, Head, Outcome, Provenance, Usage
    from engine.exchange import Exchange
    from engine.gateway import Gateway, open_gateway

__all__ = [
    "Call",
    "Config",
    "ConfigError",
    "Exchange",
    "Gateway",
    "GatewayError",
    "Head",
    "Outcome",
    "Provenance",
    "Usage",
    "load_config",
    "open_gateway",
    "parse_config",
]

_MODULES = {
    **dict.fromkeys(("Config", "load_config", "parse_config"), "engine.config"),
    **dict.fromkeys(("ConfigError", "GatewayError"), "engine.errors"),
    **dict.fromkeys(("Call", "Head", "Outcome", "Provenance", "Usage"), "engine.events"),
    "Exchange": "engine.exchange",
    "Gateway": "engine.gateway",
    "open_gateway": "engine.gateway",
}


def __getattr__(name: str) -> Any:
    """What is offered, imported when it is asked for: the helper process of `engine.parsing`, which
    has to start fast, needs none of it."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)
