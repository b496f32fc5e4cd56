"""Counting the tokens of a prompt without generating: free, and no exchange.

A provider of the client's own protocol is asked, and its answer passed on; the next one where that
fails. Elsewhere, and where it would have to be sent media that the prompt names by URL, or files
that it names by id, or what an agent adds, the prompt is counted here, which `x-parshall-counted:
estimate` says.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace

import httpx

from engine.admitting import Choice, admit_call, check_room
from engine.agent_calls import brief_call
from engine.errors import UpstreamError, UpstreamTimeoutError
from engine.events import Call, Head
from engine.metering.pricing import Rates
from engine.parsing.jobs import (
    AgentNamedError,
    Count,
    Encode,
    FilesNamedError,
    HeldNamedError,
    target_of,
)
from engine.parts import Parts
from engine.protocols.codec import Codec
from engine.protocols.registry import codec_of, upstream_codec
from engine.routing.failures import failure_of, judge
from engine.routing.values import Asked, Candidate, Plan
from engine.rules import Admitted
from engine.upstream.pool import Pool
from engine.upstream.providers import Provider
from engine.upstream.transport import MultiplexTransport

logger = logging.getLogger(__name__)

_ANSWER_MAX_BYTES = 1024 * 1024
_WAIT_MAX_S = 60.0
_JSON = (b"content-type", b"application/json")


async def count_tokens(
    parts: Parts, call: Call, admitted: Admitted | None = None
) -> tuple[Head, bytes]:
    """Head and body of the answer in the client's protocol. `admitted` is as for `open_exchange`.

    Raises:
        GatewayError: as `admit_call` and `Choice`.
        InvalidRequestError: the body cannot be served.
        UpstreamError: a provider refused the prompt, as others would.
        UnavailableError: the gateway is stopping, or is counting as much as it may.
    """
    admitted = await admit_call(parts, call, admitted)
    parts = parts.pinned(admitted.rules)
    check_room(parts, parts.counts_open)
    parts.counts_open += 1
    try:
        with parts.preliminaries.refused_at_end():
            account_id = admitted.entry.principal.account_id
            return await _count(parts, call, Choice(parts, admitted), account_id)
    finally:
        parts.counts_open -= 1


@dataclass(frozen=True, slots=True)
class _Place:
    """Who counts: a planned deployment, and the path at its provider that does it."""

    candidate: Candidate[Rates]
    provider: Provider
    path: str


class _Places:
    """Whom to ask in turn; once all have failed, the prompt is counted here."""

    def __init__(self, parts: Parts, call: Call, choose: Choice) -> None:
        self._parts = parts
        self._call = call
        self._choose = choose
        self.left: deque[_Place] | None = None
        """None before the request has been parsed."""

    def ask(self, asked: Asked) -> Encode | Count:
        """What is done with the request next."""
        plan = self._choose(asked)
        if self.left is None:
            self.left = deque(self._found(plan))
        if not self.left:
            deployment = plan.candidates[0].deployment
            return Count(deployment.encoding, deployment.capabilities)
        place = self.left[0]
        target = target_of(self._call.protocol, place.candidate.deployment, place.provider)
        return Encode((target,), in_memory=True)

    def _found(self, plan: Plan[Rates]) -> Iterator[_Place]:
        codec = codec_of(self._call.protocol)
        for candidate in plan.candidates:
            provider = self._parts.providers[candidate.deployment.provider]
            if upstream_codec(codec.name, provider.protocol, provider.also) is codec:
                path = codec.path(
                    candidate.deployment.upstream_model,
                    self._call.operation,
                    stream=False,
                    array=False,
                    quirks=provider.quirks,
                )
                if path is not None:
                    yield _Place(candidate, provider, path)


async def _with_files(parts: Parts, call: Call, error: FilesNamedError, account_id: str) -> Call:
    """The call with the words of the files that it names. Raises as `Referring.look_up`."""
    named = await parts.referring.look_up(error.uses, account_id)
    return replace(call, files=await parts.referring.with_words(named, parts.config.files))


async def _count(parts: Parts, call: Call, choose: Choice, account_id: str) -> tuple[Head, bytes]:
    codec = codec_of(call.protocol)
    places, opened = _Places(parts, call, choose), call.opened()
    while True:  # as often as there are candidates, and four times more
        try:
            done = await parts.parsing.do(opened, places.ask, parts.rules.wanted)
        except AgentNamedError as named:
            _, opened = await brief_call(parts, opened, named.use, account_id)
            places.left = deque()  # what it adds, and its tools, are each protocol's otherwise
            continue
        except HeldNamedError as named:
            opened, pin, _ = await parts.owners.admit(account_id, opened, named.refs)
            choose.keep_to(pin)
            continue
        except FilesNamedError as named:
            opened = await _with_files(parts, opened, named, account_id)
            places.left = deque()  # they would have to be sent, and this is free
            continue
        if isinstance(done, int):
            estimate = (_JSON, (b"x-parshall-counted", b"estimate"))
            return Head(200, estimate), codec.encode_token_count(done)
        assert places.left, "it was encoded for one of them"
        if done.urls:  # they would have to be fetched, and this is free
            places.left.clear()
            continue
        assert isinstance(done.body, bytes), "it was asked for in memory"
        place = places.left.popleft()
        try:
            answer, provider_request_id = await _ask(parts.pool, codec, place, done.body, call)
        except UpstreamError as error:
            failure = failure_of(error, status=None, unprocessed=False, generated=False)
            if judge(failure).next != "any":
                raise
            path = place.candidate.deployment.path
            logger.warning("%s: %s does not count: %s", call.request_id, path, error.code)
            continue
        if provider_request_id is None:
            return Head(200, (_JSON,)), answer
        said = (b"x-provider-request-id", provider_request_id.encode("latin-1"))
        return Head(200, (_JSON, said)), answer


async def _ask(
    pool: Pool, codec: Codec, place: _Place, body: bytes, call: Call
) -> tuple[bytes, str | None]:
    provider = place.provider
    target = provider.path(place.path, place.candidate.deployment.upstream_model)
    headers = [
        (b"content-type", b"application/json"),
        (b"accept", b"application/json"),
        (b"accept-encoding", b"identity"),
        (b"user-agent", b"parshall"),
        (b"x-request-id", call.request_id.encode()),
        *provider.credentials_of(place.candidate.key).sign("POST", target, body),
        *codec.provider_headers(call.headers, provider.quirks),
    ]
    transport = MultiplexTransport(pool, **provider.connection)
    timeout = httpx.Timeout(min(provider.first_byte_timeout_s, _WAIT_MAX_S))
    url = f"{provider.origin.scheme}://{provider.origin.authority}{target}"
    answer = b""
    try:
        async with (
            httpx.AsyncClient(transport=transport, timeout=timeout) as client,
            client.stream("POST", url, headers=headers, content=body) as response,
        ):
            async for part in response.aiter_bytes():
                answer += part
                if len(answer) > _ANSWER_MAX_BYTES:
                    raise UpstreamError("The provider's answer is larger than the gateway accepts.")
    except httpx.TimeoutException:
        raise UpstreamTimeoutError("The provider did not answer in time.") from None
    except (httpx.TransportError, httpx.DecodingError):
        raise UpstreamError("The provider broke off its answer.") from None
    provider_request_id = next(
        (
            v.decode("latin-1")
            for n, v in response.headers.raw
            if n.lower() in codec.request_id_headers
        ),
        None,
    )
    if response.status_code != 200:
        error = codec.read_error(response.status_code, answer)
        error.provider_request_id = provider_request_id
        raise error
    return answer, provider_request_id
