"""What is done with a request's body before it is sent on. Pure, and the same in every process."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

import trio

from engine.agent import MODEL_PREFIX, AgentUse
from engine.agents.briefing import question_of, texts_of, with_brief
from engine.bounds import Bounds, bounds_of
from engine.capabilities import Capabilities
from engine.capability_table import check_media
from engine.conversation import FileStandIn, FileUse, MediaKind
from engine.errors import InvalidRequestError, NotFoundError
from engine.events import Call, Operation
from engine.job import MADE_KINDS
from engine.metering.pricing import Rates
from engine.metering.tokens import count_prompt
from engine.owned import HeldRef, StateApi
from engine.parsing.facts import NOTHING, Wanted, asked_of
from engine.parsing.prompts import Input, InputBefore
from engine.parsing.shares import Share, requests_of
from engine.protocols.codec import (
    ClientRequest,
    Encoded,
    InexpressibleError,
    UpstreamTarget,
    spell,
)
from engine.protocols.file_refs import place
from engine.protocols.inlining import (
    media_urls,
    put_inline,
    put_sources_inline,
    source_urls,
)
from engine.protocols.leaving_out import leave_out
from engine.protocols.prefix import Prefix, continue_from
from engine.protocols.quirks import Quirks
from engine.protocols.registry import (
    SERVICES,
    client_codec,
    provider_codec,
    translated_to,
    upstream_codec,
)
from engine.routing.values import Asked, Deployment
from engine.upstream.bodies import Body
from engine.upstream.providers import Provider

_NOTHING: Final[Mapping[str, str]] = {}
"""Plain, since it comes from another process as well."""
_PARSED_AGAIN_MAX_BYTES: Final = 16 * 1024
"""A body no larger is kept as it came, for a count that is seldom needed."""
_COUNTED_AT_ONCE_MAX_BYTES: Final = 64 * 1024
"""A larger prompt is counted in a thread: the tokenizer lets go of the interpreter's lock."""


@dataclass(frozen=True, slots=True)
class Target:
    """A deployment, as far as a body depends on it.

    Attributes:
        spoken: the codec that its provider is spoken to by; the client's own one means verbatim;
            None: it has nothing of the kind that is asked for.
        encoding: the vocabulary that its text is counted with.
    """

    spoken: str | None
    model: str
    encoding: str
    capabilities: Capabilities
    quirks: Quirks
    hides_reasoning: bool
    state: StateApi | None = None


def target_of(
    client: str, deployment: Deployment[Rates], provider: Provider, *, translated: bool = False
) -> Target:
    """Where a request that the codec `client` has read goes; `translated`: never verbatim."""
    codec = (
        provider_codec(provider.protocol)
        if translated
        else upstream_codec(
            client, provider.protocol, provider.also, deployment.capabilities.serves
        )
    )
    return Target(
        spoken=None if codec is None else codec.name,
        model=deployment.upstream_model,
        encoding=deployment.encoding,
        capabilities=deployment.capabilities,
        quirks=provider.quirks,
        hides_reasoning=deployment.hides_reasoning,
        state=provider.state,
    )


class Prepared(NamedTuple):
    """A request that is ready to be sent. A tuple because two are made for every request.

    Attributes:
        request: what of it the answer is made with.
        body: for the provider.
        dropped: fields of the client's that were harmlessly left out, in its own spelling.
        max_output_tokens: what one choice may generate; None: nobody said.
        urls: media in it that the provider takes as bytes only.
        target: which of the deployments that were asked for it is for.
        unsaid: why none of those before it can say it.
        continuable: an answer that breaks off could be written on, by what is asked for.
        operation: what the provider is asked for.
        content_type: of the body.
        shares: of several requests, whose bodies stand in `body` one behind another; empty: it is
            one.
        held: files in it that it names by the provider's ids, and these ids.
        called: what the client calls them, by these ids.
    """

    request: ClientRequest
    body: Body
    dropped: tuple[str, ...]
    max_output_tokens: int | None
    bounds: Bounds
    input: Input
    urls: Mapping[str, MediaKind]
    target: int
    unsaid: tuple[str, ...]
    continuable: bool
    operation: Operation = "chat"
    content_type: str = "application/json"
    shares: tuple[Share, ...] = ()
    held: tuple[str, ...] = ()
    called: Mapping[str, str] = _NOTHING


class FilesNamedError(InvalidRequestError):
    """A request names files of the gateway's, and it is not said what stands for them: to be
    resolved, and the request parsed again."""

    def __init__(self, uses: tuple[FileUse, ...]) -> None:
        super().__init__("Files cannot be named by id here.", param=uses[0].path)
        self.uses = uses


