"""Routes: the chat endpoint, the model list, the truth log. Decides; sends nothing itself."""

from __future__ import annotations

import hmac
import itertools
import time
from collections.abc import Sequence
from email.utils import formatdate
from typing import Final
from urllib.parse import parse_qs, unquote

import orjson

from bench.simulate.chat_replies import ChatPlan, ChatStream, ChatUnary
from bench.simulate.directives import DirectiveError, Directives, parse_directives
from bench.simulate.openai_chat import model_object, status_error
from bench.simulate.openai_fields import ApiError
from bench.simulate.openai_request import ChatRequest, parse_chat_request
from bench.simulate.replay import ReplayReply, load_recording
from bench.simulate.replies import Reply, Request, Responder, StaticReply
from bench.simulate.settings import SimulatorSettings
from bench.simulate.text import seed_of
from bench.simulate.tokens import count_tokens
from bench.simulate.truth import TruthLog, TruthRecord
from bench.simulate.wheel import TimerWheel
from engine.wire.http import Headers

_JSON: Final = (b"content-type", b"application/json")
_NO_KEY: Final = (
    "You didn't provide an API key. You need to provide your API key in an Authorization header "
    "using Bearer auth (i.e. Authorization: Bearer YOUR_KEY), or as the password field (with blank "
    "username) if you're accessing the API from your browser and are prompted for a username and "
    "password. You can obtain an API key from https://platform.openai.com/account/api-keys."
)
REQUEST_ID_MAX: Final = 200


