"""Ids of another account in disguise, by seeds: in paths, in URLs, in bodies of any shape.

Whatever is answered, it is no fault of ours, nothing of the other account is told or changed, and
the provider is asked for nothing of it.
"""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, unquote

import orjson
import pytest

from engine.passing.service import served_routes
from tests.abuse.test_isolation import BODIES, filled
from tests.abuse.worlds import SECRET, Worlds, open_worlds

CASES: Final = 100
NAMES: Final = (
    "assistant_id", "attachments", "attributes", "chunking_strategy", "container", "content",
    "conversation", "data", "file_id", "file_ids", "files", "filters", "id", "input", "items",
    "messages", "metadata", "model", "name", "ranking_options", "run_id", "text", "thread",
    "tool_outputs", "tool_resources", "tools", "type", "value", "vector_store_ids",
    "vector_stores",
)  # fmt: skip


def disguised(rng: random.Random, theirs: str, mine: str) -> str:
    """Their id as somebody may write it who wants it overlooked."""
    return rng.choice(
        (
            theirs,
            theirs.upper(),
            theirs.swapcase(),
            f" {theirs}",
            f"{theirs}\n",
            f"{theirs}\x00",
            theirs.replace("_", "\uff3f"),
            theirs.replace("_", "\u200b_"),
            f"{mine},{theirs}",
            f"{mine}/../{theirs}",
            f"../{theirs}",
            f"{theirs}/items",
            f"{theirs}?limit=1",
            f"{theirs}#{mine}",
            f"{mine}&after={theirs}",
            quote(theirs, safe=""),
            "".join(f"%{byte:02x}" for byte in theirs.encode()),
            theirs * 40,
            theirs[:-1],
        )
    )


def in_path(rng: random.Random, text: str) -> str:
    """As it goes into a path: as it is, encoded, twice encoded, all of it encoded."""
    match rng.randrange(4):
        case 0:
            return "".join(each for each in text if each.isascii() and each.isprintable())
        case 1:
            return quote(text, safe="")
        case 2:
            return quote(quote(text, safe=""), safe="")
        case _:
            return "".join(f"%{byte:02X}" for byte in text.encode())


def nested(rng: random.Random, text: str, depth: int = 0) -> Any:
    """A value of any shape with the text in it."""
    if depth > 4 or rng.random() < 0.3:
        return text
    inner = nested(rng, text, depth + 1)
    match rng.randrange(4):
        case 0:
            return [inner]
        case 1:
            return [rng.choice((None, 1, "x", {})), inner]
        case 2:
            return {rng.choice(NAMES): inner}
        case _:
            return {"type": rng.choice(NAMES), rng.choice(NAMES): inner, "id": rng.choice(NAMES)}


def written(rng: random.Random, body: dict[str, Any], name: str, value: Any) -> bytes:
    """JSON that may say a member twice, and letters by their numbers."""
    text = orjson.dumps(body | {name: value}).decode()
    if rng.random() < 0.2 and name in body:
        text = f"{text[:-1]},{orjson.dumps({name: value}).decode()[1:]}"
    if rng.random() < 0.3:
        text = text.replace("_", "\\u005f")
    return text.encode()


class Fuzz:
    """Random requests of one account that name what the other has."""

    def __init__(self, worlds: Worlds, seed: int) -> None:
        self.worlds = worlds
        self.rng = random.Random(seed)
        self.routes = served_routes()

    async def case(self) -> None:
        rng, mine, theirs = self.rng, self.worlds.mine, self.worlds.theirs
        route = rng.choice(self.routes)
        foreign = rng.choice([*theirs.ids, *theirs.raw])
        own = rng.choice(mine.ids)
        text = disguised(rng, foreign, own)
        at, query, content = dict(mine.at), "", b""
        place = rng.choice(("path", "query", "body"))
        if place == "path" and route.parameters:
            name = rng.choice(route.parameters)
            at[name] = in_path(rng, disguised(rng, theirs.at[name], mine.at[name]))
        elif place == "query":
            name = rng.choice((*route.query, "after", "before", "include[]", "thread_id", "x"))
            query = f"?{name}={own}&{name}={in_path(rng, text)}&stream=true"
        if route.method == "POST":
            name = rng.choice(NAMES)
            words = text if place == "body" else own
            body = {**BODIES.get(route.path, {}), name: own}
            content = written(rng, body, name, nested(rng, words))
        answer = await mine.client.request(
            route.method,
            filled(route, at) + query,
            content=content,
            headers={"content-type": "application/json"} if content else {},
        )
        said = (route.method, route.path, at, query, content, answer.status_code, answer.text[:300])
        assert answer.status_code < 500, said
        assert SECRET not in answer.text, said


@pytest.mark.parametrize("seed", range(2))
async def test_ids_in_disguise(tmp_path: Path, seed: int) -> None:
    async with open_worlds(tmp_path) as worlds:
        calls = worlds.kept.served.setup.sim.kept.calls
        before, begun = worlds.shown(), len(calls)
        fuzz = Fuzz(worlds, seed)
        for _ in range(CASES):
            await fuzz.case()
        assert worlds.shown() == before
        asked = [unquote(unquote(f"{call.path}?{call.query}")) for call in list(calls)[begun:]]
        foreign = "|".join(map(re.escape, [*worlds.theirs.ids, *worlds.theirs.raw]))
        whole = re.compile(rf"(?<![A-Za-z0-9_-])({foreign})(?![A-Za-z0-9_-])")
        assert [one for one in asked if whole.search(one)] == []
        assert asked