class HeldNamedError(NotFoundError):
    """A request names things at a provider by id, and it is not known whose they are: to be looked
    up, and the request parsed again."""

    def __init__(self, refs: tuple[HeldRef, ...]) -> None:
        super().__init__("Nothing can be named by id here.", param=refs[0].path)
        self.refs = refs


class AgentNamedError(InvalidRequestError):
    """A request names an agent, and it is not said what that adds: to be looked up, and the request
    parsed again."""

    def __init__(self, use: AgentUse) -> None:
        super().__init__("An agent cannot be named here; name a model.", param="model")
        self.use = use


class Parsed:
    """A client's request, parsed and validated.

    Raises:
        InvalidRequestError: the body cannot be served.
        NotFoundError: it names what no account can have.
    """

    def __init__(self, call: Call) -> None:
        self._codec = client_codec(call.protocol, call.operation)
        self._inline = call.inline
        self._files = call.files
        self._held = call.held
        self._context_tokens = call.context_tokens
        self._urls: dict[str, MediaKind] = {}
        self._continuable = False
        request, agent = self._codec.parse_request(call), call.agent
        self._agent = agent
        self._agent_bytes = 0
        if agent is not None:
            limits = [each for each in (request.max_output_tokens, agent.max_output_tokens) if each]
            limit = min(limits, default=request.max_output_tokens)
            request = replace(request, model=agent.model, max_output_tokens=limit)
            self._agent_bytes = sum(map(_bytes_of, texts_of(agent)))
        self.request = request
        self._uses = self.request.files
        """However often a file is named, it is in the body so often."""
        self._held_bytes, self._body_bytes = 0, len(call.body) + self._agent_bytes
        if self._uses:
            in_prompt = [use.written for use in self._uses if not use.by_id]
            named = [call.files[written] for written in in_prompt if written in call.files]
            self._held_bytes = sum(file.inline_bytes for file in named if file.held is not None)
            self._body_bytes += sum(file.inline_bytes for file in named)

    def asked(self, session_id: str | None, wanted: Wanted) -> Asked:
        """What a plan has to know of it."""
        asked = asked_of(
            self.request, self._codec, self._body_bytes, session_id, wanted, self._unresolved
        )
        if self.request.refs:
            expected = asked.expected_input_tokens + self._context_tokens
            asked = asked._replace(unheld=self._unheld, expected_input_tokens=expected)
        if self._agent is not None:
            asked = asked._replace(tools=asked.tools or bool(self._agent.tools), continuable=False)
        elif self.request.model.startswith(MODEL_PREFIX) and asked.service == "chat":
            asked = asked._replace(agent=self._named_agent())
        self._continuable = asked.continuable
        return asked

    def _named_agent(self) -> AgentUse:
        """Raises InvalidRequestError: no agent is asked for this."""
        if self.request.choices > 1:
            raise InvalidRequestError("An agent gives one answer.", param=self._spelled("choices"))
        if self.request.job is not None:
            raise InvalidRequestError("An agent answers at once.", param="background")
        conversation = self._codec.decode_request(self.request)
        named = self.request.model.removeprefix(MODEL_PREFIX)
        return AgentUse(named, question_of(conversation))

    @property
    def _unresolved(self) -> tuple[FileUse, ...]:
        if not self._uses:
            return ()
        return tuple([use for use in self._uses if use.written not in self._files])

    @property
    def _unheld(self) -> tuple[HeldRef, ...]:
        return tuple([ref for ref in self.request.refs if ref.object_id not in self._held])

    def prepare(self, asked: Encode, prompt: Callable[[str], Input]) -> Prepared:
        """The request for the first deployment that can say it; `prompt` is asked for what counts
        it, with the vocabulary of that one.

        Raises:
            InvalidRequestError: the protocol or model of none of them can say what is asked; says
                why the first one cannot, and names the client's field.
        """
        if self.request.refs and (unheld := self._unheld):
            raise HeldNamedError(unheld)
        if unresolved := self._unresolved:
            raise FilesNamedError(unresolved)  # whose ids are nobody's but ours
        refusals: list[InvalidRequestError] = []
        for number, target in enumerate(asked.targets):
            try:
                unsaid = tuple([error.message for error in refusals]) if refusals else ()
                return self._prepare(target, asked, prompt, number, unsaid)
            except InvalidRequestError as error:
                refusals.append(error.with_traceback(None))
        try:
            raise refusals[0]
        finally:
            del refusals  # which would hold this frame, and with it the request

    def _prepare(
        self,
        target: Target,
        asked: Encode,
        prompt: Callable[[str], Input],
        number: int,
        unsaid: tuple[str, ...],
    ) -> Prepared:
        request, prefix = self.request, asked.prefix
        body_bytes = self._body_bytes + self._context_tokens  # a byte is held for as a token is
        max_output_tokens = request.max_output_tokens
        window = target.capabilities.context_window_tokens
        if window is not None and self._held_bytes > window:
            body_bytes += window - self._held_bytes  # which are not sent: no more can be read
        self._urls = {}
        check_media(request.media, target.capabilities, request.model)
        if prefix is not None:
            body_bytes += len(prefix.text.encode("utf-8", "surrogatepass"))
            max_output_tokens = prefix.left_of(max_output_tokens)
        if target.spoken is None:
            raise _no_such_operation(request)
        encoded, dropped, shares = self._encoded(target, target.spoken, asked)
        max_output_tokens = encoded.output_limit or max_output_tokens
        counted = prompt(target.encoding)
        if self._context_tokens:
            counted = InputBefore(counted, self._context_tokens)
        if prefix is not None:
            counted = InputBefore(counted, count_prompt([prefix.text], target.encoding))
        return Prepared(
            request=self._codec.answered(request),
            body=encoded.body,
            dropped=dropped,
            max_output_tokens=max_output_tokens,
            bounds=bounds_of(
                request,
                body_bytes,
                max_output_tokens=max_output_tokens,
                capabilities=target.capabilities,
                hides_reasoning=target.hides_reasoning,
                demand=encoded.demand or request.demand,
            ),
            input=counted,
            urls=self._urls,
            target=number,
            unsaid=unsaid,
            continuable=self._continuable,
            operation=encoded.operation,
            content_type=encoded.content_type,
            shares=shares,
            held=tuple(f.held for f in self._files.values() if f.held) if self._files else (),
            called=_called(self._files) if self._files else _NOTHING,
        )

    def _check_sayable(self) -> None:
        """Raises InexpressibleError: it names something by an id, for who has that."""
        if self.request.refs:
            raise _not_sayable(self.request.refs[0].path)
        for use in self._uses:
            if use.by_id:
                raise _not_sayable(use.path)

    def count(self, encoding: str) -> int:
        """The tokens of the prompt."""
        counted = count_prompt(self._codec.prompt_texts(self.request), encoding)
        if self._agent is not None:
            counted += count_prompt(texts_of(self._agent), encoding)
        return counted + self._codec.prompt_overhead_tokens(self.request)

    def count_for(self, encoding: str, capabilities: Capabilities) -> int:
        """The tokens of the prompt. Raises InvalidRequestError: the model takes no such media."""
        check_media(self.request.media, capabilities, self.request.model)
        return self.count(encoding) + self._context_tokens

    def _encoded(
        self, target: Target, spoken: str, asked: Encode
    ) -> tuple[Encoded, tuple[str, ...], tuple[Share, ...]]:
        """What goes to the provider, in one request or in several."""
        verbatim = spoken == self._codec.name and asked.prefix is None and self._agent is None
        if self.request.job is not None:
            check_followed(self.request, kept=verbatim and target.state is not None)
        requests = requests_of(self._codec, self.request, target.capabilities)
        bodies, shares, end_bytes = [], [], 0
        if not verbatim:
            self._check_sayable()
        for request in requests:
            if verbatim:
                body, dropped = self._verbatim(request, target, asked.output_limit)
                operation, content_type = request.operation, request.content_type
                encoded = Encoded(body, operation=operation, content_type=content_type)
            else:
                encoded, dropped = self._translated(request, target, spoken, asked)
            if len(requests) > 1:
                bodies.append(encoded.body)
                end_bytes += len(encoded.body)
                shares.append(Share(end_bytes, request.inputs))
        if not bodies:
            return encoded, dropped, ()
        demand = encoded.demand or self.request.demand
        if demand is not None:
            more = {**demand.pieces, "requests": len(requests)}
            demand = replace(demand, pieces=more)
        return replace(encoded, body=b"".join(bodies), demand=demand), dropped, tuple(shares)

    def _verbatim(
        self, request: ClientRequest, target: Target, output_limit: int | None
    ) -> tuple[bytes, tuple[str, ...]]:
        if target.quirks.inlines and request.media:
            put_sources_inline(request.document, self._inline)
            self._note_urls(source_urls(request.document), target)
        kept, dropped = leave_out(request.document, target.quirks.refuses)
        if dropped:
            request = replace(request, document=kept)
        body = self._codec.encode_verbatim(request, target.model, output_limit, target.quirks)
        return body, dropped

    def _translated(
        self, request: ClientRequest, target: Target, spoken: str, asked: Encode
    ) -> tuple[Encoded, tuple[str, ...]]:
        conversation = self._codec.decode_request(request)
        if self._files:
            conversation = place(conversation, self._files.values())
        if self._agent is not None:
            conversation = with_brief(conversation, self._agent)
        if asked.prefix is not None:
            conversation = continue_from(conversation, asked.prefix)
        if target.quirks.inlines and request.media:
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
            target.model,
            target.capabilities,
            request.stream,
            asked.output_limit,
            target.quirks,
        )
        try:
            encoded = translated_to(spoken).encode_request(conversation, upstream)
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