class Service:
    """Turns requests into replies. One for all connections of a simulator."""

    def __init__(self, settings: SimulatorSettings, wheel: TimerWheel, truth: TruthLog) -> None:
        self._settings = settings
        self._wheel = wheel
        self._truth = truth
        self._numbers = itertools.count(1)
        self._instance = seed_of(settings.seed.encode(), str(time.time_ns()).encode()).hex()[:12]

    def reply_to(self, request: Request, responder: Responder, now_s: float) -> Reply:
        """The reply to a complete request, not yet started."""
        try:
            return self._route(request, responder, now_s)
        except ApiError as error:
            return self._error(error, responder)

    def too_large(self, responder: Responder) -> Reply:
        """The reply to a body past the limit."""
        return self._error(ApiError("The request body is too large.", status=413), responder)

    def _route(self, request: Request, responder: Responder, now_s: float) -> Reply:
        path = request.path
        match request.method, path:
            case "POST", "/v1/chat/completions":
                return self._chat(request, responder, now_s)
            case "GET", "/v1/models":
                self._authenticate(request)
                models = [model_object(model) for model in self._settings.models]
                return self._json({"object": "list", "data": models}, responder)
            case "GET", _ if path.startswith("/v1/models/"):
                self._authenticate(request)
                return self._json(model_object(self._known(unquote(path[11:]))), responder)
            case "GET", "/_truth":
                return self._show_truth(request, responder)
            case "GET", "/healthz":
                return self._json({"status": "ok"}, responder)
            case _, "/v1/chat/completions" | "/v1/models" | "/_truth" | "/healthz":
                raise ApiError(
                    f"Not allowed to {request.method} on {path}. "
                    "(HINT: Perhaps you meant to use a different HTTP method?)",
                    status=405,
                    code="method_not_supported",
                )
        raise ApiError(f"Invalid URL ({request.method} {path})", status=404)

    # -- chat ---------------------------------------------------------------------------------

    def _chat(self, request: Request, responder: Responder, now_s: float) -> Reply:
        number = next(self._numbers)
        own_id = f"req_{self._instance}{number:020x}"
        sent_id = request.headers.get(b"x-request-id", b"").decode("latin-1")[:REQUEST_ID_MAX]
        record = self._truth.open(sent_id or own_id, own_id, request.protocol)
        headers = _provider_headers(own_id)
        try:
            self._authenticate(request)
            chat = parse_chat_request(request.body)
            record.model, record.stream = chat.model, chat.stream
            record.directives = chat.directives or ""
            self._known(chat.model)
            directives = self._directives(chat)
            if directives.status is not None:
                refusal = status_error(directives.status, directives.retry_after)
                delay_s = directives.head_ms / 1000
                return self._error(refusal, responder, headers, delay_s=delay_s, record=record)
            if directives.recording is not None:
                recording = load_recording(self._settings.recordings, directives.recording)
                return ReplayReply(responder, self._wheel, record, recording, directives, now_s)
        except ApiError as error:
            return self._error(error, responder, headers, record=record)
        plan = self._plan(chat, directives, headers, number)
        record.completion_id = plan.completion_id
        record.input_tokens = plan.input_tokens
        return (ChatStream if chat.stream else ChatUnary)(responder, self._wheel, record, plan)

    def _plan(
        self, chat: ChatRequest, directives: Directives, headers: Headers, number: int
    ) -> ChatPlan:
        return ChatPlan(
            request=chat,
            directives=directives,
            completion_id=f"chatcmpl-{self._instance}{number:016x}",
            created=int(time.time()),
            input_tokens=count_tokens(chat.texts) + chat.framing_tokens,
            headers=headers,
            ahead_max_tokens=self._settings.ahead_max_tokens,
            seed=seed_of(self._settings.seed.encode(), chat.seed_material),
        )

    def _directives(self, chat: ChatRequest) -> Directives:
        if chat.directives is None:
            return self._settings.defaults
        try:
            return parse_directives(chat.directives, self._settings.defaults)
        except DirectiveError as error:
            raise ApiError(str(error), param="messages", code="invalid_directive") from None

    def _known(self, model: str) -> str:
        if not self._settings.any_model and model not in self._settings.models:
            raise ApiError(
                f"The model `{model}` does not exist or you do not have access to it.",
                status=404,
                code="model_not_found",
            )
        return model

    def _authenticate(self, request: Request) -> None:
        keys = self._settings.api_keys
        if keys is None:
            return
        scheme, _, key = request.headers.get(b"authorization", b"").partition(b" ")
        if scheme.lower() != b"bearer" or not key:
            raise ApiError(_NO_KEY, status=401)
        if not any(hmac.compare_digest(key, known.encode()) for known in keys):
            shown = key.decode("latin-1")
            masked = f"{shown[:8]}*****{shown[-4:]}" if len(shown) > 16 else "*****"
            raise ApiError(
                f"Incorrect API key provided: {masked}. You can find your API key at "
                "https://platform.openai.com/account/api-keys.",
                status=401,
                code="invalid_api_key",
            )

    # -- whole answers ------------------------------------------------------------------------

    def _show_truth(self, request: Request, responder: Responder) -> Reply:
        query = parse_qs(request.query)
        records = self._truth.records(query["request_id"][0] if "request_id" in query else None)
        with_text = query.get("text") != ["0"]
        body = b"".join(orjson.dumps(record.to_json(text=with_text)) + b"\n" for record in records)
        headers = [(b"content-type", b"application/x-ndjson")]
        return StaticReply(responder, self._wheel, 200, headers, body)

    def _json(self, document: object, responder: Responder) -> Reply:
        return StaticReply(responder, self._wheel, 200, [_JSON], orjson.dumps(document) + b"\n")

    def _error(
        self,
        error: ApiError,
        responder: Responder,
        headers: Sequence[tuple[bytes, bytes]] = (),
        *,
        delay_s: float = 0.0,
        record: TruthRecord | None = None,
    ) -> Reply:
        if record is not None:
            record.message = error.message
        return StaticReply(
            responder,
            self._wheel,
            error.status,
            [(b"content-type", b"application/json; charset=utf-8"), *error.headers, *headers],
            orjson.dumps(error.to_json(), option=orjson.OPT_INDENT_2) + b"\n",
            delay_s=delay_s,
            record=record,
        )


def _provider_headers(request_id: str) -> Headers:
    return [
        (b"openai-processing-ms", b"1"),
        (b"openai-version", b"2020-10-01"),
        (b"x-ratelimit-limit-requests", b"10000"),
        (b"x-ratelimit-remaining-requests", b"9999"),
        (b"x-ratelimit-reset-requests", b"6ms"),
        (b"x-request-id", request_id.encode()),
    ]


def http_date() -> bytes:
    """Now, as a `date` header."""
    return formatdate(usegmt=True).encode()
