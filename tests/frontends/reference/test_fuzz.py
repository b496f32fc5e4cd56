"""What schemathesis makes of /openapi.json, and examples with something amiss, sent to the demo:
no 5xx, no status that the document has not, and every answer is as it says.

Bounded by examples and a seed; with `--long` there are many more, and those that no schema allows.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable
from schemathesis.checks import CHECKS, load_all_checks
from schemathesis.core.result import Err
from schemathesis.generation import GenerationMode

from frontends.reference.build import all_routes, document
from frontends.reference.gemini import OTHER_TAG
from frontends.reference.passed import TAGS as PASSED
from tests.frontends.operators import SECRET
from tests.frontends.reference.kept import named
from tests.frontends.reference.target import Target, open_target

SEED: Final = 13
EXAMPLES: Final = 2
"""Of each operation with a body; others get one."""
MANY: Final = {GenerationMode.POSITIVE: 30, GenerationMode.NEGATIVE: 4}
"""With `--long`: what no schema allows takes long to make."""
TIMEOUT_S: Final = 30
CHECKED: Final = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
)
KEPT: Final = frozenset(PASSED.values())
"""The families of what a provider keeps."""
AMISS: Final[tuple[Any, ...]] = (
    None,
    True,
    -1,
    0,
    2**63,
    1e308,
    "",
    "\x00",
    "é" * 300,
    [],
    {},
    [[]],
    [None],
    {"": 0},
)
"""What may stand where something else is meant."""


class Client:
    """Sends cases, and holds the answers against the document."""

    def __init__(self, target: Target) -> None:
        load_all_checks()
        self.target = target
        self.schema = schemathesis.openapi.from_dict(with_real_models(document(all_routes())))
        self.schema.config.generation.update(with_security_parameters=False)
        self.session = requests.Session()
        self.checks: list[Any] = CHECKS.get_by_names(CHECKED)
        self.found: dict[tuple[str, str], str] = {}
        self.sent = 0
        self.good: set[str] = set()

    def operations(self) -> Iterator[Any]:
        """All of the document that are not the same once more."""
        for result in self.schema.get_all_operations():
            assert not isinstance(result, Err), result
            operation = result.ok()
            if operation.definition.raw["tags"] != [OTHER_TAG]:
                yield operation

    def send(self, case: Any, *, known: bool) -> None:
        """Ask; with `known`, about something that is there."""
        operation = case.operation.definition.raw
        name = operation["operationId"]
        kept = self.target.kept() if known and operation["tags"][0] in KEPT else {}
        for variable in case.path_parameters or {}:
            value = kept.get(variable)
            if known and value is None:
                value = self.target.known(variable, name)
            if known and value is None:
                value = _examples_of(operation).get(variable)
            if value is not None:
                case.path_parameters[variable] = value
        operators = operation["security"] == [{"operator": []}]
        headers = {"authorization": f"Bearer {SECRET if operators else self.target.key}"}
        if "x-goog-api-key" in (case.headers or {}):
            headers["x-goog-api-key"] = self.target.key
        answer = case.call(
            base_url=self.target.base_url, headers=headers, session=self.session, timeout=TIMEOUT_S
        )
        self.sent += 1
        if answer.status_code < 300:
            self.good.add(name)
        try:
            case.validate_response(answer, checks=self.checks)
        except schemathesis.errors.FailureGroup as failures:
            for failure in failures.exceptions:
                what = f"{failure}\n{answer.text[:400]}\n{case.as_curl_command()[:800]}"
                self.found.setdefault((name, type(failure).__name__), what)

    def report(self) -> str:
        """What was wrong, each thing once an operation."""
        return "\n\n".join(f"{name}: {what}" for (name, _), what in self.found.items())


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    with open_target(tmp_path_factory.mktemp("world")) as opened:
        yield opened


def test_what_the_document_allows_is_answered_as_it_says(target: Target) -> None:
    client = Client(target)
    for operation in client.operations():
        count = EXAMPLES if "requestBody" in operation.definition.raw else 1
        generate(client, operation, GenerationMode.POSITIVE, count)
    assert client.found == {}, client.report()
    assert client.sent > 200


def test_examples_with_something_amiss_are_answered_as_the_document_says(target: Target) -> None:
    client = Client(target)
    for operation in client.operations():
        for case in amiss(operation, EXAMPLES, target.kept()):
            client.send(case, known=True)
    assert client.found == {}, client.report()
    assert client.sent > 100


@pytest.mark.long
@pytest.mark.parametrize("mode", list(GenerationMode))
def test_much_is_answered_as_the_document_says(target: Target, mode: GenerationMode) -> None:
    client = Client(target)
    for operation in client.operations():
        generate(client, operation, mode, MANY[mode])
        for case in amiss(operation, MANY[mode], target.kept()):
            client.send(case, known=True)
    assert client.found == {}, client.report()


def generate(client: Client, operation: Any, mode: GenerationMode, count: int) -> None:
    """Send so many cases of an operation, two of three about something that is there."""
    number = iter(range(10**9))

    @seed(SEED)
    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def send(case: Any) -> None:
        client.send(case, known=next(number) % 3 > 0)

    asked: Callable[[], None] = send
    try:
        asked()
    except Unsatisfiable:
        assert mode is GenerationMode.NEGATIVE, operation.label


def amiss(operation: Any, count: int, kept: Mapping[str, str]) -> Iterator[Any]:
    """Cases of an operation's examples in JSON, each with one thing replaced or left out; `kept`
    is what they name."""
    body = operation.definition.raw.get("requestBody", {}).get("content", {})
    shown = body.get("application/json", {}).get("examples", {}).values()
    examples = [each for each in shown if each["value"]]
    chance = random.Random(f"{SEED} {operation.label}")
    for example in examples[:count]:
        places = list(_places(example["value"]))
        for _ in range(max(1, count // len(examples))):
            value = named(example["value"], kept)
            *way, last = chance.choice(places)
            parent = value
            for step in way:
                parent = parent[step]
            if chance.random() < 0.2 and isinstance(parent, dict):
                del parent[last]
            else:
                parent[last] = chance.choice(AMISS)
            variables = _examples_of(operation.definition.raw)
            yield operation.Case(
                body=value, media_type="application/json", path_parameters=variables
            )


def _places(value: Any, way: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for name, each in items:
        yield (*way, name)
        if isinstance(each, dict | list):
            yield from _places(each, (*way, name))


def _examples_of(operation: Mapping[str, Any]) -> dict[str, str]:
    """What stands for the variables of a path in its examples; a word for others."""
    return {
        each["name"]: each.get("example", "some")
        for each in operation.get("parameters", ())
        if each["in"] == "path"
    }


def with_real_models(described: dict[str, Any]) -> dict[str, Any]:
    """The document with the models of its examples where a body names one: no other is there."""
    described = json.loads(json.dumps(described))
    for methods in described["paths"].values():
        for operation in methods.values():
            for content in operation.get("requestBody", {}).get("content", {}).values():
                models = [
                    example["value"]["model"]
                    for example in content.get("examples", {}).values()
                    if isinstance(example["value"], dict) and "model" in example["value"]
                ]
                name = content["schema"].get("$ref", "").rpartition("/")[2]
                if models and name:
                    properties = described["components"]["schemas"][name]["properties"]
                    properties["model"] = {"enum": sorted(set(models))}
    return dict(described)
