"""OpenAI's assistants: create, retrieve, change, list, delete."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from bench.simulate.dialect import Dialect
from bench.simulate.errands import Told, Visit, json_told
from bench.simulate.errors import ApiError
from bench.simulate.files import FileShelf
from bench.simulate.kept.agent_shapes import (
    ASSISTANT,
    ASSISTANT_CHANGE,
    check_named,
    checked,
)
from bench.simulate.kept.desk import At, KeptDesk, Way, page_told
from bench.simulate.kept.shelf import Kept, Shelf
from bench.simulate.kept.stores import new_store
from bench.simulate.operation import read_json
from bench.simulate.replies import Request

NO_BETA: Final = (
    "You must provide the 'OpenAI-Beta' header to access the Assistants API. Please try again by "
    "setting the header 'OpenAI-Beta: assistants=v2'."
)


class BetaDesk(KeptDesk):
    """A desk whose requests have to ask for the beta."""

    def covers(self, request: Request) -> bool:
        if request.headers.get(b"openai-beta") != b"assistants=v2":
            raise ApiError(NO_BETA, code="invalid_beta")
        return True


class AssistantDesk(BetaDesk):
    """The desk of assistants; `known` raises where there is no such model."""

    def __init__(
        self, shelf: Shelf, files: FileShelf, dialect: Dialect, known: Callable[[str], object]
    ) -> None:
        one = "/v1/assistants/{assistant_id}"
        ways = (
            Way("POST", "/v1/assistants", "assistants.create", self._create),
            Way("GET", "/v1/assistants", "assistants.list", self._list),
            Way("GET", one, "assistants.get", self._get),
            Way("POST", one, "assistants.update", self._update),
            Way("DELETE", one, "assistants.delete", self._delete),
        )
        super().__init__(shelf, dialect, ways)
        self._files = files
        self._known = known

    def _create(self, visit: Visit, _at: At) -> Told:
        values = checked(ASSISTANT, read_json(visit.request.body))
        self._check(visit, values)
        value: dict[str, Any] = {
            "id": self._shelf.new_id("asst_"),
            "object": "assistant",
            "created_at": 0,
            "name": values.get("name"),
            "description": values.get("description"),
            "model": values["model"],
            "instructions": values.get("instructions"),
            "tools": values.get("tools", []),
            "top_p": values.get("top_p", 1.0),
            "temperature": values.get("temperature", 1.0),
            "reasoning_effort": values.get("reasoning_effort"),
            "tool_resources": with_stores(self._shelf, visit.key, values.get("tool_resources", {})),
            "metadata": values.get("metadata", {}),
            "response_format": values.get("response_format", "auto"),
        }
        kept = self._shelf.add("assistant", visit.key, value)
        value["created_at"] = kept.created_at
        return json_told(value)

    def _list(self, visit: Visit, _at: At) -> Told:
        return page_told(self._shelf.of("assistant", visit.key), visit)

    def _get(self, visit: Visit, at: At) -> Told:
        return json_told(assistant_of(self._shelf, visit.key, at["assistant_id"]).value)

    def _update(self, visit: Visit, at: At) -> Told:
        kept = assistant_of(self._shelf, visit.key, at["assistant_id"])
        values = checked(ASSISTANT_CHANGE, read_json(visit.request.body))
        self._check(visit, values)
        kept.value |= values
        return json_told(kept.value)

    def _delete(self, visit: Visit, at: At) -> Told:
        kept = assistant_of(self._shelf, visit.key, at["assistant_id"])
        self._shelf.drop(kept)
        deleted = {"id": kept.object_id, "object": "assistant.deleted", "deleted": True}
        return json_told(deleted)

    def _check(self, visit: Visit, values: dict[str, Any]) -> None:
        if "model" in values:
            self._known(values["model"])
        check_named(self._shelf, self._files, visit.key, values)


def assistant_of(shelf: Shelf, key: str, assistant_id: str) -> Kept:
    """An assistant.

    Raises:
        ApiError: there is none.
    """
    kept = shelf.find("assistant", key, assistant_id)
    if kept is None:
        raise ApiError(f"No assistant found with id '{assistant_id}'.", status=404)
    return kept


def with_stores(shelf: Shelf, key: str, resources: dict[str, Any]) -> dict[str, Any]:
    """The same with a vector store made for each that is described in place of its id."""
    search = resources.get("file_search", {})
    if "vector_stores" not in search:
        return resources
    made = [new_store(shelf, key, values).object_id for values in search["vector_stores"]]
    ids = [*search.get("vector_store_ids", ()), *made]
    return resources | {"file_search": {"vector_store_ids": ids}}
