"""A request's way to one deployment, and what comes back.

What of it depends on the two protocols is asked here, but for the body: see `engine.parsing`.
"""

from __future__ import annotations

from collections import deque

from engine.clock import Clock
from engine.events import Call, Event, Head
from engine.metering.pricing import Rates
from engine.metering.tokens import counter_for
from engine.parsing.jobs import Prepared
from engine.protocols.codec import ClientCodec, Identity
from engine.protocols.registry import client_codec, upstream_codec
from engine.relay import Relay, RelaySettings, open_relay
from engine.routing.plan import Deployment
from engine.upstream.bodies import Body
from engine.upstream.providers import Provider
from engine.wire.http import Headers

_DATA = frozenset({"application/json", "text/event-stream"})
_RESPONSE_MAX_BYTES = 64 * 1024 * 1024


class Passage:
    """One request to one deployment.

    Attributes:
        client, provider_codec: the codecs of the two sides; the same one means verbatim.
        dropped: fields of the client's that were harmlessly left out, in its own spelling.
    """

    def __init__(
        self,
        call: Call,
        prepared: Prepared,
        deployment: Deployment[Rates],
        provider: Provider,
        clock: Clock,
    ) -> None:
        self.client: ClientCodec = client_codec(call.protocol)
        self.provider_codec: ClientCodec = upstream_codec(
            call.protocol, provider.protocol, provider.also
        )
        self.dropped = prepared.dropped
        self._request_id = call.request_id
        self._sent_headers = call.headers
        self._request = prepared.request
        self._deployment = deployment
        self._provider = provider
        self._clock = clock

    @property
    def verbatim(self) -> bool:
        """Both sides speak one protocol."""
        return self.client is self.provider_codec

    def request_headers(self, body: Body) -> Headers:
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
            (b"x-request-id", self._request_id.encode()),
            *provider.credentials.sign("POST", path, body if isinstance(body, bytes) else b""),
            *codec.provider_headers(self._sent_headers if self.verbatim else (), provider.quirks),
        ]

    def open_relay(self, tap: deque[Event] | None) -> Relay:
        """A relay for one attempt; `tap` gets the canonical events as well."""
        deployment = self._deployment
        created_s = self._clock() // 1_000
        identity = Identity(self._request_id, deployment.upstream_model, created_s)
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
        if self.verbatim and content_type and _is_data(content_type) and not reframed:
            kind = content_type.encode("latin-1")
        headers = [(b"content-type", kind)]
        if committed:
            headers.append((b"x-model-used", self._deployment.upstream_model.encode()))
        if provider_request_id is not None:
            headers.append((b"x-provider-request-id", provider_request_id.encode("latin-1")))
        if self.dropped:
            headers.append((b"x-parshall-dropped", _header_text(",".join(self.dropped))))
        return Head(200, tuple(headers))


def _is_data(content_type: str) -> bool:
    """Nothing that a browser would show or run is passed on as such.

    >>> _is_data("Application/JSON; charset=UTF-8"), _is_data("text/html")
    (True, False)
    """
    return content_type.partition(";")[0].strip().lower() in _DATA


def _header_text(text: str) -> bytes:
    """Field names hold a client's own words: only visible ASCII of them goes into a header."""
    return "".join(c if "\x20" < c < "\x7f" else "?" for c in text)[:1_024].encode()
