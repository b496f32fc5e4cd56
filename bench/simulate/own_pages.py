"""What no provider has: the truth, the load, what is kept, and how to be told to behave."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final
from urllib.parse import parse_qs

import orjson

from bench.simulate.behaviour import Behaviour, read_behaviour
from bench.simulate.directives import DirectiveError, Directives, parse_directives
from bench.simulate.errors import ApiError
from bench.simulate.files import FileShelf
from bench.simulate.images import picture_at
from bench.simulate.jobs import JobBook
from bench.simulate.kept.shelf import Shelf
from bench.simulate.load import SimulatorLoad
from bench.simulate.paths import number_of
from bench.simulate.replies import Reply, Request, Responder, StaticReply
from bench.simulate.truth import TruthLog
from bench.simulate.wheel import TimerWheel

_JSON: Final = (b"content-type", b"application/json")
_LINES: Final = [(b"content-type", b"application/x-ndjson")]
POSTS: Final = frozenset({"/_behave"})
GETS: Final = frozenset({"/_files", "/_jobs", "/_kept", "/_load", "/_truth", "/healthz"})


class OwnPages:
    """One for all connections of a simulator."""

    def __init__(
        self,
        wheel: TimerWheel,
        truth: TruthLog,
        load: Callable[[], SimulatorLoad],
        behaviour: Behaviour,
        files: FileShelf,
        jobs: JobBook,
        kept: Shelf,
    ) -> None:
        self._wheel = wheel
        self._truth = truth
        self._load = load
        self._behaviour = behaviour
        self._files = files
        self._jobs = jobs
        self._kept = kept

    def reply_to(self, request: Request, responder: Responder) -> Reply | None:
        """The page of a path; None: there is none.

        Raises:
            ApiError: it cannot be shown as it was asked for.
        """
        match request.method, request.path:
            case "POST", "/_behave":
                return self._behave(request, responder)
            case "GET", "/_truth":
                return self._show_truth(request, responder)
            case "GET", "/_load":
                return self.json(self._load().to_json(), responder)
            case "GET", "/_files":
                return self._lines([file.to_json() for file in self._files], responder)
            case "GET", "/_jobs":
                return self._lines([job.to_json() for job in self._jobs], responder)
            case "GET", "/_kept":
                return self._lines([kept.to_json() for kept in self._kept], responder)
            case "DELETE", path if path.startswith("/_files"):
                expired = self._files.expire(path.removeprefix("/_files").strip("/") or None)
                return self.json({"expired": expired}, responder)
            case "GET", path if path.startswith("/_media/"):
                return self._show_picture(request, responder)
            case "GET", "/healthz":
                return self.json({"status": "ok"}, responder)
        return None

    def json(
        self, document: object, responder: Responder, headers: Sequence[tuple[bytes, bytes]] = ()
    ) -> Reply:
        """A document as an answer."""
        body = orjson.dumps(document) + b"\n"
        return StaticReply(responder, self._wheel, 200, [_JSON, *headers], body)

    def _lines(self, documents: Sequence[object], responder: Responder) -> Reply:
        body = b"".join(orjson.dumps(document) + b"\n" for document in documents)
        return StaticReply(responder, self._wheel, 200, _LINES, body)

    def _show_truth(self, request: Request, responder: Responder) -> Reply:
        """Of one id, or a page: `limit` records after the one numbered `after`; `text=0`: bare."""
        query = parse_qs(request.query)
        if "request_id" in query:
            records = self._truth.records(query["request_id"][0])
        else:
            after = number_of(query, "after", 0)
            records = self._truth.records_after(after, number_of(query, "limit", len(self._truth)))
        with_text = query.get("text") != ["0"]
        return self._lines([record.to_json(text=with_text) for record in records], responder)

    def _show_picture(self, request: Request, responder: Responder) -> Reply:
        """What a URL of an answer leads to, spoiled as its query says; no key is needed."""
        query = parse_qs(request.query)
        words = " ".join(f"{name}={values[0]}" for name, values in query.items())
        try:
            picture = picture_at(request.path, parse_directives(words, Directives()))
        except DirectiveError as error:
            raise ApiError(str(error)) from None
        if picture is None:
            raise ApiError(f"Invalid URL (GET {request.path})", status=404)
        headers = [(b"content-type", b"image/png")]
        return StaticReply(responder, self._wheel, 200, headers, picture)

    def _behave(self, request: Request, responder: Responder) -> Reply:
        model, words = read_behaviour(request.body)
        try:
            self._behaviour.set(model, words)
        except ValueError as error:
            raise ApiError(str(error)) from None
        return self.json({}, responder)
