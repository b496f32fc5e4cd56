"""OpenAI's fine-tuning: jobs by polls, their events and checkpoints; the models can be asked."""

from __future__ import annotations

import time
from typing import Any, Final

from bench.simulate.courses import Course
from bench.simulate.dialect import Dialect
from bench.simulate.errands import Told, Visit, json_told
from bench.simulate.errors import ApiError
from bench.simulate.files import FileShelf
from bench.simulate.job_calls import poll_course, poll_headers
from bench.simulate.kept.agent_shapes import METADATA, checked
from bench.simulate.kept.desk import At, KeptDesk, Way, page_told
from bench.simulate.kept.shelf import Kept, Shelf
from bench.simulate.openai_chat import SERVER_ERROR
from bench.simulate.operation import read_json
from bench.simulate.planner import Planner
from bench.simulate.shapes import MAPPING, TEXT, array, integer, record, text
from bench.simulate.tokens import count_tokens

EPOCHS: Final = 3
"""Of `auto`."""
ORGANIZATION: Final = "org-simulated"
JOB: Final = record(
    {
        "model": text(low=1),
        "training_file": TEXT,
        "validation_file": TEXT,
        "hyperparameters": MAPPING,
        "integrations": array(MAPPING),
        "metadata": METADATA,
        "method": MAPPING,
        "seed": integer(0),
        "suffix": text(low=1, high=64),
    },
    "model",
    "training_file",
)


