"""OpenAI's threads and their messages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import parse_qs

from bench.simulate.dialect import Dialect
from bench.simulate.errands import Told, Visit, json_told
from bench.simulate.errors import ApiError
from bench.simulate.files import FileShelf
from bench.simulate.kept.agent_shapes import (
    CHANGE,
    MESSAGE,
    THREAD,
    THREAD_CHANGE,
    check_named,
    checked,
)
from bench.simulate.kept.assistants import BetaDesk, with_stores
from bench.simulate.kept.desk import At, Way, page_told
from bench.simulate.kept.shelf import Kept, Shelf
from bench.simulate.operation import read_json


class ThreadDesk(BetaDesk):
    """The desk of threads and messages; that of their runs is `runs.RunDesk`."""

    def __init__(self, shelf: Shelf, files: FileShelf, dialect: Dialect) -> None:
        one = "/v1/threads/{thread_id}"
        message = f"{one}/messages/{{message_id}}"
        ways = (
            Way("POST", "/v1/threads", "threads.create", self._create),
            Way("GET", one, "threads.get", self._get),
            Way("POST", one, "threads.update", self._update),
            Way("DELETE", one, "threads.delete", self._delete),
            Way("POST", f"{one}/messages", "messages.create", self._create_message),
            Way("GET", f"{one}/messages", "messages.list", self._list_messages),
            Way("GET", message, "messages.get", self._get_message),
            Way("POST", message, "messages.update", self._update_message),
            Way("DELETE", message, "messages.delete", self._delete_message),
        )
        super().__init__(shelf, dialect, ways)
        self._files = files

    def _create(self, visit: Visit, _at: At) -> Told:
        values = checked(THREAD, read_json(visit.request.body or b"{}"))
        check_named(self._shelf, self._files, visit.key, values)
        return json_told(new_thread(self._shelf, visit.key, values).value)

    def _get(self, visit: Visit, at: At) -> Told:
        return json_told(thread_of(self._shelf, visit.key, at).value)

    def _update(self, visit: Visit, at: At) -> Told:
        kept = thread_of(self._shelf, visit.key, at)
        values = checked(THREAD_CHANGE, read_json(visit.request.body))
        check_named(self._shelf, self._files, visit.key, values)
        kept.value |= values
        return json_told(kept.value)

    def _delete(self, visit: Visit, at: At) -> Told:
        kept = thread_of(self._shelf, visit.key, at)
        for kind in ("message", "run"):
            for below in self._shelf.of(kind, visit.key, kept.object_id):
                self._shelf.drop(below)
        self._shelf.drop(kept)
        return json_told({"id": kept.object_id, "object": "thread.deleted", "deleted": True})

    def _create_message(self, visit: Visit, at: At) -> Told:
        thread = thread_of(self._shelf, visit.key, at)
        values = checked(MESSAGE, read_json(visit.request.body))
        check_named(self._shelf, self._files, visit.key, values)
        if (run := active_run(self._shelf, thread)) is not None:
            raise ApiError(
                f"Can't add messages to {thread.object_id} while a run {run.object_id} is active."
            )
        return json_told(new_message(self._shelf, thread, values).value)

    def _list_messages(self, visit: Visit, at: At) -> Told:
        thread = thread_of(self._shelf, visit.key, at)
        active_run(self._shelf, thread)
        messages = self._shelf.of("message", visit.key, thread.object_id)
        wanted = parse_qs(visit.request.query).get("run_id")
        if wanted is not None:
            messages = [message for message in messages if message.value["run_id"] == wanted[0]]
        return page_told(messages, visit)

    def _get_message(self, visit: Visit, at: At) -> Told:
        return json_told(self._message(visit, at).value)

    def _update_message(self, visit: Visit, at: At) -> Told:
        kept = self._message(visit, at)
        kept.value |= checked(CHANGE, read_json(visit.request.body))
        return json_told(kept.value)

    def _delete_message(self, visit: Visit, at: At) -> Told:
        kept = self._message(visit, at)
        self._shelf.drop(kept)
        deleted = {"id": kept.object_id, "object": "thread.message.deleted", "deleted": True}
        return json_told(deleted)

    def _message(self, visit: Visit, at: At) -> Kept:
        thread = thread_of(self._shelf, visit.key, at)
        active_run(self._shelf, thread)
        kept = self._shelf.find("message", visit.key, at["message_id"], thread.object_id)
        if kept is None:
            raise ApiError(f"No message found with id '{at['message_id']}'.", status=404)
        return kept


def thread_of(shelf: Shelf, key: str, at: Mapping[str, str]) -> Kept:
    """The thread that a path names.

    Raises:
        ApiError: there is none.
    """
    kept = shelf.find("thread", key, at["thread_id"])
    if kept is None:
        raise ApiError(f"No thread found with id '{at['thread_id']}'.", status=404)
    return kept


def active_run(shelf: Shelf, thread: Kept) -> Kept | None:
    """The run that is under way in a thread, as of now."""
    for run in reversed(shelf.of("run", thread.key, thread.object_id)):
        run.more.look()
        if not run.more.over:
            return run
    return None


def new_thread(shelf: Shelf, key: str, values: Mapping[str, Any]) -> Kept:
    """A thread and its first messages."""
    value: dict[str, Any] = {
        "id": shelf.new_id("thread_"),
        "object": "thread",
        "created_at": 0,
        "metadata": values.get("metadata", {}),
        "tool_resources": with_stores(shelf, key, values.get("tool_resources", {})),
    }
    kept = shelf.add("thread", key, value)
    value["created_at"] = kept.created_at
    for message in values.get("messages", ()):
        new_message(shelf, kept, message)
    return kept


def new_message(shelf: Shelf, thread: Kept, values: Mapping[str, Any]) -> Kept:
    """A message that a client has written."""
    content = values["content"]
    parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
    value = message_value(shelf.new_id("msg_"), thread.object_id, values["role"])
    value |= {
        "content": [
            part | {"text": {"value": part["text"], "annotations": []}}
            if part["type"] == "text"
            else part
            for part in parts
        ],
        "attachments": values.get("attachments", []),
        "metadata": values.get("metadata", {}),
    }
    kept = shelf.add("message", thread.key, value, parent=thread.object_id)
    value["created_at"] = kept.created_at
    return kept


def message_value(message_id: str, thread_id: str, role: str) -> dict[str, Any]:
    """A message without anything in it."""
    return {
        "id": message_id,
        "object": "thread.message",
        "created_at": 0,
        "assistant_id": None,
        "thread_id": thread_id,
        "run_id": None,
        "role": role,
        "content": [],
        "attachments": [],
        "metadata": {},
    }


def texts_of(message: Mapping[str, Any]) -> Iterator[str]:
    """What of a message counts as input."""
    for part in message["content"]:
        if part["type"] == "text":
            yield part["text"]["value"]
