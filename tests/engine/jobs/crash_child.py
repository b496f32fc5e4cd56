"""A gateway that asks for films until it is killed, and says which it was told of.

Run as `python -m tests.engine.jobs.crash_child CONFIG KEY SEED`. A line is written only after a
client has its answer: `taken JOB`.
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
        words = f"#sim end_polls={chance.randrange(3)} head_ms={chance.randrange(20)}"
        prompt = f"{words}\nCat {os.getpid()}.{count}.{task}"
        document = {"model": "film", "seconds": 4, "prompt": prompt}
        call = Call(body=orjson.dumps(document), key=key, protocol="openai", operation="video")
        try:
            async with gateway.open_exchange(call) as exchange:
                answer = orjson.loads(b"".join([chunk async for chunk in exchange]))
        except GatewayError:
            await trio.sleep(0.01)
            continue
        os.write(1, f"taken {answer['job_id']}\n".encode())


async def main(config: Config, key: str, seed: str) -> None:
    async with open_gateway(config) as gateway, trio.open_nursery() as nursery:
        for task in range(TASKS):
            nursery.start_soon(clients, gateway, key, task, random.Random(f"{seed} {task}"))


if __name__ == "__main__":
    path, *rest = sys.argv[1:]
    trio.run(main, parse_config(Path(path).read_text(), path, {}), rest[0], rest[1])