class FineTuningDesk(KeptDesk):
    """The desk of fine-tuning jobs."""

    def __init__(self, shelf: Shelf, files: FileShelf, planner: Planner, dialect: Dialect) -> None:
        one, name = "/v1/fine_tuning/jobs/{job_id}", "fine_tuning"
        ways = (
            Way("POST", "/v1/fine_tuning/jobs", f"{name}.create", self._create, "openai-tuning"),
            Way("GET", "/v1/fine_tuning/jobs", f"{name}.list", self._list),
            Way("GET", one, f"{name}.get", self._get),
            Way("POST", f"{one}/cancel", f"{name}.cancel", self._cancel),
            Way("POST", f"{one}/pause", f"{name}.pause", self._pause),
            Way("POST", f"{one}/resume", f"{name}.resume", self._resume),
            Way("GET", f"{one}/events", f"{name}.events", self._events),
            Way("GET", f"{one}/checkpoints", f"{name}.checkpoints", self._checkpoints),
        )
        super().__init__(shelf, dialect, ways)
        self._files = files
        self._planner = planner

    def _create(self, visit: Visit, _at: At) -> Told:
        values = checked(JOB, read_json(visit.request.body))
        self._planner.known(self._dialect, values["model"])
        tokens = 0
        for name in ("training_file", "validation_file"):
            if name not in values:
                continue
            file = self._files.find("openai", visit.key, values[name])
            if file is None or file.purpose != "fine-tune":
                raise ApiError(
                    f"invalid {name}: {values[name]}", param=name, code=f"invalid_{name}"
                )
            if name == "training_file":
                tokens = count_tokens([file.data.decode(errors="replace")])
        value = self._value(values)
        epochs = value["hyperparameters"]["n_epochs"]
        trained = tokens * (EPOCHS if epochs == "auto" else epochs)
        kept = self._shelf.add(
            "fine_tuning_job",
            visit.key,
            value,
            more=(Course(directives=visit.directives), trained),
        )
        assert visit.record is not None
        visit.record.completion_id, visit.record.model = kept.object_id, values["model"]
        self._note(kept, "Created fine-tuning job")
        return json_told(value)

    def _value(self, values: dict[str, Any]) -> dict[str, Any]:
        method = values.get("method") or {"type": "supervised"}
        inner = method.get(method.get("type", ""), {}).get("hyperparameters", {})
        given = {**inner, **values.get("hyperparameters", {})}
        names = ("n_epochs", "batch_size", "learning_rate_multiplier")
        return {
            "object": "fine_tuning.job",
            "id": self._shelf.new_id("ftjob-"),
            "model": values["model"],
            "created_at": int(time.time()),
            "finished_at": None,
            "fine_tuned_model": None,
            "organization_id": ORGANIZATION,
            "result_files": [],
            "status": "validating_files",
            "validation_file": values.get("validation_file"),
            "training_file": values["training_file"],
            "hyperparameters": {name: given.get(name, "auto") for name in names},
            "trained_tokens": None,
            "error": {},
            "user_provided_suffix": values.get("suffix"),
            "seed": values.get("seed", 1),
            "estimated_finish": None,
            "integrations": [],
            "metadata": values.get("metadata"),
            "method": method,
        }

    def _list(self, visit: Visit, _at: At) -> Told:
        jobs = self._shelf.of("fine_tuning_job", visit.key)
        for job in jobs:
            self._look(job)
        return page_told(jobs, visit)

    def _get(self, visit: Visit, at: At) -> Told:
        kept = self._found(visit, at)
        course: Course = kept.more[0]
        if kept.value["status"] != "paused":
            poll_course(visit, course)
        self._found(visit, at)
        self._look(kept)
        return json_told(kept.value, *poll_headers(course))

    def _cancel(self, visit: Visit, at: At) -> Told:
        kept = self._running(visit, at, "cancel")
        kept.more[0].cancel()
        self._look(kept)
        return json_told(kept.value)

    def _pause(self, visit: Visit, at: At) -> Told:
        kept = self._running(visit, at, "pause")
        kept.value["status"] = "paused"
        return json_told(kept.value)

    def _resume(self, visit: Visit, at: At) -> Told:
        kept = self._found(visit, at)
        if kept.value["status"] != "paused":
            raise ApiError(f"Job {kept.object_id} is not paused.", code="invalid_status")
        kept.value["status"] = "queued"
        self._look(kept)
        return json_told(kept.value)

    def _running(self, visit: Visit, at: At, what: str) -> Kept:
        kept = self._found(visit, at)
        self._look(kept)
        if kept.value["finished_at"] is not None:
            raise ApiError(
                f"Job has already completed: cannot {what} {kept.object_id}.",
                code="invalid_status",
            )
        return kept

    def _events(self, visit: Visit, at: At) -> Told:
        kept = self._found(visit, at)
        self._look(kept)
        return page_told(self._shelf.of("fine_tuning_event", kept.key, kept.object_id), visit)

    def _checkpoints(self, visit: Visit, at: At) -> Told:
        kept = self._found(visit, at)
        self._look(kept)
        found = self._shelf.of("fine_tuning_checkpoint", kept.key, kept.object_id)
        return page_told(found, visit)

    def _found(self, visit: Visit, at: At) -> Kept:
        kept = self._shelf.find("fine_tuning_job", visit.key, at["job_id"])
        if kept is None or kept.more[0].state() == "lost":
            raise ApiError(
                f"Could not find fine tune: {at['job_id']}",
                status=404,
                param="fine_tune_id",
                code="fine_tune_not_found",
            )
        return kept

    # -- what becomes of it -------------------------------------------------------------------

    def _look(self, kept: Kept) -> None:
        value, (course, trained) = kept.value, kept.more
        if value["finished_at"] is not None or value["status"] == "paused":
            return
        now = int(time.time())
        match course.state():
            case "waiting":
                value["status"] = "queued"
            case "running":
                if value["status"] != "running":
                    self._note(kept, "Fine-tuning job started")
                value["status"] = "running"
            case "cancelled":
                value |= {"status": "cancelled", "finished_at": now}
                self._note(kept, "The job was cancelled")
            case "succeeded":
                self._succeed(kept, trained)
            case _:
                code = course.directives.job_code or "server_error"
                error = {"code": code, "message": SERVER_ERROR, "param": None}
                value |= {"status": "failed", "finished_at": now, "error": error}
                self._note(kept, "The job failed", level="error")

    def _succeed(self, kept: Kept, trained: int) -> None:
        value, suffix = kept.value, kept.value["user_provided_suffix"] or ""
        tail = kept.object_id.removeprefix("ftjob-")
        model = f"ft:{value['model']}:simulated:{suffix}:{tail}"
        self._planner.learn(model)
        result = self._files.add(
            "openai",
            kept.key,
            b"step,train_loss\n1,0.5\n",
            filename="step_metrics.csv",
            mime_type="text/csv",
            purpose="fine-tune-results",
        )
        value |= {
            "status": "succeeded",
            "finished_at": int(time.time()),
            "fine_tuned_model": model,
            "trained_tokens": trained,
            "result_files": [result.file_id],
        }
        checkpoint = {
            "id": self._shelf.new_id("ftckpt_"),
            "object": "fine_tuning.job.checkpoint",
            "created_at": int(time.time()),
            "fine_tuned_model_checkpoint": f"{model}:ckpt-step-1",
            "fine_tuning_job_id": kept.object_id,
            "metrics": {"step": 1, "train_loss": 0.5},
            "step_number": 1,
        }
        self._shelf.add("fine_tuning_checkpoint", kept.key, checkpoint, parent=kept.object_id)
        self._note(kept, f"New fine-tuned model created: {model}")

    def _note(self, kept: Kept, message: str, *, level: str = "info") -> None:
        event = {
            "object": "fine_tuning.job.event",
            "id": self._shelf.new_id("ftevent-"),
            "created_at": int(time.time()),
            "level": level,
            "message": message,
            "data": {},
            "type": "message",
        }
        self._shelf.add("fine_tuning_event", kept.key, event, parent=kept.object_id)
