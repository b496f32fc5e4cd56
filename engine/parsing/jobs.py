"""What is done with a request's body before it is sent on. Pure, and the same in every process."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Protocol

import trio

from engine.bounds import Bounds, bounds_of
from engine.capabilities import Capabilities
from engine.capability_table import check_media
from engine.conversation import MediaKind
from engine.events import Call
from engine.metering.pricing import Rates
from engine.metering.tokens import count_prompt
from engine.protocols.codec import (
    ClientRequest,
    Encoded,
    InexpressibleError,
    UpstreamTarget,
    spell,
)
from engine.protocols.inlining import (
    media_urls,
    put_inline,
    put_sources_inline,
    source_urls,
)
from engine.protocols.leaving_out import leave_out
from engine.protocols.quirks import Quirks
from engine.protocols.registry import client_codec, codec_of, upstream_codec
from engine.routing.plan import Deployment
from engine.upstream.bodies import Body
from engine.upstream.providers import Provider

_PARSED_AGAIN_MAX_BYTES: Final = 16 * 1024
"""A body no larger is kept as it came, for a count that is seldom needed."""
_COUNTED_AT_ONCE_MAX_BYTES: Final = 64 * 1024
"""A larger prompt is counted in a thread: the tokenizer lets go of the interpreter's lock."""


@dataclass(frozen=True, slots=True)
class Target:
    """A deployment, as far as a body depends on it.

    Attributes:
        spoken: the codec that its provider is spoken to by; the client's own one means verbatim.
        encoding: the vocabulary that its text is counted with.
    """

    spoken: str
    model: str
    encoding: str
    capabilities: Capabilities
    quirks: Quirks
    hides_reasoning: bool


def target_of(client: str, deployment: Deployment[Rates], provider: Provider) -> Target:
    """Where the request of a client of the protocol `client` goes."""
    return Target(
        spoken=upstream_codec(client, provider.protocol, provider.also).name,
        model=deployment.upstream_model,
        encoding=deployment.encoding,
        capabilities=deployment.capabilities,
        quirks=provider.quirks,
        hides_reasoning=deployment.hides_reasoning,
    )


class Input(Protocol):
    """A prompt whose tokens are counted where its provider does not say them."""

    def count(self) -> int:
        """Its tokens by our own count."""

    async def release(self) -> None:
        """Let go of the memory that it takes; it can be counted all the same."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A request that is ready to be sent.

    Attributes:
        request: what of it the answer is made with.
        body: for the provider.
        dropped: fields of the client's that were harmlessly left out, in its own spelling.
        max_output_tokens: what one choice may generate; None: nobody said.
        urls: media in it that the provider takes as bytes only.
    """

    request: ClientRequest
    body: Body
    dropped: tuple[str, ...]
    max_output_tokens: int | None
    bounds: Bounds
    input: Input
    urls: Mapping[str, MediaKind] = field(default_factory=dict)


