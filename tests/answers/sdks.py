"""The official SDKs as readers of bytes: their own clients, over a transport without a socket."""

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

_EVENT_STREAM = {"content-type": "text/event-stream"}
_JSON = {"content-type": "application/json"}


@dataclass(slots=True)
class Canned:
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
class Streamed:
    """What an SDK made of a stream: its items, and the error it raised at the end, if it did."""

    items: list[Any] = field(default_factory=list)
    error: Exception | None = None


_canned = Canned()


@functools.cache
def _openai() -> openai.OpenAI:
    transport = httpx2.MockTransport(_canned.answer2)
    return openai.OpenAI(
        api_key="none",
        base_url="http://gateway.test/v1",
        max_retries=0,
        http_client=httpx2.Client(transport=transport),
    )


@functools.cache
def _anthropic() -> anthropic.Anthropic:
    transport = httpx.MockTransport(_canned.answer)
    return anthropic.Anthropic(
        api_key="none",
        base_url="http://gateway.test",
        max_retries=0,
        http_client=httpx.Client(transport=transport),
    )


@functools.cache
def _genai() -> genai.Client:
    transport = httpx.MockTransport(_canned.answer)
    return genai.Client(
        api_key="none",
        http_options=HttpOptions(
            base_url="http://gateway.test", httpx_client=httpx.Client(transport=transport)
        ),
    )


def _serve(body: bytes, *, stream: bool) -> None:
    _canned.body, _canned.stream = body, stream


_HELLO: Any = [{"role": "user", "content": "hello"}]


def openai_completion(body: bytes) -> ChatCompletion:
    """A whole answer as the openai package parses it."""
    _serve(body, stream=False)
    return _openai().chat.completions.create(model="m", messages=_HELLO)


def openai_chunks(body: bytes) -> Streamed:
    """The chunks that the openai package yields."""
    _serve(body, stream=True)
    streamed: list[ChatCompletionChunk] = []
    try:
        streamed.extend(_openai().chat.completions.create(model="m", messages=_HELLO, stream=True))
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


def anthropic_message(body: bytes) -> Message:
    """A whole answer as the anthropic package parses it."""
    _serve(body, stream=False)
    return _anthropic().messages.create(model="m", max_tokens=1, messages=_HELLO)


def anthropic_events(body: bytes) -> Streamed:
    """The events that the anthropic package yields."""
    _serve(body, stream=True)
    streamed: list[Any] = []
    try:
        streamed.extend(
            _anthropic().messages.create(model="m", max_tokens=1, messages=_HELLO, stream=True)
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


def anthropic_beta_message(body: bytes) -> BetaMessage:
    """A whole answer as the package's beta namespace parses it: it knows more kinds of blocks."""
    _serve(body, stream=False)
    return _anthropic().beta.messages.create(model="m", max_tokens=1, messages=_HELLO)


def anthropic_beta_final(body: bytes) -> BetaMessage:
    """What the beta namespace's stream helper makes of a stream."""
    _serve(body, stream=True)
    with _anthropic().beta.messages.stream(model="m", max_tokens=1, messages=_HELLO) as stream:
        message: BetaMessage = stream.get_final_message()
    return message


def genai_response(body: bytes) -> GenerateContentResponse:
    """A whole answer as google-genai parses it."""
    _serve(body, stream=False)
    return _genai().models.generate_content(model="m", contents="hello")


def genai_chunks(body: bytes) -> Streamed:
    """The chunks that google-genai yields; it wants `data: ` exactly and nothing else."""
    _serve(body, stream=True)
    streamed: list[GenerateContentResponse] = []
    try:
        streamed.extend(_genai().models.generate_content_stream(model="m", contents="hello"))
    except genai_errors.APIError as error:
        return Streamed(streamed, error)
    return Streamed(streamed)
