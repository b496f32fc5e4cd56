"""Two accounts with the same things at one provider, which takes them for one: by every route, in
paths, URLs and bodies, what is another's is there as little as what never was."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import httpx
import orjson

from engine.passing.service import served_routes
from engine.passing.table import PARAMETERS, Route
from tests.abuse.worlds import SECRET, World, Worlds, open_worlds

T = TypeVar("T")
_TAIL: Final = "7" * 4


def unknown(object_id: str) -> str:
    """An id of the same looks that nobody has."""
    return object_id[: -len(_TAIL)] + ("8" * 4 if object_id.endswith(_TAIL) else _TAIL)


def behind(route: Route) -> str:
    """The path behind the base URL of the SDK."""
    return route.path.removeprefix("/v1")


def filled(route: Route, at: dict[str, str]) -> str:
    path = behind(route)
    for name in route.parameters:
        path = path.replace(f"<{name}>", at[name])
    return path


def named_in_paths(route: Route, mine: World, theirs: World) -> Iterator[tuple[str, str]]:
    """Paths with something of theirs, and what that is: at one place, the rest one's own; at one
    place and behind it; everywhere."""
    for place, name in enumerate(route.parameters):
        foreign = theirs.at[name]
        yield filled(route, mine.at | {name: foreign}), foreign
        rest = {each: theirs.at[each] for each in route.parameters[place:]}
        if len(rest) > 1:
            yield filled(route, mine.at | rest), foreign


BODIES: Final[dict[str, dict[str, Any]]] = {
    "/v1/assistants": {"model": "kept"},
    "/v1/threads/runs": {"assistant_id": "OWN assistant_id"},
    "/v1/threads/<thread_id>/runs": {"assistant_id": "OWN assistant_id"},
    "/v1/threads/<thread_id>/messages": {"role": "user", "content": "x"},
    "/v1/threads/<thread_id>/runs/<run_id>/submit_tool_outputs": {"tool_outputs": []},
    "/v1/vector_stores/<vector_store_id>/search": {"query": "x"},
    "/v1/vector_stores/<vector_store_id>/files": {"file_id": "OWN file_id"},
    "/v1/vector_stores/<vector_store_id>/files/<file_id>": {"attributes": {}},
    "/v1/vector_stores/<vector_store_id>/file_batches": {"file_ids": ["OWN file_id"]},
    "/v1/batches": {
        "endpoint": "/v1/chat/completions",
        "completion_window": "24h",
        "input_file_id": "OWN batch_file_id",
    },
    "/v1/conversations/<conversation_id>/items": {"items": []},
    "/v1/fine_tuning/jobs": {"model": "kept", "training_file": "OWN training_file_id"},
    "/v1/containers": {"name": "x"},
}
"""Of the routes whose body says something: what would be right."""
KNOWN: Final[Mapping[str, frozenset[str]]] = {
    "batch": frozenset({"input_file_id"}),
    "fine_tune": frozenset({"training_file", "validation_file"}),
    "run": frozenset({"tool_resources", "additional_messages", "thread"}),
}
"""Of the routes that cost something: members that name what is kept. Of the rest one learns that
there is no such member (400), whatever it says."""
PLACES: Final[tuple[tuple[str, str], ...]] = (
    ("assistant_id", "assistant_id"),
    ("input_file_id", "batch_file_id"),
    ("training_file", "training_file_id"),
    ("validation_file", "training_file_id"),
    ("previous_response_id", "response_id"),
    ("run_id", "run_id"),
)
"""Members of bodies that name something, and what."""


def resources(at: dict[str, str]) -> Iterator[dict[str, Any]]:
    """What names something further down in bodies."""
    yield {"file_ids": [at["file_id"]]}
    yield {"files": [{"file_id": at["file_id"]}]}
    yield {"tool_resources": {"code_interpreter": {"file_ids": [at["file_id"]]}}}
    yield {"tool_resources": {"file_search": {"vector_store_ids": [at["vector_store_id"]]}}}
    yield {"tool_resources": {"file_search": {"vector_stores": [{"file_ids": [at["file_id"]]}]}}}
    yield {"attachments": [{"file_id": at["file_id"], "tools": []}]}
    picture = [{"type": "image_file", "image_file": {"file_id": at["file_id"]}}]
    yield {"content": picture}
    yield {"additional_messages": [{"role": "user", "content": picture}]}
    yield {"thread": {"messages": [{"role": "user", "content": picture}]}}
    yield {"items": [{"type": "item_reference", "id": at["item_id"]}]}
    yield {"tools": [{"type": "code_interpreter", "container": at["container_id"]}]}


def right_body(route: Route, at: Mapping[str, str]) -> dict[str, Any]:
    """What the route takes."""
    text = orjson.dumps(BODIES.get(route.path, {})).decode()
    for name, object_id in at.items():
        text = text.replace(f'"OWN {name}"', f'"{object_id}"')
    body: dict[str, Any] = orjson.loads(text)
    return body


def bodies(
    route: Route, mine: World, at: dict[str, str], number: int = 0
) -> Iterator[dict[str, Any]]:
    """Bodies that are right but for something of `at`: each where the route has it; and, by the
    number of the route, at some other places of the API."""
    right = right_body(route, mine.at)
    for name in at:
        if (body := right_body(route, mine.at | {name: at[name]})) != right:
            yield body
    for member, name in some(PLACES, number):
        yield right | {member: at[name]}
    for more in some(list(resources(at)), number):
        yield right | more


def loose(right: dict[str, Any] | None, theirs: World, number: int) -> Iterator[dict[str, Any]]:
    """Bodies with something of theirs where the API has nothing."""
    for object_id in some(theirs.ids, number):
        yield (right or {}) | {"anything": [{"like": {"that": [object_id]}}]}


def some(all_of_them: Sequence[T], number: int) -> list[T]:
    """Two of them, by the number of a route: all, after a few routes."""
    return [all_of_them[(number * 2 + place) % len(all_of_them)] for place in range(2)]


def said(answer: httpx.Response, object_id: str) -> str:
    """A refusal without what differs from case to case."""
    text = answer.text
    for each in (object_id, unknown(object_id)):
        text = text.replace(each, "ID").replace(each.removeprefix("file-"), "ID")
    return text


class Attack:
    """Requests that name what is another's: each is answered as one that names nothing there is,
    and neither reaches the provider. Lists of all that an account has are the gateway's own: what
    it does not know of a URL is no place of a page (400)."""

    def __init__(self, worlds: Worlds) -> None:
        self.worlds = worlds
        self.cases = 0
        self.wrong: list[tuple[Any, ...]] = []

    async def check(
        self, route: Route, path: str, foreign: str, body: dict[str, Any] | None = None
    ) -> None:
        calls = self.worlds.kept.served.setup.sim.kept.calls
        before = len(calls)
        answers = [
            await self.worlds.mine.client.request(
                route.method,
                path.replace(foreign, object_id),
                json=None if body is None else _with(body, foreign, object_id),
            )
            for object_id in (foreign, unknown(foreign))
        ]
        self.cases += 1
        one, other = (said(answer, foreign) for answer in answers)
        statuses = [answer.status_code for answer in answers]
        lists = "?" in path and route.lists_account
        places = {name for name, value in (body or {}).items() if foreign in str(value)}
        known = not places or route.operation is None or places & KNOWN[route.operation]
        right = [[404, 404]] * bool(known and not lists) or [[400, 400], [404, 404]]
        if statuses not in right or one != other or len(calls) != before or SECRET in one:
            self.wrong.append((route.method, path, body, statuses, one[:200], other[:200]))


def _with(body: dict[str, Any], foreign: str, object_id: str) -> Any:
    return orjson.loads(orjson.dumps(body).replace(foreign.encode(), object_id.encode()))


async def test_nothing_of_anothers_by_any_route(tmp_path: Path) -> None:
    """Paths, parameters of URLs, and bodies; every kind of id at every place."""
    async with open_worlds(tmp_path) as worlds:
        mine, theirs = worlds.mine, worlds.theirs
        before, attack = worlds.shown(), Attack(worlds)
        assert {name for route in served_routes() for name in route.parameters} <= set(theirs.at)
        for number, route in enumerate(served_routes()):
            right = right_body(route, mine.at) if route.method == "POST" else None
            for path, foreign in named_in_paths(route, mine, theirs):
                await attack.check(route, path, foreign, right)
            own = filled(route, mine.at)
            if route.method == "GET":
                for object_id in some(theirs.ids, number):
                    await attack.check(route, f"{own}?anything={object_id}", object_id)
                for name, kind in route.query.items():
                    of = [each for each in PARAMETERS if PARAMETERS[each] == kind]
                    for each in of:
                        foreign = theirs.at[each]
                        await attack.check(route, f"{own}?{name}={foreign}", foreign)
            elif route.method == "POST" and route.body == "json":
                for body in [
                    *bodies(route, mine, theirs.at, number),
                    *loose(right, theirs, number),
                ]:
                    foreign = next(i for i in theirs.ids if i in orjson.dumps(body).decode())
                    await attack.check(route, own, foreign, body)
        assert attack.wrong == []
        assert attack.cases > 300
        assert worlds.shown() == before


async def test_lists_have_ones_own_alone(tmp_path: Path) -> None:
    async with open_worlds(tmp_path) as worlds:
        mine, theirs = worlds.mine, worlds.theirs
        listed = 0
        for route in served_routes():
            if route.lists is None:
                continue
            for query in ("", "?limit=1", "?order=asc", "?limit=100&order=asc"):
                answer = await mine.client.get(filled(route, mine.at) + query)
                assert answer.status_code == 200, (route.path, answer.text)
                listed += len(answer.json()["data"])
                assert SECRET not in answer.text, route.path
                assert not [one for one in theirs.ids if one in answer.text], route.path
        assert listed > 30
        files = (await mine.client.get("/files")).json()["data"]
        assert theirs.at["file_id"] not in {file["id"] for file in files}


def named_in_prompts(at: dict[str, str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Requests for answers that name what is kept, and what of it."""
    file, asked = at["file_id"], {"model": "kept", "input": "x"}
    yield at["response_id"], asked | {"previous_response_id": at["response_id"]}
    yield at["conversation_id"], asked | {"conversation": at["conversation_id"]}
    yield at["conversation_id"], asked | {"conversation": {"id": at["conversation_id"]}}
    item = {"type": "item_reference", "id": at["item_id"]}
    yield at["item_id"], asked | {"input": [item]}
    store = {"type": "file_search", "vector_store_ids": [at["vector_store_id"]]}
    yield at["vector_store_id"], asked | {"tools": [store]}
    for container in (at["container_id"], {"type": "auto", "file_ids": [file]}):
        tool = {"type": "code_interpreter", "container": container}
        named = container if isinstance(container, str) else file
        yield named, asked | {"tools": [tool]}
    for part in ("input_file", "input_image"):
        content = [{"type": part, "file_id": file}]
        yield file, asked | {"input": [{"role": "user", "content": content}]}


