"""OpenAI's runs and their steps: create, with a thread too, stream, answer calls, cancel, look."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.simulate.errands import Streamed, Told, Visit, json_told
from bench.simulate.errors import ApiError
from bench.simulate.job_calls import poll_course, poll_headers
from bench.simulate.kept.agent_shapes import (
    CHANGE,
    OUTPUTS,
    RUN,
    THREAD_AND_RUN,
    check_named,
    checked,
)
from bench.simulate.kept.assistants import BetaDesk, assistant_of
from bench.simulate.kept.desk import At, Way, page_told, sse
from bench.simulate.kept.run_events import done_steps, events_of
from bench.simulate.kept.run_work import EXPIRES_S, RunWork
from bench.simulate.kept.shelf import Kept
from bench.simulate.kept.threads import active_run, new_message, new_thread, thread_of
from bench.simulate.kept.turns import Makers, Turn
from bench.simulate.operation import read_json


class RunDesk(BetaDesk):
    """The desk of runs."""

    def __init__(self, makers: Makers) -> None:
        thread = "/v1/threads/{thread_id}"
        one = f"{thread}/runs/{{run_id}}"
        submit = f"{one}/submit_tool_outputs"
        ways = (
            Way("POST", "/v1/threads/runs", "runs.create", self._begin_both, "openai-runs"),
            Way("POST", f"{thread}/runs", "runs.create", self._begin, "openai-runs"),
            Way("GET", f"{thread}/runs", "runs.list", self._list),
            Way("GET", one, "runs.get", self._get),
            Way("POST", one, "runs.update", self._update),
            Way("POST", f"{one}/cancel", "runs.cancel", self._cancel),
            Way("POST", submit, "runs.submit", self._submit, "openai-run-outputs"),
            Way("GET", f"{one}/steps", "runs.steps.list", self._list_steps),
            Way("GET", f"{one}/steps/{{step_id}}", "runs.steps.get", self._get_step),
        )
        super().__init__(makers.shelf, makers.dialect, ways)
        self._makers = makers

    # -- beginning ----------------------------------------------------------------------------

    def _begin(self, visit: Visit, at: At) -> Told | Streamed:
        thread = thread_of(self._shelf, visit.key, at)
        values = checked(RUN, read_json(visit.request.body))
        assistant = self._checked(visit, values)
        if (active := active_run(self._shelf, thread)) is not None:
            raise ApiError(
                f"Thread {thread.object_id} already has an active run {active.object_id}."
            )
        for message in values.get("additional_messages", ()):
            new_message(self._shelf, thread, message)
        return self._run(visit, thread, assistant, values)

    def _begin_both(self, visit: Visit, _at: At) -> Told | Streamed:
        values = checked(THREAD_AND_RUN, read_json(visit.request.body))
        assistant = self._checked(visit, values)
        thread = new_thread(self._shelf, visit.key, values.get("thread", {}))
        return self._run(visit, thread, assistant, values, sse("thread.created", thread.value))

    def _checked(self, visit: Visit, values: Mapping[str, Any]) -> Kept:
        """The assistant of a run, when all that is named is there."""
        assistant = assistant_of(self._shelf, visit.key, values["assistant_id"])
        self._makers.planner.known(
            self._makers.dialect, values.get("model") or assistant.value["model"]
        )
        check_named(self._shelf, self._makers.files, visit.key, values)
        return assistant

    def _run(
        self,
        visit: Visit,
        thread: Kept,
        assistant: Kept,
        values: Mapping[str, Any],
        opening: bytes = b"",
    ) -> Told | Streamed:
        messages = self._shelf.of("message", visit.key, thread.object_id)
        value = self._value(thread, assistant.value, values)
        if not value["instructions"] and not any(m.value["role"] == "user" for m in messages):
            raise ApiError(
                "Run creation requires a Thread with a user message or an assistant with "
                "instructions.",
                code="invalid_thread",
            )
        kept = Kept("run", value["id"], visit.key, thread.object_id, value)
        work = kept.more = RunWork(self._makers, kept, values, visit.record)
        value["created_at"] = kept.created_at
        value["expires_at"] = kept.created_at + EXPIRES_S
        turn = work.begin(streams=bool(values.get("stream")))
        self._shelf.add("run", visit.key, value, parent=thread.object_id, more=work)
        assert visit.record is not None
        visit.record.completion_id, visit.record.answer = value["id"], turn.plan.answer
        return _told(work, turn, opening + sse("thread.run.created", value))

    def _value(
        self, thread: Kept, assistant: Mapping[str, Any], values: Mapping[str, Any]
    ) -> dict[str, Any]:
        instructions = values.get("instructions", assistant["instructions"])
        if more := values.get("additional_instructions"):
            instructions = f"{instructions or ''}\n{more}"
        return {
            "id": self._shelf.new_id("run_"),
            "object": "thread.run",
            "created_at": 0,
            "assistant_id": assistant["id"],
            "thread_id": thread.object_id,
            "status": "queued",
            "started_at": None,
            "expires_at": None,
            "cancelled_at": None,
            "failed_at": None,
            "completed_at": None,
            "required_action": None,
            "last_error": None,
            "model": values.get("model") or assistant["model"],
            "instructions": instructions,
            "tools": values.get("tools", assistant["tools"]),
            "tool_resources": values.get("tool_resources", {}),
            "metadata": values.get("metadata", {}),
            "temperature": values.get("temperature", assistant["temperature"]),
            "top_p": values.get("top_p", assistant["top_p"]),
            "reasoning_effort": values.get("reasoning_effort", assistant["reasoning_effort"]),
            "max_completion_tokens": values.get("max_completion_tokens"),
            "max_prompt_tokens": values.get("max_prompt_tokens"),
            "truncation_strategy": {"type": "auto", "last_messages": None}
            | values.get("truncation_strategy", {}),
            "incomplete_details": None,
            "usage": None,
            "response_format": values.get("response_format", assistant["response_format"]),
            "tool_choice": values.get("tool_choice", "auto"),
            "parallel_tool_calls": values.get("parallel_tool_calls", True),
        }

    # -- looking ------------------------------------------------------------------------------

    def _list(self, visit: Visit, at: At) -> Told:
        thread = thread_of(self._shelf, visit.key, at)
        runs = self._shelf.of("run", visit.key, thread.object_id)
        for run in runs:
            run.more.look()
        return page_told(runs, visit)

    def _get(self, visit: Visit, at: At) -> Told:
        run = self._found(visit, at)
        work: RunWork = run.more
        course = work.turn.course
        poll_course(visit, course)
        if course.state() == "lost":
            raise _unknown(at)
        work.look()
        return json_told(run.value, *poll_headers(course))

    def _update(self, visit: Visit, at: At) -> Told:
        run = self._found(visit, at)
        values = checked(CHANGE, read_json(visit.request.body))
        if not run.more.over:
            raise ApiError(f"Cannot update run with status '{run.value['status']}'.")
        run.value |= values
        return json_told(run.value)

    def _cancel(self, visit: Visit, at: At) -> Told:
        run = self._found(visit, at)
        work: RunWork = run.more
        refused = work.turn.course.directives.cancel == "refused"
        if work.over or work.cancelling or refused:
            raise ApiError(f"Cannot cancel run with status '{run.value['status']}'.")
        if work.turn.course.directives.cancel == "done":
            work.cancelling = True
        shown = run.value | {"status": "cancelling"}
        return json_told(shown)

    def _submit(self, visit: Visit, at: At) -> Told | Streamed:
        run = self._found(visit, at)
        values = checked(OUTPUTS, read_json(visit.request.body))
        work: RunWork = run.more
        if run.value["status"] != "requires_action":
            raise ApiError(f'Runs in status "{run.value["status"]}" do not accept tool outputs.')
        wanted = [call.call_id for call in work.turn.calls]
        given = {one["tool_call_id"]: one.get("output", "") for one in values["tool_outputs"]}
        if set(wanted) != set(given):
            raise ApiError(
                f"Expected tool outputs for call_ids {wanted}, got {list(given)}",
                param="tool_outputs",
            )
        before = work.turn
        work.answer_calls(given)
        turn = work.begin(streams=bool(values.get("stream")))
        return _told(work, turn, done_steps(work, before))

    def _list_steps(self, visit: Visit, at: At) -> Told:
        run = self._found(visit, at)
        return page_told(self._shelf.of("run_step", visit.key, run.object_id), visit)

    def _get_step(self, visit: Visit, at: At) -> Told:
        run = self._found(visit, at)
        kept = self._shelf.find("run_step", visit.key, at["step_id"], run.object_id)
        if kept is None:
            raise ApiError(f"No run step found with id '{at['step_id']}'.", status=404)
        return json_told(kept.value)

    def _found(self, visit: Visit, at: At) -> Kept:
        thread = thread_of(self._shelf, visit.key, at)
        run = self._shelf.find("run", visit.key, at["run_id"], thread.object_id)
        if run is None:
            raise _unknown(at)
        run.more.look()
        return run


def _unknown(at: At) -> ApiError:
    return ApiError(f"No run found with id '{at['run_id']}'.", status=404)


def _told(work: RunWork, turn: Turn, opening: bytes) -> Told | Streamed:
    if not turn.streams:
        return json_told(work.run.value)
    plan = turn.plan
    return Streamed(events_of(work, turn, opening), plan.fault, plan.directives.stall_ms)
