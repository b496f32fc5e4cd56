"""Every example of /openapi.json, sent as it stands: the answer is as the document says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import httpx
import jsonschema_rs

from bench.simulate.pictures import png
from frontends.reference.build import all_routes, document, shown_path
from frontends.reference.gemini import OTHER_TAG
from frontends.reference.operators import TAG as OPERATORS
from frontends.reference.passed import TAGS as PASSED
from frontends.reference.rows import BYTES, FORM, Example, Row
from frontends.reference.table import ROWS
from tests.frontends.operators import SECRET
from tests.frontends.reference.kept import kept, named
from tests.frontends.reference.world import MAKERS, World, medium, open_world
from tests.sounds import wav

CONTENT: Final[Mapping[str, tuple[bytes, str]]] = {
    "notes.txt": (b"Of water and of lamps.", "text/plain"),
    "picture.png": (png(8, 8, bytes(16)), "image/png"),
    "sound.wav": (wav(500), "audio/wav"),
}
"""Files that examples name."""


def examples() -> Iterator[tuple[Row, Example]]:
    """All of them; what goes away last."""
    rows = sorted(ROWS, key=lambda row: -row.rule.count("/") if row.method == "DELETE" else -99)
    for row in rows:
        for example in row.examples:
            yield row, example


async def test_every_example_is_answered_as_the_document_says(tmp_path: Path) -> None:
    described = document(all_routes())
    seen, wrong = set(), []
    async with open_world(tmp_path) as world:
        for row, example in examples():
            answer = await send(world, row, example)
            seen.add(row.name)
            wrong += [
                (row.method, str(answer.url), example.name, problem, answer.text[:300])
                for problem in problems(described, row, example, answer)
            ]
        assert wrong == [], "\n".join(map(str, wrong))
    assert {row.name for row in ROWS if row.tag != OTHER_TAG} <= seen


async def send(world: World, row: Row, example: Example) -> httpx.Response:
    """The answer to an example, about something that was made for it."""
    path, query, headers = shown_path(row), dict(example.query), dict(example.headers)
    if "{media_id}" in path:
        media_id, query = await medium(world)
        path = path.replace("{media_id}", media_id)
    known = await kept(world) if row.tag in PASSED.values() else {}
    for name in [part.partition("}")[0] for part in path.split("{")[1:]]:
        value = example.path.get(name) or known.get(name)
        value = value or await MAKERS[name](world, row.name)
        path = path.replace(f"{{{name}}}", value)
    if row.tag == OPERATORS:
        headers["authorization"] = f"Bearer {SECRET}"
    body: dict[str, Any] = {}
    if example.media_type == FORM:
        fields = {name: (None, str(value)) for name, value in example.value.items()}
        for name, value in example.value.items():
            if value in CONTENT:
                fields[name] = (value, *CONTENT[value])  # type: ignore[assignment]
        body = {"files": fields}
    elif example.media_type == BYTES:
        body = {"content": CONTENT[example.value][0]}
        headers["content-type"] = CONTENT[example.value][1]
    elif example.value is not None:
        body = {"json": named(example.value, known)}
    return await world.client.request(row.method, path, params=query, headers=headers, **body)


def problems(
    described: dict[str, Any], row: Row, example: Example, answer: httpx.Response
) -> list[str]:
    """What of status, type and body is not as the operation says."""
    if answer.status_code != (example.status or min(row.answers)):
        return [f"the status {answer.status_code}"]
    if answer.status_code not in row.answers:
        return [] if "error" in answer.json() else ["no error"]
    content = row.answers[answer.status_code].content
    kind = answer.headers.get("content-type", "").partition(";")[0]
    wild = f"{kind.partition('/')[0]}/*"
    found = next((each for each in (kind, wild, "*/*") if each in content), None)
    if found is None:
        return [f"the type {kind!r}"]
    if kind != "application/json" or found == "*/*":
        empty = content[found].get("maxLength") == 0
        return [] if empty is not bool(answer.content) else ["an empty body"]
    schema = {**content[found], "components": described["components"]}
    errors = jsonschema_rs.Draft202012Validator(schema).iter_errors(answer.json())
    return [f"{list(error.instance_path)}: {error.message}" for error in errors]