async def test_nothing_of_anothers_in_prompts(tmp_path: Path) -> None:
    async with open_worlds(tmp_path) as worlds:
        truth = worlds.kept.served.setup.sim.truth
        before, asked_before, cases = worlds.shown(), truth.opened, 0
        for path in ("/responses", "/responses/input_tokens"):
            for foreign, body in named_in_prompts(worlds.theirs.at):
                body = body | ({"stream": True} if path == "/responses" else {})
                answers = [
                    await worlds.mine.client.post(path, json=_with(body, foreign, object_id))
                    for object_id in (foreign, unknown(foreign))
                ]
                one, other = (said(answer, foreign) for answer in answers)
                assert [answer.status_code for answer in answers] == [404, 404], (path, body, one)
                assert one == other, (path, body)
                assert SECRET not in one
                cases += 1
        assert (truth.opened, worlds.shown(), cases) == (asked_before, before, 18)


NATIVE: Final[tuple[tuple[str, str, dict[str, Any] | None], ...]] = (
    ("GET", "/agents/{agent}", None),
    ("PATCH", "/agents/{agent}", {"name": "taken"}),
    ("DELETE", "/agents/{agent}", None),
    ("POST", "/agents/{agent}/chat/completions", {"messages": [{"role": "user", "content": "x"}]}),
    ("POST", "/agents/{agent}/responses", {"input": "x"}),
    (
        "POST",
        "/agents/{agent}/messages",
        {"messages": [{"role": "user", "content": "x"}], "max_tokens": 9},
    ),
    ("POST", "/agents/{agent}:generateContent", {"contents": [{"parts": [{"text": "x"}]}]}),
    ("POST", "/agents", {"name": "x", "model": "kept", "knowledge": {"file_ids": ["{file}"]}}),
    (
        "POST",
        "/chat/completions",
        {"model": "agent:{name}", "messages": [{"role": "user", "content": "x"}]},
    ),
    ("POST", "/responses", {"model": "agent:{name}", "input": "x"}),
    ("POST", "/uploads/{upload}/complete", {"part_ids": ["part_1"]}),
    ("POST", "/uploads/{upload}/cancel", {}),
)
"""What the gateway keeps itself; `{name}` is an agent's."""