class Parsed:
    """A client's request, parsed and validated.

    Raises:
        InvalidRequestError: the body cannot be served.
    """

    def __init__(self, call: Call) -> None:
        self._codec = client_codec(call.protocol)
        self._body_bytes = len(call.body)
        self._inline = call.inline
        self._urls: dict[str, MediaKind] = {}
        self.request = self._codec.parse_request(call)

    def prepare(self, target: Target, output_limit: int | None, prompt: Input) -> Prepared:
        """The request for a deployment; `output_limit` lowers what one choice may generate.

        Raises:
            InvalidRequestError: the deployment's protocol or model cannot say what is asked; names
                the client's field.
        """
        request = self.request
        check_media(request.media, target.capabilities, request.model)
        if target.spoken == self._codec.name:
            body, dropped = self._verbatim(target, output_limit)
            max_output_tokens = request.max_output_tokens
        else:
            encoded, dropped = self._translated(target, output_limit)
            body = encoded.body
            max_output_tokens = encoded.output_limit or request.max_output_tokens
        return Prepared(
            request=self._codec.answered(request),
            body=body,
            dropped=dropped,
            max_output_tokens=max_output_tokens,
            bounds=bounds_of(
                request,
                self._body_bytes,
                max_output_tokens=max_output_tokens,
                capabilities=target.capabilities,
                hides_reasoning=target.hides_reasoning,
            ),
            input=prompt,
            urls=self._urls,
        )

    def count(self, encoding: str) -> int:
        """The tokens of the prompt."""
        counted = count_prompt(self._codec.prompt_texts(self.request), encoding)
        return counted + self._codec.prompt_overhead_tokens(self.request)

    def count_for(self, encoding: str, capabilities: Capabilities) -> int:
        """The tokens of the prompt. Raises InvalidRequestError: the model takes no such media."""
        check_media(self.request.media, capabilities, self.request.model)
        return self.count(encoding)

    def _verbatim(self, target: Target, output_limit: int | None) -> tuple[bytes, tuple[str, ...]]:
        request = self.request
        if target.quirks.inlines and request.media:
            put_sources_inline(request.document, self._inline)
            self._note_urls(source_urls(request.document), target)
        kept, dropped = leave_out(request.document, target.quirks.refuses)
        if dropped:
            request = replace(request, document=kept)
        body = self._codec.encode_verbatim(request, target.model, output_limit, target.quirks)
        return body, dropped

    def _translated(
        self, target: Target, output_limit: int | None
    ) -> tuple[Encoded, tuple[str, ...]]:
        conversation = self._codec.decode_request(self.request)
        if target.quirks.inlines and self.request.media:
            conversation = put_inline(conversation, self._inline)
            self._note_urls(media_urls(conversation), target)
        for lost in conversation.unexpressed:
            if not lost.harmless:
                raise InexpressibleError(
                    lost.field,
                    f"'{lost.field}' cannot be translated to what the provider of this model "
                    "speaks; leave it out or choose another model.",
                )
        upstream = UpstreamTarget(
            target.model, target.capabilities, self.request.stream, output_limit, target.quirks
        )
        try:
            encoded = codec_of(target.spoken).encode_request(conversation, upstream)
        except InexpressibleError as error:
            error.param = self._spelled(error.field)
            raise
        lost_fields = [lost.field for lost in conversation.unexpressed]  # in the client's spelling
        more = [self._spelled(field) for field in encoded.dropped if field not in lost_fields]
        return encoded, tuple(dict.fromkeys([*lost_fields, *more]))

    def _note_urls(self, urls: Iterable[tuple[MediaKind, str]], target: Target) -> None:
        self._urls = {url: kind for kind, url in urls if kind in target.quirks.inlines}

    def _spelled(self, field: str) -> str:
        return spell(field, self._codec.field_names)


@dataclass(frozen=True, slots=True)
class Encode:
    """What is asked of a parsed request: the body for a deployment.

    Attributes:
        in_memory: it is wanted so, however large it is; else it goes the way that it came.
    """

    target: Target
    output_limit: int | None = None
    in_memory: bool = False


@dataclass(frozen=True, slots=True)
class Count:
    """What is asked of a parsed request: the tokens of its prompt."""

    encoding: str
    capabilities: Capabilities


Ask = Callable[[str], Encode | Count]
"""What to do with a request for a public model; raises ModelNotFoundError."""


def do_here(call: Call, ask: Ask) -> Prepared | int:
    """Parse the body of a call and do with it what is asked, in this process.

    Raises:
        InvalidRequestError, ModelNotFoundError: it cannot be served.
    """
    parsed = Parsed(call)
    match ask(parsed.request.model):
        case Encode(target=target, output_limit=output_limit):
            prompt = _InputHere(call, parsed, target.encoding)
            return parsed.prepare(target, output_limit, prompt)
        case Count(encoding, capabilities):
            return parsed.count_for(encoding, capabilities)


def prepare_here(call: Call, target: Target) -> Prepared:
    """The request of a call for a deployment. Raises InvalidRequestError."""
    prepared = do_here(call, lambda _model: Encode(target))
    assert isinstance(prepared, Prepared)
    return prepared


@dataclass(frozen=True, slots=True)
class Counted:
    """A prompt of which only this is left."""

    tokens: int

    def count(self) -> int:
        """As it was counted."""
        return self.tokens

    async def release(self) -> None:
        """There is nothing to let go of."""


class _InputHere:
    """A prompt in the memory of this process."""

    def __init__(self, call: Call, parsed: Parsed, encoding: str) -> None:
        self._call: Call | None = call
        self._parsed: Parsed | None = parsed
        self._encoding = encoding
        self._tokens: int | None = None

    def count(self) -> int:
        """Made once, and only where it is needed."""
        if self._tokens is None:
            assert self._call is not None, "what has not been counted is kept"
            parsed = self._parsed or Parsed(self._call)
            self._tokens = parsed.count(self._encoding)
        return self._tokens

    async def release(self) -> None:
        """What is small can be parsed again; the rest is counted now."""
        if self._call is None:
            return
        size_bytes = len(self._call.body)
        if size_bytes > _COUNTED_AT_ONCE_MAX_BYTES:
            await trio.to_thread.run_sync(self.count)
        elif size_bytes > _PARSED_AGAIN_MAX_BYTES:
            self.count()
        if self._tokens is not None:
            self._call = None
        self._parsed = None
