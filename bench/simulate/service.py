"""Routes: the chat endpoints, the model lists, the truth log. Decides; sends nothing itself."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import replace
from typing import Final

import orjson

from bench.simulate import own_pages
from bench.simulate.access_tokens import TOKEN_ROUTES, TokenIssuer
from bench.simulate.anthropic_dialect import AnthropicDialect
from bench.simulate.anthropic_files import AnthropicFiles
from bench.simulate.bedrock_dialect import BedrockDialect, is_bedrock
from bench.simulate.behaviour import Behaviour, with_rates
from bench.simulate.chat_replies import ChatStream, ChatUnary
from bench.simulate.completions_dialect import CompletionsDialect
from bench.simulate.dialect import Dialect
from bench.simulate.directives import Directives
from bench.simulate.errands import Errands
from bench.simulate.errors import ApiError
from bench.simulate.files import FileShelf
from bench.simulate.gemini_dialect import GeminiDialect, is_gemini, method_of
from bench.simulate.gemini_embeddings import METHODS as EMBEDDING_METHODS
from bench.simulate.gemini_embeddings import GeminiEmbeddingsDialect
from bench.simulate.gemini_files import GeminiFiles, has_key
from bench.simulate.gemini_videos import GeminiVideos
from bench.simulate.generic_jobs import GenericJobs
from bench.simulate.job_calls import Desk
from bench.simulate.jobs import JobBook
from bench.simulate.kept.desks import kept_desks
from bench.simulate.kept.response_events import background_reply
from bench.simulate.kept.responses import ResponseStore
from bench.simulate.kept.shelf import Shelf
from bench.simulate.load import SimulatorLoad
from bench.simulate.named_files import named_files
from bench.simulate.openai_dialect import OpenAIDialect
from bench.simulate.openai_files import OpenAIFiles
from bench.simulate.openai_videos import OpenAIVideos
from bench.simulate.operations import OPERATIONS
from bench.simulate.own_pages import OwnPages
from bench.simulate.paths import listed_model
from bench.simulate.planner import Planner
from bench.simulate.replay import ReplayReply, load_recording
from bench.simulate.replies import Reply, Request, Responder, StaticReply
from bench.simulate.responses_dialect import ResponsesDialect
from bench.simulate.settings import SimulatorSettings
from bench.simulate.signatures import Signer
from bench.simulate.tokens import count_tokens
from bench.simulate.truth import TruthLog, TruthRecord
from bench.simulate.vertex import (
    VertexAnthropicDialect,
    VertexGeminiDialect,
    counts_only,
    vertex_publisher,
)
from bench.simulate.wheel import TimerWheel
from bench.simulate.xai_videos import XaiVideos

_JSON: Final = (b"content-type", b"application/json")
_CHATS: Final = frozenset(
    {"/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages"}
)
_COUNTS: Final = frozenset({"/v1/messages/count_tokens", "/v1/responses/input_tokens"})
_POSTS: Final = _CHATS | _COUNTS | set(OPERATIONS) | own_pages.POSTS
_PAGE: Final = b"<!DOCTYPE html><html><body><h1>502 Bad Gateway</h1></body></html>\n"
_GETS: Final = frozenset({"/v1/models"}) | own_pages.GETS
REQUEST_ID_MAX: Final = 200
BODY_HELD_BYTES: Final = 65_536
"""A body that is longer is let go as soon as it is read."""

Handler = Callable[[Dialect, Request, Responder, float], Reply]


class Service:
    """Turns requests into replies. One for all connections of a simulator."""

    def __init__(
        self,
        settings: SimulatorSettings,
        wheel: TimerWheel,
        truth: TruthLog,
        load: Callable[[], SimulatorLoad],
        behaviour: Behaviour,
    ) -> None:
        self._settings = settings
        self._wheel = wheel
        self._truth = truth
        self._behaviour = behaviour
        self._planner = planner = Planner(settings, behaviour)
        self._signer = Signer(settings.seed.encode())
        self._openai = OpenAIDialect()
        self._completions = CompletionsDialect()
        self.kept = Shelf(planner.instance, lax=settings.lax_parents)
        self.files = FileShelf(planner.instance)
        self.responses = ResponseStore(self._signer, self.kept, self.files)
        self._responses = ResponsesDialect(self.responses)
        self._anthropic = AnthropicDialect(self._signer)
        self._gemini = GeminiDialect(self._signer)
        self._gemini_embeddings = GeminiEmbeddingsDialect(self._signer)
        self._vertex: dict[str, Dialect] = {
            "google": VertexGeminiDialect(self._signer),
            "anthropic": VertexAnthropicDialect(self._signer),
        }
        self.tokens = TokenIssuer(settings.service_accounts or {})
        self._bedrock = BedrockDialect(self._signer, settings.aws_keys)
        self.jobs = JobBook(planner.instance)
        self._pages = OwnPages(wheel, truth, load, behaviour, self.files, self.jobs, self.kept)
        works = Desk(self.jobs, planner.knows_job, settings.seed.encode())
        kept = kept_desks(
            self.kept, self.responses, self.files, planner, self._openai, self._batched()
        )
        desks = (
            *kept,
            GeminiVideos(works, self._gemini),
            OpenAIVideos(works, self.files, self._openai),
            XaiVideos(works),
            GenericJobs(works),
            GeminiFiles(self.files, self._gemini, planner.instance),
            AnthropicFiles(self.files, self._anthropic),
            OpenAIFiles(self.files, self._openai),
        )
        self._errands = Errands(desks, wheel, truth, behaviour, self._authenticate)

    def _batched(self) -> dict[str, Dialect]:
        """What a batch may consist of, by its endpoint."""
        return {
            "/v1/chat/completions": self._openai,
            "/v1/completions": self._completions,
            "/v1/responses": self._responses,
            "/v1/embeddings": OPERATIONS["/v1/embeddings"],
            "/v1/moderations": OPERATIONS["/v1/moderations"],
        }

    def reply_to(self, request: Request, responder: Responder, now_s: float) -> Reply:
        """The reply to a complete request, not yet started."""
        dialect = self._dialect_of(request)
        try:
            return self._route(dialect, request, responder, now_s)
        except ApiError as error:
            return self._error(dialect, error, request, responder, self._planner.own_id()[1])

    def too_large(self, responder: Responder) -> Reply:
        """The reply to a body past the limit."""
        error = ApiError("The request body is too large.", status=413)
        request = Request("POST", "/", "", {}, b"", "")
        return self._error(self._openai, error, request, responder, self._planner.own_id()[1])

    def _dialect_of(self, request: Request) -> Dialect:
        """By the path; the model lists share `/v1/models`, so there by the headers."""
        headers, path = request.headers, request.path
        if path in OPERATIONS:
            return OPERATIONS[path]
        if (publisher := vertex_publisher(path)) is not None:
            return self._vertex[publisher]
        if is_gemini(path):
            embeds = method_of(path) in EMBEDDING_METHODS
            return self._gemini_embeddings if embeds else self._gemini
        if is_bedrock(path):
            return self._bedrock
        if path.startswith("/v1/messages"):
            return self._anthropic
        if path.startswith("/v1/responses"):
            return self._responses
        if path.startswith("/v1/completions"):
            return self._completions
        if path.startswith("/upload/") or (path.startswith("/v1/files") and has_key(request)):
            return self._gemini
        if path.startswith("/v1/files") and b"anthropic-version" in headers:
            return self._anthropic
        if path.startswith("/v1/models"):
            if b"x-goog-api-key" in headers:
                return self._gemini
            if b"anthropic-version" in headers or b"x-api-key" in headers:
                return self._anthropic
        return self._openai

    def _route(
        self, dialect: Dialect, request: Request, responder: Responder, now_s: float
    ) -> Reply:
        path, method = request.path, request.method
        if path not in _CHATS:
            if (errand := self._errands.find(request)) is not None:
                return self._errands.reply_to(errand, request, responder, self._planner.own_id()[1])
            if (page := self._pages.reply_to(request, responder)) is not None:
                return page
        handler: Handler | None = None
        match method, path:
            case "POST", _ if path in _CHATS or path in OPERATIONS or is_bedrock(path):
                handler = self._chat
            case "POST", _ if path in _COUNTS:
                handler = self._count
            case "POST", _ if vertex_publisher(path) == "anthropic":
                handler = self._count if counts_only(path) else self._chat
            case _ if (method, path) in TOKEN_ROUTES:
                return self._issue_token(request, responder)
            case "POST", _ if is_gemini(path):
                handler = self._count if method_of(path) == "countTokens" else self._chat
            case "GET", _ if (model := listed_model(path)) is not None:
                return self._list_models(dialect, model, request, responder)
        if handler is not None:
            return handler(dialect, request, responder, now_s)
        if path in _POSTS or path in _GETS:
            raise ApiError(
                f"Not allowed to {method} on {path}. "
                "(HINT: Perhaps you meant to use a different HTTP method?)",
                status=405,
                code="method_not_supported",
            )
        raise ApiError(f"Invalid URL ({method} {path})", status=404)

    # -- chat ---------------------------------------------------------------------------------

    def _chat(
        self, dialect: Dialect, request: Request, responder: Responder, now_s: float
    ) -> Reply:
        number, own_id = self._planner.own_id()
        sent_id = request.headers.get(b"x-request-id", b"").decode("latin-1")[:REQUEST_ID_MAX]
        record = self._truth.open(sent_id or own_id, own_id, request.protocol, dialect.name)
        self._truth.keep_body(record, request.body)
        try:
            key = self._authenticate(dialect, request).decode("latin-1")
            chat = dialect.parse(request)
            record.model, record.stream = chat.model, chat.stream
            record.directives = chat.directives or ""
            record.signatures, record.parts = chat.signatures, chat.parts
            self._planner.known(dialect, chat.model)
            record.files = named_files(self.files, dialect.name, request.body, key)
            directives = self._planner.directives(chat, record.number)
            record.tag = directives.tag
            if directives.status is not None:
                refusal = dialect.status_error(directives.status, directives.retry_after)
                return self._error(
                    dialect, refusal, request, responder, own_id, directives, record=record
                )
            if directives.recording is not None:
                recording = load_recording(self._settings.recordings, directives.recording)
                return ReplayReply(responder, self._wheel, record, recording, directives, now_s)
            refused = dialect.prompt_refused() if directives.refuse == "prompt" else None
            if refused is not None:
                raise refused
            if directives.fault in ("error_ok", "html"):
                return self._misplaced(dialect, request, responder, record, directives)
            headers = with_rates(dialect.headers(own_id), dialect.name, directives)
            plan = self._planner.plan(dialect, chat, directives, headers, number)
        except ApiError as error:
            return self._error(dialect, error, request, responder, own_id, record=record)
        record.completion_id = plan.answer_id
        record.input_tokens, record.taken = plan.input_tokens, chat.units
        if chat.keeping is not None and chat.document.get("background"):
            return background_reply(self.responses, plan, record, responder, self._wheel)
        kind = ChatStream if chat.stream else ChatUnary
        if request.upload is not None or len(request.body) > BODY_HELD_BYTES:
            # There may be as many uploads as clients.
            request = replace(request, body=b"", upload=None)
        return kind(responder, self._wheel, record, plan, dialect, request)

    def _misplaced(
        self,
        dialect: Dialect,
        request: Request,
        responder: Responder,
        record: TruthRecord,
        directives: Directives,
    ) -> Reply:
        """Something else in the place of an answer, with the status of one."""
        own_id = record.provider_request_id
        headers, body = dialect.write_error(dialect.status_error(500, None), request, own_id)
        if directives.fault == "html":
            headers, body = [(b"content-type", b"text/html; charset=utf-8")], _PAGE
        headers = [*headers, *dialect.headers(own_id)]
        delay_s = directives.head_ms / 1000
        reply = StaticReply(
            responder, self._wheel, 200, headers, body, delay_s=delay_s, record=record
        )
        reply.fails()
        return reply

    def _count(
        self, dialect: Dialect, request: Request, responder: Responder, _now_s: float
    ) -> Reply:
        """How many tokens a request would be; it leaves no record."""
        key = self._authenticate(dialect, request).decode("latin-1")
        chat = dialect.parse(request)
        self._planner.known(dialect, chat.model)
        named_files(self.files, dialect.name, request.body, key)
        tokens = count_tokens(chat.texts) + chat.framing_tokens
        return self._pages.json(
            dialect.count(tokens), responder, dialect.headers(self._planner.own_id()[1])
        )

    def _authenticate(self, dialect: Dialect, request: Request) -> bytes:
        """The key it was sent with; empty where it has none and needs none."""
        if dialect in self._vertex.values():
            self._check_token(dialect, request)
            return b""
        keys = self._settings.api_keys
        if keys is None and dialect is self._bedrock:
            return b""
        key = dialect.key_of(request)
        if keys is None:
            return key or b""
        if key is None:
            raise dialect.no_key()
        if not any(hmac.compare_digest(key, known.encode()) for known in keys):
            raise dialect.wrong_key(key)
        return key

    def _check_token(self, dialect: Dialect, request: Request) -> None:
        if self._settings.service_accounts is None:
            return
        token = dialect.key_of(request)
        if token is None:
            raise dialect.no_key()
        if not self.tokens.is_valid(token):
            raise dialect.wrong_key(token)

    # -- whole answers ------------------------------------------------------------------------

    def _list_models(
        self, dialect: Dialect, model: str, request: Request, responder: Responder
    ) -> Reply:
        """All models of an API, or the one that is named; in an outage of all, what that says."""
        self._authenticate(dialect, request)
        outage = self._behaviour.of_all
        if outage.status is not None:
            raise dialect.status_error(outage.status, outage.retry_after)
        if not model:
            models = self._planner.models[dialect.name]
            return self._pages.json(dialect.model_list(models), responder)
        return self._pages.json(dialect.model(self._planner.known(dialect, model)), responder)

    def _issue_token(self, request: Request, responder: Responder) -> Reply:
        status, document = self.tokens.answer(request)
        return StaticReply(responder, self._wheel, status, [_JSON], orjson.dumps(document))

    def _error(
        self,
        dialect: Dialect,
        error: ApiError,
        request: Request,
        responder: Responder,
        own_id: str,
        directives: Directives | None = None,
        *,
        record: TruthRecord | None = None,
    ) -> Reply:
        if record is not None:
            record.message = error.message
        headers, body = dialect.write_error(error, request, own_id)
        own_headers, delay_s = dialect.headers(own_id), 0.0
        if directives is not None:
            own_headers = with_rates(own_headers, dialect.name, directives)
            delay_s = directives.head_ms / 1000
        return StaticReply(
            responder,
            self._wheel,
            error.status,
            [*headers, *own_headers],
            body,
            delay_s=delay_s,
            record=record,
        )