async def test_nothing_of_anothers_among_agents_and_uploads(tmp_path: Path) -> None:
    async with open_worlds(tmp_path) as worlds:
        mine, theirs = worlds.mine.client, worlds.theirs
        agent = {
            "name": "guide-of-theirs-0001",
            "model": "kept",
            "instructions": SECRET,
            "knowledge": {"file_ids": [theirs.at["file_id"]]},
        }
        made = await theirs.client.post("/agents", json=agent)
        assert made.status_code == 201, made.text
        upload = {"filename": SECRET, "purpose": "assistants", "bytes": 1, "mime_type": "text/x"}
        begun = await theirs.client.post("/uploads", json=upload)
        assert begun.status_code == 200, begun.text
        named = {
            "{agent}": made.json()["id"],
            "{name}": agent["name"],
            "{file}": theirs.at["file_id"],
            "{upload}": begun.json()["id"],
        }
        for method, path, body in NATIVE:
            template = path + orjson.dumps(body).decode()
            [(place, foreign)] = [pair for pair in named.items() if pair[0] in template]
            answers = []
            for text in (str(foreign), unknown(str(foreign))):
                document = orjson.loads(orjson.dumps(body).replace(place.encode(), text.encode()))
                answers.append(await mine.request(method, path.replace(place, text), json=document))
            one, other = (said(answer, str(foreign)) for answer in answers)
            one = one.replace(answers[0].headers["x-request-id"], "")
            other = other.replace(answers[1].headers["x-request-id"], "")
            assert [answer.status_code for answer in answers] == [404, 404], (method, path, one)
            assert one == other, (method, path)
            assert SECRET not in one
        shown = (await theirs.client.get(f"/agents/{made.json()['id']}")).json()
        assert shown == made.json()
        assert (await mine.get("/agents")).json()["data"] == []
        done = await theirs.client.post(f"/uploads/{begun.json()['id']}/cancel", json={})
        assert done.json()["status"] == "cancelled"


async def test_nothing_of_anothers_in_the_lines_of_batches(tmp_path: Path) -> None:
    async with open_worlds(tmp_path) as worlds:
        client, calls = worlds.mine.client, worlds.kept.served.setup.sim.kept.calls
        before = len(calls)
        for foreign, body in named_in_prompts(worlds.theirs.at):
            told = []
            for object_id in (foreign, unknown(foreign)):
                line = {"custom_id": "a", "method": "POST", "url": "/v1/responses", "body": body}
                data = orjson.dumps(_with(line, foreign, object_id))
                file = await client.post(
                    "/files", data={"purpose": "batch"}, files={"file": ("a.jsonl", data)}
                )
                batch = {"input_file_id": file.json()["id"], "endpoint": "/v1/responses"}
                answer = await client.post("/batches", json=batch | {"completion_window": "24h"})
                assert answer.status_code in (400, 404), (body, answer.text)
                assert SECRET not in answer.text
                told.append((answer.status_code, said(answer, foreign)))
            assert told[0] == told[1], body
        assert len(calls) == before
        assert (await client.get("/batches?limit=100")).text.count('"object":"batch"') == 1
