"""The official SDKs as readers, of bytes without a socket or of a gateway."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from typing import Any

import anthropic
import httpx
import httpx2
import openai
from anthropic.lib.streaming._messages import accumulate_event
from anthropic.types import Message
from anthropic.types.beta import BetaMessage
from google import genai
from google.genai import errors as genai_errors
from google.genai.types import GenerateContentResponse, HttpOptions
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response

_EVENT_STREAM = {"content-type": "text/event-stream"}
_JSON = {"content-type": "application/json"}


@dataclass(slots=True)
class _Canned:
    """The next answer of the transport."""

    body: bytes = b""
    stream: bool = False

    @property
    def headers(self) -> dict[str, str]:
        """A content type and nothing else."""
        return _EVENT_STREAM if self.stream else _JSON

    def answer(self, _request: httpx.Request) -> httpx.Response:
        """For the SDKs on httpx."""
        return httpx.Response(200, headers=self.headers, content=self.body)

    def answer2(self, _request: httpx2.Request) -> httpx2.Response:
        """For the SDKs on httpx2."""
        return httpx2.Response(200, headers=self.headers, content=self.body)


@dataclass(frozen=True, slots=True)
class Clients:
    """The three SDKs, and what they ask for."""

    openai: openai.OpenAI
    anthropic: anthropic.Anthropic
    genai: genai.Client
    model: str = "the-model"
    prompt: str = "hello"

    @property
    def messages(self) -> Any:
        """The prompt as OpenAI and Anthropic want it."""
        return [{"role": "user", "content": self.prompt}]


def clients(
    origin: str,
    key: str,
    http: httpx.Client,
    http2: httpx2.Client,
    model: str = "the-model",
    prompt: str = "hello",
) -> Clients:
    """The SDKs for a gateway, over HTTP clients of the caller's."""
    return Clients(
        openai.OpenAI(api_key=key, base_url=f"{origin}/v1", max_retries=0, http_client=http2),
        anthropic.Anthropic(api_key=key, base_url=origin, max_retries=0, http_client=http),
        genai.Client(api_key=key, http_options=HttpOptions(base_url=origin, httpx_client=http)),
        model,
        prompt,
    )


_canned = _Canned()


@functools.cache
def _canned_clients() -> Clients:
    return clients(
        "http://gateway.test",
        "none",
        httpx.Client(transport=httpx.MockTransport(_canned.answer)),
        httpx2.Client(transport=httpx2.MockTransport(_canned.answer2)),
    )


def canned(body: bytes, *, stream: bool) -> Clients:
    """SDKs whose next answer is these bytes."""
    _canned.body, _canned.stream = body, stream
    return _canned_clients()


@dataclass(frozen=True, slots=True)
class Streamed:
    """What an SDK made of a stream: its items, and the error it raised at the end, if it did."""

    items: list[Any] = field(default_factory=list)
    error: Exception | None = None


def openai_completion(sdks: Clients) -> ChatCompletion:
    """A whole answer as the openai package parses it."""
    return sdks.openai.chat.completions.create(model=sdks.model, messages=sdks.messages)


def openai_chunks(sdks: Clients) -> Streamed:
    """The chunks that the openai package yields, usage asked for."""
    streamed: list[ChatCompletionChunk] = []
    try:
        streamed.extend(
            sdks.openai.chat.completions.create(
                model=sdks.model,
                messages=sdks.messages,
                stream=True,
                stream_options={"include_usage": True},
            )
        )
    except openai.APIError as error:
        return Streamed(streamed, error)
    return Streamed(streamed)


def openai_accumulated(chunks: list[ChatCompletionChunk]) -> ChatCompletion:
    """What the openai package's stream helper has at the end of a stream.

    Raises:
        Exception: whatever the helper raises where chunks are not as OpenAI writes them.
    """
    state: ChatCompletionStreamState[None] = ChatCompletionStreamState()
    for chunk in chunks:
        if chunk.object == "chat.completion.chunk":  # as its `ChatCompletionStream` does
            list(state.handle_chunk(chunk))
    return state.current_completion_snapshot


def openai_response(sdks: Clients) -> Response:
    """A whole answer of the responses API as the openai package parses it."""
    return sdks.openai.responses.create(model=sdks.model, input=sdks.prompt)


def openai_response_events(sdks: Clients) -> Streamed:
    """The events of the responses API that the openai package yields."""
    streamed: list[Any] = []
    try:
        streamed.extend(
            sdks.openai.responses.create(model=sdks.model, input=sdks.prompt, stream=True)
        )
    except openai.APIError as error:
        return Streamed(streamed, error)
    return Streamed(streamed)


_MAX_TOKENS = 4_096


def anthropic_message(sdks: Clients) -> Message:
    """A whole answer as the anthropic package parses it."""
    return sdks.anthropic.messages.create(
        model=sdks.model, max_tokens=_MAX_TOKENS, messages=sdks.messages
    )


def anthropic_events(sdks: Clients) -> Streamed:
    """The events that the anthropic package yields."""
    streamed: list[Any] = []
    try:
        streamed.extend(
            sdks.anthropic.messages.create(
                model=sdks.model, max_tokens=_MAX_TOKENS, messages=sdks.messages, stream=True
            )
        )
    except anthropic.APIStatusError as error:
        return Streamed(streamed, error)
    return Streamed(streamed)


def anthropic_accumulated(events: list[Any]) -> Message:
    """What the anthropic package's stream helper makes of events."""
    snapshot: Any = None
    for event in events:
        snapshot = accumulate_event(event=event, current_snapshot=snapshot)
    assert snapshot is not None, "no event at all"
    message: Message = snapshot
    return message


def anthropic_beta_message(sdks: Clients) -> BetaMessage:
    """A whole answer as the package's beta namespace parses it: it knows more kinds of blocks."""
    return sdks.anthropic.beta.messages.create(
        model=sdks.model, max_tokens=_MAX_TOKENS, messages=sdks.messages
    )


def anthropic_beta_final(sdks: Clients) -> BetaMessage:
    """What the beta namespace's stream helper makes of a stream."""
    with sdks.anthropic.beta.messages.stream(
        model=sdks.model, max_tokens=_MAX_TOKENS, messages=sdks.messages
    ) as stream:
        message: BetaMessage = stream.get_final_message()
    return message


def genai_response(sdks: Clients) -> GenerateContentResponse:
    """A whole answer as google-genai parses it."""
    return sdks.genai.models.generate_content(model=sdks.model, contents=sdks.prompt)


def genai_chunks(sdks: Clients) -> Streamed:
    """The chunks that google-genai yields; it wants `data: ` exactly and nothing else."""
    streamed: list[GenerateContentResponse] = []
    try:
        streamed.extend(
            sdks.genai.models.generate_content_stream(model=sdks.model, contents=sdks.prompt)
        )
    except genai_errors.APIError as error:
        return Streamed(streamed, error)
    return Streamed(streamed)
