"""A run of an assistant: turns of a model, each known from its start and done when its time comes.

A turn is what tools of OpenAI's did, then a message, then calls of functions, whichever there are.
After calls the run waits for their outputs, which begin the next turn.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

import orjson
import trio

from bench.simulate.chat import ChatRequest, Tool
from bench.simulate.courses import Course, CourseState
from bench.simulate.directives import find_directives
from bench.simulate.kept.shelf import Kept
from bench.simulate.kept.threads import message_value, texts_of
from bench.simulate.kept.turns import Makers, Object, Turn, call_value, hosted_calls
from bench.simulate.openai_chat import SERVER_ERROR
from bench.simulate.plan import Schedule
from bench.simulate.truth import TruthRecord

NEVER_S: Final = 1e7
EXPIRES_S: Final = 600
MESSAGE_TOKENS: Final = 3
ENDED: Final[Mapping[CourseState, str]] = {
    "failed": "failed",
    "blocked": "failed",
    "expired": "expired",
    "cancelled": "cancelled",
}


@dataclass(slots=True)
class RunWork:
    """What is known of a run beside what is shown.

    Attributes:
        run: the object itself.
        asked: the body of its request.
        outputs: of the functions that were called, by the ids of the calls.
    """

    makers: Makers
    run: Kept
    asked: Mapping[str, Any]
    record: TruthRecord | None
    turns: list[Turn] = field(default_factory=list)
    outputs: dict[str, str] = field(default_factory=dict)
    cancelling: bool = False
    over: bool = False

    @property
    def turn(self) -> Turn:
        """The one under way, or the last."""
        return self.turns[-1]

    @property
    def thread_id(self) -> str:
        return str(self.run.value["thread_id"])

    @property
    def used(self) -> tuple[int, int]:
        """Tokens of the input and the output so far."""
        taken = sum(turn.plan.input_tokens for turn in self.turns)
        return taken, sum(turn.position for turn in self.turns)

    # -- beginning a turn ---------------------------------------------------------------------

    def begin(self, *, streams: bool) -> Turn:
        """The next turn.

        Raises:
            ApiError: the last message of the user tells what cannot be.
        """
        makers, asked = self.makers, self.asked
        taken, made = self.used
        limit = asked.get("max_completion_tokens")
        chat = self._chat(None if limit is None else max(0, limit - made))
        number, _ = makers.planner.own_id()
        directives = makers.planner.directives(chat, number)
        if directives.status is not None:
            raise makers.dialect.status_error(directives.status, directives.retry_after)
        created_s, now_s = time.monotonic(), trio.current_time()
        schedule = Schedule(now_s + directives.first_token_ms / 1000, directives.tokens_per_second)
        plan = makers.planner.plan(makers.dialect, chat, directives, [], number)
        lasts_s = max(directives.end_s, schedule.due_s(plan.limit) - now_s)
        told = replace(directives, end_s=lasts_s)
        if streams:
            told = replace(told, run_polls=0, end_polls=0)
        course = Course(directives=told, created_s=created_s)
        turn = Turn(
            plan,
            course,
            schedule,
            streams,
            now_s + (NEVER_S if told.job == "never" else lasts_s),
            () if self.turns else hosted_calls(makers, self.run, plan),
            hosted_step=makers.shelf.new_id("step_"),
            message_id=makers.shelf.new_id("msg_"),
            message_step=makers.shelf.new_id("step_"),
            calls_step=makers.shelf.new_id("step_"),
        )
        self.turns.append(turn)
        if self.record is not None:
            self.record.model, self.record.tag = chat.model, directives.tag
            self.record.directives = chat.directives or ""
            self.record.input_tokens = taken + plan.input_tokens
        return turn

    def _chat(self, limit: int | None) -> ChatRequest:
        run = self.run.value
        messages = [
            kept.value for kept in self.makers.shelf.of("message", self.run.key, self.thread_id)
        ]
        texts = [text for message in messages for text in (message["role"], *texts_of(message))]
        said = [m for m in messages if m["role"] == "user"]
        last = next(iter(texts_of(said[-1])), "") if said else ""
        tools = tuple(
            Tool(
                one["function"]["name"],
                one["function"].get("parameters") or {"type": "object", "properties": {}},
            )
            for one in run["tools"]
            if one["type"] == "function"
        )
        texts += [run["instructions"] or "", *self.outputs.values()]
        texts += [orjson.dumps(tool).decode() for tool in run["tools"]]
        choice = self.asked.get("tool_choice")
        return ChatRequest(
            model=run["model"],
            texts=tuple(texts),
            framing_tokens=MESSAGE_TOKENS * (len(messages) + 1),
            seed_material=orjson.dumps([run["model"], texts]),
            directives=find_directives(last),
            max_output_tokens=limit,
            tools=tools,
            may_call=bool(tools) and choice != "none",
            forced=tuple(tool.name for tool in tools) if choice == "required" else (),
            rounds=len(self.turns),
        )

    # -- what it is by now --------------------------------------------------------------------

    def look(self) -> None:
        """Bring what is shown up to date."""
        if self.over:
            return
        turn = self.turn
        state = "cancelled" if self.cancelling else turn.course.state()
        if turn.over and not self.cancelling:
            return  # it waits for outputs
        match state:
            case "waiting" | "lost":
                pass
            case "running":
                self._started()
            case "succeeded":
                self._started()
                self.end_turn()
            case _:
                self._started()
                self._finish(ENDED[state])

    def _started(self) -> None:
        value = self.run.value
        if value["status"] == "queued":
            value |= {"status": "in_progress", "started_at": int(time.time())}

    @property
    def usage(self) -> Object | None:
        """What it reports once it is over."""
        told = self.turn.plan.directives
        if told.usage == "none":
            return None
        more = (7, 100) if told.usage == "wrong" else (0, 0)
        taken, made = (amount + extra for amount, extra in zip(self.used, more, strict=True))
        return {
            "prompt_tokens": taken,
            "completion_tokens": made,
            "total_tokens": taken + made,
            "prompt_token_details": {"cached_tokens": min(told.cached, taken)},
        }

    def end_turn(self) -> None:
        """All of it is made: steps and message are there; it waits for outputs, or is over."""
        turn = self.turn
        if turn.over:
            return
        turn.over, turn.made = True, turn.plan.limit
        for step in self.steps_of(turn):
            self.makers.shelf.add("run_step", self.run.key, step, parent=self.run.object_id)
        if (message := self.message_of(turn, turn.made)) is not None:
            self.makers.shelf.add("message", self.run.key, message, parent=self.thread_id)
        limit = self.asked.get("max_prompt_tokens")
        if turn.plan.finish == "length":
            self._finish("incomplete", incomplete_details={"reason": "max_completion_tokens"})
        elif limit is not None and self.used[0] > limit:
            self._finish("incomplete", incomplete_details={"reason": "max_prompt_tokens"})
        elif turn.calls:
            self.run.value |= {
                "status": "requires_action",
                "required_action": {
                    "type": "submit_tool_outputs",
                    "submit_tool_outputs": {
                        "tool_calls": [call_value(call) for call in turn.calls]
                    },
                },
            }
        else:
            self._finish("completed")

    def _finish(self, status: str, **more: Any) -> None:
        turn = self.turn
        if not turn.over:
            turn.made = turn.position
        self.over = turn.over = True
        now = int(time.time())
        ended = {"failed", "cancelled", "completed"}
        stamp = {f"{status}_at": now} if status in ended else {}
        if status == "failed":
            code = turn.course.directives.job_code or "server_error"
            more["last_error"] = {"code": code, "message": SERVER_ERROR}
        used = self.usage
        value = {"status": status, "required_action": None, "expires_at": None, "usage": used}
        self.run.value |= {**value, **stamp, **more}
        if (record := self.record) is not None:
            record.usage_reported = used
            record.input_tokens, record.tokens_generated = self.used

    # -- its steps and messages ---------------------------------------------------------------

    def step(self, step_id: str, kind: str, details: Object | list[Object]) -> Object:
        """A step that has begun."""
        run = self.run.value
        return {
            "id": step_id,
            "object": "thread.run.step",
            "created_at": int(time.time()),
            "run_id": run["id"],
            "assistant_id": run["assistant_id"],
            "thread_id": run["thread_id"],
            "type": kind,
            "status": "in_progress",
            "cancelled_at": None,
            "completed_at": None,
            "expires_at": run["created_at"] + EXPIRES_S,
            "failed_at": None,
            "last_error": None,
            "step_details": {"type": kind, kind: details},
            "usage": None,
        }

    def steps_of(self, turn: Turn) -> list[Object]:
        """Those of a turn that is over."""
        steps: list[Object] = []
        if turn.hosted:
            steps.append(self.step(turn.hosted_step, "tool_calls", list(turn.hosted)))
        if turn.prose is not None:
            details = {"message_id": turn.message_id}
            steps.append(self.step(turn.message_step, "message_creation", details))
        if turn.calls:
            shown = [call_value(call, output=None) for call in turn.calls]
            steps.append(self.step(turn.calls_step, "tool_calls", shown))
        for step in steps:
            if step["id"] != turn.calls_step:
                step |= {"status": "completed", "completed_at": int(time.time())}
        if steps:
            taken, made = turn.plan.input_tokens, turn.plan.limit
            steps[-1]["usage"] = {
                "prompt_tokens": taken,
                "completion_tokens": made,
                "total_tokens": taken + made,
            }
        return steps

    def message_of(self, turn: Turn, position: int | None) -> Object | None:
        """The message of a turn: all that was made by then, or begun where that is None."""
        segment = turn.prose
        if segment is None:
            return None
        value = message_value(turn.message_id, self.thread_id, "assistant")
        status = "in_progress"
        if position is not None:
            whole = segment.made(position) == segment.tokens
            status = "completed" if whole else "incomplete"
            text = segment.text(0, 0, segment.made(position))
            value["content"] = [
                *(
                    {"type": "image_file", "image_file": output["image"]}
                    for call in turn.hosted
                    for output in call.get("code_interpreter", {}).get("outputs", ())
                    if output["type"] == "image"
                ),
                {"type": "text", "text": {"value": text, "annotations": self._cited(turn)}},
            ]
        now = int(time.time())
        return value | {
            "created_at": now,
            "assistant_id": self.run.value["assistant_id"],
            "run_id": self.run.object_id,
            "status": status,
            "incomplete_details": {"reason": "max_tokens"} if status == "incomplete" else None,
            "incomplete_at": now if status == "incomplete" else None,
            "completed_at": now if status == "completed" else None,
        }

    def _cited(self, turn: Turn) -> list[Object]:
        """Where its files were searched, each that is attached to the thread's messages."""
        if not any(call["type"] == "file_search" for call in turn.hosted):
            return []
        messages = self.makers.shelf.of("message", self.run.key, self.thread_id)
        return [
            {
                "type": "file_citation",
                "text": "",
                "start_index": 0,
                "end_index": 0,
                "file_citation": {"file_id": each["file_id"]},
            }
            for message in messages
            for each in message.value["attachments"] or ()
        ]

    def answer_calls(self, outputs: Mapping[str, str]) -> None:
        """The outputs of the functions have come: their step is done."""
        turn = self.turn
        self.outputs |= outputs
        step = self.makers.shelf.find("run_step", self.run.key, turn.calls_step, self.run.object_id)
        if step is not None:
            calls = [call_value(call, output=outputs[call.call_id]) for call in turn.calls]
            step.value["step_details"]["tool_calls"] = calls
            step.value |= {"status": "completed", "completed_at": int(time.time())}
        self.run.value |= {"status": "queued", "required_action": None}
