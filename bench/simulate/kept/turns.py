"""A turn of a run: what a model and tools of OpenAI's made in it, known from its start."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import trio

from bench.simulate.answer import Segment, ToolCall
from bench.simulate.courses import Course
from bench.simulate.dialect import Dialect
from bench.simulate.files import FileShelf
from bench.simulate.kept.shelf import Kept, Shelf
from bench.simulate.pictures import png
from bench.simulate.plan import ChatPlan, Schedule
from bench.simulate.planner import Planner
from bench.simulate.text import seed_of

Object = dict[str, Any]


class Makers:
    """What every run works with."""

    def __init__(self, shelf: Shelf, files: FileShelf, planner: Planner, dialect: Dialect) -> None:
        self.shelf = shelf
        self.files = files
        self.planner = planner
        self.dialect = dialect


@dataclass(slots=True)
class Turn:
    """One turn. Ids are there before what they are of.

    Attributes:
        done_s: when a stream of it ends, by Trio's clock.
        made: tokens, once it is over.
    """

    plan: ChatPlan
    course: Course
    schedule: Schedule
    streams: bool
    done_s: float
    hosted: Sequence[Object]
    hosted_step: str
    message_id: str
    message_step: str
    calls_step: str
    made: int = 0
    over: bool = False

    @property
    def position(self) -> int:
        """Tokens there are by now."""
        if self.over:
            return self.made
        if self.streams:
            return int(min(self.schedule.available(trio.current_time()), self.plan.limit))
        return self.plan.limit * self.course.progress // 100

    @property
    def prose(self) -> Segment | None:
        """The message, if there is one."""
        found = (one for one in self.plan.answer.segments if one.kind in ("text", "refusal"))
        return next(found, None)

    @property
    def calls(self) -> Sequence[ToolCall]:
        """The functions called, where nothing cut them short."""
        if self.plan.finish == "length":
            return ()
        found = (one.calls for one in self.plan.answer.segments if one.kind == "calls")
        return next(found, ())


def hosted_calls(makers: Makers, run: Kept, plan: ChatPlan) -> list[Object]:
    """The calls of tools that OpenAI runs, as the directives ask for them."""
    declared = {tool["type"] for tool in run.value["tools"]}
    told, shelf = plan.directives, makers.shelf
    calls: list[Object] = []
    for number in range(told.codes if "code_interpreter" in declared else 0):
        outputs: list[Object] = [{"type": "logs", "logs": "done\n"}]
        if number == 0:
            outputs += [
                {"type": "image", "image": {"file_id": _draw(makers, run, place)}}
                for place in range(told.pictures)
            ]
        code = {"input": "print('done')", "outputs": outputs}
        call_id = shelf.new_id("call_")
        calls.append({"id": call_id, "type": "code_interpreter", "code_interpreter": code})
    for _ in range(told.searches if "file_search" in declared else 0):
        ranking = {"ranker": "default_2024_08_21", "score_threshold": 0.0}
        search = {"ranking_options": ranking, "results": []}
        call_id = shelf.new_id("call_")
        calls.append({"id": call_id, "type": "file_search", "file_search": search})
    return calls


def _draw(makers: Makers, run: Kept, place: int) -> str:
    """A picture that the code has made, as a file."""
    drawn = png(8, 8, seed_of(run.object_id.encode(), str(place).encode()))
    return makers.files.add(
        "openai",
        run.key,
        drawn,
        filename=f"{place}.png",
        mime_type="image/png",
        purpose="assistants_output",
    ).file_id


def call_value(call: ToolCall, **more: Any) -> Object:
    """A call of a function as it is shown."""
    function = {"name": call.name, "arguments": call.arguments, **more}
    return {"id": call.call_id, "type": "function", "function": function}
