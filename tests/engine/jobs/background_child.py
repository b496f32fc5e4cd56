"""A gateway that is asked for answers in the background until it is killed, and says of which its
clients have heard.

Run as `python -m tests.engine.jobs.background_child CONFIG KEY SEED`. A line is written only after
a client has an answer, or the first words of a stream: `taken REQUEST`.
"""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path

import orjson
import trio

from engine import Call, Config, open_gateway, parse_config
from engine.errors import GatewayError
from engine.gateway import Gateway

TASKS = 4


async def clients(gateway: Gateway, key: str, task: int, chance: random.Random) -> None:
    count = 0
    while True:
        count += 1
        stream, tokens = chance.random() < 0.5, chance.randrange(1, 9)
        words = f"tokens={tokens} tokens_per_second=200 end_polls={chance.randrange(3)}"
        document = {
            "model": "thinker",
            "input": f"#sim {words}\nCat {os.getpid()}.{count}.{task}",
            "background": True,
            "stream": stream,
            "max_output_tokens": 200,
        }
        call = Call(body=orjson.dumps(document), key=key, protocol="openai_responses")
        try:
            async with gateway.open_exchange(call) as exchange:
                told = await anext(aiter(exchange))
                assert told
                os.write(1, f"taken {call.request_id}\n".encode())
                if chance.random() < 0.5:  # others leave
                    async for _ in exchange:
                        pass
        except GatewayError:
            await trio.sleep(0.01)


async def main(config: Config, key: str, seed: str) -> None:
    async with open_gateway(config) as gateway, trio.open_nursery() as nursery:
        for task in range(TASKS):
            nursery.start_soon(clients, gateway, key, task, random.Random(f"{seed} {task}"))


if __name__ == "__main__":
    path, *rest = sys.argv[1:]
    trio.run(main, parse_config(Path(path).read_text(), path, {}), rest[0], rest[1])
