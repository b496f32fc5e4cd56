"""What a run says of itself: how it stands, what it has consumed, which steps it took."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from engine.file_ids import is_file
from engine.job import JobError, JobReport, JobState
from engine.owned import Kept
from engine.protocols.fields import dict_of, dicts, text_of
from engine.protocols.scrub import scrub
from engine.usage import Usage, is_wrong, read_count, unsaid

STATES: Final[Mapping[str, JobState]] = {
    "queued": "submitted",
    "in_progress": "running",
    "requires_action": "running",
    "cancelling": "running",
    "completed": "succeeded",
    "incomplete": "succeeded",
    "failed": "failed",
    "expired": "expired",
    "cancelled": "cancelled",
}
_FILES: Final = frozenset({"file_id", "file_ids"})
_CLOSED: Final = frozenset({"metadata", "parameters", "schema"})
"""Members that are a client's own all through."""
_SECONDS_MAX: Final = 2**40
_CODE_MAX_CHARS: Final = 64
_MESSAGE_MAX_CHARS: Final = 500
_NO_WORDS: Final = "The run has failed, and its provider does not say why."


def known_as(run: Mapping[str, Any]) -> str | None:
    """`THREAD/RUN`: what it is asked after by; None: it is no run."""
    thread_id, run_id = text_of(run.get("thread_id")), text_of(run.get("id"))
    if run.get("object") != "thread.run" or not thread_id or not run_id:
        return None
    return f"{thread_id}/{run_id}"


def kept_of(thing: Mapping[str, Any]) -> Iterator[Kept]:
    """What the provider keeps, by an object of a run's answer: the thread, the run, its steps and
    messages."""
    name, thread_id = text_of(thing.get("id")), text_of(thing.get("thread_id"))
    match thing.get("object"):
        case "thread":
            yield Kept(name, "thread")
        case "thread.run":
            yield Kept(thread_id, "thread")
            yield Kept(name, "run", thread_id)
        case "thread.run.step":
            yield Kept(name, "run_step", text_of(thing.get("run_id")))
        case "thread.message":
            yield Kept(name, "message", thread_id)


def files_of(thing: object) -> Iterator[str]:
    """What the provider calls the files that an object of a run's answer tells of: its images, what
    its texts cite, what its tools have made, found or were given."""
    stack = [thing]
    while stack:
        node = stack.pop()
        if isinstance(node, list):
            stack += node
        elif isinstance(node, dict):
            for at, value in node.items():
                if at in _FILES:
                    named = value if isinstance(value, list) else [value]
                    yield from (each for each in named if isinstance(each, str) and is_file(each))
                elif at not in _CLOSED:
                    stack.append(value)


def report_of(run: Mapping[str, Any]) -> JobReport | None:
    """How it stands; None: that is not known."""
    state = STATES.get(text_of(run.get("status")))
    if state is None:
        return None
    if state in ("submitted", "running"):
        return JobReport(state)
    error = None
    if state == "failed":
        said = dict_of(run.get("last_error"))
        code, message = text_of(said.get("code")), text_of(said.get("message"))
        error = JobError(
            scrub(code[:_CODE_MAX_CHARS]) or "failed",
            scrub(message[:_MESSAGE_MAX_CHARS]) or _NO_WORDS,
        )
    return JobReport(state, error=error, usage=usage_of(run))


def usage_of(run: Mapping[str, Any]) -> Usage | None:
    """What all of its steps have consumed; None: it does not say."""
    usage = dict_of(run.get("usage"))
    said_input, said_output = usage.get("prompt_tokens"), usage.get("completion_tokens")
    if said_input is None and said_output is None:
        return None
    # The API reference calls it so; of other endpoints it is `prompt_tokens_details`.
    details = dict_of(usage.get("prompt_token_details") or usage.get("prompt_tokens_details"))
    return Usage(
        input_tokens=read_count(said_input),
        cached_input_tokens=read_count(details.get("cached_tokens")),
        output_tokens=read_count(said_output),
        unsaid=unsaid(said_input, said_output),
        invalid=is_wrong(said_input, said_output),
    ).clamped()


def code_begun_s(steps: Iterable[Mapping[str, Any]]) -> int | None:
    """When the first of these steps that ran code began, in seconds since 1970; 0: it does not
    say. None: none did. Searches of files cost nothing in runs (OpenAI's page of prices: "Responses
    API only")."""
    for step in steps:
        if step.get("status") != "completed":
            continue
        calls = dicts(dict_of(step.get("step_details")).get("tool_calls"))
        if any(call.get("type") == "code_interpreter" for call in calls):
            at_s = step.get("created_at")
            return at_s if type(at_s) is int and 0 < at_s < _SECONDS_MAX else 0
    return None