def _bytes_of(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))


def _called(files: Mapping[str, FileStandIn]) -> Mapping[str, str]:
    """What the client calls files, by what the provider does."""
    return {file.held: name for name, file in files.items() if file.held}


def _not_sayable(path: str) -> InexpressibleError:
    return InexpressibleError(
        path,
        f"'{path}' means something to who has it only, in the protocol that made it; send the "
        "content itself, or choose a model that is asked so.",
    )


def check_followed(request: ClientRequest, *, kept: bool) -> None:
    """Whether what goes on without its client is asked of somebody who keeps it. Raises
    InexpressibleError."""
    if not kept and request.job is not None and request.job.kind not in MADE_KINDS:
        raise InexpressibleError(
            "background",
            f"The provider of the model '{request.model}' keeps no answers that are fetched later; "
            "stream the answer or wait for it, or choose another model.",
        )


def _no_such_operation(request: ClientRequest) -> InexpressibleError:
    return InexpressibleError(
        "model",
        f"The provider of the model '{request.model}' has nothing to ask for this; choose a model "
        f"that does '{SERVICES[request.operation]}'.",
    )


@dataclass(frozen=True, slots=True)
class Encode:
    """What is asked of a parsed request: the body for a deployment.

    Attributes:
        targets: in the order that they are wanted; the first that can say it is encoded for.
        in_memory: it is wanted so, however large it is; else it goes the way that it came.
        prefix: what has come of the answer, for targets that speak no protocol verbatim.
    """

    targets: tuple[Target, ...]
    output_limit: int | None = None
    in_memory: bool = False
    prefix: Prefix | None = None


