"""The responses that are kept, what they were asked with, and how far those in the background are.

A response is what its plan and the clock say: nothing of it is made before somebody looks.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import trio

from bench.simulate.chat import Counts, Keeping
from bench.simulate.courses import Course, CourseState
from bench.simulate.errors import ApiError
from bench.simulate.files import FileShelf
from bench.simulate.kept.agent_shapes import check_named
from bench.simulate.kept.containers import new_container, new_file
from bench.simulate.kept.shelf import Shelf
from bench.simulate.openai_chat import SERVER_ERROR
from bench.simulate.pictures import png
from bench.simulate.plan import ChatPlan, Schedule
from bench.simulate.responses_hosted import container_of, drawn_files
from bench.simulate.responses_objects import (
    INCOMPLETE,
    Object,
    Status,
    response_object,
    response_output,
    usage_object,
)
from bench.simulate.signatures import Signer
from bench.simulate.text import seed_of
from bench.simulate.truth import TruthRecord

RESPONSES_MAX: Final = 10_000
RESPONSES_MAX_BYTES: Final = 64 * 1024 * 1024
"""What they were asked with may take so much together; the oldest go first."""
NEVER_S: Final = 1e7
_PREFIXES: Final = {
    "message": "msg",
    "function_call": "fc",
    "function_call_output": "fco",
    "custom_tool_call": "ctc",
    "custom_tool_call_output": "ctco",
    "reasoning": "rs",
}
_STATUSES: Final[Mapping[CourseState, Status]] = {
    "waiting": "queued",
    "running": "in_progress",
    "succeeded": "completed",
    "cancelled": "cancelled",
}
"""Every other is `failed`."""


@dataclass(slots=True)
class Stored:
    """One response. `course` and `schedule` are of those in the background.

    Attributes:
        made: tokens of its output, once it is over.
        counts: what it reports then.
        done_s: when a stream of it ends, by Trio's clock.
        told: whether the truth and its conversation know that it is over.
    """

    plan: ChatPlan
    keeping: Keeping
    made: int
    counts: Counts | None
    course: Course | None = None
    schedule: Schedule | None = None
    record: TruthRecord | None = None
    done_s: float = 0.0
    told: bool = False

    @property
    def streams(self) -> bool:
        """It was asked for as a stream."""
        return self.plan.request.stream

    @property
    def over(self) -> bool:
        """Nothing more comes of it."""
        return self.course is None or self.course.over

    @property
    def status(self) -> Status:
        """In the words of the API."""
        state = "succeeded" if self.course is None else self.course.state()
        if state == "succeeded" and self.plan.finish in INCOMPLETE:
            return "incomplete"
        return _STATUSES.get(state, "failed")

    @property
    def position(self) -> int:
        """How many tokens of its output there are by now."""
        if self.course is None or self.told:
            return self.made
        if self.schedule is None or not self.streams:
            return self.plan.limit if self.course.over and not self.course.cancelled else 0
        return int(min(self.schedule.available(trio.current_time()), self.plan.limit))


class ResponseStore:
    """The responses of a simulator, of each key."""

    def __init__(self, signer: Signer, shelf: Shelf, files: FileShelf | None = None) -> None:
        self.signer = signer
        self.shelf = shelf
        self._files = FileShelf("none") if files is None else files
        self._stored: dict[str, Stored] = {}
        self._running: dict[str, Stored] = {}
        self._items: dict[str, tuple[str, Object]] = {}
        self._unindexed: deque[Stored] = deque()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._stored)

    def __iter__(self) -> Iterator[Stored]:
        """In the order they came."""
        return iter(tuple(self._stored.values()))

    def find(self, key: str, response_id: str) -> Stored | None:
        """A response of this key; None: unknown, another's, not kept, or lost."""
        stored = self._stored.get(response_id)
        if stored is None or stored.keeping.key != key:
            return None
        if stored.course is not None and stored.course.state() == "lost":
            return None
        self._look(stored)
        return stored

    def drop(self, stored: Stored) -> None:
        """Forget it, and its items."""
        if self._stored.pop(stored.plan.answer_id, None) is None:
            return
        self._bytes -= stored.keeping.size_bytes
        self._running.pop(stored.plan.answer_id, None)
        self._index()
        for item in (*self.input_of(stored), *self.output_of(stored)):
            self._items.pop(item["id"], None)

    def conclude(self, plan: ChatPlan, made: int, counts: Counts | None) -> None:
        """An answer has come to its end: keep it, where it is to be kept."""
        keeping = plan.request.keeping
        if keeping is None or plan.answer_id in self._stored:
            return
        self._contain(plan)
        if plan.request.document.get("store") is False and keeping.conversation is None:
            return
        stored = Stored(plan, keeping, made, counts)
        self._keep(stored)
        self._look(stored)

    def begin(self, plan: ChatPlan, record: TruthRecord) -> Stored:
        """Go on with it in the background, whoever listens."""
        keeping = plan.request.keeping
        assert keeping is not None
        self._contain(plan)
        told, record.answer = plan.directives, plan.answer
        created_s, now_s = time.monotonic(), trio.current_time()
        begin_s = now_s + max(told.first_token_ms, told.head_ms) / 1000
        schedule = Schedule(begin_s, told.tokens_per_second)
        lasts_s = max(told.end_s, schedule.due_s(plan.limit) - now_s)
        told = replace(told, end_s=lasts_s)
        if plan.request.stream:
            told = replace(told, run_polls=0, end_polls=0)
        course = Course(
            directives=told,
            created_s=created_s,
            created_at=plan.created,
        )
        done_s = now_s + (NEVER_S if told.job == "never" else lasts_s)
        stored = Stored(plan, keeping, 0, None, course, schedule, record, done_s)
        self._keep(stored)
        self._running[plan.answer_id] = stored
        return stored

    def _contain(self, plan: ChatPlan) -> None:
        """Keep the container of its code, and what it has drawn there."""
        container_id = container_of(plan, self.signer)
        if container_id is None:
            return
        assert plan.request.keeping is not None
        key = plan.request.keeping.key
        container = self.shelf.find("container", key, container_id)
        if container is None:
            container = new_container(self.shelf, key, container_id, {})
        for file_id in drawn_files(plan, self.signer):
            drawn = png(8, 8, seed_of(file_id.encode()))
            name = f"{file_id}.png"
            new_file(self.shelf, container, file_id, name, drawn, "assistant")

    def _keep(self, stored: Stored) -> None:
        self._stored[stored.plan.answer_id] = stored
        self._unindexed.append(stored)
        self._bytes += stored.keeping.size_bytes
        while self._bytes > RESPONSES_MAX_BYTES or len(self._stored) > RESPONSES_MAX:
            self.drop(next(iter(self._stored.values())))

    # -- what it is now -----------------------------------------------------------------------

    def shown(self, stored: Stored) -> Object:
        """The response object as it is now."""
        self._look(stored)
        status, plan = stored.status, stored.plan
        output = [] if status in ("queued", "in_progress") else self.output_of(stored)
        response = response_object(plan, status, output, stored.counts, reason=plan.finish)
        if status == "failed" and stored.course is not None:
            code = stored.course.directives.job_code or "server_error"
            response["error"] = {"code": code, "message": SERVER_ERROR}
        return response

    def output_of(self, stored: Stored) -> list[Object]:
        """The items that have come so far."""
        return response_output(stored.plan, self.signer, stored.position)

    def input_of(self, stored: Stored) -> list[Object]:
        """The items it was asked with, its own alone."""
        return self.named(stored.plan.answer_id, stored.keeping.items)

    def named(self, owner_id: str, items: Iterable[Mapping[str, Any]]) -> list[Object]:
        """Items as they are shown: with ids, contents as parts."""
        found = []
        for number, item in enumerate(items):
            prefix = _PREFIXES.get(item["type"], "item")
            nonce = seed_of(owner_id.encode(), b"input", str(number).encode())
            shown = {"id": self.signer.issue_id(prefix, nonce), "status": "completed", **item}
            if isinstance(shown.get("content"), str):
                kind = "output_text" if shown.get("role") == "assistant" else "input_text"
                shown["content"] = [{"type": kind, "text": shown["content"]}]
            found.append(shown)
        return found

    def settle(self, stored: Stored) -> None:
        """Look whether it is over by now, without asking after it."""
        self._look(stored)

    def settle_all(self) -> None:
        """The same of all that are in the background."""
        for stored in tuple(self._running.values()):
            self._look(stored)

    def _look(self, stored: Stored) -> None:
        """Once it is over, the truth and its conversation are told."""
        if stored.told or not stored.over:
            return
        if stored.course is not None:
            self._settle(stored, stored.course)
        stored.told = True
        self._running.pop(stored.plan.answer_id, None)
        conversation = stored.keeping.conversation
        if conversation is None or stored.status not in ("completed", "incomplete"):
            return
        for item in (*self.input_of(stored), *self.output_of(stored)):
            self.shelf.add("item", stored.keeping.key, item, parent=conversation)

    def _settle(self, stored: Stored, course: Course) -> None:
        succeeded = course.state() == "succeeded"
        stored.made = stored.plan.limit if succeeded else stored.position
        if succeeded or course.directives.usage == "always":
            stored.counts = stored.plan.counts(stored.made)
        if (record := stored.record) is not None:
            record.tokens_generated = stored.made
            counts = stored.counts
            record.usage_reported = None if counts is None else usage_object(counts)

    # -- what requests refer to ---------------------------------------------------------------

    def context_of(
        self, key: str, request: Mapping[str, Any]
    ) -> tuple[Sequence[Object], str | None]:
        """The items that come before those of a request, and its conversation.

        Raises:
            ApiError: what it refers to is not there.
        """
        previous, given = request.get("previous_response_id"), request.get("conversation")
        if previous is not None and given is not None:
            raise ApiError(
                "Mutually exclusive parameters: 'previous_response_id' and 'conversation'. Ensure "
                "you are only providing one of: 'previous_response_id' or 'conversation'.",
                param="previous_response_id",
                code="mutually_exclusive_parameters",
            )
        if previous is not None:
            return self._before(key, previous), None
        if given is None:
            return (), None
        conversation = given.get("id") if isinstance(given, dict) else given
        if self.shelf.find("conversation", key, str(conversation)) is None:
            raise ApiError(f"Conversation with id '{conversation}' not found.", status=404)
        self.settle_all()
        kept = self.shelf.of("item", key, conversation)
        return [item.value for item in kept], conversation

    def _before(self, key: str, response_id: str) -> Sequence[Object]:
        stored = self.find(key, response_id)
        if stored is None:
            raise ApiError(
                f"Previous response with id '{response_id}' not found.",
                param="previous_response_id",
                code="previous_response_not_found",
            )
        if not stored.over:
            raise ApiError(
                f"Previous response with id '{response_id}' is not completed.",
                param="previous_response_id",
            )
        keeping = stored.keeping
        return [*keeping.context, *keeping.items, *self.output_of(stored)]

    def cited_by(self, key: str, request: Mapping[str, Any]) -> Sequence[tuple[str, str]]:
        """Ids and names of the files that a request's tools may search.

        Raises:
            ApiError: a store, a container or a file that they name is not there.
        """
        found: list[tuple[str, str]] = []
        for tool in request.get("tools", ()):
            container = tool.get("container")
            if tool["type"] == "code_interpreter" and isinstance(container, str):
                if self.shelf.find("container", key, container) is None:
                    raise ApiError(f"Container with id '{container}' not found.", status=404)
            elif tool["type"] in ("file_search", "code_interpreter"):
                check_named(self.shelf, self._files, key, tool)
            if tool["type"] == "file_search":
                for store_id in tool.get("vector_store_ids", ()):
                    found += self._files_of(key, store_id)
        return found

    def _files_of(self, key: str, store_id: str) -> Iterator[tuple[str, str]]:
        for kept in self.shelf.of("vector_store_file", key, store_id):
            file = self._files.find("openai", key, kept.value["id"])
            if file is not None:
                yield file.file_id, file.filename

    def find_item(self, key: str, item_id: str) -> Object | None:
        """An item of a kept response or a conversation, of this key."""
        self._index()
        owner, item = self._items.get(item_id, ("", {}))
        if item and owner == key:
            return item
        kept = self.shelf.any("item", item_id)
        return kept.value if kept is not None and kept.key == key else None

    def _index(self) -> None:
        """The items of all responses that are over, which few requests ask for."""
        waiting: list[Stored] = []
        while self._unindexed:
            stored = self._unindexed.popleft()
            if stored.plan.answer_id not in self._stored:
                continue
            if not stored.over:
                waiting.append(stored)
                continue
            for item in (*self.input_of(stored), *self.output_of(stored)):
                self._items[item["id"]] = (stored.keeping.key, item)
        self._unindexed.extend(waiting)


def due_of(stored: Stored, tokens: int) -> float:
    """When so many tokens of it exist, by Trio's clock."""
    return -math.inf if stored.schedule is None else stored.schedule.due_s(tokens)
