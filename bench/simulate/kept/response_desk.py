"""OpenAI's kept responses: retrieve, as events too, delete, cancel, list their input."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import parse_qs

from bench.simulate.dialect import Dialect
from bench.simulate.directives import Directives
from bench.simulate.errands import Streamed, Told, Visit, json_told
from bench.simulate.errors import ApiError
from bench.simulate.job_calls import poll_course, poll_headers
from bench.simulate.kept.desk import At, KeptDesk, Way, listed, not_found
from bench.simulate.kept.response_events import replayed
from bench.simulate.kept.responses import ResponseStore, Stored
from bench.simulate.paths import number_of
from bench.simulate.replies import Request

OTHERS = frozenset({"/v1/responses/input_tokens", "/v1/responses/compact"})
"""Paths that look like a response and are none."""


class ResponseDesk(KeptDesk):
    """The desk of responses that have an id."""

    def __init__(self, store: ResponseStore, dialect: Dialect) -> None:
        one = "/v1/responses/{response_id}"
        ways = (
            Way("GET", one, "responses.get", self._get),
            Way("DELETE", one, "responses.delete", self._delete),
            Way("POST", f"{one}/cancel", "responses.cancel", self._cancel),
            Way("GET", f"{one}/input_items", "responses.input_items", self._input_items),
        )
        super().__init__(store.shelf, dialect, ways)
        self._store = store

    def covers(self, request: Request) -> bool:
        return request.path not in OTHERS

    def _get(self, visit: Visit, at: At) -> Told | Streamed:
        stored = self._found(visit, at)
        query = parse_qs(visit.request.query)
        after = number_of(query, "starting_after", 0) if "starting_after" in query else -1
        if query.get("stream", ["false"])[0] == "true":
            plan = replace(stored.plan, directives=_of_call(visit, stored))
            return replayed(self._store, stored, plan, after)
        if after >= 0:
            raise ApiError(
                "The 'starting_after' parameter is only allowed when 'stream' is enabled.",
                param="starting_after",
            )
        if stored.course is None:
            return json_told(self._store.shown(stored))
        poll_course(visit, stored.course)
        return json_told(self._store.shown(self._found(visit, at)), *poll_headers(stored.course))

    def _delete(self, visit: Visit, at: At) -> Told:
        self._store.drop(self._found(visit, at))
        deleted = {"id": at["response_id"], "object": "response.deleted", "deleted": True}
        return json_told(deleted)

    def _cancel(self, visit: Visit, at: At) -> Told:
        stored = self._found(visit, at)
        if stored.course is None:
            raise ApiError("Cannot cancel a synchronous response.")
        if stored.course.directives.cancel == "refused":
            raise ApiError("Cannot cancel the response.", status=409)
        stored.course.cancel()
        return json_told(self._store.shown(stored))

    def _input_items(self, visit: Visit, at: At) -> Told:
        items = self._store.input_of(self._found(visit, at))
        return listed([(item["id"], item) for item in items], visit)

    def _found(self, visit: Visit, at: At) -> Stored:
        stored = self._store.find(visit.key, at["response_id"])
        if stored is None:
            raise not_found("Response", at["response_id"])
        return stored


def _of_call(visit: Visit, stored: Stored) -> Directives:
    """The response as it was asked for, with the faults of this call."""
    own = visit.directives
    return replace(
        stored.plan.directives, fault=own.fault, cut_after=own.cut_after, stall_ms=own.stall_ms
    )
