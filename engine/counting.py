"""Counting the tokens of a prompt without generating: free, and no exchange.

A provider of the client's own protocol is asked, and its answer passed on; elsewhere, and where it
would have to be sent media that the prompt names by URL, the prompt is counted here, which an
answer's `x-parshall-counted: estimate` says.
"""

from __future__ import annotations

import httpx

from engine.errors import UnavailableError, UpstreamError, UpstreamTimeoutError
from engine.events import Call, Head
from engine.metering.pricing import Rates
from engine.parsing.jobs import Count, Encode, target_of
from engine.parts import Parts
from engine.protocols.codec import Codec
from engine.protocols.registry import codec_of, upstream_codec
from engine.routing.plan import Deployment, plan
from engine.upstream.pool import Pool
from engine.upstream.providers import Provider
from engine.upstream.transport import MultiplexTransport

_ANSWER_MAX_BYTES = 1024 * 1024
_WAIT_MAX_S = 60.0


async def count_tokens(parts: Parts, call: Call) -> tuple[Head, bytes]:
    """Head and body of the answer in the client's protocol.

    Raises:
        AuthenticationError: the key is missing or unknown.
        InvalidRequestError, ModelNotFoundError: the body cannot be served.
        UpstreamError: the provider refused it or could not be reached.
        UnavailableError: the gateway is stopping, or is counting as much as it may.
    """
    parts.keys.authenticate(call.key)
    if parts.stopping:
        raise UnavailableError("The gateway is stopping.", retry_after_s=1)
    if parts.counts_open >= parts.config.server.exchanges_max:
        raise UnavailableError("The gateway is at its limit of open requests.", retry_after_s=1)
    parts.counts_open += 1
    try:
        with parts.preliminaries.refused_at_end():
            return await _count(parts, call)
    finally:
        parts.counts_open -= 1


async def _count(parts: Parts, call: Call) -> tuple[Head, bytes]:
    codec = codec_of(call.protocol)

    def planned(model: str) -> tuple[Deployment[Rates], Provider, str | None]:
        """The deployment, and the path at its provider that counts for it, if there is one."""
        deployment = plan(model, parts.catalogue).deployments[0]
        provider = parts.providers[deployment.provider]
        if upstream_codec(call.protocol, provider.protocol, provider.also) is not codec:
            return deployment, provider, None
        path = codec.path(
            deployment.upstream_model,
            call.operation,
            stream=False,
            array=False,
            quirks=provider.quirks,
        )
        return deployment, provider, path

    def ask(model: str) -> Encode | Count:
        deployment, provider, path = planned(model)
        if path is None:
            return Count(deployment.encoding, deployment.capabilities)
        return Encode(target_of(call.protocol, deployment, provider), in_memory=True)

    opened = call.opened()
    done = await parts.parsing.do(opened, ask)
    if not isinstance(done, int) and done.urls:  # they would have to be fetched, and this is free
        here = planned(done.request.model)[0]
        done = await parts.parsing.do(opened, lambda _: Count(here.encoding, here.capabilities))
    headers = [(b"content-type", b"application/json")]
    if isinstance(done, int):
        headers.append((b"x-parshall-counted", b"estimate"))
        return Head(200, tuple(headers)), codec.encode_token_count(done)
    deployment, provider, path = planned(done.request.model)
    assert path is not None, "it was encoded to be sent there"
    assert isinstance(done.body, bytes), "it was asked for in memory"
    answer, provider_request_id = await _ask(
        parts.pool, codec, provider, path, deployment.upstream_model, done.body, call
    )
    if provider_request_id is not None:
        headers.append((b"x-provider-request-id", provider_request_id.encode("latin-1")))
    return Head(200, tuple(headers)), answer


async def _ask(
    pool: Pool, codec: Codec, provider: Provider, path: str, model: str, body: bytes, call: Call
) -> tuple[bytes, str | None]:
    target = provider.path(path, model)
    headers = [
        (b"content-type", b"application/json"),
        (b"accept", b"application/json"),
        (b"accept-encoding", b"identity"),
        (b"user-agent", b"parshall"),
        (b"x-request-id", call.request_id.encode()),
        *provider.credentials.sign("POST", target, body),
        *codec.provider_headers(call.headers, provider.quirks),
    ]
    transport = MultiplexTransport(
        pool,
        http2=provider.http2,
        ca_file=provider.ca_file,
        client_cert_file=provider.client_cert_file,
        client_key_file=provider.client_key_file,
        proxy=provider.proxy,
        connect_timeout_s=provider.connect_timeout_s,
        max_streams_per_connection=provider.max_streams_per_connection,
        connections_max=provider.connections_max,
        warm_connections=provider.warm_connections,
        connection_max_age_s=provider.connection_max_age_s,
    )
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
