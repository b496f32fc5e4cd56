"""A request on its way from its client's protocol to one deployment's, and what comes back.

Decides between verbatim and translated; everything that depends on the two protocols is asked here.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace

from engine.capability_table import check_media
from engine.clock import Clock
from engine.events import Call, Event, Head
from engine.metering.pricing import Rates
from engine.metering.tokens import counter_for
from engine.protocols.codec import (
    ClientCodec,
    ClientRequest,
    Encoded,
    Identity,
    InexpressibleError,
    UpstreamTarget,
    spell,
)
from engine.protocols.leaving_out import leave_out
from engine.protocols.registry import client_codec, provider_codec, upstream_codec
from engine.relay import Relay, RelaySettings, open_relay
from engine.routing.plan import Deployment
from engine.upstream.providers import Provider
from engine.wire.http import Headers

_RESPONSE_MAX_BYTES = 64 * 1024 * 1024


class Passage:
    """One request to one deployment.

    Attributes:
        client, provider_codec: the codecs of the two sides; the same one means verbatim.
        dropped: fields of the client's that were harmlessly left out, in its own spelling.
        max_output_tokens: what one choice may generate, as last encoded; None: nobody said.

    Raises:
        InvalidRequestError: the deployment's protocol or model cannot say what is asked.
    """

    def __init__(
        self,
        call: Call,
        request: ClientRequest,
        deployment: Deployment[Rates],
        provider: Provider,
        clock: Clock,
    ) -> None:
        self.client: ClientCodec = client_codec(call.protocol)
        self.provider_codec: ClientCodec = upstream_codec(
            call.protocol, provider.protocol, provider.also
        )
        self.dropped: tuple[str, ...] = ()
        self.max_output_tokens = request.max_output_tokens
        self._call = call
        self._request = request
        self._deployment = deployment
        self._provider = provider
        self._clock = clock
        check_media(request.media, deployment.capabilities, request.model)
        self._conversation = None if self.verbatim else self.client.decode_request(request)
        if self._conversation is not None:
            for lost in self._conversation.unexpressed:
                if not lost.harmless:
                    raise InexpressibleError(
                        lost.field,
                        f"'{lost.field}' cannot be translated to what the provider of this model "
                        "speaks; leave it out or choose another model.",
                    )

    @property
    def verbatim(self) -> bool:
        """Both sides speak one protocol."""
        return self.client is self.provider_codec

    def encode(self, output_limit: int | None) -> bytes:
        """The body for the provider; `output_limit` lowers what one choice may generate.

        Raises:
            InvalidRequestError: it cannot be said there; names the client's field.
        """
        model = self._deployment.upstream_model
        conversation = self._conversation
        if conversation is None:
            return self._encode_verbatim(model, output_limit)
        target = UpstreamTarget(
            model,
            self._deployment.capabilities,
            self._request.stream,
            output_limit,
            self._provider.quirks,
        )
        try:
            translator = provider_codec(self._provider.protocol)
            encoded: Encoded = translator.encode_request(conversation, target)
        except InexpressibleError as error:
            error.param = self._spelled(error.field)
            raise
        lost = [lost.field for lost in conversation.unexpressed]  # in the client's spelling
        more = [self._spelled(field) for field in encoded.dropped if field not in lost]
        self.dropped = tuple(dict.fromkeys([*lost, *more]))
        self.max_output_tokens = encoded.output_limit or self._request.max_output_tokens
        return encoded.body

    def _encode_verbatim(self, model: str, output_limit: int | None) -> bytes:
        quirks, request = self._provider.quirks, self._request
        kept, self.dropped = leave_out(request.document, quirks.refuses)
        if self.dropped:
            request = replace(request, document=kept)
        return self.client.encode_verbatim(request, model, output_limit, quirks)

    def _spelled(self, field: str) -> str:
        return spell(field, self.client.field_names)

    def request_headers(self, body: bytes) -> Headers:
        """The head of the request to the provider.

        Raises:
            UpstreamRejectedError: there is nothing to sign it with now.
        """
        provider, request, codec = self._provider, self._request, self.provider_codec
        path = codec.path(
            self._deployment.upstream_model,
            "chat",
            stream=request.stream,
            array=request.array and self.verbatim,
            quirks=provider.quirks,
        )
        assert path is not None, "every protocol generates"
        path = provider.path(path, self._deployment.upstream_model)
        events = request.stream and not provider.quirks.event_stream
        accept = b"text/event-stream" if events else b"application/json"
        return [
            (b":method", b"POST"),
            (b":scheme", provider.origin.scheme.encode()),
            (b":authority", provider.origin.authority.encode()),
            (b":path", path.encode()),
            (b"content-type", b"application/json"),
            (b"accept", accept),
            (b"accept-encoding", b"identity"),
            (b"user-agent", b"parshall"),
            (b"x-request-id", self._call.request_id.encode()),
            *provider.credentials.sign("POST", path, body),
            *codec.provider_headers(self._call.headers if self.verbatim else (), provider.quirks),
        ]

    def open_relay(self, tap: deque[Event] | None) -> Relay:
        """A relay for one attempt; `tap` gets the canonical events as well."""
        deployment = self._deployment
        created_s = self._clock() // 1_000
        identity = Identity(self._call.request_id, deployment.upstream_model, created_s)
        return open_relay(
            RelaySettings(
                client=self.client,
                provider=self.provider_codec,
                request=self._request,
                count=counter_for(deployment.encoding),
                identity=identity,
                end_marker=self._provider.terminal == "done-marker",
                body_max_bytes=_RESPONSE_MAX_BYTES,
                quirks=self._provider.quirks,
                tap=tap,
            )
        )

    def head(
        self, content_type: str | None, *, committed: bool, provider_request_id: str | None
    ) -> Head:
        """The head of an answer: which model gives it, once that is sure; what was dropped."""
        kind = b"application/json"
        if self._request.stream:
            kind = self.client.stream_type(self._request)
        reframed = self._request.stream and self._provider.quirks.event_stream
        if self.verbatim and content_type is not None and not reframed:
            kind = content_type.encode("latin-1")
        headers = [(b"content-type", kind)]
        if committed:
            headers.append((b"x-model-used", self._deployment.upstream_model.encode()))
        if provider_request_id is not None:
            headers.append((b"x-provider-request-id", provider_request_id.encode("latin-1")))
        if self.dropped:
            headers.append((b"x-parshall-dropped", _header_text(",".join(self.dropped))))
        return Head(200, tuple(headers))


def _header_text(text: str) -> bytes:
    """Field names hold a client's own words: only visible ASCII of them goes into a header."""
    return "".join(c if "\x20" < c < "\x7f" else "?" for c in text)[:1_024].encode()