@dataclass(frozen=True, slots=True)
class Count:
    """What is asked of a parsed request: the tokens of its prompt."""

    encoding: str
    capabilities: Capabilities


Ask = Callable[[Asked], Encode | Count]
"""What to do with a request of which this is known; raises ModelNotFoundError and the like."""


def ask_of(asked: Asked, ask: Ask) -> Encode | Count:
    """What to do with a request of which this is known; raises AgentNamedError, HeldNamedError and
    FilesNamedError before that."""
    if asked.agent is not None:
        raise AgentNamedError(asked.agent)
    if asked.unheld:
        raise HeldNamedError(asked.unheld)
    if asked.unresolved:
        raise FilesNamedError(asked.unresolved)
    return ask(asked)


def do_here(call: Call, ask: Ask, wanted: Wanted = NOTHING) -> Prepared | int:
    """Parse the body of a call and do with it what is asked, in this process.

    Raises:
        InvalidRequestError: it cannot be served; and whatever `ask` raises.
    """
    parsed = Parsed(call)
    match ask_of(parsed.asked(call.session_id, wanted), ask):
        case Encode() as asked:
            return parsed.prepare(asked, lambda encoding: _InputHere(call, parsed, encoding))
        case Count(encoding, capabilities):
            return parsed.count_for(encoding, capabilities)


def prepare_here(call: Call, target: Target) -> Prepared:
    """The request of a call for a deployment. Raises InvalidRequestError."""
    prepared = do_here(call, lambda _asked: Encode((target,)))
    assert isinstance(prepared, Prepared)
    return prepared


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
        size_bytes = len(self._call.body) + self._call.files_bytes
        if size_bytes > _COUNTED_AT_ONCE_MAX_BYTES:
            await trio.to_thread.run_sync(self.count)
        elif size_bytes > _PARSED_AGAIN_MAX_BYTES:
            self.count()
        if self._tokens is not None:
            self._call = None
        self._parsed = None
